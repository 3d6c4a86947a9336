"""What schemes that sign have in common, and what most of them do."""

from collections.abc import Mapping

from proxyd.auth.clock import Clock
from proxyd.auth.values import long_enough, secrets_of, value_of
from proxyd.core.exchange import BodyUse
from proxyd.core.headers import Headers
from proxyd.core.message import Body, Request, Response
from proxyd.core.messages import WantToken
from proxyd.core.service import Auth


class Defaults:
    """What schemes that need more of a request than its fields (core.exchange.Signer) mostly answer."""

    signs = True
    fields: frozenset[bytes] = frozenset()
    query_names: tuple[bytes, ...] = ()

    def is_due(self, request: Request) -> bool:
        """Whether the request takes the credential: all do."""
        return True

    def use_of_body(self, request: Request) -> BodyUse:
        """Nothing is needed of it."""
        return BodyUse.NONE

    def wrap(self, request: Request) -> Body:
        """Never: no body is asked for."""
        raise AssertionError("the scheme wraps no body")

    def is_presigned(self, request: Request) -> bool:
        """Whether the URL carries a signature of its own."""
        return False

    def apply(self, headers: Headers, path: bytes, values: Mapping[str, bytes]) -> tuple[Headers, bytes]:
        """Never: more is changed than the head."""
        raise AssertionError("the scheme signs")

    def question(self, request: Request, response: Response) -> WantToken | None:
        """There are no challenges."""
        return None

    def heard(self, response: Response, now: float) -> bool:
        """No clock takes part."""
        return False


class Signing(Defaults):
    """A base of schemes that sign; they add ``sign``."""

    fields: frozenset[bytes] = frozenset({b"authorization"})
    needed: tuple[str, ...] = ()
    """Fields whose secrets must be named."""
    further: tuple[str, ...] = ()
    """Fields whose secrets may be."""
    masked: tuple[str, ...] = ()
    """Those of the fields that give something away; the others are names."""

    def __init__(self, auth: Auth) -> None:
        self.secrets = secrets_of(auth, *self.needed)
        self.options = dict(auth.options)
        known = (*self.needed, *self.further)
        strange = [field for field in self.secrets if field not in known]
        if strange:
            raise ValueError(f"the scheme {auth.scheme} has no secret {strange[0]}; it knows {', '.join(known)}")
        self.secret_names = tuple(name for name in self.secrets.values() if name)
        self.clock = Clock()

    def value(self, field: str, values: Mapping[str, bytes]) -> bytes:
        """Return the secret of a field; empty where none is named. KeyError, ValueError."""
        name = self.secrets.get(field, "")
        return value_of(name, values) if name else b""

    def client_supplied(self, headers: Headers, path: bytes) -> bool:
        """Whether the client signed."""
        return any(name in self.fields for name, _ in headers)

    def masks(self, values: Mapping[str, bytes]) -> tuple[bytes, ...]:
        """Return what would give the secrets away."""
        return long_enough(*(values[self.secrets[field]] for field in self.masked if self.secrets.get(field)))

    def heard(self, response: Response, now: float) -> bool:
        """Learn the vendor's clock from a refusal."""
        return self.clock.learn(response, now)

    def kept(self, headers: Headers) -> Headers:
        """Return the headers without what the client signed."""
        return [item for item in headers if item[0] not in self.fields]
