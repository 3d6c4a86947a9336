"""WebSocket as programs speak it: an independent client and server, through every kind of listener."""

import contextlib
import dataclasses
import http
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect, unix_connect
from websockets.sync.server import Server, ServerConnection, serve

from tests.lab.daemon import Daemon, configuration, environment, wait_until
from tests.lab.origin import HOST, KEY, TOKEN, Origin
from tests.lab.pki import Pki
from tests.lab.tools import require_node

pytestmark = pytest.mark.e2e

CLIENTS = Path(__file__).parent / "clients"
LARGE = os.urandom(1_500_000) + bytes(500_000)
PATIENCE = 30


def refuse_strangers(connection: ServerConnection, request: Any) -> Any:
    """The service demands its credential at the handshake."""
    if request.headers.get("Authorization") != f"Bearer {TOKEN}" and request.headers.get("X-Api-Key") != KEY:
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "who are you?\n")
    if request.path.endswith("/closed"):
        return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "come back later\n")
    return None


def talk(connection: ServerConnection) -> None:
    """Echo messages; some say what to do."""
    for message in connection:
        if message == "ping me":
            connection.ping(b"are you there?").wait(PATIENCE)
            connection.send("you were")
        elif message == "close":
            connection.close(4001, "as you wish")
        elif message == "drop":
            connection.socket.shutdown(socket.SHUT_RDWR)
        elif message == "credential":
            connection.send(connection.request.headers["Authorization"])  # type: ignore[union-attr]
        else:
            connection.send(message)


@dataclasses.dataclass(frozen=True)
class Place:
    daemon: Daemon

    @contextlib.contextmanager
    def reach(self, way: str, **options: Any) -> Iterator[ClientConnection]:
        """Connect to the service in one of four ways."""
        trusting = ssl.create_default_context(cafile=str(self.daemon.ca))
        # This client reads in one thread and writes in another: tickets of TLS 1.3 make it lose its request at times
        trusting.maximum_version = ssl.TLSVersion.TLSv1_2
        options = {"open_timeout": PATIENCE, "close_timeout": PATIENCE, "max_size": None, **options}
        if way == "intercepted":
            made = connect(f"wss://{HOST}/v2/chat", ssl=trusting, proxy=self.daemon.url, **options)
        elif way == "plain":
            plain = self.daemon.config["services"]["plain"]["base_url"].replace("http:", "ws:")
            made = connect(f"{plain}/chat", proxy=self.daemon.url, **options)
        elif way == "gateway by socket":
            made = unix_connect(str(self.daemon.folder / "run" / "gateway.sock"), "ws://tickets/chat", **options)
        else:
            assert way == "gateway by path"
            made = connect(f"ws://127.0.0.1:{self.daemon.address('open')[1]}/tickets/chat", proxy=None, **options)
        with made as connection:
            yield connection


WAYS = pytest.mark.parametrize("way", ["intercepted", "plain", "gateway by socket", "gateway by path"])


@contextlib.contextmanager
def running(server: Server) -> Iterator[int]:
    """Serve in a thread; yields the port."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        thread.join(PATIENCE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("ws")
    options: dict[str, Any] = {"process_request": refuse_strangers, "max_size": None}
    with (
        serve(talk, "127.0.0.1", 0, ssl=pki.server_context(), **options) as secure,
        running(secure) as https,
        serve(talk, "127.0.0.1", 0, **options) as open_server,
        running(open_server) as plain,
    ):
        config = configuration(origin, pki, folder)
        config["services"]["tickets"]["endpoints"] = [f"127.0.0.1:{https}"]
        config["services"]["plain"].update(hosts=[f"127.0.0.1:{plain}"], base_url=f"http://127.0.0.1:{plain}")
        config["listeners"] += [
            {"name": "local", "mode": "gateway"},
            {"name": "open", "mode": "gateway", "address": "127.0.0.1:0", "open": True},
        ]
        with Daemon(folder, config) as daemon:
            yield Place(daemon)


@WAYS
@pytest.mark.parametrize("compression", ["deflate", None], ids=["compressed", "uncompressed"])
def test_messages_arrive_as_they_were_sent(place: Place, way: str, compression: str | None) -> None:
    with place.reach(way, compression=compression) as client:
        assert bool(client.protocol.extensions) == (compression is not None)
        for message in ("", "hello", "x" * 70_000, b"\x00\xff" * 200, LARGE):
            client.send(message)
            assert client.recv(PATIENCE) == message


@WAYS
def test_fragments_stay_fragments(place: Place, way: str) -> None:
    with place.reach(way, compression=None) as client:
        client.send([b"one ", b"two ", b"three"])
        assert client.recv(PATIENCE) == b"one two three"


@WAYS
def test_pings_go_through_in_both_directions(place: Place, way: str) -> None:
    with place.reach(way) as client:
        assert client.ping(b"hello?").wait(PATIENCE)
        client.send("ping me")
        assert client.recv(PATIENCE) == "you were"


@WAYS
def test_close_codes_go_through_in_both_directions(place: Place, way: str) -> None:
    with place.reach(way) as client:
        client.send("close")
        with pytest.raises(ConnectionClosed):
            client.recv(PATIENCE)
        assert (client.close_code, client.close_reason) == (4001, "as you wish")
    with place.reach(way) as client:
        client.close(4002, "enough")
        assert client.close_code == 4002


@WAYS
def test_a_connection_that_drops_is_no_orderly_close(place: Place, way: str) -> None:
    with place.reach(way) as client:
        client.send("drop")
        with pytest.raises(ConnectionClosed):
            client.recv(PATIENCE)
        assert client.close_code == 1006


def test_the_credential_is_added_at_the_handshake_and_messages_are_not_searched(place: Place) -> None:
    with place.reach("intercepted", additional_headers={"Authorization": "Bearer mine"}) as client:
        client.send("credential")
        assert client.recv(PATIENCE) == f"Bearer {TOKEN}"


def test_what_the_service_answers_instead_of_a_switch_is_passed_on(place: Place) -> None:
    url = f"ws://127.0.0.1:{place.daemon.address('open')[1]}/tickets/closed"
    with pytest.raises(InvalidStatus) as caught:
        connect(url, proxy=None)
    assert caught.value.response.status_code == 503
    assert caught.value.response.body == b"come back later\n"


@WAYS
def test_the_log_has_one_entry_for_a_conversation(place: Place, way: str) -> None:
    def entries() -> list[dict[str, Any]]:
        return [entry for entry in place.daemon.log() if entry["request_bytes"] == 5014]

    before = len(entries())
    with place.reach(way, compression=None) as client:
        client.send(b"x" * 4998)  # and 8 for its frame, 8 for the close frame
        assert len(client.recv(PATIENCE)) == 4998
    wait_until(lambda: len(entries()) > before, "the entry")
    entry = entries()[-1]
    assert (entry["status"], entry["flags"], entry["detail"]) == (101, "", None)
    assert entry["response_bytes"] == 4998 + 4 + 4


def test_node(place: Place) -> None:
    node, _ = require_node()
    proxies = {"NODE_USE_ENV_PROXY": "1", "HTTPS_PROXY": place.daemon.url, "HTTP_PROXY": place.daemon.url}
    variables = environment(place.daemon.folder, {**proxies, "NODE_EXTRA_CA_CERTS": str(place.daemon.ca)})
    command = [node, str(CLIENTS / "websocket.mjs"), f"wss://{HOST}/v2/chat"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split("\n")[:3] == ["hello", "300000", "closed 1000 done"], done.stderr
