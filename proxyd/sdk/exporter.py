"""What answers ``GET /metrics`` of the admin HTTP address."""

from typing import Final, Protocol

TEXT_FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The text format of Prometheus: the one that the address promises."""


class Exporter(Protocol):
    """Made with a Host when the first page is asked for."""

    content_type: str

    async def page(self) -> bytes:
        """Return the page as of now."""
        ...
