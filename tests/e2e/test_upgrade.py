"""Upgrade in place: under load no error, tunnels kept; and a new program that fails leaves the old one as it was."""

import json
from collections.abc import Iterator

import pytest

from tests.lab.daemon import Daemon, configuration, wait_until
from tests.lab.load import Load
from tests.lab.origin import BASE_URL, Origin
from tests.lab.pki import Pki
from tests.lab.tunnels import Echo, Tunnels

pytestmark = pytest.mark.e2e

URL = f"{BASE_URL}/echo".replace("https:", "http:")


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with Echo() as running:
        yield running


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki) -> Iterator[Daemon]:
    """Two workers, and an admin HTTP address."""
    folder = tmp_path_factory.mktemp("upgrade")
    config = configuration(origin, pki, folder) | {"workers": 2}
    config["admin"]["http"] = "127.0.0.1:0"
    with Daemon(folder, config) as running:
        yield running


def upgrade(daemon: Daemon, *words: str) -> dict[str, object]:
    done = daemon.run("upgrade", "--json", *words)
    assert done.returncode == 0, done.stdout + done.stderr + daemon.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def generations(daemon: Daemon) -> list[int]:
    return [entry["generation"] for entry in daemon.status()["draining"]]


def test_two_upgrades_under_load_lose_no_request_and_no_tunnel(served: Daemon, echo: Echo) -> None:
    pid, address = served.process.pid, served.address()
    with Load(address, URL) as load, Tunnels(address, echo.authority, 50) as tunnels:
        load.wait_for_more(100)
        assert upgrade(served)["generation"] == 2
        load.wait_for_more(100)
        assert not tunnels.broken()
        assert upgrade(served)["generation"] == 3
        load.wait_for_more(100)
        assert not tunnels.broken()
        status = served.status()
        assert (status["pid"], status["generation"], status["state"]) == (pid, 3, "ready")
        wait_until(lambda: generations(served) == [1], "the second one to end: it had no tunnel")
        wait_until(lambda: served.status()["draining"][0]["connections"] == 50, "the first one's tunnels to be counted")
        tunnels.close()
        wait_until(lambda: not generations(served), "the first generation to end")
    assert not load.tally.errors
    assert load.tally.retried == 0
    assert set(load.tally.statuses) == {200}
    assert served.address() == address
