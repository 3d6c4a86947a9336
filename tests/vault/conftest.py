import pytest

from proxyd.vault.store import Vault


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def open_vault(state, clock):
    """Opens the vault as a process that starts anew would."""

    def open_vault(wanted=None, environment=None, ask=None):
        return Vault(state, wanted, environment={} if environment is None else environment, ask=ask, clock=clock)

    return open_vault
