"""A deterministic simulation of the policies against failure: real router, simulated network and upstreams."""
