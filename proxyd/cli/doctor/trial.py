"""Every runtime asks for a URL of its own through a private daemon; what reached the daemon is the verdict.

Twice: with the environment that ``proxyd exec`` gives, and with the person's own environment and nothing but the proxy
variables, which shows whether the local CA is trusted without help. Host names say who asks and how, so one access log
tells everything: an exchange with the credential, a TLS handshake that the program broke off, or nothing at all, which
means that it went past the proxy.
"""

import contextlib
import enum
import http.client
import json
import os
import re
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from proxyd.cli.clients import make_client
from proxyd.cli.doctor.findings import Verdict
from proxyd.cli.doctor.origin import DOMAIN, Origin
from proxyd.cli.doctor.runtimes import Probe, filled
from proxyd.cli.private import PrivateDaemon
from proxyd.cli.variables import PROXY_VARIABLES, child_environment

PROBE_SECONDS: Final = 8.0
TOTAL_SECONDS: Final = 15.0
"""For all probes; those that have not begun by then are left out. Starting and stopping the daemon comes on top."""
AT_ONCE: Final = 4
VARIABLE: Final = "PROXYD_DOCTOR_TOKEN"
ALONE: Final = "-alone"
SENTINEL: Final = "sentinel"
"""Host label of the request that is sent last: when it is in the log, everything before it is."""
SENTINEL_SECONDS: Final = 3.0
_UNRESOLVED: Final = re.compile(
    r"(not|to) resolve|getaddrinfo|enotfound|eai_again|name or service|unknownhost|no such host|to lookup",
    re.IGNORECASE,
)
"""How programs say that a name does not resolve, which only those that go past the proxy ask."""
_VERSION: Final = re.compile(r"\d+(\.\d+)+")
_MIN_SECONDS: Final = 0.5


class Outcome(enum.Enum):
    """What the daemon saw of one program."""

    WORKS = "works"
    UNTRUSTED = "the local CA is not trusted"
    BYPASSED = "the proxy is bypassed"
    FAILED = "the request failed"
    SILENT = "it sent no request"
    SLOW = f"no answer in {PROBE_SECONDS:.0f} s"
    UNTRIED = "not tried: no time was left"

    @property
    def proxy(self) -> str | None:
        """``used`` or ``bypassed``; None where it is not known."""
        if self in (Outcome.SILENT, Outcome.SLOW, Outcome.UNTRIED):
            return None
        return "bypassed" if self is Outcome.BYPASSED else "used"

    @property
    def is_trusted(self) -> bool | None:
        """Whether the local CA is; None where it is not known."""
        return {Outcome.WORKS: True, Outcome.FAILED: True, Outcome.UNTRUSTED: False}.get(self)


@dataclass(slots=True)
class Result:
    """One runtime's outcomes."""

    probe: Probe
    version: str = ""
    helped: Outcome = Outcome.UNTRIED
    """With the environment of ``proxyd exec``."""
    alone: Outcome | None = Outcome.UNTRIED
    """With the proxy variables alone; None: not asked."""
    details: list[str] = field(default_factory=list)
    """The daemon's words on what failed."""

    @property
    def verdict(self) -> Verdict:
        """Only what fails under ``proxyd exec`` fails."""
        if self.helped is Outcome.WORKS:
            return Verdict.OK
        return Verdict.WARN if self.helped is Outcome.UNTRIED else Verdict.FAIL

    @property
    def todo(self) -> str:
        """What to do about it."""
        if self.helped in (Outcome.BYPASSED, Outcome.UNTRUSTED):
            return self.probe.broken
        if self.helped in (Outcome.SLOW, Outcome.UNTRIED):
            return f"run 'proxyd doctor --runtime {self.probe.family}' alone"
        if self.helped is Outcome.FAILED:
            return "look at what proxyd said, with --json"
        if self.helped is Outcome.SILENT:
            return f"try by hand: proxyd exec -- {' '.join(self.probe.version_command) or self.probe.command[0]}"
        if self.alone in (Outcome.BYPASSED, Outcome.UNTRUSTED):
            return f"without proxyd exec: {self.probe.alone}"
        return ""

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "runtime": self.probe.name,
            "family": self.probe.family,
            "version": self.version,
            "verdict": self.verdict.value,
            "exec": _plain(self.helped),
            "variables": None if self.alone is None else _plain(self.alone),
            "details": self.details,
            "todo": self.todo,
        }


def run(probes: Sequence[Probe], state: Path | None, variables: Mapping[str, str], *, alone: bool) -> list[Result]:
    """Try ``probes`` and return one result for each, in order; CommandError when the daemon does not start.

    ``state`` holds the CA that is tested; None makes one for this trial. ``alone`` tries them without our help too.
    """
    results = [Result(probe, probe.version, alone=Outcome.UNTRIED if alone else None) for probe in probes]
    if not results:
        return results
    with tempfile.TemporaryDirectory(prefix="proxyd-doctor-") as name:
        folder = Path(name)
        log = folder / "access.jsonl"
        with contextlib.closing(Origin(folder)) as origin:
            file = folder / "proxyd.yaml"
            file.write_text(_configuration(origin, log))
            token = secrets.token_urlsafe(24)
            state, runtime = state or folder / "state", folder / "run"
            with PrivateDaemon(file, state, runtime, {**variables, VARIABLE: token}) as daemon, origin:
                client = make_client(daemon.environment(), runtime, variables)
                _ask(results, folder, child_environment(variables, client), _with_proxy(variables, client.proxy))
                _flush(client.proxy, log)
        _judge(results, log)
    return results


