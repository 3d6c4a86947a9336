"""One limit as requests meet it: taken at once, waited for in a fair line, or refused with 429 and what to do."""

import ipaddress
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from proxyd.core.errors import Flag, ProxyError, Side
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.headers import Headers, first
from proxyd.core.limiting import CALLER, CIDR, HEADER, ROUTE, SERVICE, Cost, Limit, Mode
from proxyd.core.message import Request
from proxyd.limiting.allowances import Allowance
from proxyd.limiting.ledger import UNKNOWN
from proxyd.limiting.line import Line, Waiter

FIRST_ANSWER: Final = 1.5
"""Seconds that a request which may not wait waits all the same for control's word on its key.

Most come within a millisecond. A control that was killed is back, or counts as lost, within this time."""

MAX_VALUE: Final = 256
"""Bytes of a field's value that tell keys apart; a longer one is cut."""

_V4_NETWORK: Final = 24
_V6_NETWORK: Final = 64


class Gate:
    """One limit of one service in one worker."""

    recheck: float = math.inf
    """Seconds after which whoever is first in line looks again where nobody has said when."""

    def __init__(self, service: str, limit: Limit, allowance: Allowance, spawn: Callable[..., None]) -> None:
        self.service = service
        self.limit = limit
        self.allowance = allowance
        self._spawn = spawn
        self._parts = tuple(_part(part) for part in limit.scope if part != SERVICE)
        self._lines: dict[str, Line] = {}
        self._changed: dict[str, trio.Event] = {}
        self.refused = 0
        self.waited = 0

    def __repr__(self) -> str:
        return f"<Gate {self.service}/{self.limit.name}>"

    @property
    def is_keyed(self) -> bool:
        """Whether it counts more than one thing."""
        return bool(self._parts)

    @property
    def waiting(self) -> int:
        """Requests in line now."""
        return sum(line.size for line in self._lines.values())

    def key(self, exchange: Exchange) -> str:
        """Return what the limit counts this exchange under."""
        parts = self._parts
        return parts[0](exchange) if len(parts) == 1 else "\x1f".join([part(exchange) for part in parts])

    def cost(self, request: Request) -> int:
        """Return what the request costs."""
        for cost in self.limit.costs:
            if _fits(cost, request):
                return cost.tokens + _bytes(cost, request)
        return 1

    def take(self, exchange: Exchange, now: float) -> Awaitable[None] | None:
        """Take now, or return what waits for it. ProxyError 429."""
        limit, key = self.limit, self.key(exchange)
        cost = self.cost(exchange.request) if limit.costs else 1
        if not self._lines.get(key):
            wait = self.allowance.try_take(key, cost, now)
            if not wait:
                self._hold(exchange, key)
                return None
            if limit.mode is Mode.REJECT and (wait > 0 or limit.concurrency):
                raise self._refusal(key, wait, now)
        else:
            wait = UNKNOWN
        longest = FIRST_ANSWER if limit.mode is Mode.REJECT else limit.max_wait
        line = self._lines.get(key)
        if wait > longest or (line is not None and line.size >= limit.max_waiting):
            raise self._refusal(key, wait, now)
        return self._wait(exchange, key, cost, now + longest)

    def answered(self, exchange: Exchange, now: float) -> None:
        """The attempt is over that took from it."""
        self.allowance.answered(self.key(exchange), self.cost(exchange.request), now)

    def try_take(self, exchange: Exchange, now: float) -> bool:
        """Take now or not at all; nothing where others wait."""
        key = self.key(exchange)
        if self._lines.get(key):
            return False
        return not self.allowance.try_take(key, self.cost(exchange.request), now)

    def give_back(self, exchange: Exchange) -> None:
        """Undo a take: another limit refused the request."""
        key = self.key(exchange)
        self.allowance.give_back(key, self.cost(exchange.request))
        self.notice(key)

    def notice(self, key: str) -> None:
        """Something changed for a key: whoever waits looks again."""
        event = self._changed.pop(key, None)
        if event is not None:
            event.set()

    def _hold(self, exchange: Exchange, key: str) -> None:
        if self.limit.concurrency:
            exchange.permits = [*exchange.permits, (self, key)]

    def release(self, key: str) -> None:
        """One of those at a time has ended."""
        self.allowance.give_back(key, 1)
        self.notice(key)

    async def _wait(self, exchange: Exchange, key: str, cost: int, until: float) -> None:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line()
            self._spawn(self._serve, key, line)
        waiter = line.join(_caller(exchange.peer), cost)
        self.waited += 1
        total = exchange.route.timeouts.total
        deadline = min(until, exchange.started + total if total else math.inf)
        try:
            with trio.CancelScope(deadline=deadline) as scope:
                exchange.scope = scope
                await waiter.event.wait()
        finally:
            exchange.scope = None
            if not waiter.granted:
                line.leave(waiter)
        if exchange.gone:
            self._let_go(waiter, key)
            detail = f"the client left while it waited for the limit {self.limit.name}"
            raise ProxyError(499, Flag.DOWNSTREAM_DISCONNECT, "connection_terminated", detail, side=Side.DOWNSTREAM)
        now = trio.current_time()
        if not waiter.granted:
            raise self._refusal(key, self.allowance.reset(key, now), now)
        exchange.ready = now
        self._hold(exchange, key)

    def _let_go(self, waiter: Waiter, key: str) -> None:
        if waiter.granted:
            self.allowance.give_back(key, waiter.cost)
            self.notice(key)

    def _try(self, key: str, cost: int, now: float) -> float:
        return self.allowance.try_take(key, cost, now)

    async def _serve(self, key: str, line: Line) -> None:
        """Admit those in line as tokens come, until nobody waits."""
        try:
            while (waiter := line.first()) is not None:
                wait = self._try(key, waiter.cost, trio.current_time())
                if not wait:
                    line.admit()
                    await trio.lowlevel.checkpoint()
                    continue
                self.allowance.expect(key, line.size)
                if wait > 0 and self.limit.mode is Mode.REJECT:
                    line.dismiss()
                    return
                event = self._changed.setdefault(key, trio.Event())
                with trio.move_on_after(wait if wait > 0 else self.recheck):
                    await event.wait()
        finally:
            del self._lines[key]
            self._changed.pop(key, None)

    def _refusal(self, key: str, wait: float, now: float) -> ProxyError:
        self.refused += 1
        limit = self.limit
        seconds = max(1, math.ceil(wait)) if 0 < wait < math.inf else 1
        detail = f"the limit {limit.name} of {self.service} is reached ({_words(limit)})"
        if wait == math.inf:
            detail = (
                f"the request costs more than the limit {limit.name} of {self.service} ever holds ({_words(limit)})"
            )
        headers: Headers = [(b"retry-after", b"%d" % seconds)]
        policy = _policy(limit)
        if policy:
            left, reset = max(0, self.allowance.left(key, now)), math.ceil(self.allowance.reset(key, now))
            name = limit.name.encode("ascii")
            headers.append((b"ratelimit-policy", b'"%s";%s' % (name, policy)))
            headers.append((b"ratelimit", b'"%s";r=%d;t=%d' % (name, left, reset)))
        return ProxyError(429, Flag.RATE_LIMITED, "http_request_denied", detail, headers=headers)


