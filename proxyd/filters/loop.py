"""Loops and hops: a request that carries this instance's pseudonym in Via has been here already (RFC 9110 §7.6.3), and
Max-Forwards says how many hops a TRACE or OPTIONS has left (§7.6.2).
"""

import re
from typing import Final

from proxyd.core.errors import Flag, ProxyError, bad_request
from proxyd.core.exchange import Exchange
from proxyd.core.headers import every, tokens, without
from proxyd.core.message import BytesBody, Origin, Request, Response
from proxyd.core.route import Filter

_FIELD: Final = b"max-forwards"
_COUNTED: Final = frozenset({b"TRACE", b"OPTIONS"})
_NUMBER: Final = re.compile(rb"[0-9]{1,9}").fullmatch
_NOT_ECHOED: Final = frozenset({b"authorization", b"proxy-authorization", b"cookie"})


class LoopFilter(Filter):
    """Answers 508 to its own requests, and itself where no hop is left."""

    def __init__(self, pseudonym: str) -> None:
        self._pseudonym = pseudonym.lower().encode("ascii")

    def request(self, exchange: Exchange) -> Response | None:
        """ProxyError 508 where Via names this instance, 400 for a Max-Forwards that is no number."""
        request = exchange.request
        via = request.via
        if via is not None:
            for member in tokens(via):
                parts = member.split()
                if len(parts) > 1 and parts[1] == self._pseudonym:
                    raise ProxyError(508, Flag.LOOP, "proxy_loop_detected", "this request passed through here before")
        if request.method in _COUNTED:
            return _count(request)
        return None


def _count(request: Request) -> Response | None:
    """Take one hop off Max-Forwards; with none left, answer as the final recipient."""
    values = every(request.headers, _FIELD)
    if not values:
        return None
    if len(values) > 1 or not _NUMBER(values[0]):
        raise bad_request("Max-Forwards is repeated or not a number (RFC 9110 §7.6.2)")
    left = int(values[0])
    if left:
        request.headers = [*without(request.headers, (_FIELD,)), (_FIELD, b"%d" % (left - 1))]
        return None
    if request.method == b"OPTIONS":
        return Response(204, [], BytesBody(), origin=Origin.PROXYD)
    # RFC 9110 §9.3.8: what came, without the fields that are likely to hold a secret
    lines = [b"TRACE %b HTTP/1.1" % request.path, b"host: " + str(request.authority).encode("ascii")]
    lines += [b"%b: %b" % field for field in request.headers if field[0] not in _NOT_ECHOED]
    body = b"\r\n".join([*lines, b"", b""])
    return Response(200, [(b"content-type", b"message/http")], BytesBody(body), origin=Origin.PROXYD)
