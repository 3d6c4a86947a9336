"""One worker: the data plane in one process and one trio loop, without a control round trip per exchange."""

import gc
import ipaddress
import os
import secrets
import socket
import ssl
import sys
from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio
from OpenSSL import SSL

from proxyd.core import metrics
from proxyd.core.counts import Row, SharedCounts
from proxyd.core.errors import Flag, ProxyError
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.messages import (
    InstallLeaf,
    SetCredential,
    SetCredentials,
    SetFaults,
    SetHealth,
    SetKey,
    SetLease,
    SetOverrides,
)
from proxyd.core.place import place_of
from proxyd.core.snapshot import GATEWAY_TOKEN, Listener, ListenerMode, Snapshot
from proxyd.core.view import View
from proxyd.downstream.connection import Connection
from proxyd.downstream.entry import Entry, Served
from proxyd.downstream.gateway import GatewayEntry
from proxyd.net import callers, listen
from proxyd.net.process import harden, proportional_bytes, raise_nofile, set_name
from proxyd.net.reaper import Reaper
from proxyd.net.relay import Pipes
from proxyd.net.stream import Stream
from proxyd.upstream.pool import PoolKey
from proxyd.wire.proxy_protocol import Place
from proxyd.worker.assemble import Assembly
from proxyd.worker.authenticate import authenticate
from proxyd.worker.background import Background
from proxyd.worker.buffers import Buffers
from proxyd.worker.certificates import Certificates
from proxyd.worker.endings import Endings
from proxyd.worker.keys import Keys
from proxyd.worker.leaves import Leaves
from proxyd.worker.limits import Limits
from proxyd.worker.link import Links
from proxyd.worker.meter import Meter
from proxyd.worker.observe import Events, Observer
from proxyd.worker.overload import Shedder
from proxyd.worker.proxies import Proxies
from proxyd.worker.revoke import Revoker

UNIX_ADDRESS: Final = "unix"
"""Stands for the address of a caller on a Unix socket."""
HOUSEKEEPING_SECONDS: Final = 1.0


def preload() -> None:
    """Nothing more: importing this module has loaded the data plane, for the supervisor to fork."""


def main(index: int, control_fd: int, supervisor_fd: int, counts: SharedCounts) -> int:
    """Run a worker in this process until its lifeline ends or it is drained; return its exit code."""
    harden()
    raise_nofile()
    set_name(f"proxyd-w{index}")
    gc.set_threshold(50_000, 20, 50)  # exchanges leave few cycles; frozen pages stay shared
    return trio.run(
        Worker(index, counts.row(index)).run, socket.socket(fileno=control_fd), socket.socket(fileno=supervisor_fd)
    )


