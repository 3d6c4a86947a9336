"""What answers when a service's attempts are exhausted, through a live worker and real sockets."""

import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio

from proxyd.core.access import Access, Rule
from proxyd.core.caching import CachePolicy
from proxyd.core.fallback import FallbackStep, StaticResponse
from proxyd.core.resilience import AdaptiveConcurrency, BreakerPolicy, Resilience, RetryPolicy
from proxyd.core.service import Auth, AuthPart, BaseUrl, Service, Timeouts
from proxyd.core.snapshot import Listener, ListenerMode
from tests.lab.plane import (
    Answer,
    Client,
    Origin,
    Plane,
    Reply,
    Wire,
    open_origin,
    open_plane,
    parse_head,
    polite,
    read_request,
    scripted,
    service,
)

OTHER_SECRET = b"s3cr3t-of-the-other-one"
ONCE = Resilience(retry=RetryPolicy(attempts=1))
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy"
MAINTENANCE = StaticResponse(503, (("content-type", "application/json"), ("retry-after", "30")), b'{"state":"down"}')


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port that refuses connections, and that nobody else is given meanwhile."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def one(port: int, *steps: FallbackStep, **changes: Any) -> Service:
    made = service("one", "one.example", "http", port, fallback=steps, resilience=ONCE)
    return dataclasses.replace(made, **changes)


def other(port: int, name: str = "other", **changes: Any) -> Service:
    return dataclasses.replace(service(name, f"{name}.example", "http", port, resilience=ONCE), **changes)


TO_OTHER = FallbackStep("other")


async def ask(
    client: Client, method: bytes = b"GET", path: bytes = b"/a?b=c", *fields: bytes, body: bytes = b""
) -> Reply:
    lines = b"".join(field + b"\r\n" for field in fields)
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    await client.send(
        b"%b http://one.example%b HTTP/1.1\r\nHost: one.example\r\n%b%b\r\n" % (method, path, lines, length) + body
    )
    return await client.reply(method)


@contextlib.asynccontextmanager
async def failing(port: int, *steps: FallbackStep, answer: Answer = polite, **changes: Any) -> AsyncIterator[Any]:
    """A plane whose service ``one`` dials ``port``, with an origin behind ``other``."""
    of_other = changes.pop("of_other", {})
    of_one = changes.pop("of_one", {})
    async with open_origin(answer) as origin:
        services = (one(port, *(steps or (TO_OTHER,)), **of_one), other(origin.port, **of_other))
        async with open_plane(services=services, **changes) as plane:
            if services[1].auths:
                await plane.set_secret("other/key", OTHER_SECRET)
            yield plane, origin


def member(reply: Reply, mark: bytes) -> bytes:
    """The Proxy-Status member that holds ``mark``."""
    values = b", ".join(value for name, value in reply.headers if name == b"proxy-status")
    return next(part for part in values.split(b", proxyd-lab") if mark in part)


# --- another service ------------------------------------------------------------------------------


async def test_another_service_answers_with_its_own_host_and_credential(nobody: int) -> None:
    async with failing(nobody) as (plane, origin):
        reply = await ask(await plane.connect())
        assert (reply.status, reply.body) == (200, b"ok")
        (seen,) = origin.requests
        assert (seen.target, seen.first(b"host")) == (b"/a?b=c", b"other.example")
        assert seen.first(b"authorization") == b"Bearer " + OTHER_SECRET
        assert b"connection_refused" in member(reply, b'; fallback="other"')
        event = await plane.event()
        assert (event["service"], event["fallback"], event["flags"]) == ("one", "other", "UF,FB")
        assert (event["status"], event["origin"], event["error"]) == (200, "upstream", None)
        assert (event["endpoint"], event["credential"]) == (f"127.0.0.1:{origin.port}", "other/key")
        assert (event["attempts"], event["tries"]) == (2, "- connection_refused")
        await plane.wait_for(lambda: plane.counters.get(("proxyd_fallbacks", "one", "other")) == 1)
        assert plane.counters.get(("proxyd_retries", "one")) is None


