"""Idempotency keys as exchanges meet them, with the real desk of a worker and of control over a store in memory."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from proxyd.control.idempotency import Idempotency
from proxyd.control.leases import Leases
from proxyd.core.authority import Authority
from proxyd.core.errors import Flag, ProxyError, Retry
from proxyd.core.exchange import Exchange, Peer, Try
from proxyd.core.headers import Headers, first
from proxyd.core.idempotency import IdempotencyPolicy
from proxyd.core.limits import PoolLimits
from proxyd.core.message import Body, BytesBody, Origin, Request, Response
from proxyd.core.messages import KeySettled, SetKey, WantKey
from proxyd.core.resilience import Resilience, RetryPolicy
from proxyd.core.route import Chain, Route
from proxyd.core.service import BaseUrl, Service, Timeouts
from proxyd.core.snapshot import Snapshot
from proxyd.filters.access import OpenJudge
from proxyd.filters.idempotency import IdempotencyFilter
from proxyd.store.memory import MemoryStore
from proxyd.store.protocol import Entry, StoreError
from proxyd.worker.keys import Keys
from tests.filters.test_cache import Credential, Pieces

SNAPSHOT = Snapshot(1, "p", 1000)
SERVICE = Service("pay", (), BaseUrl("https", "pay.test", 443), idempotency=IdempotencyPolicy())
Handler = Callable[[Exchange], Response]


class Log:
    def warning(self, *_: Any, **__: Any) -> None: ...
    def info(self, *_: Any, **__: Any) -> None: ...


class Lab:
    """Workers that share a store, and an origin that keeps a ledger."""

    def __init__(self, nursery: trio.Nursery, service: Service = SERVICE) -> None:
        self.nursery = nursery
        self.now = 1_700_000_000.0
        self.lending = Leases(Log(), "host")  # type: ignore[arg-type]
        self.lending.store = MemoryStore(lambda: self.now)
        self.alive = True
        self.desk = Idempotency(self.lending, "host", lambda _: self.alive)
        self.desk.configure([service])
        nursery.start_soon(self.desk.run)
        self.ledger: list[bytes] = []
        self.origin: Handler = lambda _: Response(201, [(b"x-id", b"%d" % len(self.ledger))], BytesBody(b"made"))
        self.gate: trio.Event | None = None
        self.is_silent = False
        self.keys = Keys(self.send, nursery.start_soon)
        self.service = service
        self.route = Route(service, Timeouts(), PoolLimits(), OpenJudge())
        self.route.chain = Chain([IdempotencyFilter(self.keys, service)])

    def send(self, message: WantKey | KeySettled) -> None:
        if not self.is_silent:
            self.desk.take(message, "1", self.reply)

    def reply(self, message: SetKey) -> None:
        self.keys.answer(message)

    async def router(self, exchange: Exchange) -> Response:
        if self.gate is not None:
            await self.gate.wait()
        exchange.attempts += 1
        body = b""
        while piece := await exchange.request.body.read():
            body += piece
        self.ledger.append(body)
        return self.origin(exchange)

    def exchange(
        self,
        key: bytes | None = b"k",
        body: bytes | Body = b"{}",
        path: bytes = b"/pay",
        method: bytes = b"POST",
        credential: str = "",
        uid: int = 1,
        headers: Headers | None = None,
    ) -> Exchange:
        fields = list(headers or [])
        if key is not None:
            fields.append((b"idempotency-key", key))
        content = BytesBody(body) if isinstance(body, bytes) else body
        request = Request(method, b"https", Authority("pay.test", 443, False), path, fields, content)
        exchange = Exchange(Peer("main", "unix", uid=uid), SNAPSHOT, request, trio.current_time(), "plain")
        exchange.route = self.route
        if credential:
            exchange.credential = Credential(credential)  # type: ignore[assignment]
        return exchange

    async def post(self, *arguments: Any, **named: Any) -> tuple[Response, bytes]:
        return await self.run(self.exchange(*arguments, **named))

    async def run(self, exchange: Exchange) -> tuple[Response, bytes]:
        try:
            response = await self.route.chain.run(exchange, self.router)
            body = b""
            while piece := await response.body.read():
                body += piece
            return response, body
        except ProxyError as error:
            exchange.error = error
            raise
        finally:
            if exchange.response is not None:
                exchange.response.body.abandon()
            for hook in self.route.chain.done_hooks:
                hook(exchange)
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()

    async def refused(self, *arguments: Any, **named: Any) -> ProxyError:
        with pytest.raises(ProxyError) as caught:
            await self.post(*arguments, **named)
        return caught.value


@pytest.fixture
async def lab(nursery: trio.Nursery) -> Lab:
    return Lab(nursery)


async def test_the_same_key_gets_the_same_answer_and_the_vendor_is_asked_once(lab: Lab) -> None:
    response, body = await lab.post()
    again, body_again = await lab.post()
    assert lab.ledger == [b"{}"]
    assert (response.status, body) == (again.status, body_again) == (201, b"made")
    assert first(again.headers, b"x-id") == first(response.headers, b"x-id") == b"1"
    assert first(response.headers, b"idempotency-replayed") is None
    assert first(again.headers, b"idempotency-replayed") == b"true"
    assert again.origin is Origin.CACHE


async def test_a_key_is_forgotten_after_its_window(lab: Lab) -> None:
    await lab.post()
    lab.now += 86_401
    await lab.post()
    assert len(lab.ledger) == 2


@pytest.mark.parametrize("other", [{"body": b"[]"}, {"path": b"/else"}, {"method": b"PATCH"}])
async def test_another_request_under_the_same_key_is_unprocessable(lab: Lab, other: dict[str, Any]) -> None:
    await lab.post()
    error = await lab.refused(**other)
    assert (error.status, error.flag) == (422, Flag.IDEMPOTENCY)
    assert len(lab.ledger) == 1


@pytest.mark.parametrize("other", [{"uid": 2}, {"credential": "b"}, {"key": b"k2"}])
async def test_callers_credentials_and_keys_do_not_meet(lab: Lab, other: dict[str, Any]) -> None:
    await lab.post(credential="a")
    await lab.post(**{"credential": "a"} | other)
    assert len(lab.ledger) == 2


async def test_requests_without_a_key_and_methods_that_need_none_pass(lab: Lab) -> None:
    for named in ({"key": None}, {"method": b"PUT"}, {"method": b"GET"}):
        await lab.post(**named)
        await lab.post(**named)
    assert len(lab.ledger) == 6


@pytest.mark.parametrize("keys", [[b""], [b"x" * 256], [b"a", b"b"]])
async def test_a_key_that_is_none_is_a_bad_request(lab: Lab, keys: list[bytes]) -> None:
    error = await lab.refused(key=None, headers=[(b"idempotency-key", key) for key in keys])
    assert error.status == 400
    assert not lab.ledger


async def test_one_still_under_way_is_a_conflict_with_a_time_to_come_again(lab: Lab) -> None:
    lab.gate = trio.Event()
    lab.nursery.start_soon(lab.post)
    await trio.testing.wait_all_tasks_blocked()
    error = await lab.refused()
    assert (error.status, first(error.headers, b"retry-after")) == (409, b"1")
    lab.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert (await lab.post())[1] == b"made"
    assert len(lab.ledger) == 1


async def test_of_many_at_once_one_reaches_the_vendor(lab: Lab) -> None:
    statuses: list[int] = []

    async def one() -> None:
        try:
            statuses.append((await lab.post())[0].status)
        except ProxyError as error:
            statuses.append(error.status)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(one)
    assert len(lab.ledger) == 1
    assert set(statuses) <= {201, 409}


@pytest.mark.parametrize(
    ("error", "is_free"),
    [
        (ProxyError(502, Flag.UPSTREAM_CONNECT, "connection_refused", "x", retry=Retry.ALWAYS), True),
        (ProxyError(503, Flag.UPSTREAM_RESET, "x", "refused stream", retry=Retry.ALWAYS), True),
        (ProxyError(504, Flag.UPSTREAM_TIMEOUT, "http_response_timeout", "x"), False),
        (ProxyError(502, Flag.UPSTREAM_DISCONNECT, "connection_terminated", "x"), False),
    ],
)
async def test_a_key_is_free_again_only_where_the_request_never_reached_the_vendor(
    lab: Lab, error: ProxyError, is_free: bool
) -> None:
    def fails(exchange: Exchange) -> Response:
        raise error

    healthy, lab.origin = lab.origin, fails
    assert await lab.refused() is error
    lab.origin = healthy
    if is_free:
        assert (await lab.post())[1] == b"made"
        return
    conflict = await lab.refused()
    assert conflict.status == 409
    assert "unknown" in conflict.detail
    assert len(lab.ledger) == 1


async def test_where_attempts_are_repeated_a_last_one_that_was_not_sent_proves_nothing(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    keyed = Resilience(retry=RetryPolicy(key_header="x-vendor-key"))
    lab = Lab(nursery, dataclasses.replace(SERVICE, resilience=keyed))

    def fails(exchange: Exchange) -> Response:
        exchange.tries.append(Try("-", "http_response_timeout", None))
        raise ProxyError(502, Flag.UPSTREAM_CONNECT, "connection_refused", "x", retry=Retry.ALWAYS)

    lab.origin = fails
    await lab.refused()
    assert "unknown" in (await lab.refused()).detail


@pytest.mark.parametrize("status", [401, 429])
async def test_an_answer_that_says_that_nothing_was_done_frees_the_key(lab: Lab, status: int) -> None:
    healthy, lab.origin = lab.origin, lambda _: Response(status, [], BytesBody())
    assert (await lab.post())[0].status == status
    lab.origin = healthy
    assert (await lab.post())[0].status == 201


async def test_a_vendors_failure_is_an_answer_like_another(lab: Lab) -> None:
    lab.origin = lambda _: Response(500, [], BytesBody(b"oops"))
    assert [(await lab.post())[1] for _ in range(2)] == [b"oops", b"oops"]
    assert len(lab.ledger) == 1


async def test_a_body_of_unknown_length_is_written_down_while_it_passes(lab: Lab) -> None:
    lab.origin = lambda _: Response(200, [], Pieces(b"a", b"b"))
    assert (await lab.post())[1] == (await lab.post())[1] == b"ab"
    assert len(lab.ledger) == 1


@pytest.mark.parametrize(
    "response",
    [
        lambda: Response(200, [], BytesBody(b"x" * 200_000)),
        lambda: Response(200, [], Pieces(b"x" * 150_000, b"x" * 150_000)),
        lambda: Response(200, [(b"content-type", b"text/event-stream")], Pieces(b"x")),
        lambda: Response(200, [], Pieces(b"x", trailers=[(b"a", b"b")])),
        lambda: Response(200, [], Pieces(b"x", breaks=True)),
    ],
    ids=["long", "long-chunked", "events", "trailers", "broken"],
)
async def test_what_cannot_be_kept_is_done_and_not_replayable(lab: Lab, response: Callable[[], Response]) -> None:
    lab.origin = lambda _: response()
    with contextlib.suppress(ProxyError):
        await lab.post()
    conflict = await lab.refused()
    assert conflict.status == 409
    assert "done, not replayable" in conflict.detail
    assert len(lab.ledger) == 1


async def test_the_exchange_goes_on_though_the_client_leaves_and_who_asks_again_gets_its_answer(lab: Lab) -> None:
    lab.gate = trio.Event()
    exchange = lab.exchange()
    lab.nursery.start_soon(lab.run, exchange)
    await trio.testing.wait_all_tasks_blocked()
    exchange.abandon()
    assert not exchange.gone
    lab.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert (await lab.post())[1] == b"made"
    exchange.abandon()
    assert exchange.gone, "once it is settled it is an exchange like another"


async def test_a_client_that_leaves_before_the_request_is_sent_leaves_a_free_key(lab: Lab) -> None:
    exchange = lab.exchange()
    exchange.abandon()
    with pytest.raises(ProxyError) as caught:
        await lab.run(exchange)
    assert caught.value.status == 499
    assert (await lab.post())[0].status == 201


async def test_a_worker_that_died_leaves_an_unknown_outcome(lab: Lab) -> None:
    lab.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lab.run, lab.exchange())
        await trio.testing.wait_all_tasks_blocked()
        lab.is_silent = True  # what it says last is lost with it
        nursery.cancel_scope.cancel()
    lab.is_silent, lab.alive, lab.gate = False, False, None
    conflict = await lab.refused()
    assert (conflict.status, first(conflict.headers, b"retry-after")) == (409, None)
    assert not lab.ledger


async def test_a_body_that_is_too_long_to_be_held_is_refused_and_says_how_to_do_without(lab: Lab) -> None:
    for body in (BytesBody(b"x" * 65_537), Pieces(*[b"x" * 40_000] * 2)):
        error = await lab.refused(body=body)
        assert error.status == 413
        assert "without the key" in error.detail
    assert not lab.ledger


async def test_a_body_on_its_way_is_gathered_and_invited(lab: Lab) -> None:
    invited: list[int] = []

    async def interim(status: int, headers: Headers) -> None:
        invited.append(status)

    exchange = lab.exchange(body=Pieces(b"a", b"b"), headers=[(b"expect", b"100-continue")])
    exchange.interim = interim
    await lab.run(exchange)
    assert invited == [100]
    assert lab.ledger == [b"ab"]
    assert first(exchange.request.headers, b"expect") is None


async def test_while_the_store_is_away_requests_with_a_key_are_refused_and_nothing_is_sent(
    lab: Lab, autojump_clock: object
) -> None:
    store, lab.lending.store = lab.lending.store, None
    error = await lab.refused()
    assert (error.status, error.flag) == (503, Flag.IDEMPOTENCY)
    assert not lab.ledger
    assert (await lab.post(key=None))[0].status == 201
    lab.lending.store = store
    assert (await lab.post())[0].status == 201


async def test_where_the_operator_says_so_requests_pass_while_the_store_is_away(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    lab = Lab(nursery, dataclasses.replace(SERVICE, idempotency=IdempotencyPolicy(is_open=True)))
    lab.lending.store = None
    assert (await lab.post())[0].status == 201


async def test_a_control_process_that_is_silent_for_a_moment_is_asked_again(lab: Lab, autojump_clock: object) -> None:
    lab.is_silent = True
    lab.nursery.start_soon(lab.post)
    await trio.sleep(2.5)
    lab.is_silent = False
    await trio.sleep(1)
    assert len(lab.ledger) == 1
    assert (await lab.post())[1] == b"made"


async def test_an_answer_reaches_the_client_though_it_cannot_be_written_down_and_is_when_the_store_is_back(
    lab: Lab, autojump_clock: object
) -> None:
    def breaks(exchange: Exchange) -> Response:
        lab.lending.store = Broken()
        return Response(200, [], BytesBody(b"made"))

    store, lab.origin = lab.lending.store, breaks
    assert (await lab.post())[1] == b"made"
    lab.lending.store = store
    await trio.sleep(1)
    response, _ = await lab.post()
    assert first(response.headers, b"idempotency-replayed") == b"true"


class Broken(MemoryStore):
    async def read(self, key: str) -> Entry:
        raise StoreError("the disk is full")


async def test_a_worker_that_breaks_a_rule_is_told(lab: Lab) -> None:
    good = WantKey(1, "pay", b"k" * 32, b"f" * 32, b"c" * 16)
    for bad in (
        dataclasses.replace(good, key=b"k"),
        dataclasses.replace(good, fingerprint=b""),
        dataclasses.replace(good, claim=b"c" * 17),
    ):
        with pytest.raises(ValueError, match="WantKey"):
            lab.desk.take(bad, "1", lab.reply)
