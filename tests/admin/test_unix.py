import os
import socket

import msgpack
import pytest
import trio
import trio.testing

from proxyd.admin import unix
from proxyd.admin.bind import bind_unix
from proxyd.admin.unix import UnixServer, peer_gids, peer_uid
from proxyd.core.settings import Readers
from tests.admin.fakes import FakeService
from tests.telemetry.records import access, batch


class Client:
    def __init__(self, path):
        self.path = path

    async def __aenter__(self):
        self.stream = await trio.open_unix_socket(self.path)
        self.unpacker = msgpack.Unpacker()
        return self

    async def __aexit__(self, *_):
        await self.stream.aclose()

    async def call(self, method, *params, msgid=1):
        await self.stream.send_all(msgpack.packb([0, msgid, method, list(params)]))
        return await self.answer()

    async def answer(self):
        while True:
            for message in self.unpacker:
                return message
            data = await self.stream.receive_some(65536)
            if not data:
                return None
            self.unpacker.feed(data)


class Fixture:
    def __init__(self, path, service, reports):
        self.path, self.service, self.reports = path, service, reports

    def client(self):
        return Client(self.path)


@pytest.fixture
async def server(nursery, tmp_path):
    started = start(nursery, tmp_path)
    yield started
    nursery.cancel_scope.cancel()


def start(nursery, tmp_path, readers=None, **options):
    reports = []
    service = FakeService()
    service.allowed = readers or Readers()
    listener = bind_unix(tmp_path / "admin.sock")
    server = UnixServer(service, lambda name, detail: reports.append((name, detail)), **options)
    nursery.start_soon(server.serve, listener.sock)
    return Fixture(listener.path, service, reports)


async def test_a_call_is_answered_under_its_number(server):
    async with server.client() as client:
        assert await client.call("status", msgid=77) == [1, 77, None, {"version": "0.1.0", "listeners": []}]
        assert await client.call("services", msgid=78) == [1, 78, None, [{"name": "tickets"}]]


async def test_pipelined_calls_are_answered_in_order_and_notifications_not_at_all(server):
    async with server.client() as client:
        calls = [[0, 1, "pools", []], [2, "stop", []], [0, 2, "version", []]]
        await client.stream.send_all(b"".join(map(msgpack.packb, calls)))
        assert [(await client.answer())[1] for _ in range(2)] == [1, 2]
    assert server.service.calls == []


async def test_a_bug_in_a_call_is_reported_without_its_text_and_the_connection_goes_on(server):
    async with server.client() as client:
        assert (await client.call("config"))[2]["code"] == "internal"
        assert (await client.call("version"))[2] is None
    ((name, detail),) = server.reports
    assert name == "admin_call_failed"
    assert "ZeroDivisionError" in detail
    assert "s3cret" not in detail


async def test_bytes_that_are_no_request_end_the_connection_only(server):
    async with server.client() as client:
        await client.stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert await client.answer() is None
    async with server.client() as client:
        assert (await client.call("version"))[2] is None


async def test_another_uid_is_refused(nursery, tmp_path, monkeypatch):
    monkeypatch.setattr(unix, "peer_uid", lambda _: 4242)
    server = start(nursery, tmp_path)
    async with server.client() as client:
        assert await client.answer() is None
    assert server.reports == [("admin_refused", "uid 4242 is neither root, nor the daemon's, nor one of admin.readers")]
    nursery.cancel_scope.cancel()


async def test_refusals_do_not_fill_the_log(nursery, tmp_path, monkeypatch, autojump_clock):
    monkeypatch.setattr(unix, "peer_uid", lambda _: 4242)
    server = start(nursery, tmp_path)
    for _ in range(5):
        async with server.client() as client:
            assert await client.answer() is None
    await trio.sleep(unix.REFUSALS_SECONDS + 1)
    async with server.client() as client:
        assert await client.answer() is None
    assert len(server.reports) == 2
    assert server.reports[1][1].endswith("; 4 more before")
    nursery.cancel_scope.cancel()


async def test_connections_beyond_the_limit_are_closed(nursery, tmp_path):
    server = start(nursery, tmp_path, connections=1)
    async with server.client() as first:
        assert (await first.call("version"))[2] is None
        async with server.client() as second:
            assert await second.answer() is None
        assert (await first.call("version"))[2] is None
    nursery.cancel_scope.cancel()


async def test_an_idle_connection_is_closed(nursery, tmp_path, monkeypatch):
    monkeypatch.setattr(unix, "IDLE_SECONDS", 0.01)
    server = start(nursery, tmp_path)
    async with server.client() as client:
        assert await client.answer() is None
    nursery.cancel_scope.cancel()


def test_the_kernel_says_who_the_other_end_is():
    left, right = socket.socketpair()
    assert peer_uid(left) == os.geteuid()
    assert peer_gids(left) == {os.getegid(), *os.getgroups()}
    left.close()
    right.close()