async def test_what_proves_the_client_to_the_one_service_does_not_reach_the_other(nobody: int) -> None:
    keep = Auth("query", (AuthPart("api_key", "one/key"),), keep=True)
    async with failing(nobody, of_one={"auths": (keep,)}, of_other={"auths": ()}) as (plane, origin):
        fields = (b"Authorization: Bearer mine", b"Cookie: session=1", b"X-Api-Key: k", b"X-Harmless: yes")
        assert (await ask(await plane.connect(), b"GET", b"/a?api_key=mine&x=1&%61pi_key=2", *fields)).status == 200
        (seen,) = origin.requests
        assert seen.end_to_end() == [(b"x-harmless", b"yes")]
        assert seen.target == b"/a?x=1"


async def test_a_field_that_the_first_service_takes_its_credential_in_does_not_reach_the_other(nobody: int) -> None:
    keep = Auth("header", (AuthPart("x-vendor", "one/key"),), keep=True)
    async with failing(nobody, of_one={"auths": (keep,)}) as (plane, origin):
        assert (await ask(await plane.connect(), b"GET", b"/", b"X-Vendor: mine")).status == 200
        (seen,) = origin.requests
        assert seen.end_to_end() == [(b"authorization", b"Bearer " + OTHER_SECRET)]


async def test_the_other_services_secret_is_masked_where_it_is_echoed(nobody: int) -> None:
    async def echo(origin: Origin, wire: Wire) -> None:
        seen = await read_request(origin, wire)
        assert seen is not None
        body = seen.first(b"authorization") or b""
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    async with failing(nobody, answer=echo, of_one={"auths": ()}) as (plane, origin):
        reply = await ask(await plane.connect())
        assert len(origin.requests) == 1
        assert OTHER_SECRET not in reply.body


async def test_what_speaks_for_the_other_host_as_a_whole_is_not_said_of_the_first(nobody: int) -> None:
    answer = scripted(
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nset-cookie: a=b\r\nalt-svc: h3=x\r\nx-own: kept\r\n"
        b"strict-transport-security: max-age=1\r\n\r\n"
    )
    async with failing(nobody, answer=answer) as (plane, _):
        names = {name for name, _ in (await ask(await plane.connect())).headers}
        assert b"x-own" in names
        assert not names & {b"set-cookie", b"alt-svc", b"strict-transport-security"}


@pytest.mark.parametrize(
    ("path", "asked"),
    [(b"/v1/a?b", b"/eu/v2/a?b"), (b"/v1", b"/eu/v2"), (b"/v1?x", b"/eu/v2?x"), (b"/v1/", b"/eu/v2/")],
)
async def test_the_path_is_carried_over_relative_to_the_base_path(nobody: int, path: bytes, asked: bytes) -> None:
    bases = {
        "of_one": {"base": BaseUrl("http", "one.example", 80, "/v1")},
        "of_other": {"base": BaseUrl("http", "other.example", 80, "/eu/v2")},
    }
    async with failing(nobody, **bases) as (plane, origin):
        assert (await ask(await plane.connect(), b"GET", path)).status == 200
        assert origin.requests[0].target == asked


@pytest.mark.parametrize("path", [b"/", b"/v11/a", b"/w"])
async def test_a_path_outside_the_base_path_is_not_carried_over(nobody: int, path: bytes) -> None:
    base = {"base": BaseUrl("http", "one.example", 80, "/v1")}
    async with failing(nobody, of_one=base) as (plane, origin):
        assert (await ask(await plane.connect(), b"GET", path)).status == 502
        assert origin.requests == []


async def test_a_path_cannot_climb_out_of_the_other_base_path(nobody: int) -> None:
    base = {"base": BaseUrl("http", "other.example", 80, "/eu")}
    async with failing(nobody, of_other=base) as (plane, origin):
        assert (await ask(await plane.connect(), b"GET", b"/../admin")).status == 502
        assert origin.requests == []


