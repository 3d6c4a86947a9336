"""A supervisor with a fake control and fake workers: run as a script, told by a plan, heard by datagrams.

``python -m tests.supervisor.fakes supervisor`` runs the real supervisor; it executes the same file as ``control``.
Every fake reports what happens to it as JSON to the datagram socket FAKE_REPORT and reads FAKE_PLAN (JSON) for what
to do; control reads it again on Reload.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path

import trio

from proxyd.core.messages import (
    FDS,
    Adopt,
    Bind,
    BindAdmin,
    Bound,
    Drain,
    Failed,
    Notify,
    Promote,
    Promoted,
    Pulse,
    Ready,
    Reload,
    Reloaded,
    Shutdown,
    Upgrade,
    WorkerStarted,
)
from proxyd.net.frames import FrameLink
from proxyd.net.framing import FrameReader, frame_header
from proxyd.supervisor.main import run
from proxyd.supervisor.options import Options
from proxyd.supervisor.parent import Parent
from proxyd.wire import ipc


def plan():
    return json.loads(Path(os.environ["FAKE_PLAN"]).read_text())


def report(event, **fields):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(json.dumps({"event": event, "pid": os.getpid(), **fields}).encode(), os.environ["FAKE_REPORT"])


def descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the listing's own
    return {fd: target for fd, target in found.items() if fd > 2}


class Link:
    """A blocking link, enough for a fake."""

    def __init__(self, fd):
        self.sock = socket.socket(fileno=fd)
        self.reader = FrameReader(ipc.MAX_DOWN)

    def send(self, message):
        payload = ipc.encode(message)
        self.sock.sendall(frame_header(payload, (), ipc.MAX_UP) + payload)

    def receive(self, allowed):
        """Messages of one read, [] at the end."""
        data, fds, _, _ = socket.recv_fds(self.sock, 65536, 253)
        return [ipc.decode(payload, allowed) for payload in self.reader.feed(data, fds)] if data else []


def worker(index, control_fd, supervisor_fd, counts):
    report(
        "worker",
        index=index,
        descriptors=sorted(set(descriptors()) - {control_fd, supervisor_fd}),
        ignored=[int(n) for n in (1, 2, 15) if signal.getsignal(n) is signal.SIG_IGN],
        name=Path("/proc/self/comm").read_text().strip(),
    )
    if plan().get("dies"):
        return 3
    if plan().get("raises"):
        raise RuntimeError("a bug")
    if plan().get("trio"):
        return trio.run(worker_on_trio, index, control_fd, supervisor_fd)
    control, supervisor = Link(control_fd), Link(supervisor_fd)
    links = [supervisor, control]
    with contextlib.suppress(BrokenPipeError):  # started while there was no control
        control.send(Ready(os.getpid()))
    while True:
        for sock in select.select([link.sock for link in links], [], [])[0]:
            if sock is control.sock:
                with contextlib.suppress(ConnectionResetError):
                    if sock.recv(65536):
                        continue
                links.remove(control)
                continue
            messages = supervisor.receive(ipc.SUPERVISOR_TO_WORKER)
            if not messages:
                report("orphaned", index=index)
                return 0
            for message in messages:
                if isinstance(message, Adopt):
                    if control in links:
                        links.remove(control)
                    control = Link(supervisor.reader.take_fds(1)[0])
                    links.append(control)
                    control.send(Ready(os.getpid()))
                    report("adopted", index=index)
                elif isinstance(message, Drain):
                    report("drain", index=index, seconds=message.seconds, gentle=message.gentle)
                    if not (plan().get("stubborn") or (plan().get("clings") and message.gentle)):
                        return 0


async def worker_on_trio(index, control_fd, supervisor_fd):
    control = FrameLink.from_fd(control_fd, ipc.MAX_DOWN, max_send=ipc.MAX_UP)
    supervisor = FrameLink.from_fd(supervisor_fd, ipc.MAX_DOWN, max_send=ipc.MAX_UP)
    await control.send(ipc.encode(Ready(os.getpid())))
    message = ipc.decode(await supervisor.receive(), ipc.SUPERVISOR_TO_WORKER)
    report("drain", index=index, seconds=message.seconds, gentle=message.gentle)
    return 0


class Control:
    """Sends a Bind per plan, pulses, reports what it hears."""

    def __init__(self):
        self.supervisor = Link(int(os.environ["PROXYD_SUPERVISOR_FD"]))
        self.workers = {}
        self.bind_id = 0
        self.keep = []

    def bind(self):
        wanted = plan()
        self.bind_id += 1
        listeners = [tuple(pair) for pair in wanted.get("listeners", [])]
        self.supervisor.send(Bind(self.bind_id, listeners, wanted.get("workers", 1), wanted.get("drain_timeout", 30.0)))

    def run(self):
        report(
            "control",
            descriptors=sorted(set(descriptors()) - {self.supervisor.sock.fileno()}),
            variables=sorted(
                name for name in os.environ if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_", "PROXYD_ROLE"))
            ),
            takeover=os.environ["PROXYD_TAKEOVER"],
        )
        if "fails" in plan():
            if "why" in plan():
                self.supervisor.send(Failed(plan()["why"]))
            return plan()["fails"]
        if lingers := plan().get("lingers"):
            signal.signal(signal.SIGTERM, lambda *_: self.linger(lingers))
        elif not plan().get("ignores_term"):
            signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        else:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.bind()
        while True:
            self.supervisor.send(Pulse())
            socks = [self.supervisor.sock, *self.workers]
            for sock in select.select(socks, [], [], 0.2)[0]:
                if sock is self.supervisor.sock:
                    messages = self.supervisor.receive(ipc.SUPERVISOR_TO_CONTROL)
                    if not messages:
                        return 0
                    for message in messages:
                        self.hear(message)
                else:
                    self.hear_worker(sock)

    def linger(self, seconds):
        """End the link some time before the process ends."""
        self.supervisor.sock.close()
        report("lingers")
        select.select([], [], [], seconds)
        os._exit(0)

    def hear_worker(self, sock):
        link = self.workers[sock]
        messages = link.receive(ipc.WORKER_TO_CONTROL)
        if not messages:
            del self.workers[sock]
        for message in messages:
            report("ready", worker=message.pid)

    def hear(self, message):
        fields = {name: getattr(message, name) for name in message.__dataclass_fields__}
        name = type(message).__name__
        if not isinstance(message, WorkerStarted):
            self.keep += [socket.socket(fileno=fd) for fd in self.supervisor.reader.take_fds(FDS.get(type(message), 0))]
        if isinstance(message, Promote):
            self.supervisor.send(Promoted())
        if isinstance(message, WorkerStarted):
            link = Link(self.supervisor.reader.take_fds(1)[0])
            self.workers[link.sock] = link
            fields["started"] = fields.pop("pid")
        if "pid" in fields:
            fields["exited"] = fields.pop("pid")
        if isinstance(message, Bound) and not message.error:
            fds = self.supervisor.reader.take_fds(len(message.listeners))
            fields["sockets"] = [socket.socket(fileno=fd).getsockname() for fd in fds]
            if message.id == 1 and not plan().get("never_ready"):
                self.supervisor.send(Notify("READY=1"))
        report(name, **fields)
        if isinstance(message, Reload):
            if "shutdown" in plan():
                self.supervisor.send(Shutdown(plan()["shutdown"]))
            elif "upgrade" in plan():
                self.supervisor.send(Upgrade(7, plan()["upgrade"], plan().get("upgrade_drain", 99.0)))
            elif "reloaded" in plan():
                self.supervisor.send(Reloaded())
            elif "admin" in plan():
                self.supervisor.send(BindAdmin(8, plan()["admin"]))
            else:
                if plan().get("garbage"):
                    self.supervisor.sock.sendall(b"\xff" * 8)
                    return
                self.supervisor.send(Notify("RELOADING=1"))
                self.bind()


def main():
    if sys.argv[1] == "control":
        return Control().run()
    environ = {name: value for name, value in os.environ.items() if name != "PROXYD_ROLE"}
    if os.environ.get("PROXYD_ROLE", "").startswith(plan().get("crashes", "nobody")):
        raise ImportError("no module named progress")
    if plan().get("never_yields"):
        Parent.give_up = lambda *_: os._exit(9)
    return run(
        Options(
            control_command=plan().get("command") or [sys.executable, "-m", "tests.supervisor.fakes", "control"],
            worker_main=worker,
            preload=lambda: None,
            command=plan().get("program") or [sys.executable, "-m", "tests.supervisor.fakes", "supervisor"],
            environ=dict(environ),
            environment={"FAKE_EXTRA": "1"},
            control_silence=plan().get("silence", 15.0),
            control_stop=plan().get("control_stop", 5.0),
            control_answers=plan().get("control_answers", 1.0),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
