"""The cache as an exchange meets it: after the credential is chosen, before the router; what is kept is masked already.

Of requests for the same thing at the same time one asks the upstream, and the others wait for what it brings; where
that may not be kept, they ask for themselves, and for a while nobody waits for such an answer again.
"""

import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from proxyd.caching import status as cache_status
from proxyd.caching.answer import answer
from proxyd.caching.directives import Directives, cache_control
from proxyd.caching.freshness import Times
from proxyd.caching.memory import Key
from proxyd.caching.policy import (
    SAFE,
    Decision,
    Entry,
    Marked,
    Verdict,
    decide,
    invalidates,
    is_same_representation,
    is_silent,
    make_entry,
    may_serve_on_error,
    may_store,
    may_use,
    refreshed,
)
from proxyd.core.caching import CachePolicy
from proxyd.core.errors import Flag, ProxyError, Side
from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers, first, without
from proxyd.core.message import BytesBody, Lines, Origin, Response
from proxyd.core.route import Filter
from proxyd.filters.recording import Recording
from proxyd.filters.shelf import MAX_FLIGHTS, Flight, Lookup, Shelf
from proxyd.wire.encode import field_lines

_SPECIAL: Final = frozenset(
    {
        b"cache-control", b"pragma", b"range", b"if-range", b"if-none-match", b"if-modified-since", b"if-match",
        b"if-unmodified-since", b"authorization",
    }
)  # fmt: skip
"""Fields of a request that make it more than a plain look-up."""

_CONDITIONS: Final = frozenset({b"if-none-match", b"if-modified-since", b"range", b"if-range"})
_PRECONDITIONS: Final = frozenset({b"if-match", b"if-unmodified-since"})
_MISS: Final = Decision(Verdict.MISS, "uri-miss")
"""What becomes of most requests without an entry."""
_tuple: Final = tuple.__new__
"""Makes a named tuple in a fifth of the time."""
_NOT_MODIFIED: Final = 304
_SERVER_ERROR: Final = 500

NEVER: Final = math.inf

REFRESH: Final = object()
"""Stands in an exchange's ``lookup`` that is made to ask the upstream whatever is kept."""


