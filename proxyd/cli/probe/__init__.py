"""``proxyd test``: each service asked through the data plane, and what its answer means."""
