"""``make demo``: real clients through proxyd to an origin that demands a credential, and a table of what happened.

Everything runs in a temporary folder and is stopped and removed at the end. Exit code 1 if anything was not as told.
"""

import http.client
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.daemon import PROXYD, SECRETS, Daemon, configuration, environment, wait_until
from tests.lab.ledger import Received
from tests.lab.origin import BASE_URL, TOKEN, Origin
from tests.lab.pki import create_pki
from tests.lab.tools import node

CLIENTS = Path(__file__).parents[1] / "e2e" / "clients"
ECHO = f"{BASE_URL}/echo"
CHAT = f"{BASE_URL}/chat".replace("https:", "wss:")
RIGHT = {200, 101}
CLIENT_SECONDS = 60

BOLD, GREEN, RED, PLAIN = ("\033[1m", "\033[32m", "\033[31m", "\033[0m") if sys.stdout.isatty() else ("", "", "", "")


@dataclass(slots=True)
class Client:
    """One program and what is expected of it."""

    name: str
    command: Sequence[str]
    exit_code: int | None = None
    entries: list[dict[str, Any]] = field(default_factory=list)
    """Its exchanges in the access log."""
    received: list[Received] = field(default_factory=list)
    """What the origin got of it."""
    note: str = ""

    @property
    def is_right(self) -> bool:
        return self.exit_code == 0 and bool(self.entries) and all(entry["status"] in RIGHT for entry in self.entries)

    @property
    def was_authorised(self) -> bool:
        return bool(self.received) and all(has_token(entry) for entry in self.received)


def has_token(received: Received) -> bool:
    """Whether the origin got its token, once and nothing beside it."""
    return received.values("authorization") == [f"Bearer {TOKEN}"]


def clients(folder: Path) -> list[Client]:
    """Return the clients that this machine has."""
    python = sys.executable
    found = [
        Client("curl", ["curl", "-fsS", ECHO]),
        Client("curl, POST", ["curl", "-fsS", "--json", '{"title": "Printer on fire"}', ECHO]),
        Client("curl, http://", ["curl", "-fsS", ECHO.replace("https:", "http:")]),
        Client("wget", ["wget", "-q", "-O", "-", ECHO]),
        *(Client(f"Python {name}", [python, str(CLIENTS / f"get_{name}.py"), ECHO]) for name in LIBRARIES),
        Client("git clone", ["git", "clone", "-q", f"{BASE_URL}/git/ticketkit.git", str(folder / "clone")]),
    ]
    index = ("--no-cache-dir", "--no-deps", "--index-url", f"{BASE_URL}/simple/")
    found.append(Client("pip install", [python, "-m", "pip", "install", "-q", "--target", "site", *index, "ticketkit"]))
    if (brought := node()) is not None:
        binary, npm = brought
        registry = (
            "--registry",
            f"{BASE_URL}/npm/",
            "--cache",
            str(folder / "npm"),
            "--no-audit",
            "--no-fund",
            "--no-update-notifier",
        )
        found.append(Client("Node fetch", [binary, str(CLIENTS / "get_fetch.mjs"), ECHO]))
        found.append(Client("Node WebSocket", [binary, str(CLIENTS / "websocket.mjs"), CHAT]))
        found.append(Client("npm install", [binary, npm, "install", "--silent", *registry, "ticketkit"]))
    missing = sorted({client.command[0] for client in found if shutil.which(client.command[0]) is None})
    if missing:
        print(f"  not installed, so left out: {', '.join(missing)}")
    return [client for client in found if client.command[0] not in missing]


LIBRARIES = ("requests", "httpx", "aiohttp")