class Gates:
    """The limits that one kind of request meets, all or none of which it takes."""

    def __init__(self, gates: Sequence[Gate]) -> None:
        self._gates = tuple(gates)

    def __bool__(self) -> bool:
        return bool(self._gates)

    @property
    def taker(self) -> Callable[[Exchange, float], Awaitable[None] | None]:
        """What takes: a sole gate itself, where there is never anything to undo."""
        return self._gates[0].take if len(self._gates) == 1 else self.take

    def take(self, exchange: Exchange, now: float) -> Awaitable[None] | None:
        """Take from all. ProxyError 429, with nothing taken."""
        gates = self._gates
        for index, gate in enumerate(gates):
            try:
                waits = gate.take(exchange, now)
            except ProxyError:
                self._undo(exchange, index)
                raise
            if waits is not None:
                return self._rest(exchange, index, waits)
        return None

    def try_take(self, exchange: Exchange, now: float) -> bool:
        """Take from all at once, or from none."""
        for index, gate in enumerate(self._gates):
            if not gate.try_take(exchange, now):
                self._undo(exchange, index)
                return False
        return True

    def answered(self, exchange: Exchange) -> None:
        """An attempt that took is over."""
        now = trio.current_time()
        for gate in self._gates:
            gate.answered(exchange, now)

    async def _rest(self, exchange: Exchange, index: int, waits: Awaitable[None]) -> None:
        taken = index
        try:
            await waits
            for gate in self._gates[index + 1 :]:
                taken += 1
                more = gate.take(exchange, trio.current_time())
                if more is not None:
                    await more
        except BaseException:
            self._undo(exchange, taken)
            raise

    def _undo(self, exchange: Exchange, taken: int) -> None:
        for gate in self._gates[:taken]:
            if not gate.limit.concurrency:  # those end with the exchange
                gate.give_back(exchange)


def _part(name: str) -> Callable[[Exchange], str]:
    """Return what reads one part of a key from an exchange."""
    if name == CALLER:
        return _caller_of
    if name == ROUTE:
        return lambda exchange: f"{exchange.request.method!r} {exchange.request.path.partition(b'?')[0]!r}"
    if name == CIDR:
        return lambda exchange: _network(exchange.peer.address)
    field = name.removeprefix(HEADER).lower().encode("ascii")
    return lambda exchange: (first(exchange.request.headers, field) or b"")[:MAX_VALUE].decode("latin-1")


def _caller_of(exchange: Exchange) -> str:
    return _caller(exchange.peer)


def _caller(peer: Peer) -> str:
    """Return who asks: the identity that was proven, else the uid, else the address."""
    return f"user:{peer.user}" if peer.user is not None else peer.caller


def _network(address: str) -> str:
    """Return the network that a caller is counted with: one /24 or /64 (of one host, in IPv6)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    length = _V4_NETWORK if parsed.version == 4 else _V6_NETWORK
    return str(ipaddress.ip_network((parsed, length), strict=False))


def _fits(cost: Cost, request: Request) -> bool:
    if cost.methods and request.method.decode("latin-1") not in cost.methods:
        return False
    return not cost.path or request.path.startswith(cost.path.encode("utf-8"))


def _bytes(cost: Cost, request: Request) -> int:
    if not cost.per_bytes:
        return 0
    return (request.body.length or 0) // cost.per_bytes


def _policy(limit: Limit) -> bytes:
    """Return quota and window (draft-ietf-httpapi-ratelimit-headers); nothing for what is no quota."""
    if limit.rate:
        return b"q=%d;w=%d" % (limit.burst, max(1, math.ceil(limit.burst / limit.rate)))
    if limit.window:
        return b"q=%d;w=%d" % (limit.window, math.ceil(limit.window_seconds))
    if limit.quota:
        return b"q=%d" % limit.quota
    return b""


def _words(limit: Limit) -> str:
    if limit.rate:
        return f"{limit.rate:g} a second, {limit.burst} at once"
    if limit.window:
        return f"{limit.window} within {limit.window_seconds:g} s"
    if limit.quota:
        return f"{limit.quota} a {limit.period.value}"
    return f"{limit.concurrency} at a time"
