"""The access log: one JSON line per exchange."""

from proxyd_plugins.access_log.sink import AccessLog

__all__ = ["AccessLog"]
