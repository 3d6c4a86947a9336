"""Figures of proxyd beside its peers, in interleaved rounds of one run (bench/README.md)."""
