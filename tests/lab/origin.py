"""Starts the origin and holds what tests need of it: ports, credential, ledger."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.ledger import Ledger
from tests.lab.packages import create_packages
from tests.lab.pki import Pki

ROOT = Path(__file__).parents[2]
HOST = "api.tickets.example"
BASE_URL = f"https://{HOST}/v2"
TOKEN = "tk-live-3f9c1e7a5b2d4860"
KEY = "pk-live-9d2e6c4b8a1f7053"
DEMANDS = {"https": ("authorization", f"Bearer {TOKEN}"), "http": ("x-api-key", KEY)}


class Origin:
    """An HTTPS and an HTTP door on loopback that refuse who brings no credential. Use as a context manager."""

    def __init__(self, folder: Path, pki: Pki, demands: Mapping[str, tuple[str, str]] = DEMANDS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ledger = Ledger(folder / "ledger.jsonl")
        self.https_port = 0
        self.http_port = 0
        self._pki = pki
        self._demands = dict(demands)
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the origin is not running"
        return self._process.pid

    def __enter__(self) -> Self:
        create_packages(self.folder / "content", BASE_URL)
        self.ledger.path.touch()
        settings = {
            "certificate": str(self._pki.certificate),
            "key": str(self._pki.key),
            "demands": self._demands,
            "ledger": str(self.ledger.path),
            "content": str(self.folder / "content"),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.server"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(settings) + "\n")
        self._process.stdin.flush()
        ports = json.loads(self._process.stdout.readline())
        self.https_port, self.http_port = ports["https"], ports["http"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
