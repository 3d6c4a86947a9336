"""httpx over connections that begin with a header of the PROXY protocol which tells of no client."""

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from proxyd.wire.proxy_protocol import header


class _Backend(httpcore.TrioBackend):
    """Makes connections and says first what there is to say."""

    def __init__(self, version: str, uds: str | None) -> None:
        super().__init__()
        self._first = header(version, None, None)
        self._uds = uds

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if self._uds is not None:
            stream = await self.connect_unix_socket(self._uds, timeout, socket_options)
        else:
            stream = await super().connect_tcp(host, port, timeout, local_address, socket_options)
        await stream.write(self._first, timeout)
        return stream


def telling(version: str, context: ssl.SSLContext, uds: str | None) -> httpx.AsyncHTTPTransport:
    """Return a transport whose connections begin with a header in ``version``; ``uds`` is a Unix socket to go to."""
    transport = httpx.AsyncHTTPTransport(verify=context, trust_env=False)
    transport._pool = httpcore.AsyncConnectionPool(ssl_context=context, network_backend=_Backend(version, uds))
    return transport
