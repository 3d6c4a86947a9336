"""What `check` says of a store that limits would share."""

import socket
import threading

import pytest

from proxyd.cli.store import store_warnings
from proxyd.core.settings import StoreSettings


def test_a_file_is_not_looked_at():
    assert store_warnings(StoreSettings("sqlite:/nowhere/at/all.db"), "proxyd.yaml") == []


def test_a_server_that_is_not_there_is_told_with_the_line(free_port):
    (warning,) = store_warnings(StoreSettings(f"redis://127.0.0.1:{free_port}/0", line=7), "proxyd.yaml")
    assert warning.startswith(f"proxyd.yaml:7: the store redis://127.0.0.1:{free_port}/0 does not answer (")
    assert "on_store_loss" in warning


@pytest.mark.parametrize(
    ("answer", "why"), [(b"+PONG\r\n", ""), (b"-NOAUTH\r\n", ""), (b"HTTP/1.1 400\r\n", "no Redis")]
)
def test_what_answers_must_be_a_redis(answer, why):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(64)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        found = store_warnings(StoreSettings(f"redis://127.0.0.1:{server.getsockname()[1]}/0", line=2), "p.yaml")
        thread.join()
    assert [why in text for text in found] == ([True] if why else [])


@pytest.fixture
def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]  # bound and not listening: connections are refused
