"""HTTP/2 towards a real nginx, which says GOAWAY after every few requests."""

import contextlib
import os
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio

from proxyd.core.service import Service, Version
from tests.lab.plane import PATIENCE, authority, open_plane
from tests.upstream.test_http2 import HOST, ask_at_once, plain, secure

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

CONFIGURATION = """
worker_processes 1; daemon off; pid {folder}/pid; error_log stderr error;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_requests 10; client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen unix:{folder}/plain http2; listen unix:{folder}/tls ssl http2;
    ssl_certificate {folder}/chain.pem; ssl_certificate_key {folder}/key.pem;
    location / {{ return 200 "ok"; }}
  }}
}}
"""


@contextlib.asynccontextmanager
async def open_nginx(folder: Path, name: str) -> AsyncIterator[int]:
    """Run nginx and carry connections on a port of the kernel's choice to its socket ``name``."""
    issued = authority().issue_cert(HOST)
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(folder / "chain.pem", append=True)
    (folder / "conf").write_text(CONFIGURATION.format(folder=folder))
    assert NGINX is not None
    async with trio.open_nursery() as nursery:
        command = [NGINX, "-e", "stderr", "-p", str(folder), "-c", str(folder / "conf")]
        process = await nursery.start(trio.run_process, command)
        try:
            await started(folder / name)
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, carrier(folder / name), listeners)
            yield listeners[0].socket.getsockname()[1]
        finally:
            process.terminate()
            with trio.move_on_after(PATIENCE, shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()


async def started(path: Path) -> None:
    with trio.fail_after(PATIENCE):
        while True:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                return
            await trio.sleep(0.01)


def carrier(path: Path) -> Callable[[trio.SocketStream], Awaitable[None]]:
    async def carry(client: trio.SocketStream) -> None:
        server = await trio.open_unix_socket(str(path))

        async def one_way(source: trio.SocketStream, sink: trio.SocketStream) -> None:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async for data in source:
                    await sink.send_all(data)
                await sink.send_eof()

        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(one_way, client, server)
            nursery.start_soon(one_way, server, client)

    return carry


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_no_request_is_lost_to_a_server_that_goes_all_the_time(tmp_path: Path, tls: bool) -> None:
    async with open_nginx(tmp_path, "tls" if tls else "plain") as port:
        services: tuple[Service, ...] = secure(port, protocol=Version.HTTP2) if tls else plain(port)
        host = HOST.encode() if tls else b"plain.example"
        async with open_plane(services=services) as plane:
            for _ in range(4):
                replies = await ask_at_once(plane, 15, method=b"POST", body=b"order", host=host)
                assert [(reply.status, reply.body) for reply in replies] == [(200, b"ok")] * 15
            assert len(plane.events) <= 60
