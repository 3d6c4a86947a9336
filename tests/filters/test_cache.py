"""The cache as exchanges meet it: hits, misses, waits, failures and credentials."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from proxyd.caching.memory import Memory
from proxyd.core.authority import Authority
from proxyd.core.caching import CachePolicy
from proxyd.core.errors import Flag, ProxyError
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.headers import Headers, first
from proxyd.core.limits import PoolLimits
from proxyd.core.message import BytesBody, Request, Response
from proxyd.core.route import Chain, Route
from proxyd.core.service import Timeouts
from proxyd.core.snapshot import Snapshot
from proxyd.filters.access import OpenJudge
from proxyd.filters.cache import REFRESH, CacheFilter
from proxyd.filters.shelf import Shelf

SNAPSHOT = Snapshot(1, "p", 1000)
FRESH = [(b"cache-control", b"max-age=60")]
Handler = Callable[[Exchange], Response]


class Credential:
    """As far as the cache looks at one."""

    def __init__(self, name: str) -> None:
        self.secret_names = (name,)


class Lab:
    """A chain with a cache, an origin that counts, and a clock."""

    def __init__(self, policy: CachePolicy | None = None) -> None:
        self.now = 1_700_000_000.0
        self.asked: list[Exchange] = []
        self.origin: Handler = lambda exchange: Response(200, list(FRESH), BytesBody(b"body"))
        self.gate: trio.Event | None = None
        self.refreshes: list[Headers] = []
        self.shelf = Shelf(Memory(1_000_000))
        self.cache = CacheFilter(
            self.shelf, policy or CachePolicy(), "p", lambda _, asked: self.refreshes.append(asked), lambda: self.now
        )
        self.route = Route(None, Timeouts(), PoolLimits(), OpenJudge())
        self.route.chain = Chain([self.cache])

    async def router(self, exchange: Exchange) -> Response:
        self.asked.append(exchange)
        if self.gate is not None:
            await self.gate.wait()
        return self.origin(exchange)

    def exchange(
        self, path: bytes = b"/x", headers: Headers | None = None, method: bytes = b"GET", credential: str = ""
    ) -> Exchange:
        request = Request(method, b"https", Authority("api.test", 443, False), path, list(headers or []), BytesBody())
        exchange = Exchange(Peer("main", "127.0.0.1"), SNAPSHOT, request, trio.current_time(), "plain")
        exchange.route = self.route
        if credential:
            exchange.credential = Credential(credential)  # type: ignore[assignment]
        return exchange

    async def get(self, *arguments: Any, **named: Any) -> tuple[Response, bytes]:
        exchange = self.exchange(*arguments, **named)
        return await self.run(exchange)

    async def run(self, exchange: Exchange) -> tuple[Response, bytes]:
        try:
            response = await self.route.chain.run(exchange, self.router)
            body = b""
            while piece := await response.body.read():
                body += piece
            response.body.abandon()
            return response, body
        finally:
            for hook in self.route.chain.done_hooks:
                hook(exchange)

    def told(self, response: Response) -> bytes:
        return first(response.headers, b"cache-status") or b""


class Pieces:
    """A body that comes in pieces, and may break off."""

    replayable = False
    length: int | None = None

    def __init__(self, *pieces: bytes, breaks: bool = False, trailers: Headers | None = None) -> None:
        self.pieces = list(pieces)
        self.breaks = breaks
        self.trailers: Headers = trailers or []

    async def read(self) -> bytes:
        if not self.pieces and self.breaks:
            raise ProxyError(502, Flag.UPSTREAM_DISCONNECT, "http_response_incomplete", "broke off")
        return self.pieces.pop(0) if self.pieces else b""

    def take_ready(self) -> bytes | None:
        return None

    def take_pending(self) -> bytes:
        return b""

    def rewind(self) -> None:
        raise AssertionError

    def abandon(self) -> None:
        self.pieces.clear()


async def test_the_second_request_is_answered_from_the_first_ones_answer() -> None:
    lab = Lab()
    first_response, _ = await lab.get()
    lab.now += 7
    response, body = await lab.get()
    assert len(lab.asked) == 1
    assert body == b"body"
    assert first(response.headers, b"age") == b"7"
    assert lab.told(first_response) == b"p; fwd=uri-miss; stored"
    assert lab.told(response) == b"p; hit; ttl=53"


async def test_hits_tell_their_age_by_the_second_under_the_name_that_the_proxy_has_now() -> None:
    lab = Lab()
    await lab.get()
    ages = []
    for step in (0.4, 0.4, 0.4, 2.0):
        lab.now += step
        response, _ = await lab.get()
        ages.append(first(response.headers, b"age"))
        assert response.lines is not None
        assert response.lines.headers is response.headers
        assert response.lines.data == b"".join(b"%b: %b\r\n" % field for field in response.headers)
    assert ages == [b"0", b"0", b"1", b"3"]
    other = CacheFilter(lab.shelf, CachePolicy(), "q", None, lambda: lab.now)  # after a reload
    lab.route.chain = Chain([other])
    response, body = await lab.get()
    assert (lab.told(response), body) == (b"q; hit; ttl=57", b"body")


async def test_answers_belong_to_the_credential_that_they_were_for() -> None:
    lab = Lab()
    lab.origin = lambda exchange: Response(200, list(FRESH), BytesBody(exchange.credential.secret_names[0].encode()))  # type: ignore[union-attr]
    assert (await lab.get(credential="one"))[1] == b"one"
    assert (await lab.get(credential="two"))[1] == b"two"
    assert (await lab.get(credential="one"))[1] == b"one"
    assert len(lab.asked) == 2


async def test_a_clients_own_authorization_is_kept_only_with_leave() -> None:
    lab = Lab()
    own = [(b"authorization", b"Bearer x")]
    await lab.get(headers=own)
    await lab.get(headers=own)
    assert len(lab.asked) == 2


async def test_a_thousand_misses_of_one_thing_ask_once(nursery: trio.Nursery) -> None:
    lab = Lab()
    lab.gate = trio.Event()
    bodies: list[bytes] = []

    async def one() -> None:
        bodies.append((await lab.get())[1])

    for _ in range(1000):
        nursery.start_soon(one)
    await trio.testing.wait_all_tasks_blocked()
    assert len(lab.asked) == 1
    lab.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert bodies == [b"body"] * 1000
    assert len(lab.asked) == 1


async def test_who_waited_for_what_may_not_be_kept_asks_and_nobody_waits_again(nursery: trio.Nursery) -> None:
    lab = Lab()
    lab.origin = lambda exchange: Response(200, [(b"cache-control", b"no-store")], BytesBody(b"own"))
    lab.gate = trio.Event()
    for _ in range(5):
        nursery.start_soon(lab.get)
    await trio.testing.wait_all_tasks_blocked()
    assert len(lab.asked) == 1
    lab.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert len(lab.asked) == 5
    lab.gate = trio.Event()
    for _ in range(5):
        nursery.start_soon(lab.get)
    await trio.testing.wait_all_tasks_blocked()
    assert len(lab.asked) == 10
    lab.gate.set()


async def test_a_leader_that_fails_leaves_nobody_waiting(nursery: trio.Nursery) -> None:
    lab = Lab()
    lab.gate = trio.Event()
    failures: list[str] = []

    def fail(exchange: Exchange) -> Response:
        raise ProxyError(502, Flag.UPSTREAM_CONNECT, "connection_refused", "refused")

    async def one() -> None:
        try:
            await lab.get()
        except ProxyError as error:
            failures.append(error.error)

    lab.origin = fail
    for _ in range(3):
        nursery.start_soon(one)
    await trio.testing.wait_all_tasks_blocked()
    lab.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert failures == ["connection_refused"] * 3
    assert lab.shelf.flights == {}


async def test_a_client_that_leaves_the_wait_is_let_go(nursery: trio.Nursery) -> None:
    lab = Lab()
    lab.gate = trio.Event()
    nursery.start_soon(lab.get)
    await trio.testing.wait_all_tasks_blocked()
    exchange = lab.exchange()
    left: list[int] = []

    async def one() -> None:
        with pytest.raises(ProxyError) as caught:
            await lab.run(exchange)
        left.append(caught.value.status)

    nursery.start_soon(one)
    await trio.testing.wait_all_tasks_blocked()
    exchange.abandon()
    await trio.testing.wait_all_tasks_blocked()
    assert left == [499]
    lab.gate.set()


async def test_a_stale_answer_is_validated_with_its_own_validators_and_freshened() -> None:
    lab = Lab()
    lab.origin = lambda exchange: Response(200, [(b"cache-control", b"max-age=5"), (b"etag", b'"a"')], BytesBody(b"v1"))
    await lab.get()
    lab.now += 10
    lab.origin = lambda exchange: Response(304, [(b"etag", b'"a"'), (b"cache-control", b"max-age=50")], BytesBody())
    response, body = await lab.get(headers=[(b"if-none-match", b'"mine"')])
    assert first(lab.asked[1].request.headers, b"if-none-match") == b'"a"'
    assert (response.status, body) == (200, b"v1")
    lab.now += 20
    assert lab.told((await lab.get())[0]) == b"p; hit; ttl=30"
    assert len(lab.asked) == 2


async def test_a_client_that_has_it_gets_304_from_the_cache() -> None:
    lab = Lab()
    lab.origin = lambda exchange: Response(200, [*FRESH, (b"etag", b'"a"')], BytesBody(b"v1"))
    await lab.get()
    response, body = await lab.get(headers=[(b"if-none-match", b'"a"')])
    assert (response.status, body) == (304, b"")
    assert len(lab.asked) == 1


async def test_a_stale_answer_stands_in_for_an_upstream_that_fails_either_way() -> None:
    lab = Lab(CachePolicy(stale_if_error=60))
    lab.origin = lambda exchange: Response(200, [(b"cache-control", b"max-age=5"), (b"etag", b'"a"')], BytesBody(b"v1"))
    await lab.get()
    lab.now += 10
    lab.origin = lambda exchange: Response(503, [], BytesBody(b"down"))
    response, body = await lab.get()
    assert (response.status, body) == (200, b"v1")

    def fail(exchange: Exchange) -> Response:
        raise ProxyError(504, Flag.UPSTREAM_TIMEOUT, "http_response_timeout", "late")

    lab.origin = fail
    response, body = await lab.get()
    assert (response.status, body) == (200, b"v1")
    assert lab.told(response) == b"p; hit; ttl=-5"
    lab.now += 100
    with pytest.raises(ProxyError):
        await lab.get()


async def test_stale_while_revalidate_answers_at_once_and_asks_beside() -> None:
    lab = Lab()
    swr = [(b"cache-control", b"max-age=5, stale-while-revalidate=60"), (b"etag", b'"a"')]
    lab.origin = lambda exchange: Response(200, list(swr), BytesBody(b"v1"))
    await lab.get()
    lab.now += 10
    _, body = await lab.get(headers=[(b"accept", b"x")])
    assert body == b"v1"
    assert lab.refreshes == [[(b"accept", b"x")]]
    assert len(lab.asked) == 1
    twin = lab.exchange()
    twin.lookup = REFRESH
    lab.origin = lambda exchange: Response(200, list(swr), BytesBody(b"v2"))
    await lab.run(twin)
    assert (await lab.get())[1] == b"v2"
    assert len(lab.asked) == 2


async def test_a_streamed_body_is_kept_when_it_came_whole() -> None:
    lab = Lab()
    lab.origin = lambda exchange: Response(200, list(FRESH), Pieces(b"a", b"b"))
    assert (await lab.get())[1] == b"ab"
    assert (await lab.get())[1] == b"ab"
    assert len(lab.asked) == 1


@pytest.mark.parametrize(
    "body", [Pieces(b"a", breaks=True), Pieces(b"a", trailers=[(b"t", b"1")]), Pieces(b"x" * 600, b"x" * 600)]
)
async def test_a_body_that_breaks_off_has_trailers_or_is_too_long_is_not_kept(body: Pieces) -> None:
    lab = Lab(CachePolicy(object_bytes=1000))
    lab.origin = lambda exchange: Response(200, list(FRESH), body)
    try:
        await lab.get()
    except ProxyError:
        assert body.breaks
    assert len(lab.shelf.memory) == 0
    assert lab.shelf.flights == {}


async def test_a_change_of_the_resource_invalidates_it_for_every_credential() -> None:
    lab = Lab()
    await lab.get(credential="one")
    await lab.get(credential="two")
    lab.origin = lambda exchange: Response(201, [(b"location", b"https://api.test/y")], BytesBody())
    await lab.get(b"/y", credential="one", method=b"POST")
    assert len(lab.shelf.memory) == 2
    await lab.get(method=b"DELETE", credential="one")
    assert len(lab.shelf.memory) == 0


async def test_head_is_answered_from_a_get_and_never_kept_itself() -> None:
    lab = Lab()
    await lab.get(method=b"HEAD")
    assert len(lab.shelf.memory) == 0
    await lab.get()
    await lab.get(method=b"HEAD")
    assert len(lab.asked) == 2


async def test_only_if_cached_without_an_entry_is_504() -> None:
    response, _ = await Lab().get(headers=[(b"cache-control", b"only-if-cached")])
    assert response.status == 504


async def test_what_proxyd_makes_itself_is_not_kept() -> None:
    from proxyd.core.message import Origin

    lab = Lab()
    lab.origin = lambda exchange: Response(200, list(FRESH), BytesBody(b"x"), origin=Origin.PROXYD)
    await lab.get()
    assert len(lab.shelf.memory) == 0


async def test_variants_live_side_by_side() -> None:
    lab = Lab()
    lab.origin = lambda exchange: Response(
        200, [*FRESH, (b"vary", b"accept")], BytesBody(first(exchange.request.headers, b"accept") or b"")
    )
    for kind in (b"a", b"b", b"a", b"b"):
        assert (await lab.get(headers=[(b"accept", kind)]))[1] == kind
    assert len(lab.asked) == 2
