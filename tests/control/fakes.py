"""A supervisor and workers at the other ends of real links."""

import os
import socket
from dataclasses import dataclass, field

import trio

from proxyd.certs.authority import Authority
from proxyd.certs.root import make_root
from proxyd.control.compose import Instance
from proxyd.control.controller import Controller
from proxyd.control.read import SettingsError
from proxyd.control.reports import Reports
from proxyd.control.tools import Tools
from proxyd.core.messages import (
    Answer,
    Applied,
    ApplySnapshot,
    Bind,
    Bound,
    CredentialApplied,
    InstallLeaf,
    Notify,
    Pulse,
    Query,
    Ready,
    Refused,
    SetCredential,
    SetListener,
    WorkerExited,
    WorkerStarted,
)
from proxyd.core.service import Auth, AuthPart, BaseUrl, HostPattern, Service
from proxyd.core.settings import SecretSource, Settings
from proxyd.core.snapshot import Listener, ListenerMode
from proxyd.net.frames import FrameLink
from proxyd.net.framing import LinkClosed, close_fds
from proxyd.telemetry.log import Log
from proxyd.vault.store import Vault
from proxyd.wire import ipc


def listener(name="apps", address="127.0.0.1:0", mode=ListenerMode.FORWARD, **options):
    return Listener(name, mode, address, **options)


def service(name, *hosts, secret=""):
    patterns = tuple(HostPattern(host.removeprefix("*."), None, host.startswith("*.")) for host in hosts)
    auths = (Auth("bearer", (AuthPart("authorization", secret),)),) if secret else ()
    return Service(name, patterns, BaseUrl("https", hosts[0].removeprefix("*."), 443), auths=auths)


def settings(*services, listeners=None, **options):
    listeners = (listener(),) if listeners is None else tuple(listeners)
    return Settings("proxyd.yaml", listeners, tuple(services), **options)


def variable(name, variable):
    return SecretSource(name, env=variable)


@dataclass
class FakeWorker:
    """Answers as a worker does, unless told to be silent; keeps what it was sent."""

    index: int
    pid: int
    link: FrameLink
    silent: bool = False
    refuses: str = ""
    """Host of a service whose snapshot it cannot use."""
    is_slow: bool = False
    """It does not confirm credentials, as one that was stopped."""
    got: list = field(default_factory=list)
    credentials: dict = field(default_factory=dict)
    leaves: dict = field(default_factory=dict)
    inodes: dict = field(default_factory=dict)
    snapshot: object = None
    closed: bool = False
    changed: trio.Event = field(default_factory=trio.Event)

    async def run(self):
        try:
            await self.send(Ready(self.pid))
            while not self.silent:
                await self.on_message(ipc.decode(await self.link.receive(), ipc.CONTROL_TO_WORKER))
                self.tell()
        except LinkClosed:
            self.closed = True
            self.tell()

    def tell(self):
        self.changed.set()
        self.changed = trio.Event()

    async def send(self, message):
        await self.link.send(ipc.encode(message))

    async def on_message(self, message):
        self.got.append(message)
        match message:
            case SetListener(name):
                fds = self.link.take_fds(1)
                self.inodes[name] = os.fstat(fds[0]).st_ino
                close_fds(fds)
            case SetCredential(name, value, _, serial):
                self.credentials[name] = value
                if not self.is_slow:
                    await self.send(CredentialApplied(name, serial))
            case InstallLeaf(host):
                self.leaves[host] = message
            case ApplySnapshot(snapshot):
                if self.refuses and any(p.host == self.refuses for s in snapshot.services for p in s.hosts):
                    await self.send(Refused(snapshot.version, "no room"))
                else:
                    self.snapshot = snapshot
                    await self.send(Applied(snapshot.version))
            case Query(number, what):
                await self.send(Answer(number, [{"address": f"192.0.2.{self.index}:443", "what": what}]))

    async def until(self, condition):
        """Wait until ``condition()`` holds of what has come."""
        with trio.fail_after(20):
            while not condition():
                await self.changed.wait()

    def kinds(self):
        return [type(message).__name__ for message in self.got]


