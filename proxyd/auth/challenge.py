"""Bearer tokens for a scope that a vendor's challenge names, as container registries have them.

What a request needs is known when a first one like it was refused: its challenge leads to a token by way of control,
and is remembered by host, resource and kind of method. Requests of the same kind carry the token at once.

https://distribution.github.io/distribution/spec/auth/token/
"""

import re
from collections.abc import Mapping
from typing import Final

from proxyd.auth.signer import Defaults
from proxyd.auth.values import value_of
from proxyd.auth.www_authenticate import bearer_challenge
from proxyd.core.exchange import BodyUse, Outgoing
from proxyd.core.headers import Headers, every, without
from proxyd.core.message import Request, Response
from proxyd.core.messages import WantToken
from proxyd.core.service import SCOPE, Auth
from proxyd.core.units import KIB

MAX_KINDS: Final = 1024
"""Kinds of requests whose scope is remembered; the one that was learned first goes first."""

SHORT: Final = 64 * KIB
"""Bytes of a body that is held, so that the request can be made again."""

_UNAUTHORIZED: Final = 401
_READS: Final = frozenset((b"GET", b"HEAD"))
_RESOURCE: Final = re.compile(rb"(/v2/[^?]*?)/(?:manifests|blobs|tags|referrers)(?:/|$|\?)")
_FROM: Final = re.compile(rb"[?&]from=([^&]*)")
"""A blob that is mounted from another repository needs a scope of that one, too."""

Kind = tuple[bytes, bytes, bytes, bytes]


class ChallengeInjector(Defaults):
    """``Authorization: Bearer TOKEN``, with the token of the request's scope."""

    fields: frozenset[bytes] = frozenset({b"authorization"})

    def __init__(self, auth: Auth) -> None:
        (part,) = auth.parts
        self._token = part.secret
        self.secret_names: tuple[str, ...] = (f"{part.secret}{SCOPE}",)
        self._learned: dict[Kind, str] = {}
        """Names of secrets."""

    def use_of_body(self, request: Request) -> BodyUse:
        """Hold a short one."""
        length = request.body.length
        return BodyUse.WHOLE if length is not None and 0 < length <= SHORT else BodyUse.NONE

    def client_supplied(self, headers: Headers, path: bytes) -> bool:
        """Whether the client has a token of its own."""
        return any(name in self.fields for name, _ in headers)

    def masks(self, values: Mapping[str, bytes]) -> tuple[bytes, ...]:
        """Nothing: which token goes out is said with each attempt."""
        return ()

    def sign(self, outgoing: Outgoing, values: Mapping[str, bytes]) -> None:
        """Put the token of the scope in place of what the client sent; ValueError."""
        outgoing.headers = without(outgoing.headers, self.fields)
        name = self._learned.get(_kind(outgoing.host, outgoing.method, outgoing.path))
        if name is not None and name in values:
            outgoing.used = value_of(name, values)
            outgoing.headers.append((b"authorization", b"Bearer " + outgoing.used))

    def question(self, request: Request, response: Response) -> WantToken | None:
        """Return what to ask control where the answer is a challenge, and remember what it says."""
        if response.status != _UNAUTHORIZED:
            return None
        challenge = bearer_challenge(every(response.headers, b"www-authenticate"))
        if challenge is None:
            return None
        question = WantToken(self._token, challenge.scope, challenge.realm, challenge.service)
        kind = _kind(request.authority.host_header(request.scheme), request.method, request.path)
        self._learned.pop(kind, None)
        self._learned[kind] = question.secret
        if len(self._learned) > MAX_KINDS:
            del self._learned[next(iter(self._learned))]
        return question


def _kind(host: bytes, method: bytes, path: bytes) -> Kind:
    """Return what requests have in common that need the same scope."""
    resource = _RESOURCE.match(path)
    source = _FROM.search(path) if method == b"POST" else None
    return (
        host,
        b"GET" if method in _READS else b"DELETE" if method == b"DELETE" else b"PUT",
        resource[1] if resource is not None else path.partition(b"?")[0],
        source[1] if source is not None else b"",
    )