class Worker:
    """The data plane's state; satisfies downstream.plane.Plane and worker.link.Subject."""

    view: View

    def __init__(self, index: int, row: Row | None = None) -> None:
        self.index = index
        self._row = row
        """Ours of the counts that workers share."""
        self.now: Callable[[], float] = trio.current_time
        self.reaper = Reaper()
        self.pipes = Pipes()
        self.draining = False
        """Connections take no further request: the worker is to end, or no listener is left."""
        self.closing = False
        self._ending = False
        self._meter = Meter()
        self._events = Events(self._meter)
        self._prefix = secrets.token_hex(4)
        self._serial = 0
        self.buffers = Buffers()
        self._connections: set[Served] = set()
        self._callers: Tally[str] = Tally()
        self._accepting: dict[str, socket.socket] = {}
        self._offered: dict[str, socket.socket] = {}
        self._version = 0
        self._drained = trio.Event()

    async def run(self, control: socket.socket, supervisor: socket.socket) -> int:
        """Serve until drained or orphaned."""
        self.now = trio.lowlevel.current_clock().current_time
        links = Links(self, self._meter, self._events, control)
        self._endings = Endings(links.tell)
        self._observer = Observer(self._meter, self._events, self._endings)
        self._certificates = Certificates(links.tell)
        self._shedder = Shedder(self._meter, self._events.notice)
        self._proxies = Proxies(self._meter, self._events.notice, self._renamed)
        self._leaves = Leaves(links.want_leaf)
        self._meter.gauge(metrics.DOWNSTREAM_ACTIVE, lambda: len(self._connections))
        self._meter.gauge(metrics.UPSTREAM_ACTIVE, lambda: self._assembly.pools.totals()[0])
        self._meter.gauge(metrics.UPSTREAM_IDLE, lambda: self._assembly.pools.totals()[1])
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._revoker = Revoker(self._connections, nursery)
            background = Background(nursery, self.next_id, lambda: self.view.router)
            self._limits = Limits(links.want_lease, nursery.start_soon)
            self._keys = Keys(links.want_key, nursery.start_soon)
            self._assembly = Assembly(
                self.reaper, self._observer, self._meter, self._row, self._spawn, self._limits, background.refresh,
                self._keys, links.want_token, self._certificates.saw,
            )  # fmt: skip
            nursery.start_soon(self._limits.run)
            nursery.start_soon(self.reaper.run)
            nursery.start_soon(self._keep_house)
            nursery.start_soon(self._shedder.run)
            nursery.start_soon(self._end_when_drained, links)
            nursery.start_soon(links.run_control)
            await links.run_supervisor(supervisor)
            nursery.cancel_scope.cancel()
        return 0

    # --- orders (worker.link.Subject) -------------------------------------------------------------

    def apply(self, snapshot: Snapshot) -> None:
        """Route by this snapshot from now on; running exchanges keep theirs, forbidden ones are cut in time."""
        missing = [
            listener.name
            for listener in snapshot.listeners
            if listener.name not in self._accepting and listener.name not in self._offered
        ]
        if missing and not self._ending:
            raise ValueError(f"no socket came for the listener {missing[0]}")
        self.view = view = self._assembly.view(snapshot)
        self._shedder.apply(view)
        self._proxies.apply(view)
        self.buffers.limits = view.limits
        self._version = snapshot.version
        self.draining = self._ending or not snapshot.listeners
        self._leaves.limit = snapshot.limits.contexts
        for name, sock in list(self._accepting.items()):
            if name not in view.listeners or name in self._offered:
                listen.stop(sock)
                del self._accepting[name]
        for name in list(self._offered):
            sock = self._offered.pop(name)
            if name in view.listeners and not self.draining:
                self._accepting[name] = sock
                self._nursery.start_soon(self._accept, name, sock)
            else:
                sock.close()
        self._count()
        self._revoker.revise(view)

    def offer_listener(self, name: str, sock: socket.socket) -> None:
        """Keep a listening socket until a snapshot names it."""
        sock.setblocking(False)
        former = self._offered.pop(name, None)
        if former is not None:
            former.close()
        self._offered[name] = sock

    def set_credential(self, message: SetCredential) -> None:
        """Use this value from the next attempt on, or say why there is none: what uses it then ends in time."""
        secrets = self._assembly.secrets
        removed = secrets.values.get(message.name)
        secrets.set(message.name, message.value, message.why, message.former, message.serial)
        if message.value is None and removed is not None:
            self._revoker.revoke(secrets.values, message.name, removed)

    def set_credentials(self, message: SetCredentials) -> None:
        """Use these values, which belong together, from the next attempt on. One that is over ends nothing."""
        for name, value in message.values.items():
            self._assembly.secrets.set(name, value, message.why, serial=message.serial)

    def install_leaf(self, leaf: InstallLeaf) -> None:
        """Take a leaf certificate."""
        self._leaves.install(leaf)

    def set_health(self, message: SetHealth) -> None:
        """Use an endpoint, or leave it alone, from the next attempt on."""
        self._assembly.clusters.set_health(
            message.service, message.host, message.port, message.is_healthy, trio.current_time()
        )

    def set_overrides(self, message: SetOverrides) -> None:
        """Hold endpoints and breakers as an operator wants them, from the next attempt on."""
        self._assembly.clusters.set_overrides(message.overrides)

    def set_faults(self, message: SetFaults) -> None:
        """Inject these faults, and no others, into exchanges that begin from now on."""
        self._assembly.set_faults(message.faults)

    def set_lease(self, message: SetLease) -> None:
        """Spend from this lease of a limit."""
        self._limits.answer(message)

    def adopted(self) -> None:
        """Another control has come in the former one's place."""
        self._limits.reconnect()
        self._certificates.forget()
        self._endings.forget()

    def set_key(self, message: SetKey) -> None:
        """Go by what is known of an idempotency key."""
        self._keys.answer(message)

    def drain(self, seconds: float, *, gentle: bool) -> None:
        """Stop accepting, and end when what runs has finished, ``seconds`` from now at most.

        Idle connections are closed at once; ``gentle`` leaves them to their next request, which is answered with
        ``Connection: close``, and to their idle timeout: no client meets a closed connection that it would not have
        met otherwise.
        """
        if not self._ending:
            self._ending = self.draining = True
            for sock in self._accepting.values():
                listen.stop(sock)
            self._accepting.clear()
            self._count()
        if not self.closing:
            self.closing = not gentle
            for connection in self._connections:
                connection.drain(gentle=gentle)
        if not self._connections:
            self._drained.set()
        self._nursery.start_soon(self._exit_after, seconds)

    def answer(self, what: str, about: list[str]) -> object:
        """Describe pools, connections or memory in plain values. ValueError for anything else."""
        if what == "pools":
            return self._assembly.pools.view()
        if what == "endpoints":
            return self._assembly.endpoints()
        if what == "limits":
            return self._limits.view()
        if what == "vendor_limits":
            return self._limits.vendor_view()
        if what == "cache":
            return self._assembly.shelf.view()
        if what == "purge" and len(about) == 3:
            service, path, tag = about
            return {"purged": self._assembly.shelf.memory.purge(service, path.encode(), tag.encode())}
        if what == "faults":
            return self._assembly.faults()
        if what == "connections":
            return {
                "version": self._version,
                "connections": len(self._connections),
                "streams": len(self.reaper),
                "draining": self.draining,
            }
        if what == "memory":
            return {
                "pss_bytes": proportional_bytes(),
                "allocated_blocks": sys.getallocatedblocks(),
                "connections": len(self._connections),
                "callers": len(self._callers),
                "events_waiting": self._events.waiting,
                "bindings": len(self.view.bindings) if self._version else 0,
                "leaves": len(self._leaves),
            }
        raise ValueError(f"no view named {what}")

    # --- what the server side needs (downstream.plane.Plane) --------------------------------------

    def next_id(self) -> str:
        """Return a fresh request id: eight random digits of this worker, and a count."""
        self._serial += 1
        return f"{self._prefix}-{self._serial:x}"

    def identify(self, peer: Peer, stream: Stream) -> None:
        """Ask the kernel once for the caller's uid. ProxyError 503 when the caller has too many connections."""
        if peer.looked_up:
            return
        peer.looked_up = True
        if stream.sock.family == socket.AF_UNIX:
            if peer.pid is not None and self.view.snapshot.access_log:
                peer.executable = callers.executable(peer.pid)
            return
        if not ipaddress.ip_address(peer.address).is_loopback:
            return
        before = peer.caller
        peer.uid = callers.tcp_uid(stream.sock)
        if peer.uid is not None and not self._recounted(before, peer):
            raise ProxyError(503, Flag.OVERLOAD, "connection_limit_reached", "too many connections of this caller")

    def _renamed(self, peer: Peer, address: str, port: int) -> bool:
        """Take the address that a proxy has told; False when its caller has too many connections."""
        before = peer.caller
        peer.rename(address, port)
        return self._recounted(before, peer)

    def _recounted(self, before: str, peer: Peer) -> bool:
        """Count a connection for who its caller has turned out to be; False when that one has too many."""
        self._callers[before] -= 1
        if not self._callers[before]:
            del self._callers[before]
        self._callers[peer.caller] += 1
        if self._callers[peer.caller] <= self.view.limits.connections_per_caller:
            return True
        self._meter.counter(metrics.REFUSED_CONNECTIONS, "caller").value += 1
        return False

    def authenticate(self, listener: Listener, value: bytes | None) -> str:
        """Return the proven user. ProxyError 407."""
        return authenticate(listener.users, self._assembly.secrets.values, value, self._assembly.secrets.former)

    @property
    def gateway_token(self) -> bytes | None:
        """What callers of gateways on TCP must send; None before control has said it."""
        return self._assembly.secrets.values.get(GATEWAY_TOKEN)

    async def leaf(self, host: str, caller: str) -> SSL.Context:
        """Return a server context for ``host``."""
        return await self._leaves.context(host, caller)

    async def alpn_leaf(self, host: str, caller: str) -> ssl.SSLContext:
        """Return a server context of the standard library for ``host``."""
        return await self._leaves.alpn_context(host, caller)

    async def dial_unknown(self, exchange: Exchange, host: str, port: int) -> tuple[Stream, str]:
        """Dial an unknown host for a tunnel."""
        key = PoolKey(host, port, "", False, "")
        return await self._assembly.connector.connect(key, exchange, self.view.snapshot.unknown_timeouts.connect)

    def finished(self, exchange: Exchange) -> None:
        """Count and report an exchange that met no chain."""
        exchange.ended = trio.current_time()
        self._observer.done(exchange)

    def tunnel_finished(self, exchange: Exchange, mode: str, status: int) -> None:
        """Count and report a tunnel."""
        self._observer.tunnel(exchange, mode, status)

    # --- connections ------------------------------------------------------------------------------

    async def _accept(self, name: str, sock: socket.socket) -> None:
        accepted = self._meter.counter(metrics.DOWNSTREAM_CONNECTIONS, name)

        def start(client: socket.socket, address: Any) -> None:
            accepted.value += 1
            self._start(name, client, address)

        def failed(error: str) -> None:
            self._meter.counter(metrics.ACCEPT_ERRORS, error).value += 1

        await listen.accept(sock, start, failed, self._row.is_ahead if self._row is not None else listen.never)

    def _count(self) -> None:
        """Let other workers see how many connections this one has."""
        if self._row is not None:
            self._row.holds(len(self._connections), is_accepting=bool(self._accepting))

    def _start(self, name: str, client: socket.socket, address: Any) -> None:
        """Take a connection in, or close it at once when that would break a limit."""
        limits = self.view.limits
        listener = self.view.listeners.get(name)
        peer = _unix_peer(name, client) if client.family == socket.AF_UNIX else Peer(name, address[0], address[1])
        full = len(self._connections) >= limits.connections
        proxied = listener is not None and bool(listener.proxies)
        if proxied and not full and self._proxies.refuses(peer):
            client.close()
            return
        too_many = not proxied and self._callers[peer.caller] >= limits.connections_per_caller
        if full or listener is None or too_many:
            self._meter.counter(metrics.REFUSED_CONNECTIONS, "worker" if full else "caller").value += 1
            client.close()
            return
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = Stream(client)
        is_gateway = listener.mode is ListenerMode.GATEWAY
        entry = GatewayEntry(peer, listener, self, client) if is_gateway else Entry(peer, listener, self)
        connection: Served = Connection(stream, entry)
        if proxied:
            connection = self._proxies.begin(connection)
        self._connections.add(connection)
        self._count()
        self._callers[peer.caller] += 1
        self.reaper.add(stream)
        self._nursery.start_soon(self._serve, connection)

    async def _serve(self, connection: Served) -> None:
        try:
            while (successor := await connection.serve()) is not None:
                self._connections.discard(connection)
                connection = successor
                self._connections.add(connection)
        except Exception as error:  # a supervising loop: one connection's fault must not end the worker
            self._events.notice("error", "connection_failed", f"{place_of(error)}, in a connection; it was closed")
            if os.environ.get("PROXYD_DEBUG") == "1":
                raise
        finally:
            self._connections.discard(connection)
            self._count()
            caller = connection.entry.peer.caller
            self._callers[caller] -= 1
            if not self._callers[caller]:
                del self._callers[caller]
            if self._assembly.pools.clients:
                peer = connection.entry.peer
                self._assembly.pools.left(Place(peer.address, peer.port))
            if self._ending and not self._connections:
                self._drained.set()

    def _spawn(self, run: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._supervise, run)

    async def _supervise(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run an upstream connection that many exchanges share."""
        try:
            await run()
        except Exception as error:  # a supervising loop: one connection's fault must not end the worker
            words = f"{place_of(error)}, in an upstream connection; it was closed"
            self._events.notice("error", "connection_failed", words)
            if os.environ.get("PROXYD_DEBUG") == "1":
                raise

    # --- housekeeping -----------------------------------------------------------------------------

    async def _keep_house(self) -> None:
        while True:
            await trio.sleep(HOUSEKEEPING_SECONDS)
            self._assembly.pools.sweep(trio.current_time())
            self._assembly.end_faults(trio.current_time())
            self._observer.set_clock()

    async def _end_when_drained(self, links: Links) -> None:
        await self._drained.wait()
        self._limits.surrender()
        with trio.move_on_after(1.0):
            await self._keys.flush()
            await links.flush()
        self._nursery.cancel_scope.cancel()

    async def _exit_after(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self._drained.set()


def _unix_peer(listener: str, client: socket.socket) -> Peer:
    uid, gid, pid = callers.unix_peer(client) or (None, None, None)
    return Peer(listener, UNIX_ADDRESS, 0, uid, gid, pid or None)  # pid 0: of another pid namespace
