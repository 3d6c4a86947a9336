"""The daemon under test: written configuration, ``proxyd run`` as a process, readiness, admin calls, access log.

Readiness is the daemon's own word (sd_notify), so nothing is polled; listeners bind port 0 and the admin socket says
which port it became.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgpack
import psutil
import yaml

from tests.lab.origin import HOST, KEY, TOKEN, Origin
from tests.lab.pki import Pki

PROXYD = str(Path(sys.executable).with_name("proxyd"))
START_SECONDS = 20
STOP_SECONDS = 20
SECRETS = {"TICKETS_TOKEN": TOKEN, "PLAIN_KEY": KEY}

Configuration = dict[str, Any]


def configuration(origin: Origin, pki: Pki, folder: Path, port: int = 0) -> Configuration:
    """Return the configuration that the README explains, for one origin; ``port`` 0 lets the kernel choose."""
    plain = f"127.0.0.1:{origin.http_port}"
    return {
        "listeners": [
            {"name": "apps", "mode": "forward", "address": f"127.0.0.1:{port}", "unknown_hosts": "tunnel"},
        ],
        "admin": {"socket": str(folder / "admin.sock")},
        "workers": 1,
        "tls": {"extra_roots": str(pki.roots)},
        "egress": {"allow": ["127.0.0.0/8"], "ports": ["*"]},
        "services": {
            "tickets": {
                "hosts": [HOST],
                "base_url": f"https://{HOST}/v2",
                "endpoints": [f"127.0.0.1:{origin.https_port}"],
                "auth": {"scheme": "bearer", "secret": "tickets/token"},
                "timeouts": {"connect": "2s", "first_byte": "30s", "total": "300s"},
            },
            "plain": {
                "hosts": [plain],
                "base_url": f"http://{plain}",
                "insecure": True,
                "auth": {"scheme": "header", "name": "X-Api-Key", "secret": "plain/key"},
            },
        },
        "secrets": {"tickets/token": {"env": "TICKETS_TOKEN"}, "plain/key": {"env": "PLAIN_KEY"}},
        "access": {
            "default": "deny",
            "rules": [
                {"allow": {"services": ["tickets"], "paths": ["/v2/"]}},
                {"allow": {"services": ["plain"]}},
                {"allow": {"hosts": ["*"]}},
            ],
        },
        "telemetry": {"access_log": {"path": str(folder / "access.jsonl")}},
    }


def environment(folder: Path, extra: Mapping[str, str] = {}) -> dict[str, str]:
    """Return variables that keep a process inside ``folder``: nothing of the user's own configuration takes part."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TMPDIR": str(folder),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_RUNTIME_DIR": str(home),
        "PIP_CONFIG_FILE": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        **extra,
    }


