"""The control process, put together: configuration, CA, admin side, and the controller between supervisor and workers.

It ends when the supervisor's link ends, or on SIGTERM, which the supervisor sends when all workers are gone.
"""

import contextlib
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import psutil
import trio

from proxyd.certs.authority import Authority
from proxyd.certs.export import export
from proxyd.certs.root import AuthorityError
from proxyd.control.compose import Instance
from proxyd.control.controller import Controller
from proxyd.control.generations import Admin
from proxyd.control.last_use import LastUse
from proxyd.control.read import FirstReading, SettingsError, Source, read
from proxyd.control.reports import Reports
from proxyd.control.service import ControlService, Facts
from proxyd.control.supervisor import BindFailed, SupervisorLink
from proxyd.control.token import FILE as TOKEN_FILE
from proxyd.control.token import gateway_token
from proxyd.control.tools import Tools
from proxyd.control.vault import VaultDesk
from proxyd.control.workers import WorkerLink
from proxyd.core.settings import Settings
from proxyd.net.frames import FrameLink
from proxyd.net.process import harden, raise_nofile, set_name
from proxyd.telemetry.log import Log
from proxyd.vault.compartment import Compartment
from proxyd.vault.errors import VaultError
from proxyd.vault.store import Vault
from proxyd.vault.usage import Usage
from proxyd.wire import ipc

SUPERVISOR_FD: Final = "PROXYD_SUPERVISOR_FD"
"""Environment variable with the number of the link to the supervisor."""
TAKEOVER: Final = "PROXYD_TAKEOVER"
"""Environment variable that says how to come by an admin socket that a former generation still serves: ``later``, when
the supervisor says Promote; ``now``; empty: not at all."""

ADMIN_SOCKET: Final = "admin.sock"
"""In the runtime folder, where the configuration names no other."""

EXIT_FAILED: Final = 1
EXIT_CONFIG: Final = 2
"""The configuration is not valid."""

LEAVE_SECONDS: Final = 1.0
"""After SIGTERM, for what workers said last."""


class StartError(Exception):
    """The daemon cannot start; the text is for whoever started it."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    config: Path | None
    """None: the embedded default."""
    state_dir: Path
    runtime_dir: Path
    admin_socket: str = ""
    """Overrides the configuration's; empty: it does not."""
    takeover: str = ""
    """What TAKEOVER says."""

    @property
    def source(self) -> Source:
        """Where the configuration stands."""
        return Source(self.config, self.state_dir, self.runtime_dir)


class AdminAddresses(Admin, Protocol):
    """Where the admin side listens, as bound."""

    @property
    def socket(self) -> str:
        """Path of the admin socket."""
        ...

    @property
    def http(self) -> str:
        """``host:port``; empty: nowhere."""
        ...


ServeAdmin = Callable[..., Awaitable[Any]]
"""``serve(service, socket, http, report, takeover, *, task_status)``: bind the socket at the path ``socket``, call
``task_status.started`` with AdminAddresses and serve until cancelled, HTTP too unless the listening socket ``http`` is
None. StartError when the path cannot be had. ``report`` takes an event's name and its detail, ``takeover`` is
TAKEOVER's value."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What outlives every configuration."""

    controller: Controller
    facts: Facts
    desk: VaultDesk
    last_use: LastUse


def run(options: Options, serve_admin: ServeAdmin) -> int:
    """Be the control process until the supervisor ends it; return the exit code."""
    harden()
    raise_nofile()
    set_name("proxyd-control")
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # it is the supervisor's; whoever rotates logs may tell every process
    link = socket.socket(fileno=int(os.environ.pop(SUPERVISOR_FD)))
    link.set_inheritable(False)
    options = replace(options, takeover=os.environ.pop(TAKEOVER, ""))
    return trio.run(serve, options, serve_admin, link, FirstReading(options.source))


async def serve(options: Options, serve_admin: ServeAdmin, supervisor: socket.socket, reading: FirstReading) -> int:
    """Run under trio what ``run`` describes; takes over the supervisor's socket."""
    try:
        settings = await reading.result()
        parts = _prepare(options, settings, supervisor)
    except (SettingsError, StartError) as error:
        link = FrameLink(supervisor, ipc.MAX_DOWN, max_send=ipc.MAX_UP)
        await SupervisorLink(link, lambda *_: None).failed(str(error))
        link.close()
        return _fail(error, EXIT_CONFIG if isinstance(error, SettingsError) else EXIT_FAILED)
    code = 0
    controller = parts.controller
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_on_signal, controller, nursery.cancel_scope)
        nursery.start_soon(parts.last_use.run)
        nursery.start_soon(controller.tools.reports.run)
        await nursery.start(_run_controller, controller, nursery.cancel_scope)
        try:
            await _start(parts, settings, options, partial(nursery.start, serve_admin))
        except (SettingsError, StartError) as error:
            await controller.supervisor.failed(str(error))
            code = _fail(error, EXIT_FAILED)
            nursery.cancel_scope.cancel()
    return code