async def test_a_location_of_the_other_service_is_said_in_the_clients_words(nobody: int) -> None:
    bases = {
        "of_one": {"base": BaseUrl("http", "one.example", 80, "/v1")},
        "of_other": {"base": BaseUrl("http", "other.example", 80, "/eu")},
    }
    answer = scripted(b"HTTP/1.1 302 Found\r\nlocation: http://other.example/eu/next?p\r\ncontent-length: 0\r\n\r\n")
    async with failing(nobody, answer=answer, **bases) as (plane, _):
        reply = await ask(await plane.connect(), b"GET", b"/v1/a")
        assert reply.first(b"location") == b"http://one.example/v1/next?p"


async def test_through_the_gateway_the_client_stays_under_the_name_that_it_asked(nobody: int) -> None:
    answer = scripted(b"HTTP/1.1 302 Found\r\nlocation: /eu/next\r\ncontent-length: 0\r\n\r\n")
    base = {"base": BaseUrl("http", "other.example", 80, "/eu")}
    listeners = (Listener("gate", ListenerMode.GATEWAY, "127.0.0.1:0", open=True),)
    async with failing(nobody, answer=answer, of_other=base, listeners=listeners) as (plane, origin):
        client = await plane.connect("gate")
        await client.send(b"GET /one/a HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % plane.ports["gate"])
        reply = await client.reply()
        assert (reply.status, reply.first(b"location")) == (302, b"/one/next")
        assert origin.requests[0].target == b"/eu/a"


async def test_within_an_intercepted_tunnel_as_well(nobody: int) -> None:
    async with open_origin() as origin:
        first = service("one", "one.example", "https", nobody, fallback=(TO_OTHER,), resilience=ONCE)
        async with open_plane(services=(first, other(origin.port)), leaves=("one.example",)) as plane:
            client = await plane.connect()
            await client.tunnel(b"one.example:443")
            await client.start_tls("one.example")
            await client.send(b"GET /a HTTP/1.1\r\nHost: one.example\r\n\r\n")
            assert (await client.reply()).status == 200


async def test_what_the_client_knows_of_the_one_representation_is_not_said_of_the_other(nobody: int) -> None:
    answer = scripted(b'HTTP/1.1 200 OK\r\ncontent-length: 2\r\netag: "1"\r\nlast-modified: now\r\n\r\nok')
    async with failing(nobody, answer=answer) as (plane, origin):
        client = await plane.connect()
        reply = await ask(client, b"GET", b"/", b'If-None-Match: "1"', b"Range: bytes=0-0", b'If-Range: "1"')
        assert (reply.status, reply.body) == (200, b"ok")
        assert not {name for name, _ in reply.headers} & {b"etag", b"last-modified"}
        (seen,) = origin.requests
        assert [name for name, _ in seen.end_to_end()] == [b"authorization"]
        assert (await ask(client, b"PUT", b"/", b'If-Match: "1"')).status == 502
        assert len(origin.requests) == 1


async def test_the_answer_of_the_other_service_is_kept_by_its_own_cache_alone() -> None:
    fresh = b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 5\r\n\r\n"
    caching = {"cache": CachePolicy()}

    async def first_down(origin: Origin, wire: Wire) -> None:
        while await read_request(origin, wire) is not None:
            await wire.send(BUSY if len(origin.requests) < 3 else fresh + b"first")

    async with open_origin(first_down) as broken:
        async with failing(broken.port, answer=scripted(fresh + b"other"), of_one=caching, of_other=caching) as (
            plane,
            origin,
        ):
            client = await plane.connect()
            bodies = [(await ask(client)).body for _ in range(4)]
            assert bodies == [b"other", b"other", b"first", b"first"]
            assert (len(broken.requests), len(origin.requests)) == (3, 1)


# --- when -----------------------------------------------------------------------------------------


async def hang(origin: Origin, wire: Wire) -> None:
    await wire.rest()


async def shut(origin: Origin, wire: Wire) -> None:
    await wire.head()


@pytest.mark.parametrize(
    ("answer", "of_one", "outcome"),
    [
        (scripted(BUSY), {}, b"received-status=503"),
        (shut, {}, b"error=connection_terminated"),
        (hang, {"timeouts": Timeouts(first_byte=0.1)}, b"error=http_response_timeout"),
        (hang, {"timeouts": Timeouts(total=0.1)}, b"error=http_response_timeout"),
        (scripted(b"HTTP/1.1 nonsense\r\n\r\n"), {}, b"error=http_protocol_error"),
    ],
    ids=["503", "reset", "first_byte", "total", "protocol"],
)
async def test_failures_that_another_service_answers_for(answer: Answer, of_one: Any, outcome: bytes) -> None:
    async with open_origin(answer) as broken, failing(broken.port, of_one=of_one) as (plane, origin):
        reply = await ask(await plane.connect())
        assert (reply.status, reply.body) == (200, b"ok")
        assert outcome in member(reply, b'; fallback="other"')
        assert len(origin.requests) == 1


async def test_an_open_breaker_is_answered_for_at_once(nobody: int) -> None:
    eager = dataclasses.replace(ONCE, breaker=BreakerPolicy(consecutive_failures=1, open_for=60.0))
    async with failing(nobody, of_one={"resilience": eager}) as (plane, _):
        client = await plane.connect()
        assert [(await ask(client)).status for _ in range(3)] == [200] * 3
        event = await plane.event(2)
        assert (event["flags"], event["attempts"], event["tries"]) == ("UO,FB", 1, None)


@pytest.mark.parametrize("status", [b"404 Not Found", b"500 Internal Server Error", b"429 Too Many Requests"])
async def test_other_statuses_are_the_clients(status: bytes) -> None:
    async with open_origin(scripted(b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % status)) as broken:
        async with failing(broken.port) as (plane, origin):
            assert (await ask(await plane.connect())).status == int(status[:3])
            assert origin.requests == []


async def test_a_step_is_for_the_failures_that_it_names() -> None:
    limited = scripted(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n")
    async with open_origin(limited) as broken:
        async with failing(broken.port, FallbackStep("other", on=("429",))) as (plane, origin):
            assert (await ask(await plane.connect())).status == 200
            assert len(origin.requests) == 1


async def test_a_secret_that_is_missing_is_no_outage() -> None:
    async with open_origin() as first, failing(first.port) as (plane, origin):
        await plane.set_secret("one/key", None, "gone")
        assert (await ask(await plane.connect())).status == 500
        assert origin.requests == []


async def test_retries_come_first() -> None:
    async with open_origin(scripted(BUSY)) as broken:
        policy = Resilience(retry=RetryPolicy(attempts=2, base=0.001))
        async with failing(broken.port, of_one={"resilience": policy}) as (plane, _):
            reply = await ask(await plane.connect())
            assert len(broken.requests) == 2
            event = await plane.event()
            tried = f"127.0.0.1:{broken.port} 503"
            assert (reply.status, event["attempts"], event["tries"]) == (200, 3, f"{tried}, {tried}")
            await plane.wait_for(lambda: plane.counters.get(("proxyd_retries", "one")) == 1)
            assert plane.counters.get(("proxyd_retries", "other")) is None


async def test_the_other_service_has_its_own_time() -> None:
    async def slow(origin: Origin, wire: Wire) -> None:
        await read_request(origin, wire)
        await trio.sleep(0.3)
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    of = {"of_one": {"timeouts": Timeouts(total=0.2)}, "of_other": {"timeouts": Timeouts(total=5.0)}}
    async with open_origin(hang) as broken, failing(broken.port, answer=slow, **of) as (plane, _):
        assert (await ask(await plane.connect())).status == 200


# --- no side effect twice -------------------------------------------------------------------------


async def test_a_post_that_was_never_sent_goes_to_the_other_service(nobody: int) -> None:
    async with failing(nobody) as (plane, origin):
        assert (await ask(await plane.connect(), b"POST", body=b"order")).status == 200
        assert [seen.body for seen in origin.requests] == [b"order"]


@pytest.mark.parametrize("answer", [scripted(BUSY), shut], ids=["503", "reset"])
@pytest.mark.parametrize("key", ["", "idempotency-key"], ids=["plain", "with a key"])
async def test_a_post_that_may_have_been_processed_does_not(answer: Answer, key: str) -> None:
    policy = Resilience(retry=RetryPolicy(attempts=1, key_header=key))
    async with open_origin(answer) as broken, failing(broken.port, of_one={"resilience": policy}) as (plane, origin):
        assert (await ask(await plane.connect(), b"POST", body=b"order")).status in (502, 503)
        assert origin.requests == []


async def test_a_post_of_which_an_earlier_attempt_may_have_been_processed_does_not() -> None:
    """The second attempt meets a refused connection, which proves nothing of the first."""
    gone = trio.Event()

    async def once(origin: Origin, wire: Wire) -> None:
        await read_request(origin, wire)
        gone.set()
        await trio.sleep(0.05)

    policy = Resilience(retry=RetryPolicy(attempts=2, base=0.2, longest=0.2, key_header="idempotency-key"))
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        broken = Origin(listeners[0].socket.getsockname()[1], once, None)

        async def serve() -> None:
            await broken.serve(await listeners[0].accept())

        async def close() -> None:
            await gone.wait()
            await listeners[0].aclose()

        nursery.start_soon(serve)
        nursery.start_soon(close)
        async with failing(broken.port, of_one={"resilience": policy}) as (plane, origin):
            assert (await ask(await plane.connect(), b"POST", body=b"order")).status == 502
            assert (await plane.event())["attempts"] == 2
            assert origin.requests == []


async def test_a_body_that_is_still_coming_cannot_be_sent_again(nobody: int) -> None:
    async with failing(nobody) as (plane, origin):
        client = await plane.connect()
        await client.send(b"PUT http://one.example/ HTTP/1.1\r\nHost: one.example\r\nContent-Length: 4\r\n\r\n")
        assert (await client.reply()).status == 502
        assert origin.requests == []


# --- who may --------------------------------------------------------------------------------------


async def test_a_caller_who_may_not_ask_the_other_service_gets_the_failure(nobody: int) -> None:
    access = Access((Rule(allow=True, services=("one",)),))
    async with failing(nobody, access=access) as (plane, origin):
        reply = await ask(await plane.connect())
        assert reply.status == 502
        assert b"fallback" not in member(reply, b"error=connection_refused")
        assert origin.requests == []
        event = await plane.event()
        assert (event["flags"], event["fallback"]) == ("UF", None)


async def test_rules_on_paths_judge_what_the_other_service_is_asked_for(nobody: int) -> None:
    rules = (Rule(allow=True, services=("one",)), Rule(allow=True, services=("other",), paths=("/open",)))
    async with failing(nobody, access=Access(rules)) as (plane, origin):
        client = await plane.connect()
        assert (await ask(client, b"GET", b"/open/x")).status == 200
        assert (await ask(client, b"GET", b"/closed/x")).status == 502
        assert [seen.target for seen in origin.requests] == [b"/open/x"]


async def test_what_a_reload_forbids_ends_in_the_other_service_too(nobody: int) -> None:
    async def endless(origin: Origin, wire: Wire) -> None:
        await read_request(origin, wire)
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nx")
        await wire.rest()

    async with failing(nobody, answer=endless, drain_old=0.05) as (plane, origin):
        client = await plane.connect()
        await client.send(b"GET http://one.example/ HTTP/1.1\r\nHost: one.example\r\n\r\n")
        await client.until(b"\r\n\r\nx")
        await plane.apply(access=Access((Rule(allow=True, services=("one",)),)))
        await client.rest()
        with trio.fail_after(5):
            await origin.wires[0].ended.wait()


# --- in order -------------------------------------------------------------------------------------


async def test_steps_are_tried_in_order_and_the_clients_own_failure_is_what_remains(nobody: int) -> None:
    async with open_origin(scripted(BUSY)) as busy, open_origin(shut) as dying:
        services = (
            one(nobody, FallbackStep("second"), FallbackStep("third")),
            other(busy.port, "second"),
            other(dying.port, "third"),
        )
        async with open_plane(services=services) as plane:
            reply = await ask(await plane.connect())
            assert reply.status == 502
            assert b"connection_refused" in member(reply, b"error=")
            event = await plane.event()
            assert (event["flags"], event["attempts"]) == ("UF", 3)
            assert event["tries"] == f"127.0.0.1:{busy.port} 503, 127.0.0.1:{dying.port} connection_terminated"


async def test_a_failure_with_a_body_is_passed_on_when_nothing_else_answers(nobody: int) -> None:
    async with open_origin(scripted(BUSY)) as broken:
        services = (one(broken.port, TO_OTHER), other(nobody))
        async with open_plane(services=services) as plane:
            client = await plane.connect()
            for _ in range(2):
                reply = await ask(client)
                assert (reply.status, reply.body) == (503, b"busy")


async def test_the_others_own_fallback_is_not_asked(nobody: int) -> None:
    async with open_origin() as third:
        services = (
            one(nobody, FallbackStep("second")),
            other(nobody, "second", fallback=(FallbackStep("third"),)),
            other(third.port, "third"),
        )
        async with open_plane(services=services) as plane:
            assert (await ask(await plane.connect())).status == 502
            assert third.requests == []


async def test_a_static_response_ends_the_list(nobody: int) -> None:
    steps = (TO_OTHER, FallbackStep(response=MAINTENANCE))
    async with failing(nobody, *steps, answer=scripted(BUSY)) as (plane, origin):
        reply = await ask(await plane.connect())
        assert (reply.status, reply.body) == (503, b'{"state":"down"}')
        assert reply.first(b"content-type") == b"application/json"
        assert reply.first(b"retry-after") == b"30"
        assert reply.first(b"cache-control") == b"no-store"
        assert member(reply, b"; fallback=response")
        assert len(origin.requests) == 1
        event = await plane.event()
        assert (event["flags"], event["fallback"], event["origin"]) == ("FB,UF", "(response)", "proxyd")
        assert event["error"] == "connection_refused"


async def test_a_static_response_is_for_every_method_and_body(nobody: int) -> None:
    async with failing(nobody, FallbackStep(response=MAINTENANCE)) as (plane, _):
        client = await plane.connect()
        assert (await ask(client, b"POST", body=b"order")).body == b'{"state":"down"}'
        reply = await ask(client, b"HEAD")
        assert (reply.status, reply.body, reply.first(b"content-length")) == (503, b"", b"16")


# --- clients that leave ---------------------------------------------------------------------------


@pytest.mark.parametrize("first", [b"", BUSY], ids=["after an error", "after a response"])
async def test_a_client_that_leaves_ends_the_other_services_exchange(nobody: int, first: bytes) -> None:
    async with open_origin(scripted(first)) as broken:
        port = broken.port if first else nobody
        async with failing(port, answer=hang) as (plane, origin):
            client = await plane.connect()
            await client.send(b"GET http://one.example/ HTTP/1.1\r\nHost: one.example\r\n\r\n")
            await origin.saw(b"GET / HTTP/1.1")
            await client.aclose()
            with trio.fail_after(5):
                await origin.wires[0].ended.wait()
            assert (await plane.event())["status"] == 499


async def test_a_client_that_leaves_within_the_body_ends_it(nobody: int) -> None:
    async def endless(origin: Origin, wire: Wire) -> None:
        await read_request(origin, wire)
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nx")
        await wire.rest()

    async with failing(nobody, answer=endless) as (plane, origin):
        client = await plane.connect()
        await client.send(b"GET http://one.example/ HTTP/1.1\r\nHost: one.example\r\n\r\n")
        await client.until(b"\r\n\r\nx")
        await client.aclose()
        with trio.fail_after(5):
            await origin.wires[0].ended.wait()


async def test_an_upgrade_goes_to_the_other_service_too(nobody: int) -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhello"

    async def switch(origin: Origin, wire: Wire) -> None:
        await wire.head()
        await wire.send(switching)
        await wire.rest()

    async with failing(nobody, answer=switch, of_other={"timeouts": Timeouts(stream=0.3)}) as (plane, _):
        client = await plane.connect()
        fields = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        await client.send(b"GET http://one.example/ws HTTP/1.1\r\nHost: one.example\r\n" + fields + b"\r\n")
        assert parse_head(await client.head()).status == 101
        assert await client.rest() == b"hello"
        assert (await plane.event())["flags"] == "UF,FB,UMSDR"


async def test_counts_of_both_services_are_given_back(nobody: int) -> None:
    async with failing(nobody) as (plane, _):
        client = await plane.connect()
        for _ in range(3):
            assert (await ask(client)).status == 200
        assembly = plane.worker._assembly
        assert [repr(cluster.load).count("requests=0") for cluster in assembly._clusters.values()] == [1, 1]


async def test_a_plane_without_fallback_is_left_alone(nobody: int) -> None:
    async with open_plane(services=(one(nobody),)) as plane:
        assert isinstance(plane, Plane)
        assert type(plane.worker.view.named["one"].chain).__name__ == "Chain"
        assert (await ask(await plane.connect())).status == 502


@pytest.mark.parametrize("answer", [polite, shut], ids=["answered", "failed"])
async def test_a_place_within_the_others_adaptive_limit_is_given_back(nobody: int, answer: Answer) -> None:
    bounded = dataclasses.replace(ONCE, adaptive_concurrency=AdaptiveConcurrency())
    async with failing(nobody, answer=answer, of_other={"resilience": bounded}) as (plane, origin):
        client = await plane.connect()
        for _ in range(8):  # more than the lowest limit
            await ask(client)
        await plane.event(7)
        assert plane.worker._assembly._admissions["other"].gradient.under_way == 0
        assert len(origin.wires) == (1 if answer is polite else 5), "then its breaker is open"


async def test_what_the_cache_kept_answers_in_its_turn() -> None:
    fresh = b'HTTP/1.1 200 OK\r\ncache-control: max-age=0\r\ncontent-length: 5\r\netag: "1"\r\n\r\nfirst'
    steps = (FallbackStep(stale=True), FallbackStep(response=MAINTENANCE))
    async with open_origin(scripted(fresh, BUSY)) as broken:
        services = (one(broken.port, *steps, cache=CachePolicy(stale_if_error=60.0)),)
        async with open_plane(services=services) as plane:
            client = await plane.connect()
            assert (await ask(client)).body == b"first"
            reply = await ask(client)
            assert (reply.status, reply.body) == (200, b"first")
            assert b"received-status=503" in member(reply, b"; fallback=stale")
            event = await plane.event(1)
            assert (event["origin"], event["fallback"], event["flags"]) == ("cache", "(stale)", "FB")
            assert (await ask(client, b"GET", b"/other")).body == b'{"state":"down"}'
            await plane.wait_for(lambda: plane.counters.get(("proxyd_fallbacks", "one", "(stale)")) == 1)


async def test_all_attempts_stand_in_proxy_status() -> None:
    async with open_origin(scripted(BUSY)) as broken:
        policy = Resilience(retry=RetryPolicy(attempts=2, base=0.001))
        async with failing(broken.port, of_one={"resilience": policy}) as (plane, _):
            reply = await ask(await plane.connect())
            assert (reply.first(b"proxy-status") or b"").count(b"received-status=503") == 2
