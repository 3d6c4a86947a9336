import http.server
import os
import socketserver
import threading

import pytest

from proxyd.cli.exits import CommandError
from proxyd.cli.probe.send import Reply, Way, record_of

PROBE = {
    "service": "acme",
    "method": "POST",
    "url": "https://api.acme.example/v1/me",
    "gateway_path": "/me",
    "headers": {"accept": "text/plain", "X-One": "1"},
    "body": "{}",
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.seen.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(204)
        self.send_header("X-Answer", "yes")
        self.end_headers()

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


class UnixServer(socketserver.ThreadingUnixStreamServer):
    seen: list


@pytest.fixture
def listener(request, tmp_path):
    if request.param == "unix":
        server = UnixServer(str(tmp_path / "s"), Handler)
        address = str(tmp_path / "s")
    else:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        address = f"http://127.0.0.1:{server.server_address[1]}"
    server.seen = []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server, address
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("listener", "key", "target", "host"),
    [
        ("tcp", "proxy", PROBE["url"], "api.acme.example"),
        ("unix", "proxy_socket", PROBE["url"], "api.acme.example"),
        ("unix", "gateway_socket", "/me", "acme"),
        ("tcp", "gateway_url", "/acme/me", None),
    ],
    indirect=["listener"],
)
def test_every_kind_of_listener_is_a_way(listener, key, target, host):
    server, address = listener
    reply = Way({key: address}).send(PROBE, 5)
    assert (reply.status, reply.headers["x-answer"], reply.problem) == (204, "yes", "")
    ((path, headers, body),) = server.seen
    assert (path, body) == (target, b"{}")
    assert host is None or headers["Host"] == host
    assert (headers["accept"], headers["X-One"], headers["Cache-Control"]) == ("text/plain", "1", "no-cache")
    assert "Accept" not in headers


@pytest.mark.parametrize("listener", ["tcp"], indirect=True)
def test_a_gateway_that_wants_its_token_gets_it(listener, tmp_path):
    server, address = listener
    (tmp_path / "token").write_text("t0ken\n")
    assert Way({"gateway_url": address, "gateway_token_file": str(tmp_path / "token")}).send(PROBE, 5).status == 204
    assert server.seen[0][1]["Proxyd-Token"] == "t0ken"


def test_another_host_than_the_gateways_needs_a_forward_listener():
    reply = Way({"gateway_socket": "/nowhere"}).send({**PROBE, "gateway_path": None}, 5)
    assert reply.status == 0
    assert "only a forward listener" in reply.problem


def test_without_a_listener_there_is_no_way():
    with pytest.raises(CommandError, match="no listener"):
        Way({"proxy": None})


def test_a_listener_that_is_gone_is_a_problem_in_words(tmp_path):
    reply = Way({"proxy_socket": str(tmp_path / "none")}).send(PROBE, 5)
    assert reply.problem.startswith("the listener ended the connection")


def test_the_record_is_found_by_address_or_by_process():
    exchanges = [{"caller": "127.0.0.1:1", "id": "a"}, {"caller": "unix", "pid": os.getpid(), "id": "b"}]
    assert record_of(Reply(caller="127.0.0.1:1"), exchanges)["id"] == "a"
    assert record_of(Reply(), exchanges)["id"] == "b"
    assert record_of(Reply(caller="127.0.0.1:2"), exchanges) is None
