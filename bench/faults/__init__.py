"""proxyd and Envoy under the same faults: ``python -m bench.faults``."""
