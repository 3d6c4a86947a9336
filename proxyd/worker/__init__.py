"""The composition root of the data plane: one process, one trio loop, no control round trips."""
