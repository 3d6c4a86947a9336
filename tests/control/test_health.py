import dataclasses
import itertools
import random

import pytest
import trio
import trio.testing

from proxyd.control.health import Check, HealthChecks
from proxyd.core.resilience import HealthPolicy, Resilience
from proxyd.core.service import BaseUrl, Endpoint, HostPattern, Service
from proxyd.core.settings import Settings
from proxyd.wire.proxy_protocol import SIGNATURE

POLICY = HealthPolicy(path="", interval=1.0, timeout=0.5, healthy=2, unhealthy=3)


def service(*ports, policy=POLICY):
    return Service(
        "api",
        (HostPattern("api.example"),),
        BaseUrl("http", "api.example", 80),
        tuple(Endpoint("127.0.0.1", port) for port in ports),
        resilience=Resilience(health=policy),
    )


def settings(*services):
    return Settings(source="test.yaml", listeners=(), services=services)


def test_a_verdict_takes_results_in_a_row():
    check = Check(service(1), Endpoint("127.0.0.1", 1), POLICY)
    assert [check.take(why) for why in ("x", "x", "", "x", "x", "x")] == [False] * 5 + [True]
    assert (check.is_healthy, check.why) == (False, "x")
    assert [check.take("") for _ in range(2)] == [False, True]
    assert check.is_healthy


async def serve(listeners, status):
    async def answer(stream):
        while await stream.receive_some(4096):
            await stream.send_all(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status[0])

    await trio.serve_listeners(answer, listeners)


@pytest.mark.parametrize("path", ["", "/health"])
async def test_workers_are_told_what_changes(path):
    told_out, told_in = trio.open_memory_channel(10)
    status = [200]
    policy = dataclasses.replace(POLICY, path=path, interval=0.01, healthy=1, unhealthy=2)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(serve, listeners, status)
        checks = HealthChecks(told_out.send_nowait, random.Random(1))
        nursery.start_soon(checks.run)
        checks.configure(settings(service(port, 1, policy=policy)))
        with trio.fail_after(10):
            message = await told_in.receive()
            assert (message.service, message.port, message.is_healthy) == ("api", 1, False)
            if path:
                status[0] = 500
                assert (await told_in.receive()).port == port
                assert sum("is unhealthy" in text for text in checks.problems(0.0)) == 2
                status[0] = 200
                assert (await told_in.receive()).is_healthy
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("path", ["", "/health"])
async def test_a_unix_socket_is_asked_too(tmp_path, path):
    told_out, told_in = trio.open_memory_channel(10)
    policy = dataclasses.replace(POLICY, path=path, interval=0.01, healthy=1, unhealthy=1)
    status = [500] if path else [200]
    there, gone = f"unix:{tmp_path}/s", f"unix:{tmp_path}/none"
    watched = dataclasses.replace(service(policy=policy), endpoints=(Endpoint(there, 0), Endpoint(gone, 0)))
    with trio.socket.socket(trio.socket.AF_UNIX) as sock:
        await sock.bind(f"{tmp_path}/s")
        sock.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, [trio.SocketListener(sock)], status)
            checks = HealthChecks(told_out.send_nowait, random.Random(1))
            nursery.start_soon(checks.run)
            checks.configure(settings(watched))
            with trio.fail_after(10):
                told = {(await told_in.receive()).host for _ in range(2 if path else 1)}
            assert told == ({there, gone} if path else {gone})
            nursery.cancel_scope.cancel()


async def test_an_endpoint_that_leaves_the_configuration_is_healthy_again_and_one_that_stays_keeps_its_verdict():
    told = []
    checks = HealthChecks(told.append)
    checks.configure(settings(service(1, 2)))
    for check in checks:
        check.is_healthy = False
    checks.configure(settings(service(2)))
    assert [(message.port, message.is_healthy) for message in told] == [(1, True)]
    assert [check.is_healthy for check in checks] == [False]


async def test_an_address_that_the_egress_guard_refuses_is_never_asked():
    checks = HealthChecks(lambda message: None)
    checks.configure(settings(service(1)))
    (check,) = checks
    check.endpoint = Endpoint("169.254.169.254", 80)
    assert "egress guard" in await checks._ask(check)


async def test_a_certificate_that_ends_soon_is_a_problem():
    checks = HealthChecks(lambda message: None)
    checks.configure(settings(service(1)))
    (check,) = checks
    check.expires = 1000.0 + 3 * 86400
    assert list(checks.problems(1000.0)) == ["api: the certificate of 127.0.0.1:1 ends in 3 days"]


async def test_lists_that_change_often_hold_no_check_up(autojump_clock, nursery):
    told = []
    checks = HealthChecks(told.append, random.Random(1))
    nursery.start_soon(checks.run)
    policy = dataclasses.replace(POLICY, unhealthy=1)
    for extra in range(20):
        checks.configure(settings(service(1, 100 + extra, policy=policy)))
        await trio.sleep(0.2)
    assert 1 in [message.port for message in told if not message.is_healthy]


async def test_checks_wait_their_turn(autojump_clock):
    turns: list[float] = []
    line = trio.Lock()

    async def turn():
        async with line:
            await trio.sleep(1.0)
            turns.append(trio.current_time())

    async def ask(check):
        await trio.sleep(1000)

    async with trio.open_nursery() as nursery:
        checks = HealthChecks(lambda message: None, random.Random(1), turn)
        checks._ask = ask
        nursery.start_soon(checks.run)
        checks.configure(settings(service(*range(1, 21))))
        await trio.sleep(30)
        nursery.cancel_scope.cancel()
    assert len(turns) == 20
    assert all(later - earlier >= 0.999 for earlier, later in itertools.pairwise(turns))


@pytest.mark.parametrize("path", ["", "/health"])
@pytest.mark.parametrize(("version", "first"), [("v1", b"PROXY UNKNOWN\r\n"), ("v2", SIGNATURE + b"\x20\0\0\0")])
async def test_a_check_of_a_service_that_is_told_of_clients_tells_of_none(path, version, first):
    told_out, told_in = trio.open_memory_channel(10)
    policy = dataclasses.replace(POLICY, path=path, interval=0.01, healthy=1, unhealthy=1)
    seen = []

    async def answer(stream):
        data = b""
        while len(data) < len(first):
            data += await stream.receive_some(len(first) - len(data)) or b"!" * len(first)
        seen.append(data)
        await stream.receive_some(4096)
        await stream.send_all(b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, listeners)
        checks = HealthChecks(told_out.send_nowait, random.Random(1))
        nursery.start_soon(checks.run)
        watched = dataclasses.replace(
            service(listeners[0].socket.getsockname()[1], policy=policy), proxy_protocol=version
        )
        checks.configure(settings(watched))
        with trio.fail_after(10):
            if path:
                await told_in.receive()
            while not seen:
                await trio.testing.wait_all_tasks_blocked(0.01)
        assert seen[0] == first
        nursery.cancel_scope.cancel()
