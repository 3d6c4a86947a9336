"""The store of a fleet and a real server that dies, hangs, comes back, wants a password, or speaks TLS."""

import socket
import ssl
from pathlib import Path

import pytest
import trio
import trustme

from proxyd.core.secret import Secret
from proxyd.store.protocol import StoreError
from tests.lab.redis import PROGRAM, Redis

pytest.importorskip("coredis")
if PROGRAM is None:
    pytest.skip("no Redis on this machine", allow_module_level=True)

from proxyd.store.redis import TIMEOUT, open_redis


async def test_a_server_that_was_killed_is_found_again_with_its_data(tmp_path: Path) -> None:
    with Redis(tmp_path) as server:
        async with open_redis(server.url, None, None) as store:
            assert await store.swap("a", 0, b"1", None)
            server.kill()
            with pytest.raises(StoreError):
                await store.read("a")
            server.start()
            assert (await store.read("a")).value == b"1"


async def test_a_server_that_hangs_costs_no_more_than_the_timeout_and_is_used_again(tmp_path: Path) -> None:
    with Redis(tmp_path) as server:
        async with open_redis(server.url, None, None) as store:
            await store.swap("a", 0, b"1", None)
            server.freeze()
            with trio.fail_after(TIMEOUT * 3), pytest.raises(StoreError, match="does not answer"):
                await store.read("a")
            server.thaw()
            with trio.fail_after(TIMEOUT * 5):
                while True:
                    try:
                        assert (await store.read("a")).value == b"1"
                        break
                    except StoreError:
                        await trio.sleep(0.05)


async def test_a_password_is_sent_and_a_wrong_one_is_an_error_that_does_not_show_it(tmp_path: Path) -> None:
    with Redis(tmp_path, "--requirepass", "right-password") as server:
        async with open_redis(server.url, Secret("store/password", b"right-password"), None) as store:
            assert await store.swap("a", 0, b"1", None)
        with pytest.raises((StoreError, ExceptionGroup)) as caught:
            async with open_redis(server.url, Secret("store/password", b"wrong-password"), None) as store:
                await store.read("a")
        assert "wrong-password" not in repr(caught.value)
        assert "wrong-password" not in str(caught.value)


async def test_tls_is_verified_against_the_given_roots(tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    port = free_port()
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    for name, file in (("cert", "cert.pem"), ("key", "key.pem"), ("ca-cert", "ca.pem")):
        options += [f"--tls-{name}-file", str(tmp_path / file)]
    with Redis(tmp_path, *options) as server:
        roots = authority.cert_pem.bytes().decode()
        async with open_redis(f"rediss://localhost:{port}/0", None, roots) as store:
            assert await store.swap("a", 0, b"1", None)
        others = trustme.CA().cert_pem.bytes().decode()
        with pytest.raises((StoreError, ExceptionGroup, ssl.SSLError)):
            async with open_redis(f"rediss://localhost:{port}/0", None, others) as store:
                await store.read("a")
        assert server.socket.exists()


def free_port() -> int:
    """The server binds it itself; until then nobody on loopback has reason to."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