async def test_a_reader_by_uid_may_look_and_change_nothing(nursery, tmp_path, monkeypatch):
    monkeypatch.setattr(unix, "peer_uid", lambda _: 4242)
    server = start(nursery, tmp_path, readers=Readers(uids=(4242,)))
    async with server.client() as client:
        assert (await client.call("hello"))[3]["role"] == "reader"
        assert (await client.call("status"))[2] is None
        assert (await client.call("stop"))[2]["code"] == "forbidden"
    assert server.service.calls == ["status"]
    nursery.cancel_scope.cancel()


async def test_a_reader_by_group_may_look(nursery, tmp_path, monkeypatch):
    monkeypatch.setattr(unix, "peer_uid", lambda _: 4242)
    server = start(nursery, tmp_path, readers=Readers(gids=(77_777, os.getegid())))
    async with server.client() as client:
        assert (await client.call("hello"))[3]["role"] == "reader"
    server.service.allowed = Readers(gids=(77_777,))  # a reload
    async with server.client() as client:
        assert await client.answer() is None
    nursery.cancel_scope.cancel()


async def test_readers_leave_places_for_whoever_may_change_things(nursery, tmp_path, monkeypatch):
    uid = 4242
    monkeypatch.setattr(unix, "peer_uid", lambda _: uid)
    monkeypatch.setattr(unix, "READER_CONNECTIONS", 1)
    server = start(nursery, tmp_path, readers=Readers(uids=(4242,)), connections=2)
    async with server.client() as first, server.client() as second:
        assert (await first.call("version"))[2] is None
        assert await second.answer() is None
        uid = os.geteuid()
        async with server.client() as own:
            assert (await own.call("hello"))[3]["role"] == "full"
    nursery.cancel_scope.cancel()


async def test_subscribed_exchanges_follow_the_answer(server):
    async with server.client() as client:
        assert (await client.call("subscribe", {"kinds": ["exchange"], "service": "tickets"}, msgid=5))[1:] == [
            5, None, {"subscription": 1},
        ]  # fmt: skip
        server.service.recent.take(batch(access(id="a"), access(id="b", service=None), access(id="c")))
        told = [await client.answer() for _ in range(2)]
        assert [(kind, name, number, item["id"]) for kind, name, (number, item) in told] == [
            (2, "exchange", 1, "a"),
            (2, "exchange", 1, "c"),
        ]
        assert (await client.call("version"))[2] is None


async def test_a_subscription_ends_when_it_is_told_to_and_with_its_connection(server):
    recent = server.service.recent
    async with server.client() as client:
        await client.call("subscribe")
        await client.call("subscribe")
        assert recent.subscribers == 2
        assert (await client.call("unsubscribe", 1))[3] == {"ok": True}
        assert (await client.call("unsubscribe", 1))[3] == {"ok": False}
        assert recent.subscribers == 1
        recent.take(batch(access(id="a")))
        assert (await client.answer())[2][0] == 2
    with trio.fail_after(20):
        while recent.subscribers:
            await trio.testing.wait_all_tasks_blocked(0.001)


async def test_one_connection_has_a_bounded_number_of_subscriptions(server):
    async with server.client() as client:
        answers = [await client.call("subscribe") for _ in range(5)]
    assert [error and error["code"] for _, _, error, _ in answers] == [None, None, None, None, "busy"]


async def test_drops_are_told(server):
    async with server.client() as client:
        await client.call("subscribe", {"buffer": 2})
        await trio.testing.wait_all_tasks_blocked()
        server.service.recent.take(batch(*(access(id=str(n)) for n in range(5))))
        told = [await client.answer() for _ in range(3)]
    assert [name for _, name, _ in told] == ["exchange", "exchange", "dropped"]
    assert told[2][2] == [1, 3]


async def test_a_listening_connection_is_not_idle(nursery, tmp_path, autojump_clock):
    server = start(nursery, tmp_path)
    async with server.client() as client:
        await client.call("subscribe")
        await trio.sleep(unix.IDLE_SECONDS * 2)
        server.service.recent.take(batch(access(id="a")))
        assert (await client.answer())[2][1]["id"] == "a"
        await client.call("unsubscribe", 1)
        await trio.sleep(unix.IDLE_SECONDS + 1)
        assert await client.answer() is None
    nursery.cancel_scope.cancel()


async def test_a_subscriber_that_reads_nothing_is_closed_in_the_end(nursery, tmp_path, autojump_clock):
    server = start(nursery, tmp_path)
    async with server.client() as client:
        await client.call("subscribe")
        records = [access(id=str(n), path=b"/" + b"x" * 4000) for n in range(100)]
        for _ in range(20):
            server.service.recent.take(batch(*records))
            await trio.testing.wait_all_tasks_blocked()
        assert server.service.recent.subscribers == 1
        await trio.sleep(unix.STALL_SECONDS + 1)
        assert server.service.recent.subscribers == 0
    nursery.cancel_scope.cancel()
