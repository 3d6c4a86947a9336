"""Bodies of any size in constant memory: 1 GiB down and up, intercepted, tunnelled and in absolute-form."""

import os
from pathlib import Path

import pytest

from tests.lab.curl import fetch
from tests.lab.daemon import Daemon, PeakMemory
from tests.lab.origin import BASE_URL, Origin

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

GIB = 1024 * 1024 * 1024
FLAT = 32 * 1024 * 1024
"""A thirty-second of what passes: buffers, and what the allocator keeps."""


@pytest.fixture
def big_file(tmp_path: Path) -> Path:
    """1 GiB that takes no room on disk."""
    path = tmp_path / "big"
    path.touch()
    os.truncate(path, GIB)
    return path


@pytest.mark.parametrize("framing", ["", "&chunked=1"], ids=["length", "chunked"])
@pytest.mark.parametrize("base", [BASE_URL, BASE_URL.replace("https:", "http:")], ids=["intercepted", "plain"])
def test_download_is_whole_and_memory_flat(daemon: Daemon, base: str, framing: str) -> None:
    fetch(daemon, f"{base}/echo")
    with PeakMemory(daemon.processes()) as memory:
        size = fetch(daemon, f"{base}/bytes?n={GIB}{framing}", "-o", "/dev/null", "-w", "%{size_download}")
    assert int(size) == GIB
    assert max(memory.growth) < FLAT, memory.growth


@pytest.mark.parametrize("base", [BASE_URL, BASE_URL.replace("https:", "http:")], ids=["intercepted", "plain"])
def test_upload_is_whole_and_memory_flat(daemon: Daemon, origin: Origin, big_file: Path, base: str) -> None:
    fetch(daemon, f"{base}/echo")
    mark = origin.ledger.mark()
    with PeakMemory(daemon.processes()) as memory:
        fetch(daemon, f"{base}/echo", "-T", str(big_file))
    received = origin.ledger.since(mark)
    assert [entry.body_bytes for entry in received] == [GIB]
    assert max(memory.growth) < FLAT, memory.growth


def test_tunnelled_download_is_whole_and_memory_flat(daemon: Daemon, origin: Origin) -> None:
    url = f"https://localhost:{origin.https_port}/open/bytes?n={GIB}"
    roots = ("--cacert", str(daemon.config["tls"]["extra_roots"]))
    with PeakMemory(daemon.processes()) as memory:
        size = fetch(daemon, url, *roots, "-o", "/dev/null", "-w", "%{size_download}")
    assert int(size) == GIB
    assert max(memory.growth) < FLAT, memory.growth
