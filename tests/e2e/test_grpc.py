"""gRPC by grpcio's own client and server, intercepted and through gateways."""

import contextlib
import queue
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.lab.daemon import Daemon, configuration, pause, wait_until
from tests.lab.grpcs import OPTIONS, PATIENCE, SERVICE, Lab, LabServer, lab_server
from tests.lab.origin import HOST, TOKEN, Origin
from tests.lab.pki import Pki

pytestmark = pytest.mark.e2e

CLIENTS = Path(__file__).parent / "clients"
Code = grpc.StatusCode


@dataclass(frozen=True)
class Calls:
    """A channel to the server through the daemon, one method for each kind of call."""

    channel: grpc.Channel
    lab: Lab
    daemon: Daemon

    def unary(self, name: str, request: bytes = b"", **options: Any) -> Any:
        return self._made("unary_unary", name)(request, **self._with(options))

    def with_call(self, name: str, request: bytes = b"", **options: Any) -> Any:
        return self._made("unary_unary", name).with_call(request, **self._with(options))

    def future(self, name: str, request: bytes = b"", **options: Any) -> Any:
        return self._made("unary_unary", name).future(request, **self._with(options))

    def many(self, name: str, request: bytes = b"", **options: Any) -> Any:
        return self._made("unary_stream", name)(request, **self._with(options))

    def upload(self, name: str, requests: Iterator[bytes], **options: Any) -> Any:
        return self._made("stream_unary", name)(requests, **self._with(options))

    def upload_future(self, name: str, requests: Iterator[bytes], **options: Any) -> Any:
        return self._made("stream_unary", name).future(requests, **self._with(options))

    def both(self, name: str, requests: Iterator[bytes], **options: Any) -> Any:
        return self._made("stream_stream", name)(requests, **self._with(options))

    def _made(self, kind: str, name: str) -> Any:
        return getattr(self.channel, kind)(f"/{SERVICE}/{name}")

    @staticmethod
    def _with(options: dict[str, Any]) -> dict[str, Any]:
        return {"timeout": PATIENCE, **options}