def _prepare(options: Options, settings: Settings, supervisor: socket.socket) -> _Parts:
    """Open the vault and the CA and make the parts that outlive every configuration. StartError."""
    try:
        options.runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        vault = Vault(options.state_dir, settings.vault_key)
        authority = Authority.open(options.state_dir, Compartment(vault))
        token = gateway_token(options.runtime_dir)
        ca_path, bundle_path = export(options.state_dir.absolute(), authority.root_pem)
        if settings.ca_folder:
            ca_path, bundle_path = export(Path(settings.ca_folder), authority.root_pem)
    except (AuthorityError, VaultError) as error:
        raise StartError(str(error)) from error
    except OSError as error:
        raise StartError(f"{error.filename}: {error.strerror}; name other folders or mend it") from error
    log = Log("control")
    links: dict[int, WorkerLink] = {}

    def processes() -> list[tuple[str, int]]:
        workers = [(f"worker-{link.index}", link.pid) for link in links.values()]
        return [("supervisor", os.getppid()), ("control", os.getpid()), *workers]

    instance = Instance(f"proxyd-{secrets.token_hex(4)}", os.geteuid(), member=_member())
    reports = Reports(log, processes, state_dir=options.state_dir.absolute())
    tools = Tools(authority, reports, log, partial(read, options.source), _kill, instance, token, vault)
    link = FrameLink(supervisor, ipc.MAX_DOWN, max_send=ipc.MAX_UP)
    controller = Controller(tools, link, links)
    token_path = str(options.runtime_dir.absolute() / TOKEN_FILE)
    facts = Facts(time.time(), str(ca_path), str(bundle_path), token_path=token_path)
    usage = Usage(options.state_dir)
    usage.load()
    last_use = LastUse(usage, lambda: controller.settings, log)
    tools.reports.taps.append(last_use.take)
    return _Parts(controller, facts, VaultDesk(controller, vault, usage), last_use)


async def _start(
    parts: _Parts,
    settings: Settings,
    options: Options,
    start_admin: Callable[..., Awaitable[AdminAddresses]],
) -> None:
    """Bind the admin addresses, then bring the configuration in. StartError or SettingsError: one was not possible."""
    controller, facts = parts.controller, parts.facts
    path = options.admin_socket or settings.admin_socket or str(options.runtime_dir.absolute() / ADMIN_SOCKET)
    report = partial(_report, controller.tools.log)
    facts.readers = settings.admin_readers
    http = await _bind_http(controller, settings.admin_http)
    bound = await start_admin(ControlService(controller, facts, parts.desk), path, http, report, options.takeover)
    controller.generations.admin = bound
    facts.admin_socket, facts.admin_http = bound.socket, bound.http
    if bound.http:
        controller.tools.instance = replace(controller.tools.instance, own=(bound.http,))
    await controller.start(settings)


async def _bind_http(controller: Controller, address: str) -> socket.socket | None:
    """Have the supervisor listen: it keeps the socket for the next control. StartError."""
    if not address:
        return None
    try:
        bound = await controller.supervisor.bind_admin(address)
    except BindFailed as error:
        raise StartError(str(error)) from error
    return socket.socket(fileno=bound.fd)


async def _run_controller(
    controller: Controller, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]
) -> None:
    await controller.run(task_status=task_status)
    scope.cancel()


async def _end_on_signal(controller: Controller, scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            await controller.leave(LEAVE_SECONDS)
            await controller.generations.flush()
            scope.cancel()


def _report(log: Log, event: str, detail: str) -> None:
    log.warning(event, detail=detail)


def _member() -> str:
    """Name the daemon by its host and its supervisor, which outlives control and every upgrade."""
    supervisor = psutil.Process(os.getppid())
    return f"{socket.gethostname()}-{supervisor.pid}-{supervisor.create_time():.2f}"


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _fail(error: Exception, code: int) -> int:
    sys.stderr.write("".join(f"proxyd: {line}\n" for line in str(error).splitlines()))
    sys.stderr.flush()
    return code
