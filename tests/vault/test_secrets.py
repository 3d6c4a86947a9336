import os

import pytest
import trio
import trio.testing

from proxyd.core.settings import SecretForm, SecretSource
from proxyd.vault import secrets as module
from proxyd.vault.errors import NoSuchSecret, VaultError
from proxyd.vault.secrets import RETRY_SECONDS, Secrets
from proxyd.vault.sources import SecretError
from proxyd.vault.store import Held


class Vault:
    """Secrets whose commands and variables are answered from ``values``; files are real."""

    def __init__(self):
        self.values = {}
        self.changes = []
        self.reads = []
        self.out, self.heard = trio.open_memory_channel(100)
        self.secrets = Secrets(self.changed)

    def changed(self, state):
        self.changes.append(state)
        self.out.send_nowait(state)

    async def read(self, source):
        if source.file:
            return await REAL_READ(source)
        self.reads.append((source.name, trio.current_time()))
        value = self.values.get(source.name)
        if value is None:
            raise SecretError(f"secret {source.name}: gone; bring it back")
        return value

    async def load(self, *sources):
        return self.secrets.commit(await self.secrets.prepare(sources))


REAL_READ = module.read


@pytest.fixture
def vault(monkeypatch):
    vault = Vault()
    monkeypatch.setattr(module, "read", vault.read)
    return vault


def command(name, ttl=300.0):
    return SecretSource(name, command=("/bin/tool",), ttl=ttl)


async def test_load_tells_what_changed_and_what_is_gone(vault):
    vault.values = {"a": b"1", "b": b"2"}
    changed, gone = await vault.load(command("a"), command("b"))
    assert [state.value for state in changed] == [b"1", b"2"]
    vault.values = {"b": b"2", "c": b"3"}
    changed, gone = await vault.load(command("b"), command("c"))
    assert [state.source.name for state in changed] == ["c"]
    assert gone == ["a"]


async def test_serials_rise_with_changes_only(vault):
    vault.values = {"a": b"1"}
    await vault.load(command("a"))
    first = vault.secrets.get("a").serial
    await vault.load(command("a"))
    assert vault.secrets.get("a").serial == first
    vault.values = {"a": b"2"}
    await vault.load(command("a"))
    assert vault.secrets.get("a").serial > first


async def test_secret_that_cannot_be_read_does_not_stop_the_others(vault):
    vault.values = {"a": b"1"}
    await vault.load(command("a"), command("b"))
    assert vault.secrets.get("a").value == b"1"
    assert vault.secrets.get("b").value is None
    assert vault.secrets.problems == ["secret b: gone; bring it back"]


async def test_prepared_secrets_count_only_once_committed(vault):
    vault.values = {"a": b"1"}
    await vault.load(command("a"))
    vault.values = {"a": b"2"}
    await vault.secrets.prepare([command("a")])
    assert vault.secrets.get("a").value == b"1"


async def test_failing_reload_keeps_the_last_value_of_the_same_source_only(vault):
    vault.values = {"a": b"1"}
    await vault.load(command("a"))
    vault.values = {}
    await vault.load(SecretSource("a", command=("/bin/tool",), line=7))
    assert vault.secrets.get("a").value == b"1"
    assert vault.secrets.problems
    await vault.load(SecretSource("a", env="A"))
    assert vault.secrets.get("a").value is None


async def test_command_runs_again_after_its_ttl(vault, nursery, autojump_clock):
    vault.values = {"a": b"1"}
    await vault.load(command("a", ttl=300.0))
    nursery.start_soon(vault.secrets.run)
    vault.values = {"a": b"2"}
    state = await vault.heard.receive()
    assert (state.value, trio.current_time()) == (b"2", vault.reads[0][1] + 300.0)


async def test_failed_refresh_keeps_the_value_reports_once_and_is_tried_again_soon(vault, nursery, autojump_clock):
    vault.values = {"a": b"1"}
    await vault.load(command("a", ttl=300.0))
    nursery.start_soon(vault.secrets.run)
    began = trio.current_time()
    vault.values = {}
    state = await vault.heard.receive()
    assert (state.value, state.why) == (b"1", "secret a: gone; bring it back")
    vault.values = {"a": b"1"}
    state = await vault.heard.receive()
    assert (state.value, state.why) == (b"1", "")
    assert trio.current_time() == began + 300.0 + RETRY_SECONDS
    assert vault.secrets.problems == []