@dataclass(frozen=True)
class Place:
    daemon: Daemon
    secure: LabServer
    plain: LabServer

    @contextlib.contextmanager
    def reach(self, way: str, service: str = "") -> Iterator[Calls]:
        """Open a channel to a service that is spoken to by TLS or in the clear (h2c)."""
        lab = self.plain.lab if way.endswith("h2c") else self.secure.lab
        name = service or ("clear" if way.endswith("h2c") else "tickets")
        options = [*OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
        if way == "tunnel to h2c":
            options.append(("grpc.http_proxy", self.daemon.url))
            channel = grpc.insecure_channel("clear.example:80", options)
        elif way == "intercepted":
            roots = grpc.ssl_channel_credentials(self.daemon.ca.read_bytes())
            options.append(("grpc.http_proxy", self.daemon.url))
            channel = grpc.secure_channel(f"{HOST}:443", roots, options)
        else:
            at = f"127.0.0.1:{self.daemon.address('open')[1]}"
            if way == "gateway by socket":
                at = f"unix:{self.daemon.folder / 'run' / 'gateway.sock'}"
            channel = grpc.insecure_channel(at, [*options, ("grpc.default_authority", f"{name}.localhost")])
        with channel:
            yield Calls(channel, lab, self.daemon)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("grpc")
    bearer = f"Bearer {TOKEN}"
    with lab_server(bearer, pki.certificate, pki.key) as secure, lab_server(bearer) as plain:
        config = configuration(origin, pki, folder)
        auth = {"scheme": "bearer", "secret": "tickets/token"}
        config["services"] = {
            "tickets": {
                "hosts": [HOST],
                "base_url": f"https://{HOST}",
                "endpoints": [f"127.0.0.1:{secure.port}"],
                "auth": auth,
            },
            "clear": {
                "hosts": ["clear.example"],
                "base_url": "http://clear.example",
                "endpoints": [f"127.0.0.1:{plain.port}"],
                "insecure": True,
                "auth": auth,
            },
            "absent": {
                "hosts": ["absent.example"],
                "base_url": "http://absent.example",
                "endpoints": ["127.0.0.1:1"],
                "insecure": True,
            },
            "tried": {
                "hosts": ["tried.example"],
                "base_url": "http://tried.example",
                "endpoints": [f"127.0.0.1:{plain.port}"],
                "insecure": True,
                "auth": auth,
                "retry": {"on": ["unavailable"], "grpc_idempotent": [f"/{SERVICE}/Flaky"]},
            },
            "old": {
                "hosts": ["other.tickets.example"],
                "base_url": "https://other.tickets.example",
                "endpoints": [f"127.0.0.1:{origin.https_port}"],
            },
            "hasty": {
                "hosts": ["hasty.example"],
                "base_url": "http://hasty.example",
                "endpoints": [f"127.0.0.1:{plain.port}"],
                "insecure": True,
                "auth": auth,
                "timeouts": {"total": "500ms"},
            },
        }
        for service in config["services"].values():
            service["breaker"] = {"enabled": False}  # tests have services fail, in any order
        config["services"]["brisk"] = {
            **config["services"]["clear"],
            "hosts": ["brisk.example"],
            "base_url": "http://brisk.example",
            "timeouts": {"idle": "1500ms", "first_byte": "200ms"},
        }
        config["limits"] = {"body_rate_grace": "100ms"}
        config["access"]["rules"] = [
            {"deny": {"paths": [f"/{SERVICE}/Forbidden"]}},
            {"allow": {"services": ["tickets", "clear", "absent", "hasty", "brisk", "tried", "old"]}},
        ]
        config["listeners"] += [
            {"name": "local", "mode": "gateway"},
            {"name": "open", "mode": "gateway", "address": "127.0.0.1:0", "open": True},
        ]
        with Daemon(folder, config) as daemon:
            yield Place(daemon, secure, plain)


@pytest.fixture(params=["intercepted", "gateway by port", "gateway by socket", "gateway to h2c", "tunnel to h2c"])
def calls(request: pytest.FixtureRequest, place: Place) -> Iterator[Calls]:
    with place.reach(request.param) as made:
        made.lab.seen.__init__()  # type: ignore[misc]
        yield made


def failure(call: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def test_unary_with_metadata_of_both_kinds(calls: Calls) -> None:
    metadata = (("x-mine", "a, b"), ("x-mine-bin", b"\x00\x01\xff"), ("authorization", "Bearer mine"))
    answer, call = calls.with_call("Echo", b"hello", metadata=metadata)
    assert answer == b"hello"
    (seen,) = calls.lab.seen.metadata
    assert seen["x-mine"] == "a, b"
    assert seen["x-mine-bin"] == b"\x00\x01\xff"
    assert seen["authorization"] == f"Bearer {TOKEN}"
    assert dict(call.initial_metadata())["x-first-bin"] == b"\x00\xff"
    assert dict(call.trailing_metadata())["x-last"] == "2"
    assert dict(call.trailing_metadata())["x-last-bin"] == b"\xfe\x01"


@pytest.mark.parametrize("size", [0, 1, 100_000, 12_000_000])
def test_messages_of_any_size(calls: Calls, size: int) -> None:
    message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert calls.unary("Echo", message) == message


def test_server_streaming(calls: Calls) -> None:
    assert list(calls.many("Count", b"200")) == [b"%d" % number for number in range(200)]
    assert list(calls.many("Count", b"0")) == []


def test_client_streaming(calls: Calls) -> None:
    assert calls.upload("Join", iter([b"a", b"b" * 100_000, b"c"])) == b"a," + b"b" * 100_000 + b",c"
    assert calls.upload("Join", iter([])) == b""


def test_each_message_of_a_conversation_goes_through_at_once(calls: Calls) -> None:
    questions: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    answers = calls.both("Chat", iter(questions.get, None))
    for number in range(20):
        questions.put(b"%d" % number)
        assert next(answers) == b"re: %d" % number
    questions.put(None)
    assert list(answers) == []
    assert answers.code() is Code.OK


def test_a_busy_conversation_of_small_messages_is_no_flood(calls: Calls) -> None:
    """Each side sends window updates along with its messages, more than it gets frames."""
    answers = calls.both("Chat", (b"%d" % number for number in range(3000)))
    assert list(answers) == [b"re: %d" % number for number in range(3000)]


def test_a_server_may_end_before_its_client(calls: Calls) -> None:
    questions: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    answers = calls.both("Enough", iter(questions.get, None))
    questions.put(b"only one")
    assert list(answers) == [b"only one"]
    assert answers.code() is Code.OK
    questions.put(None)


def test_a_stream_lives_while_one_side_speaks(place: Place) -> None:
    questions: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    with place.reach("gateway by port", "brisk") as calls:
        answers = calls.both("Tick", iter(questions.get, None))
        questions.put(b"go on")
        assert [next(answers) for _ in range(10)] == [b"tick"] * 10
        questions.put(None)
        assert list(answers) == [b"last"]


def test_an_echo_of_the_credential_is_masked_in_metadata_and_words(calls: Calls) -> None:
    masked = "*" * len(TOKEN)
    answer, call = calls.with_call("Mirror")
    assert answer == b"done"
    assert masked in dict(call.initial_metadata())["x-echo"]
    assert masked in dict(call.trailing_metadata())["x-echo-last"]
    error = failure(lambda: calls.unary("Mirror", b"fail"))
    assert masked in error.details()
    assert TOKEN not in error.details() + repr(error.trailing_metadata()) + repr(error.initial_metadata())


@pytest.mark.parametrize("how", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages_pass(calls: Calls, how: grpc.Compression) -> None:
    assert calls.unary("Echo", b"x" * 50_000, compression=how) == b"x" * 50_000


@pytest.mark.parametrize("name", ["NOT_FOUND", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL"])
def test_trailers_only_failures_keep_code_words_and_metadata(calls: Calls, name: str) -> None:
    error = failure(lambda: calls.unary("Fail", name.encode()))
    assert (error.code(), error.details()) == (Code[name], "100 % ä wrong")
    assert dict(error.trailing_metadata())["x-why"] == "because"


def test_a_stream_that_fails_has_its_messages_and_its_code(calls: Calls) -> None:
    call = calls.many("BreakOff")
    assert [next(call), next(call)] == [b"one", b"two"]
    error = failure(lambda: next(call))
    assert (error.code(), error.details()) == (Code.DATA_LOSS, "that was all")


def test_an_unknown_method_is_the_servers_to_refuse(calls: Calls) -> None:
    assert failure(lambda: calls.unary("Nothing")).code() is Code.UNIMPLEMENTED


def test_a_deadline_reaches_the_server_and_ends_the_call(calls: Calls) -> None:
    error = failure(lambda: calls.unary("Hang", timeout=0.5))
    assert error.code() is Code.DEADLINE_EXCEEDED
    assert calls.lab.seen.remaining is not None
    assert calls.lab.seen.remaining < 0.6
    assert calls.lab.seen.cancelled.wait(PATIENCE)


def test_a_client_that_cancels_cancels_at_the_server(calls: Calls) -> None:
    call = calls.future("Hang")
    wait_until(lambda: bool(calls.lab.seen.metadata), "the call at the server")
    call.cancel()
    assert calls.lab.seen.cancelled.wait(PATIENCE)
    assert calls.unary("Echo", b"next") == b"next"


def test_a_client_that_cancels_a_stream_cancels_at_the_server(calls: Calls) -> None:
    call = calls.many("Flood", b"100000 10000")
    next(call)
    call.cancel()
    assert calls.lab.seen.cancelled.wait(PATIENCE)
    assert calls.unary("Echo", b"next") == b"next"


def test_a_reader_that_is_slow_slows_the_server(calls: Calls) -> None:
    call = calls.many("Flood", b"100 1000000")
    next(call)
    before = -1
    while calls.lab.seen.sent != before:
        before = calls.lab.seen.sent
        assert calls.unary("Echo", bytes(100_000)) == bytes(100_000)
        pause(0.3)
    assert before < 90
    assert sum(1 for _ in call) == 99


def test_a_server_that_is_slow_slows_the_sender(calls: Calls) -> None:
    sent = 0

    def messages() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            yield bytes(1_000_000)
            sent += 1

    future = calls.upload_future("Sip", messages())
    before = -1
    while sent != before or not sent:
        before = sent
        assert calls.unary("Echo", bytes(100_000)) == bytes(100_000)
        pause(0.3)
    assert before < 90
    calls.lab.seen.release.set()
    assert future.result(PATIENCE) == b"100000000"


def test_the_log_has_an_entry_for_each_call(calls: Calls) -> None:
    calls.unary("Echo", b"for the log")
    calls.daemon.wait_for_log(1)
    wait_until(lambda: calls.daemon.log()[-1]["path"] == f"/{SERVICE}/Echo", "the entry")
    entry = calls.daemon.log()[-1]
    assert (entry["status"], entry["flags"]) == (200, "")


def test_a_program_that_knows_nothing_of_proxyd(place: Place) -> None:
    program = [sys.executable, str(CLIENTS / "call_grpc.py"), f"{HOST}:443", f"/{SERVICE}/Echo"]
    done = place.daemon.run("exec", "--runtime-dir", str(place.daemon.folder / "run"), "--", *program)
    assert done.stdout == "hello\n", done.stderr


# --- what proxyd says itself ----------------------------------------------------------------------


def test_a_refusal_is_permission_denied(calls: Calls) -> None:
    error = failure(lambda: calls.unary("Forbidden"))
    assert error.code() is Code.PERMISSION_DENIED
    assert "rule" in error.details()
    assert calls.lab.seen.metadata == []


def test_an_upstream_that_is_not_there_is_unavailable(place: Place) -> None:
    with place.reach("gateway by port", "absent") as calls:
        error = failure(lambda: calls.unary("Echo"))
    assert error.code() is Code.UNAVAILABLE


def test_a_name_that_is_no_service_is_unimplemented(place: Place) -> None:
    with place.reach("gateway by port", "nothing") as calls:
        error = failure(lambda: calls.unary("Echo"))
    assert error.code() is Code.UNIMPLEMENTED
    assert "nothing" in error.details()


def test_a_call_that_takes_too_long_for_proxyd_exceeds_its_deadline(place: Place) -> None:
    with place.reach("gateway by port", "hasty") as calls:
        error = failure(lambda: calls.unary("Hang"))
    assert error.code() is Code.DEADLINE_EXCEEDED
    assert "total" in error.details()
    assert place.plain.lab.seen.cancelled.wait(PATIENCE)


def test_a_service_that_does_not_speak_http2_is_unavailable(place: Place) -> None:
    with place.reach("gateway by port", "old") as calls:
        error = failure(lambda: calls.unary("Echo"))
    assert error.code() is Code.UNAVAILABLE
    assert "h2" in error.details().lower() or "http/2" in error.details().lower()


def test_methods_that_may_be_repeated_are_and_no_others(place: Place) -> None:
    with place.reach("gateway by port", "tried") as calls:
        seen = place.plain.lab.seen
        seen.__init__()  # type: ignore[misc]
        assert calls.unary("Flaky", b"hello") == b"hello"
        assert len(seen.metadata) == 2
        seen.__init__()  # type: ignore[misc]
        error = failure(lambda: calls.unary("FlakyToo", b"hello"))
        assert (error.code(), error.details()) == (Code.UNAVAILABLE, "not now")
        assert len(seen.metadata) == 1


def test_more_calls_than_a_connection_has_streams(calls: Calls) -> None:
    futures = [calls.future("Echo", b"%d" % number) for number in range(400)]
    assert [future.result(PATIENCE) for future in futures] == [b"%d" % number for number in range(400)]


def test_a_server_that_goes_away_is_found_again(
    place: Place, pki: Pki, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("gone")
    with lab_server(f"Bearer {TOKEN}") as first:
        config = {**place.daemon.config, "admin": {"socket": str(folder / "admin.sock")}}
        clear = {**config["services"]["clear"], "endpoints": [f"127.0.0.1:{first.port}"]}
        config["services"] = {**config["services"], "clear": clear}
        config["telemetry"] = {"access_log": {"path": str(folder / "access.jsonl")}}
        with Daemon(folder, config) as daemon, Place(daemon, first, first).reach("gateway to h2c") as calls:
            running = calls.many("Flood", b"100000 1000")
            next(running)
            first.server.stop(0).wait(PATIENCE)
            error = failure(lambda: list(running))
            assert error.code() in {Code.UNAVAILABLE, Code.CANCELLED, Code.INTERNAL, Code.UNKNOWN}
            assert failure(lambda: calls.unary("Echo")).code() is Code.UNAVAILABLE
            with lab_server(f"Bearer {TOKEN}", port=first.port):
                wait_until(lambda: answers(calls), "the server's return")


def answers(calls: Calls) -> bool:
    try:
        return calls.unary("Echo", b"x") == b"x"
    except grpc.RpcError:
        return False
