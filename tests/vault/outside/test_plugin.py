"""What a plugin may do, and what it cannot do to anybody else."""

import threading
from dataclasses import dataclass

import pytest
import trio
import trio.lowlevel

from proxyd.core.settings import Reference, VaultSource
from proxyd.sdk import Fetched, SecretName, Vault, VaultPluginError
from proxyd.vault.outside import plugin as module
from proxyd.vault.outside.plugin import PluginVault
from proxyd.vault.outside.provider import OutsideError
from tests.vault.outside.conftest import WALL, stored

REFERENCE = Reference("company", "apps/github", "token", "kv", 3)


@dataclass(frozen=True)
class Options:
    """Options with a secret."""

    login: SecretName


class Scripted(Vault):
    options_type = Options
    act = None

    async def fetch(self, reference):
        return await type(self).act(self, reference)


@pytest.fixture
async def plugin(monkeypatch):
    monkeypatch.setattr(module, "load_vault", lambda name: Scripted)
    source = VaultSource("company", kind="mine", poll=60.0, options={"login": "vault/token"})
    values = {"vault/token": b"t", "other": b"x"}
    made = PluginVault(source, values.get, lambda *_: None, lambda: WALL)
    made.does = lambda act: monkeypatch.setattr(Scripted, "act", act)
    return made


async def test_it_gets_what_the_configuration_says_in_a_loop_and_thread_of_its_own(plugin):
    seen = []

    async def act(self, reference):
        seen.extend((reference, self.host.name, self.host.secret("vault/token"), threading.current_thread()))
        await trio.lowlevel.checkpoint()
        return Fetched(b"value", "v9", WALL - 60, WALL + 90)

    plugin.does(act)
    document = await plugin.read(REFERENCE)
    assert seen[:3] == [REFERENCE, "company", b"t"]
    assert seen[3] is not threading.main_thread()
    assert (document.value("token"), document.version, document.again) == (b"value", "v9", 60.0)
    assert (document.created, document.expires) == (WALL - 60, WALL + 90)


async def test_a_value_that_ends_soon_is_fetched_again_soon(plugin):
    async def act(self, reference):
        return Fetched(b"value", expires=WALL + 30)

    plugin.does(act)
    assert (await plugin.read(REFERENCE)).again == pytest.approx(20.0)


async def test_it_may_only_see_secrets_that_its_options_name(plugin):
    async def act(self, reference):
        return Fetched(self.host.secret("other"))

    plugin.does(act)
    with pytest.raises(OutsideError, match="the plugin failed: KeyError"):
        await plugin.read(REFERENCE)


async def raises_a_secret(self, reference):
    raise ValueError("hunter2")


async def exits(self, reference):
    raise SystemExit(3)


async def says_why(self, reference):
    raise VaultPluginError("the folder is locked\x1b[0m; unlock it")


async def returns_text(self, reference):
    return "value"


async def returns_text_within(self, reference):
    return Fetched("value")


async def ends_never(self, reference):
    return Fetched(b"x", expires=float("nan"))


async def is_over(self, reference):
    return Fetched(b"x", expires=WALL - 1)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (raises_a_secret, "the plugin failed: ValueError$"),
        (exits, "the plugin failed: SystemExit"),
        (says_why, "the folder is locked.*unlock it"),
        (returns_text, "something else than Fetched"),
        (returns_text_within, "something else than Fetched"),
        (ends_never, "a time that is none"),
        (is_over, "a value that is over"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_whatever_it_does_is_an_error_in_words(plugin, act, words):
    plugin.does(act)
    with pytest.raises(OutsideError, match=words) as caught:
        await plugin.read(REFERENCE)
    assert "\x1b" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_one_that_blocks_is_left_alone_and_the_others_go_on(plugin, lab, monkeypatch):
    monkeypatch.setattr("proxyd.vault.outside.vaults.READ_SECONDS", 0.05)
    release = threading.Event()

    async def act(self, reference):
        release.wait(20)
        return Fetched(b"late")

    plugin.does(act)
    lab.open = lambda source: plugin
    try:
        await lab.load(stored("a"))
        assert lab.why("a").endswith("it has not answered within 0.05 s")
    finally:
        release.set()


async def test_removed_on_purpose_is_told_apart(plugin):
    async def act(self, reference):
        raise VaultPluginError("it was removed", is_gone=True)

    plugin.does(act)
    with pytest.raises(OutsideError) as caught:
        await plugin.read(REFERENCE)
    assert caught.value.is_gone


async def test_closing_one_that_was_never_asked_makes_none(plugin, monkeypatch):
    monkeypatch.setattr(module, "load_vault", None)
    await plugin.aclose()
