"""What the catalogue knows of a service that is configured: for control, which tests it and explains its answers."""

from dataclasses import dataclass
from typing import Final

ANNOUNCING: Final = frozenset({"deprecation", "npm-notice", "sunset", "warning"})
"""Response fields by which vendors announce the end of an endpoint: RFC 9745, RFC 8594, RFC 9111 §5.5 and npm's own."""

ENDS: Final = "github-authentication-token-expiration"
"""The response field by which GitHub says when the token of the request ends."""

USUAL: Final = ("deprecation", "sunset")
"""Those that mean it wherever they stand."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A request without consequences that tells whether the credential is accepted."""

    method: str
    path: str
    host: str = ""
    """Empty: the host of the base URL."""
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    expect: tuple[int, ...] = (200,)
    """Statuses that say that all is well."""
    says: tuple[tuple[int, str], ...] = ()
    """What other statuses say: ``refused``, ``scope``, ``limit``, ``version``, ``missing`` or ``down``."""
    body_says: tuple[tuple[str, str], ...] = ()
    """Texts in the body of an expected status that say otherwise."""
    scopes: str = ""
    """The header field that says what the credential may do."""

    def verdict(self, status: int) -> str:
        """Return what a status says, as above; empty where it is expected, ``unknown`` where nothing is known."""
        if status in self.expect:
            return ""
        usual = {401: "refused", 403: "scope", 404: "missing", 429: "limit"}
        return dict(self.says).get(status) or usual.get(status) or ("down" if status >= 500 else "unknown")


@dataclass(frozen=True, slots=True)
class KnownField:
    """One field that the service's credential is made of."""

    name: str
    title: str
    where: str = ""
    """Where the vendor shows it."""
    secret: str = ""
    """Name of the secret that holds it; empty: it is an option."""


@dataclass(frozen=True, slots=True)
class KnownService:
    """A configured service and what its definition says."""

    service: str
    """Its name in the configuration."""
    definition: str
    """Its name in the catalogue."""
    title: str
    probe: Probe
    scheme: str = ""
    fields: tuple[KnownField, ...] = ()
    deprecation: tuple[str, ...] = USUAL
    """Header fields that announce the end of an endpoint, of ANNOUNCING."""
    error_code: str = ""
    """Path in the body of an error, with dots."""
    error_message: str = ""
    request_id: str = ""
    """Header field with the vendor's number of a request."""
    status_page: str = ""
    documentation: tuple[str, ...] = ()