def _configuration(origin: Origin, log: Path) -> str:
    document = {
        "listeners": [{"name": "doctor", "mode": "forward", "address": "127.0.0.1:0", "unknown_hosts": "deny"}],
        "tls": {"extra_roots": str(origin.roots)},
        "services": {
            "doctor": {
                "hosts": [f"*.{DOMAIN}"],
                "base_url": f"https://any.{DOMAIN}",
                "endpoints": [f"127.0.0.1:{origin.port}"],
                "encoded_slash": True,
                "auth": {"scheme": "bearer", "secret": "doctor"},
            }
        },
        "secrets": {"doctor": {"env": VARIABLE}},
        "telemetry": {"access_log": {"path": str(log)}},
    }
    return json.dumps(document)  # which is YAML too


def _with_proxy(variables: Mapping[str, str], proxy: str) -> dict[str, str]:
    names = [form for name in PROXY_VARIABLES for form in (name, name.lower())]
    return {**variables, **dict.fromkeys(names, proxy)}


def _ask(results: Sequence[Result], folder: Path, helped: Mapping[str, str], bare: Mapping[str, str]) -> None:
    deadline = time.monotonic() + TOTAL_SECONDS
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for future in [
            *(pool.submit(_one, result, folder, helped, "", deadline) for result in results),
            *(
                pool.submit(_one, result, folder, bare, ALONE, deadline)
                for result in results
                if result.alone is not None
            ),
        ]:
            future.result()


def _one(result: Result, folder: Path, variables: Mapping[str, str], suffix: str, deadline: float) -> None:
    """Run one program once; SLOW and UNTRIED are known here, the rest when the log is read."""
    probe = result.probe
    seconds = min(PROBE_SECONDS, deadline - time.monotonic())
    if seconds < _MIN_SECONDS:
        return
    own = folder / (probe.name + suffix)
    own.mkdir()
    url = f"https://{probe.name}{suffix}.{DOMAIN}{probe.path}"
    command = [filled(word, url, own) for word in probe.command]
    extra = {name: filled(value, url, own) for name, value in probe.variables.items()}
    code, output = _run(command, own, {**variables, **extra}, seconds)
    if code is None:
        outcome = Outcome.SLOW
    else:  # until the log says otherwise
        outcome = Outcome.BYPASSED if _UNRESOLVED.search(output) else Outcome.SILENT
        if outcome is Outcome.SILENT and not suffix:
            result.details.append(f"it ended with {code}")
    if suffix:
        result.alone = outcome
    else:
        result.helped = outcome
        if probe.version_command and not result.version:
            plain = {name: value for name, value in variables.items() if name != "JAVA_TOOL_OPTIONS"}  # java tells it
            _, output = _run(probe.version_command, own, plain, PROBE_SECONDS)
            found = _VERSION.search(output)
            result.version = found[0] if found else ""


def _flush(proxy: str, log: Path) -> None:
    """Send one request of our own and wait until it is in the log."""
    deadline = time.monotonic() + SENTINEL_SECONDS
    connection = http.client.HTTPConnection(proxy.removeprefix("http://"), timeout=SENTINEL_SECONDS)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", f"http://{SENTINEL}.{DOMAIN}/")
        connection.getresponse().read()
    pause = threading.Event()
    while time.monotonic() < deadline and not (log.exists() and f'"{SENTINEL}.' in log.read_text(encoding="utf-8")):
        pause.wait(0.05)


def _run(command: Sequence[str], folder: Path, variables: Mapping[str, str], seconds: float) -> tuple[int | None, str]:
    """Run ``command`` in a process group of its own; its exit code, None when it took too long, and its output."""
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return error.errno or 1, ""
    try:
        output = process.communicate(timeout=seconds)[0].decode(errors="replace")
        return process.returncode, output
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def _judge(results: Sequence[Result], log: Path) -> None:
    """Correct the outcomes by what the daemon saw."""
    entries: dict[str, list[dict[str, Any]]] = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        entry = json.loads(line)
        entries.setdefault(str(entry["authority"]).partition(".")[0], []).append(entry)
    for result in results:
        seen = entries.get(result.probe.name, [])
        result.helped = _outcome(seen, result.helped)
        if result.helped is not Outcome.SILENT:
            result.details.clear()
        if result.helped is not Outcome.WORKS:
            result.details += [f"{entry['status']}: {entry['detail']}" for entry in seen if entry["detail"]]
        if result.alone is not None:
            result.alone = _outcome(entries.get(result.probe.name + ALONE, []), result.alone)


def _outcome(entries: Sequence[Mapping[str, Any]], default: Outcome) -> Outcome:
    exchanges = [entry for entry in entries if entry["kind"] == "http"]
    if any(entry["status"] < 400 and entry["credential"] for entry in exchanges):
        return Outcome.WORKS
    if exchanges:
        return Outcome.FAILED
    return Outcome.UNTRUSTED if entries else default


def _plain(outcome: Outcome) -> dict[str, Any]:
    return {"outcome": outcome.name.lower(), "proxy": outcome.proxy, "ca_trusted": outcome.is_trusted}
