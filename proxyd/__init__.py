"""proxyd: a sidecar that carries an application's traffic to third-party services and adds what they demand."""

__version__ = "0.1.0"
