"""A vault against a model: whatever is done in whatever order, it gives out what was put in."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from proxyd.vault import image
from proxyd.vault.backup import backup, restore
from proxyd.vault.errors import NoSuchSecret, VaultError
from proxyd.vault.store import Vault
from tests.vault.conftest import Clock

NAMES = st.sampled_from(["a", "a/b", "A-1", "z" * 128])
_NO_BREAKS = bytes.maketrans(b"\r\n\0", b"xyz")
VALUES = st.binary(min_size=1, max_size=200).map(lambda value: value.translate(_NO_BREAKS))


class Machine(RuleBasedStateMachine):
    backups = Bundle("backups")

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.clock = Clock()
        self.model = {}
        self.open()

    def teardown(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule()
    def open(self):
        """Go on as a process that starts anew."""
        self.vault = Vault(self.folder / "state", environment={}, clock=self.clock)

    def live(self, name):
        """The versions of the model that still count, newest first."""
        return [(value, until) for value, until in self.model.get(name, []) if not until or until > self.clock.now]

    @rule(name=NAMES, value=VALUES)
    def set(self, name, value):
        self.vault.set(name, value)
        self.model[name] = [(value, 0)]

    @rule(name=NAMES, value=VALUES, overlap=st.integers(0, 100))
    def rotate(self, name, value, overlap):
        live = self.live(name)
        if not live:
            with pytest.raises(NoSuchSecret):
                self.vault.rotate(name, value, overlap)
        elif len(live) - (not overlap) >= image.MAX_VERSIONS:
            with pytest.raises(VaultError, match="no room"):
                self.vault.rotate(name, value, overlap)
        else:
            self.vault.rotate(name, value, overlap)
            former = [(live[0][0], self.clock.now + overlap)] if overlap else []
            self.model[name] = [(value, 0), *former, *live[1:]]

    @rule(name=NAMES)
    def remove(self, name):
        if name in self.model:
            self.vault.remove(name)
            del self.model[name]
        else:
            with pytest.raises(NoSuchSecret):
                self.vault.remove(name)

    @rule(seconds=st.integers(1, 80))
    def wait(self, seconds):
        self.clock.now += seconds

    @rule()
    def rekey(self):
        self.vault.rekey()

    @rule(target=backups)
    def back_up(self):
        try:
            data = backup(self.vault)
        except VaultError:
            assert not self.model
            return multiple()
        return data, dict(self.model), (self.vault.folder / "key").read_text()

    @rule(taken=backups)
    def restore(self, taken):
        data, model, key = taken
        restore(self.vault, data, key=bytes.fromhex(key), replacing=True)
        self.model = dict(model)

    @invariant()
    def it_gives_out_what_the_model_holds(self):
        held = {name: self.vault.get(name) for name in self.vault.listing()}
        assert {name: [item.value, *item.former] for name, item in held.items()} == {
            name: [value for value, _ in self.live(name)] for name in self.model
        }


TestModel = Machine.TestCase
TestModel.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