class CacheFilter(Filter):
    """Answers from what is kept, and keeps what may be."""

    def __init__(
        self,
        shelf: Shelf,
        policy: CachePolicy,
        name: str,
        refresh: Callable[[Exchange, Headers], None] | None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._shelf = shelf
        self._policy = policy
        self._name = name
        self._hit = name.encode("ascii") + b"; hit; ttl=%d"
        self._missed = cache_status.forwarded(name, _MISS, status=0, stored=False)
        self._told: dict[tuple[str, bool, bool], bytes] = {}
        """Cache-Status of answers that no entry was validated for: there are few."""
        self._ask_anew = refresh
        """Asks the upstream in the background for an exchange like this one."""
        self._wall = wall

    # --- requests ---------------------------------------------------------------------------------

    def request(self, exchange: Exchange) -> Response | Awaitable[Response | None] | None:
        """Answer from an entry, or prepare to keep what the upstream says."""
        request = exchange.request
        if request.method not in (b"GET", b"HEAD") or request.upgrade is not None:
            return None
        headers = request.headers
        is_plain = True
        for item in headers:
            if item[0] in _SPECIAL:
                is_plain = False
                break
        if not is_plain and (
            not may_use(request.method, headers) or any(name in _PRECONDITIONS for name, _ in headers)
        ):
            return None
        key = _tuple(Key, (exchange.route.name, request.scheme, request.authority.text, request.path))
        scope = ",".join(exchange.credential.secret_names) if exchange.credential is not None else ""
        entry = self._shelf.memory.find(key, scope, headers)
        now = self._wall()
        if is_plain and exchange.lookup is None:
            if entry is None:
                lookup = exchange.lookup = Lookup(key, scope, headers, None, _MISS)
                lookup.requested = now
                return self._gather(exchange, lookup) if request.method == b"GET" else None
            if now < entry.fresh_until:
                return self._whole(entry, now)
        decision = decide(entry, headers, now, self._policy)
        if exchange.lookup is REFRESH and entry is not None:
            decision = Decision(Verdict.VALIDATE if entry.validators else Verdict.MISS, "stale")
        lookup = exchange.lookup = Lookup(key, scope, headers, entry, decision)
        if decision.verdict is Verdict.HIT and entry is not None:
            return self._serve(lookup, entry, now)
        return self._act(exchange, lookup, now)

    def _act(self, exchange: Exchange, lookup: Lookup, now: float) -> Response | Awaitable[Response | None] | None:
        entry, verdict = lookup.entry, lookup.decision.verdict
        if verdict is Verdict.UNSATISFIED:
            headers = [(b"cache-status", cache_status.unsatisfied(self._name))]
            return Response(504, headers, BytesBody(), origin=Origin.PROXYD)
        if verdict is Verdict.STALE and entry is not None:
            self._refresh(exchange, lookup)
            return self._serve(lookup, entry, now)
        lookup.requested = now
        request = exchange.request
        if verdict is Verdict.VALIDATE and entry is not None:
            request.headers = without(request.headers, _CONDITIONS) + entry.validators
        elif request.method == b"HEAD" or any(name in _CONDITIONS for name, _ in request.headers):
            return None  # what comes is no whole answer, and nobody waits for it
        return self._gather(exchange, lookup)

    def _gather(self, exchange: Exchange, lookup: Lookup) -> Awaitable[Response | None] | None:
        """Wait for the answer to an equal request that is under way, or be the one that others wait for."""
        shelf = self._shelf
        place = (lookup.key, lookup.scope)
        if shelf.is_futile(place):
            return None
        flight = shelf.flights.get(place)
        if flight is not None:
            return self._wait(exchange, lookup, flight)
        if len(shelf.flights) < MAX_FLIGHTS:
            lookup.flight = shelf.flights[place] = Flight()
        return None

    async def _wait(self, exchange: Exchange, lookup: Lookup, flight: Flight) -> Response | None:
        total = exchange.route.timeouts.total
        with trio.CancelScope(deadline=exchange.started + total if total else NEVER) as scope:
            exchange.scope = scope
            try:
                await flight.wait()
            finally:
                exchange.scope = None
        if exchange.gone:
            detail = "the client left while another request for the same thing was under way"
            raise ProxyError(499, Flag.DOWNSTREAM_DISCONNECT, "connection_terminated", detail, side=Side.DOWNSTREAM)
        now = self._wall()
        lookup.collapsed = True
        lookup.entry = self._shelf.memory.find(lookup.key, lookup.scope, lookup.asked)
        lookup.decision = decide(lookup.entry, lookup.asked, now, self._policy)
        if lookup.decision.verdict is Verdict.HIT and lookup.entry is not None:
            return self._serve(lookup, lookup.entry, now)
        lookup.requested = now
        return None

    def _refresh(self, exchange: Exchange, lookup: Lookup) -> None:
        if self._ask_anew is not None and (lookup.key, lookup.scope) not in self._shelf.flights:
            self._ask_anew(exchange, lookup.asked)

    # --- responses --------------------------------------------------------------------------------

    def response(self, exchange: Exchange) -> None:
        """Keep what may be kept; answer from the entry where the upstream says that it is still good, or fails."""
        lookup, response = exchange.lookup, exchange.response
        assert response is not None
        if type(lookup) is not Lookup:
            if exchange.request.method not in SAFE:
                self._invalidate(exchange, response)
            return
        if exchange.alternate is not None:  # another service's answer is not kept as this one's
            self._shelf.land(lookup, kept=False)
            return
        if response.origin is not Origin.UPSTREAM:
            return
        entry = lookup.entry
        if entry is not None and self._answer_from(entry, exchange, lookup, response):
            return
        if is_silent(response.headers, self._policy):
            stored = False
            if lookup.flight is not None:
                self._shelf.land(lookup, kept=False)
        else:
            stored = self._keep(exchange, lookup, response, Times(lookup.requested, self._wall()))
        is_plain = lookup.decision is _MISS and not stored and not lookup.collapsed
        told = self._missed if is_plain else self._status(lookup, response.status, stored=stored)
        response.headers = [*response.headers, (b"cache-status", told)]

    def _answer_from(self, entry: Entry, exchange: Exchange, lookup: Lookup, response: Response) -> bool:
        """Answer from an entry that the upstream was asked about, where it says so or fails."""
        now = self._wall()
        is_asked = lookup.decision.verdict is Verdict.VALIDATE and response.status == _NOT_MODIFIED
        if is_asked and is_same_representation(entry, response.headers):
            former, entry = entry, refreshed(entry, response.headers, Times(lookup.requested, now))
            self._shelf.memory.replace(lookup.key, former, entry)
        elif response.status < _SERVER_ERROR or not may_serve_on_error(entry, lookup.asked, now, self._policy):
            return False
        self._shelf.land(lookup, kept=True)
        self._replace(exchange, response, self._serve(lookup, entry, now))
        return True

    def failed(self, exchange: Exchange, error: ProxyError) -> Response | None:
        """Let a stale entry stand in for an upstream that gave no answer (RFC 5861 §4)."""
        lookup, now = exchange.lookup, self._wall()
        if type(lookup) is not Lookup or lookup.entry is None or error.side is Side.DOWNSTREAM:
            return None
        if not may_serve_on_error(lookup.entry, lookup.asked, now, self._policy):
            return None
        self._shelf.land(lookup, kept=True)
        return self._serve(lookup, lookup.entry, now)

    def done(self, exchange: Exchange) -> None:
        """Nobody waits for an exchange that is over."""
        lookup = exchange.lookup
        if type(lookup) is Lookup and lookup.flight is not None:
            self._shelf.land(lookup, kept=False)

    def _serve(self, lookup: Lookup, entry: Entry, now: float) -> Response:
        """Return what the request gets of an entry."""
        status, headers, body = answer(entry, lookup.asked)
        return Response(
            status, self._marked(headers, entry, int(now - entry.born)), BytesBody(body), origin=Origin.CACHE
        )

    def _whole(self, entry: Entry, now: float) -> Response:
        """Return all of an entry: what most requests are for."""
        old = int(now - entry.born)
        marked = entry.marked
        if marked is None or marked.age != old or marked.template is not self._hit:
            headers = self._marked(entry.headers, entry, old)
            marked = entry.marked = Marked(old, self._hit, Lines(headers, field_lines(headers)))
        response = Response(entry.status, marked.lines.headers, BytesBody(entry.body), b"", 11, Origin.CACHE)
        response.lines = marked.lines
        return response

    def _marked(self, headers: Headers, entry: Entry, old: int) -> Headers:
        told = self._hit % int(entry.lifetime - old)
        return [*headers, (b"age", b"%d" % max(0, old)), (b"cache-status", told)]

    @staticmethod
    def _replace(exchange: Exchange, former: Response, response: Response) -> None:
        former.body.abandon()
        exchange.response = response

    def _keep(self, exchange: Exchange, lookup: Lookup, response: Response, times: Times) -> bool:
        """Keep the response, now or when its body has come; whether it will be."""
        directives = cache_control(response.headers)
        why_not = may_store(
            exchange.request.method,
            lookup.asked,
            response.status,
            response.headers,
            authorized=exchange.credential is None and first(lookup.asked, b"authorization") is not None,
            options=self._policy,
            directives=directives,
        )
        body = response.body
        if why_not is not None or (body.length is not None and body.length > self._policy.object_bytes):
            self._shelf.land(lookup, kept=False)
            return False
        if type(body) is BytesBody:
            return self._store(lookup, response, body.peek(), times, directives)
        response.body = Recording(
            body, self._policy.object_bytes, lambda data: self._recorded(lookup, response, data, times, directives)
        )
        return True

    def _recorded(
        self, lookup: Lookup, response: Response, data: bytes | None, times: Times, directives: Directives
    ) -> None:
        if data is None:
            self._shelf.land(lookup, kept=False)
        else:
            self._store(lookup, response, data, times, directives)

    def _store(self, lookup: Lookup, response: Response, data: bytes, times: Times, directives: Directives) -> bool:
        headers = [item for item in response.headers if item[0] != b"cache-status"]
        entry = make_entry(lookup.asked, response.status, headers, data, times, self._policy, lookup.scope, directives)
        if entry is not None:
            self._shelf.memory.keep(lookup.key, entry)
        self._shelf.land(lookup, kept=entry is not None)
        return entry is not None

    def _status(self, lookup: Lookup, status: int, *, stored: bool) -> bytes:
        verdict, reason = lookup.decision
        place = (reason, stored, lookup.collapsed)
        told = self._told.get(place)
        if told is None or verdict is Verdict.VALIDATE:
            told = cache_status.forwarded(
                self._name, lookup.decision, status=status, stored=stored, collapsed=lookup.collapsed
            )
            if verdict is not Verdict.VALIDATE:
                self._told[place] = told
        return told

    def _invalidate(self, exchange: Exchange, response: Response) -> None:
        """RFC 9111 §4.4: the target, and what Location and Content-Location name on the same host."""
        request = exchange.request
        if not invalidates(request.method, response.status):
            return
        key = Key(exchange.route.name, request.scheme, request.authority.text, request.path)
        self._shelf.memory.drop(key)
        origin = b"%s://%s" % (request.scheme, request.authority.host_header(request.scheme))
        for name in (b"location", b"content-location"):
            value = first(response.headers, name)
            if value is None:
                continue
            path = value.removeprefix(origin)
            if path.startswith(b"/") and not path.startswith(b"//"):
                self._shelf.memory.drop(key._replace(path=path.partition(b"#")[0]))
