"""Fixtures that need real processes, one set per pytest-xdist worker."""

from collections.abc import Iterator

import pytest

from proxyd.vault.cipher import Scrypt
from tests.lab.daemon import Daemon, configuration
from tests.lab.origin import Origin
from tests.lab.pki import Pki, create_pki


@pytest.fixture
def quick_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passphrases are made keys of in no time, for tests that are about something else."""
    monkeypatch.setattr(Scrypt.__init__, "__defaults__", (2**8, 8, 1))


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """A certificate authority and a leaf for the lab's hosts."""
    return create_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Origin]:
    """The origin that refuses who brings no credential."""
    with Origin(tmp_path_factory.mktemp("origin"), pki) as running:
        yield running


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki) -> Iterator[Daemon]:
    """A daemon in front of the origin, for tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("daemon")
    with Daemon(folder, configuration(origin, pki, folder)) as running:
        yield running


@pytest.fixture
def own_daemon(tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki) -> Iterator[Daemon]:
    """A daemon of the test's own: to kill, reload and drain."""
    folder = tmp_path_factory.mktemp("own")
    with Daemon(folder, configuration(origin, pki, folder)) as running:
        yield running
