"""What the server side needs of the process around it; the worker is one."""

import ssl
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from OpenSSL import SSL

from proxyd.core.exchange import Exchange, Peer
from proxyd.core.snapshot import Listener
from proxyd.core.view import View
from proxyd.net.reaper import Reaper
from proxyd.net.relay import Pipes
from proxyd.net.stream import Stream


@runtime_checkable
class Detachable(Protocol):
    """The body of a 101: the upstream's connection itself."""

    @property
    def stream(self) -> Stream:
        """The upstream stream."""
        ...

    @property
    def surplus(self) -> bytes:
        """Bytes that followed the 101's head."""
        ...


class Buffers(Protocol):
    """What bodies on their way may hold."""

    def streaming_started(self) -> int:
        """Count one more streaming body; return how many bytes it may hold at a time."""
        ...

    def streaming_ended(self) -> None:
        """Count one streaming body less."""
        ...

    def widen(self, window: int) -> bool:
        """Count one more HTTP/2 connection whose client may send ``window`` ahead; False where there are many."""
        ...

    def narrow(self, window: int) -> None:
        """Count one such connection less."""
        ...


class Plane(Protocol):
    """A data plane."""

    view: View
    now: Callable[[], float]
    """``trio.current_time`` of this run, three calls shorter."""
    reaper: Reaper
    pipes: Pipes
    draining: bool
    """Nothing more is accepted: every response says ``Connection: close``."""
    closing: bool
    """Besides, no connection is left to wait for its next request."""

    @property
    def buffers(self) -> Buffers:
        """The shares of this process."""
        ...

    @property
    def gateway_token(self) -> bytes | None:
        """What callers of gateways on TCP must send; None where it is not known yet."""
        ...

    def next_id(self) -> str:
        """Return a fresh request id."""
        ...

    def identify(self, peer: Peer, stream: Stream) -> None:
        """Look up the caller's uid, once per connection, where the kernel tells."""
        ...

    def authenticate(self, listener: Listener, value: bytes | None) -> str:
        """Return the user of ``listener`` that Proxy-Authorization proves. ProxyError 407 where it proves none."""
        ...

    async def leaf(self, host: str, caller: str) -> SSL.Context:
        """Return a server context with a leaf for ``host``. ProxyError when there is none."""
        ...

    async def alpn_leaf(self, host: str, caller: str) -> ssl.SSLContext:
        """As ``leaf``, for a client that offers HTTP/2 (net.alpn)."""
        ...

    async def dial_unknown(self, exchange: Exchange, host: str, port: int) -> tuple[Stream, str]:
        """Resolve, guard and dial an unknown host for a tunnel; return the stream and its ``ip:port``."""
        ...

    def finished(self, exchange: Exchange) -> None:
        """Run the ``done`` hooks of an exchange that had no chain of its own."""
        ...

    def tunnel_finished(self, exchange: Exchange, mode: str, status: int) -> None:
        """Report a tunnel."""
        ...
