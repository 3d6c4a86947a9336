"""The URL under which a client knows what the upstream serves under another."""

from dataclasses import dataclass

from proxyd.core.authority import Authority


@dataclass(frozen=True, slots=True)
class Facade:
    """Two views of one tree of resources: what the client asks for, and what the upstream is asked for."""

    scheme: bytes
    """As the client asks."""
    authority: bytes
    """As the client wrote it."""
    prefix: bytes
    """Path before the resources, without a slash at its end; empty: none."""
    base_scheme: bytes
    """As the upstream is asked."""
    base_authority: Authority
    base_path: bytes
    """As ``prefix``."""
    encoded_slash: bool = False
    """``%2F`` within a path segment is legitimate."""
    is_gateway: bool = False
    """The client knows a local name only, and cookies live under that."""
    origin: bytes = b""
    """Gateway: the allowed origin of the web page that asks; empty: none asks."""