def wait_until(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Poll ``condition`` until it holds; AssertionError naming ``what`` when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for: {what}"
        pause(0.02)


def pause(seconds: float) -> None:
    """Give other processes time; for polling and for load, never instead of an event."""
    threading.Event().wait(seconds)


class AdminError(Exception):
    """The admin socket answered with an error."""


class Admin:
    """msgpack-RPC on the admin socket, one connection per call."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def call(self, method: str, *params: object) -> Any:
        """Call ``method``; AdminError if the answer is one, OSError if nobody listens."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(START_SECONDS)
            sock.connect(str(self.path))
            sock.sendall(msgpack.packb([0, 1, method, list(params)]))
            unpacker = msgpack.Unpacker()
            while data := sock.recv(64 * 1024):
                unpacker.feed(data)
                for kind, number, error, result in unpacker:
                    assert (kind, number) == (1, 1)
                    if error is not None:
                        raise AdminError(error)
                    return result
        raise AdminError(f"the admin socket ended without an answer to {method}")


class Daemon:
    """``proxyd run`` with one configuration in one folder. Use as a context manager: leaving it always stops it."""

    def __init__(
        self, folder: Path, config: Configuration, variables: Mapping[str, str] = SECRETS, program: str = PROXYD
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.config = config
        self.file = folder / "proxyd.yaml"
        self.admin = Admin(Path(config["admin"]["socket"]))
        self.notices: list[str] = []
        """What the daemon told its supervisor (systemd's words), in order."""
        self._variables = dict(variables)
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr = folder / "stderr.log"
        self._notify: socket.socket | None = None

    def write(self, config: Configuration) -> None:
        """Replace the configuration file; a reload is the caller's."""
        self.config = config
        self.file.write_text(yaml.safe_dump(config, sort_keys=False))

    def __enter__(self) -> Self:
        self.write(self.config)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(self.folder / "notify.sock"))
        self._notify.settimeout(0.1)
        variables = environment(self.folder, {**self._variables, "NOTIFY_SOCKET": str(self.folder / "notify.sock")})
        command = [self._program, "run", "-c", str(self.file)]
        command += ["--state-dir", str(self.folder / "state"), "--runtime-dir", str(self.folder / "run")]
        with self._stderr.open("ab") as stderr:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=variables, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr
            )
        try:
            self.wait_for_notice("READY=1")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        family = self.processes()
        try:
            if self.process.poll() is None:
                self.process.terminate()
                self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            if error is None:
                raise AssertionError(f"SIGTERM did not end the daemon in {STOP_SECONDS} s:\n{self.stderr}") from None
        finally:
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()  # a stopped or orphaned one; those of an orderly end are gone
            if self._notify is not None:
                self._notify.close()
                (self.folder / "notify.sock").unlink()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The supervisor."""
        assert self._process is not None, "the daemon was not started"
        return self._process

    @property
    def stderr(self) -> str:
        """All that the daemon printed."""
        return self._stderr.read_text(errors="replace")

    def wait_for_notice(self, notice: str, seconds: float = START_SECONDS) -> None:
        """Wait until the daemon says ``notice`` to its NOTIFY_SOCKET; AssertionError with its stderr otherwise."""
        assert self._notify is not None
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(TimeoutError):
                said = self._notify.recv(4096).decode().splitlines()
                self.notices += said
                if notice in said:
                    return
            if self.process.poll() is not None:
                raise AssertionError(f"proxyd ended with {self.process.returncode}:\n{self.stderr}")
            if time.monotonic() > deadline:
                raise AssertionError(f"no {notice} in {seconds:.0f} s:\n{self.stderr}")

    def status(self) -> dict[str, Any]:
        """The admin socket's ``status``."""
        answer = self.admin.call("status")
        assert isinstance(answer, dict)
        return answer

    def address(self, name: str = "apps") -> tuple[str, int]:
        """Where the listener ``name`` really listens."""
        for listener in self.status()["listeners"]:
            if listener["name"] == name:
                host, _, port = listener["address"].rpartition(":")
                return host.strip("[]"), int(port)
        raise AssertionError(f"status knows no listener {name}")

    @property
    def url(self) -> str:
        """The forward listener as a proxy URL."""
        host, port = self.address()
        return f"http://{host}:{port}"

    def run(
        self, *arguments: str, variables: Mapping[str, str] = {}, seconds: float = 60, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Run ``proxyd`` with ``arguments`` against this daemon's admin socket."""
        extra = {**self._variables, "PROXYD_ADMIN": str(self.admin.path), **variables}
        return run_proxyd(self.folder, *arguments, variables=extra, seconds=seconds, **options)

    def reload(self) -> None:
        """SIGHUP, and wait until the daemon says that it is ready again."""
        self.process.send_signal(signal.SIGHUP)
        self.wait_for_notice("READY=1")

    def log(self) -> list[dict[str, Any]]:
        """The access log so far, one entry per exchange."""
        path = Path(self.config["telemetry"]["access_log"]["path"])
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    def wait_for_log(self, count: int) -> list[dict[str, Any]]:
        """Wait until the access log holds ``count`` entries and return them."""
        wait_until(lambda: len(self.log()) >= count, f"{count} access log entries")
        return self.log()

    @property
    def ca(self) -> Path:
        """PEM of the root that clients must trust."""
        return self.folder / "state" / "ca.pem"

    def processes(self) -> list[psutil.Process]:
        """Supervisor, control and workers, as far as they live."""
        try:
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def control(self) -> psutil.Process:
        """The control process; it must answer."""
        return psutil.Process(self.status()["control_pid"])

    def workers(self) -> list[psutil.Process]:
        """The workers; control must answer."""
        return [psutil.Process(worker["pid"]) for worker in self.status()["workers"]]


def run_proxyd(
    folder: Path, *arguments: str, variables: Mapping[str, str] = SECRETS, seconds: float = 60, **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run ``proxyd`` with ``arguments`` in ``folder`` and the environment of tests; output is captured as text.

    ``{folders}`` among the arguments stands for a state and a runtime folder inside ``folder``.
    """
    words: list[str] = []
    for argument in arguments:
        folders = ["--state-dir", str(folder / "state"), "--runtime-dir", str(folder / "run")]
        words += folders if argument == "{folders}" else [argument]
    return subprocess.run(
        [PROXYD, *words],
        cwd=folder,
        env=environment(folder, variables),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )


class PeakMemory:
    """Samples the resident memory of processes while its block runs; ``growth`` is each one's peak over its start."""

    def __init__(self, processes: Sequence[psutil.Process]) -> None:
        self._processes = processes
        self._start = [process.memory_info().rss for process in processes]
        self._peak = list(self._start)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    @property
    def growth(self) -> list[int]:
        """Bytes, one number per process."""
        return [peak - start for peak, start in zip(self._peak, self._start, strict=True)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(0.05):
            for index, process in enumerate(self._processes):
                with contextlib.suppress(psutil.NoSuchProcess):
                    self._peak[index] = max(self._peak[index], process.memory_info().rss)