class FakeSupervisor:
    """Binds real sockets, starts fake workers when it is told how many, and counts pulses."""

    def __init__(self, link, nursery):
        self.link = link
        self.nursery = nursery
        self.workers = {}
        self.options = {}
        """Of the next workers, by index."""
        self.binds = []
        self.notices = []
        self.pulses = 0
        self.refuses = ""
        self.deaf = False
        self.others = []
        self.sockets = {}
        self.next_pid = 5_000_001  # beyond the kernel's PID_MAX_LIMIT: nobody's
        self.killed = []

    async def run(self):
        try:
            while True:
                await self.on_message(ipc.decode(await self.link.receive(), ipc.CONTROL_TO_SUPERVISOR))
        except LinkClosed:
            self.close()

    def close(self):
        self.link.close()
        for sock in self.sockets.values():
            sock.close()
        for worker in self.workers.values():
            worker.link.close()

    async def send(self, message, fds=()):
        await self.link.send(ipc.encode(message), fds)

    async def on_message(self, message):
        match message:
            case Pulse():
                self.pulses += 1
            case Notify(text):
                self.notices.append(text)
            case Bind():
                self.binds.append(message)
                if not self.deaf:
                    await self.bind(message)
            case other:
                self.others.append(other)

    async def bind(self, message):
        if self.refuses:
            await self.send(Bound(message.id, [], self.refuses))
            return
        wanted = dict(message.listeners)
        for name in [name for name in self.sockets if name not in wanted]:
            self.sockets.pop(name).close()
        for name in wanted:
            if name not in self.sockets:
                self.sockets[name] = socket.create_server(("127.0.0.1", 0))
        names = [(name, f"127.0.0.1:{self.sockets[name].getsockname()[1]}") for name in wanted]
        await self.send(Bound(message.id, names), [self.sockets[name].fileno() for name in wanted])
        for index in range(len(self.workers), message.workers):
            await self.start_worker(index)

    async def start_worker(self, index, **options):
        ours, theirs = socket.socketpair()
        pid, self.next_pid = self.next_pid, self.next_pid + 1
        link = FrameLink(theirs, ipc.MAX_DOWN, max_send=ipc.MAX_UP)
        worker = self.workers[index] = FakeWorker(index, pid, link, **(self.options.get(index, {}) | options))
        with ours:
            await self.send(WorkerStarted(index, pid), [ours.fileno()])
        self.nursery.start_soon(worker.run)
        return worker

    def kill(self, pid):
        """What control does to a worker that broke a rule."""
        self.killed.append(pid)
        self.nursery.start_soon(self.replace, pid)

    async def replace(self, pid):
        index = next(index for index, worker in self.workers.items() if worker.pid == pid)
        self.workers[index].link.close()
        await self.send(WorkerExited(index, pid, "killed by SIGKILL"))
        await self.start_worker(index)


class Lab:
    """A controller between the fakes. ``file`` is what the configuration file says: settings, or a list of mistakes."""

    def __init__(self, nursery, log, state):
        ours, theirs = socket.socketpair()
        self.nursery = nursery
        self.file = settings(service("tickets", "api.tickets.example"))
        self.supervisor = FakeSupervisor(FrameLink(theirs, ipc.MAX_UP, max_send=ipc.MAX_DOWN), nursery)
        links = {}
        self.vault = Vault(state, environment={})
        daemon_log = Log("control", descriptor=log, human=False)
        self.reports = Reports(daemon_log, tuple, state_dir=state)
        self.authority = Authority(make_root())
        instance = Instance("proxyd-test", 1000, ("127.0.0.1:3130",))
        tools = Tools(
            self.authority, self.reports, daemon_log, self.read, self.supervisor.kill, instance, vault=self.vault
        )
        self.controller = Controller(tools, FrameLink(ours, ipc.MAX_DOWN, max_send=ipc.MAX_UP), links)

    async def read(self):
        if isinstance(self.file, list):
            raise SettingsError(self.file)
        return self.file

    async def start(self):
        self.nursery.start_soon(self.supervisor.run)
        self.nursery.start_soon(self.reports.run)
        await self.nursery.start(self.controller.run)
        await self.controller.start(self.file)

    @property
    def worker(self):
        return self.supervisor.workers[0]