def main() -> int:
    """Run the demonstration and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="proxyd-demo-") as name:
        folder = Path(name)
        pki = create_pki(folder / "pki")
        with Origin(folder / "origin", pki) as origin:
            print(f"{BOLD}An origin{PLAIN} that demands a token: {BASE_URL}, in truth 127.0.0.1:{origin.https_port}")
            refused = direct(origin, str(pki.roots))
            print(f"  asked without proxyd: {refused}")
            with Daemon(folder / "proxyd", configuration(origin, pki, folder / "proxyd")) as daemon:
                print(f"{BOLD}proxyd{PLAIN} in front of it: {daemon.url}, one service, one secret")
                print(f"{BOLD}Clients{PLAIN}, each as: proxyd exec -- CLIENT; no one of them holds the token")
                programs = clients(folder)
                for client in programs:
                    run(client, daemon, origin)
                show(programs)
                return verdict(programs, refused, origin.ledger.raw(), daemon)


def direct(origin: Origin, roots: str) -> int:
    """Ask the origin without proxyd and return the status."""
    connection = http.client.HTTPSConnection(
        "localhost", origin.https_port, context=ssl.create_default_context(cafile=roots), timeout=10
    )
    try:
        connection.request("GET", "/v2/echo")
        return connection.getresponse().status
    finally:
        connection.close()


def run(client: Client, daemon: Daemon, origin: Origin) -> None:
    """Run one client to its end and take its exchanges from the access log and the ledger."""
    seen, mark = len(daemon.log()), origin.ledger.mark()
    folder = daemon.folder / client.name.replace(" ", "-").replace("/", "")
    extra = {"PROXYD_ADMIN": str(daemon.admin.path), "PIP_DISABLE_PIP_VERSION_CHECK": "1", **SECRETS}
    variables = environment(folder, extra)
    variables["PATH"] = f"{Path((node() or (sys.executable,))[0]).parent}{os.pathsep}{variables['PATH']}"
    command = [PROXYD, "exec", "--runtime-dir", str(folder / "run"), "--", *client.command]
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=CLIENT_SECONDS, check=False
    )
    client.exit_code = done.returncode
    client.received = origin.ledger.since(mark)
    wait_until(lambda: len(daemon.log()) >= seen + max(1, len(client.received)), f"{client.name} in the access log")
    client.entries = [entry for entry in daemon.log()[seen:] if entry["kind"] == "http"]
    if not client.is_right:
        client.note = done.stderr.strip()


def show(programs: Iterable[Client]) -> None:
    """Print the table: one line per exchange, the client's name on its first."""
    rows: list[tuple[str, ...]] = [
        ("CLIENT", "REQUEST", "STATUS", "CREDENTIAL ADDED", "ORIGIN SAW", "CAME AS", "UPSTREAM", "MS", "")
    ]
    for client in programs:
        for index, entry in enumerate(client.entries or [{}]):
            rows.append(row(client, index, entry))
    widths = [max(len(line[column]) for line in rows) for column in range(len(rows[0]))]
    print()
    for number, line in enumerate(rows):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        colour = BOLD if number == 0 else GREEN if line[-1] == "ok" else RED
        print(f"{colour}{text}{PLAIN}")


def row(client: Client, index: int, entry: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    name = client.name if index == 0 else ""
    if not entry:
        return (name, "-", "-", "-", "-", "-", "-", "-", f"exit {client.exit_code}")
    target = entry["path"].partition("?")[0]
    authorised = index < len(client.received) and has_token(client.received[index])
    right = authorised and entry["status"] in RIGHT and client.exit_code == 0
    return (
        name,
        f"{entry['method']} {target if len(target) <= 44 else '…' + target[-43:]}",
        str(entry["status"]),
        f"{entry['credential'] or 'none'}, by proxyd",
        "the token" if authorised else "no token",
        {"plain": "http", "intercept": "https"}.get(entry["mode"], entry["mode"]),
        "reused" if entry["reused"] else "new",
        f"{entry['total_ms']:.1f}",
        "ok" if right else f"wrong (exit {client.exit_code})",
    )


def verdict(programs: Sequence[Client], refused: int, raw: str, daemon: Daemon) -> int:
    """Judge the whole; print what was wrong."""
    wrong = [f"{client.name}: exit {client.exit_code}\n{client.note}" for client in programs if not client.is_right]
    wrong += [f"{client.name}: the origin did not get the token" for client in programs if not client.was_authorised]
    if not programs:
        wrong.append("no client is installed: apt-get install curl")
    if refused != 401:
        wrong.append(f"the origin answered {refused} without a credential")
    if "placeholder" in raw:
        wrong.append("a placeholder reached the origin")
    if TOKEN in daemon.stderr or any(TOKEN in str(entry) for entry in daemon.log()):
        wrong.append("the token stands in a log")
    exchanges = [entry for client in programs for entry in client.entries]
    reused = sum(entry["reused"] for entry in exchanges)
    print(f"\n{len(programs)} clients, {len(exchanges)} exchanges, {reused} of them on a reused upstream connection.")
    if wrong:
        print(f"{RED}Not as it should be:{PLAIN}\n" + "\n".join(wrong) + f"\n\nproxyd said:\n{daemon.stderr}")
        return 1
    print(f"{GREEN}All as it should be: no client held the token, the origin always saw it, no log shows it.{PLAIN}")
    return 0


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"({time.monotonic() - started:.1f} s)")
    sys.exit(code)
