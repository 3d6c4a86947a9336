"""A fleet of daemons, a vendor with a limit, and what may go wrong between them."""