async def test_reload_does_not_put_the_next_run_off(vault, nursery, autojump_clock):
    vault.values = {"a": b"1", "b": b"1"}
    await vault.load(command("a", ttl=100.0))
    nursery.start_soon(vault.secrets.run)
    await trio.sleep(50)
    await vault.load(command("a", ttl=100.0))  # a reload reads everything, so the count begins here
    await trio.sleep(99)
    assert len(vault.reads) == 2
    await trio.sleep(2)
    assert len(vault.reads) == 3


async def test_change_of_a_file_is_seen_and_a_broken_one_keeps_the_value(vault, tmp_path, nursery, autojump_clock):
    path = tmp_path / "token"
    path.write_bytes(b"one")
    path.chmod(0o600)
    await vault.load(SecretSource("a", file=str(path)))
    nursery.start_soon(vault.secrets.run)
    fresh = tmp_path / "fresh"
    fresh.write_bytes(b"two")
    fresh.chmod(0o644)
    fresh.replace(path)
    state = await vault.heard.receive()
    assert state.value == b"two"
    assert "chmod 600" in vault.secrets.problems[0]
    path.unlink()
    state = await vault.heard.receive()
    assert state.value == b"two"
    assert "cannot be read" in state.why
    path.write_bytes(b"two")
    assert (await vault.heard.receive()).why == ""


async def test_swapped_symbolic_link_is_a_change(vault, tmp_path, nursery, autojump_clock):
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    link = tmp_path / "link"
    link.symlink_to("one")
    await vault.load(SecretSource("a", file=str(link)))
    nursery.start_soon(vault.secrets.run)
    (tmp_path / "next").symlink_to("two")
    os.replace(tmp_path / "next", link)
    assert (await vault.heard.receive()).value == b"two"


async def test_a_mount_of_kubelet_is_followed(vault, tmp_path, nursery, autojump_clock):
    """Kubelet writes a new folder and renames ``..data`` over the old link; the file's own link never changes."""

    def mounted(number, value):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "token").write_text(value)
        (tmp_path / "..data_tmp").symlink_to(f"..{number}")
        os.replace(tmp_path / "..data_tmp", tmp_path / "..data")

    mounted(1, "one")
    (tmp_path / "token").symlink_to("..data/token")
    await vault.load(SecretSource("a", file=str(tmp_path / "token")))
    nursery.start_soon(vault.secrets.run)
    mounted(2, "two")
    state = await vault.heard.receive()
    assert (state.value, trio.current_time()) == (b"two", pytest.approx(1.0, abs=0.1))


async def test_a_file_that_is_written_in_place_is_read_when_it_is_whole(vault, tmp_path, nursery, autojump_clock):
    path = tmp_path / "key"
    path.write_text("-----BEGIN KEY-----\none\n-----END KEY-----\n")
    await vault.load(SecretSource("a", file=str(path)))
    good = vault.secrets.get("a").value
    nursery.start_soon(vault.secrets.run)
    with path.open("w") as file:  # what is written grows for some looks
        for text in ("-----BEGIN", " KEY-----\n", "two\n"):
            file.write(text)
            file.flush()
            await trio.sleep(1.0)
        state = await vault.heard.receive()
        assert state.value == good
        assert state.why == f"secret a: file {path} holds the beginning of a document and not its end"
        file.write("-----END KEY-----\n")
    state = await vault.heard.receive()
    assert (state.value, state.why) == (b"-----BEGIN KEY-----\ntwo\n-----END KEY-----", "")
    assert vault.heard.statistics().current_buffer_used == 0


async def test_a_file_that_changes_while_it_is_read_keeps_the_value(vault, tmp_path, monkeypatch, autojump_clock):
    path = tmp_path / "token"
    path.write_text("one")

    async def slow(source):
        value = await REAL_READ(source)
        path.write_text("another")
        return value

    monkeypatch.setattr(module, "read", slow)
    await vault.load(SecretSource("a", file=str(path)))
    assert vault.secrets.get("a").value is None
    assert "is being written" in vault.secrets.get("a").why


async def test_the_age_of_a_file_is_its_own(vault, tmp_path):
    path = tmp_path / "token"
    path.write_text("one")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    await vault.load(SecretSource("a", file=str(path)))
    assert vault.secrets.get("a").created == 1_700_000_000.0


async def test_refresh_of_a_source_that_was_replaced_meanwhile_is_forgotten(vault, nursery, autojump_clock):
    vault.values = {"a": b"1"}
    await vault.load(command("a", ttl=10.0))
    nursery.start_soon(vault.secrets.run)
    await trio.sleep(5)
    vault.values = {"b": b"1"}
    await vault.load(command("b", ttl=1000.0))
    await trio.sleep(100)
    assert vault.changes == []
    assert [state.source.name for state in vault.secrets] == ["b"]


async def test_no_value_is_printed(vault):
    vault.values = {"a": b"hunter2"}
    await vault.load(command("a"))
    assert "hunter2" not in repr(vault.secrets) + repr(vault.secrets.get("a"))


# --- the vault --------------------------------------------------------------------------------------


class Shelf:
    """A vault in memory; an exception in place of a value is raised."""

    def __init__(self):
        self.held = {}
        self.mark = 0

    def get(self, name):
        found = self.held.get(name, NoSuchSecret(name))
        if isinstance(found, Exception):
            raise found
        return found

    def stamp(self):
        return (self.mark,)

    def put(self, name, value, *former, until=0.0):
        self.held[name] = Held(value, former, until) if isinstance(value, bytes) else value
        self.mark += 1


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def held(shelf):
    """Secrets from a vault; ``heard`` receives what changed."""
    out, heard = trio.open_memory_channel(100)
    secrets = Secrets(out.send_nowait, shelf, clock=lambda: shelf.now)
    secrets.heard = heard
    shelf.now = 1000.0
    return secrets


def from_vault(name, other=""):
    return SecretSource(name, vault=other or name)


async def test_vaults_values_come_under_the_configurations_names(held, shelf):
    shelf.put("shared", b"1", b"0", until=1060.0)
    held.commit(await held.prepare([from_vault("a", "shared"), from_vault("b")]))
    assert (held.get("a").value, [secret.reveal() for secret in held.get("a").former]) == (b"1", [b"0"])
    assert (held.get("b").value, held.get("b").why) == (None, str(NoSuchSecret("b")))


async def test_change_of_the_vault_is_followed(held, shelf, nursery, autojump_clock):
    held.commit(await held.prepare([from_vault("a")]))
    nursery.start_soon(held.run)
    for value in (b"1", b"2"):
        shelf.put("a", value)
        assert (await held.heard.receive()).value == value


async def test_end_of_an_overlap_is_followed_though_nothing_is_written(held, shelf, nursery, autojump_clock):
    shelf.put("a", b"1", b"0", until=1060.0)
    held.commit(await held.prepare([from_vault("a")]))
    nursery.start_soon(held.run)
    shelf.held["a"] = Held(b"1")  # as the vault answers from then on
    shelf.now = 1060.0
    state = await held.heard.receive()
    assert (state.value, state.former) == (b"1", ())


async def test_removed_is_not_held_and_unreadable_is(held, shelf):
    shelf.put("a", b"1")
    held.commit(await held.prepare([from_vault("a")]))
    shelf.put("a", VaultError("the vault is damaged"))
    await held.refresh_vault()
    assert (held.get("a").value, held.get("a").why) == (b"1", "secret a: the vault is damaged")
    shelf.put("a", NoSuchSecret("a"))
    await held.refresh_vault()
    assert held.get("a").value is None
    unreadable, removed = held.heard.receive_nowait(), held.heard.receive_nowait()
    assert unreadable.serial < removed.serial


async def test_without_a_vault_its_secrets_are_missing(vault):
    vault.secrets.commit(await vault.secrets.prepare([from_vault("a")]))
    assert vault.secrets.get("a").why == "secret a: there is no vault here"


async def test_commands_wait_their_turn_and_nothing_else_does(vault, tmp_path, autojump_clock):
    file = tmp_path / "secret"
    file.write_text("from a file")
    file.chmod(0o600)
    turns = []

    async def turn():
        turns.append(trio.current_time())

    vault.values = {"a": b"1"}
    vault.secrets = Secrets(vault.changed, turn=turn)
    await vault.load(command("a", ttl=10.0), SecretSource("b", file=str(file)))
    assert len(turns) == 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(vault.secrets.run)
        await trio.sleep(25)
        nursery.cancel_scope.cancel()
    assert len(turns) == 3


async def test_a_value_without_its_form_is_not_used(tmp_path):
    path = tmp_path / "key"
    path.write_text("hunter2")
    path.chmod(0o600)
    secrets = Secrets(lambda state: None)
    source = SecretSource("k", file=str(path), form=SecretForm("Key", kind="json"))
    prepared = await secrets.prepare([source])
    secrets.commit(prepared)
    assert secrets.get("k").value is None
    assert secrets.problems == ["secret k is no Key: not JSON (line 1, column 1); store it anew"]
    path.write_text("{}")
    assert (await secrets.prepare([source]))["k"].value == b"{}"
