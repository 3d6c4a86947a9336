"""The vault of a daemon that runs: a change is answered when the workers use it."""

import json
import time
from dataclasses import replace

import pytest
import trio

from proxyd.control import vault as module
from proxyd.control.last_use import LastUse
from proxyd.control.vault import VaultDesk
from proxyd.core.access import ProxyUser
from proxyd.core.events import ACCESS, ACCESS_SCHEMA
from proxyd.core.records import Batch
from proxyd.core.refusal import Refusal
from proxyd.core.settings import Ages, SecretForm, SecretSource, TokenSource, VaultKey
from proxyd.core.units import DAY, HOUR
from proxyd.vault.compartment import Compartment
from proxyd.vault.usage import Usage
from tests.control.fakes import listener, service, settings, variable

TICKETS = service("tickets", "api.tickets.example", secret="tickets/token")
FROM_VAULT = SecretSource("tickets/token", vault="tickets/token")


pytestmark = pytest.mark.usefixtures("quick_scrypt")


@pytest.fixture
def usage(tmp_path):
    return Usage(tmp_path / "state")


@pytest.fixture
def desk(lab, usage):
    lab.file = settings(TICKETS, secrets=(FROM_VAULT,))
    return VaultDesk(lab.controller, lab.vault, usage)


async def test_set_is_answered_when_the_workers_use_it(lab, desk):
    await lab.start()
    assert lab.worker.credentials == {"tickets/token": None}
    answer = await desk.store("tickets/token", b"s3cret")
    assert lab.worker.credentials == {"tickets/token": b"s3cret"}
    assert answer == {
        "ok": True, "name": "tickets/token", "version": 1, "workers": 1, "used_by": ["tickets"], "problems": [],
    }  # fmt: skip


async def test_another_name_in_the_vault_is_looked_up(lab, desk):
    lab.file = settings(TICKETS, secrets=(SecretSource("tickets/token", vault="shared"),))
    await lab.start()
    answer = await desk.store("shared", b"s3cret")
    assert lab.worker.credentials == {"tickets/token": b"s3cret"}
    assert answer["used_by"] == ["tickets"]


async def test_a_value_that_could_not_be_used_is_refused_and_the_good_one_stays(lab, desk):
    form = SecretForm(
        "API token", "https://id.tickets.example", refused=(("old-.*", "old tokens ended; make a new one"),)
    )
    lab.file = settings(TICKETS, secrets=(replace(FROM_VAULT, form=form),))
    await lab.start()
    await desk.store("tickets/token", b"s3cret")
    said = "secret tickets/token cannot be used: old tokens ended; make a new one; nothing was stored"
    for change in (desk.store, desk.rotate):
        with pytest.raises(Refusal, match=f"^{said}$"):
            await change("tickets/token", b"old-hunter2")
    assert lab.worker.credentials == {"tickets/token": b"s3cret"}
    assert lab.vault.get("tickets/token").value == b"s3cret"


async def test_a_value_that_looks_like_another_is_stored_and_doubted(lab, desk):
    form = SecretForm("key", "https://id.tickets.example", pattern="tick_.*")
    lab.file = settings(TICKETS, secrets=(replace(FROM_VAULT, form=form),))
    await lab.start()
    doubt = "secret tickets/token does not look like a key; the vendor shows it at https://id.tickets.example"
    assert (await desk.store("tickets/token", b"s3cret"))["problems"] == [doubt]
    assert (await desk.rotate("tickets/token", b"s3cret2"))["problems"] == [doubt]
    assert (await desk.rotate("tickets/token", b"tick_1"))["problems"] == []


async def test_a_secret_of_a_token_is_used_by_its_service(lab, desk):
    tokens = (TokenSource("token:tickets", "tickets", "client_credentials", secrets=(("secret", "tickets/token"),)),)
    lab.file = settings(service("tickets", "api.tickets.example"), secrets=(FROM_VAULT,), tokens=tokens)
    await lab.start()
    assert (await desk.store("tickets/token", b"s3cret"))["used_by"] == ["tickets"]


async def test_secret_that_nobody_names_is_kept_from_workers(lab, desk):
    await lab.start()
    answer = await desk.store("other", b"s3cret")
    assert (answer["used_by"], answer["problems"]) == ([], [])
    assert "other" not in lab.worker.credentials


async def test_rotation_tells_workers_the_former_value_until_its_overlap_ends(lab, desk):
    await lab.start()
    now = [1000.0]
    lab.controller.secrets._clock = lab.vault._clock = lambda: now[0]
    await desk.store("tickets/token", b"one")
    await desk.rotate("tickets/token", b"two", 60.0)
    assert (lab.worker.got[-1].value, lab.worker.got[-1].former) == (b"two", [b"one"])
    now[0] += 60.0
    await lab.controller.secrets.refresh_vault()
    while lab.worker.got[-1].former:
        await lab.worker.changed.wait()
    assert lab.worker.got[-1].value == b"two"


async def test_removed_secret_is_taken_from_workers(lab, desk, usage):
    await lab.start()
    await desk.store("tickets/token", b"s3cret")
    usage.note(["tickets/token"], 5.0)
    answer = await desk.remove("tickets/token")
    assert lab.worker.credentials == {"tickets/token": None}
    assert lab.worker.got[-1].why.endswith("store it with: proxyd secret set tickets/token")
    assert answer["ok"]
    assert usage.last("tickets/token") is None


async def test_worker_that_does_not_answer_is_named_and_hangs_nothing(lab, desk, monkeypatch):
    monkeypatch.setattr(module, "APPLY_SECONDS", 0.05)
    await lab.start()
    lab.worker.is_slow = True
    answer = await desk.store("tickets/token", b"s3cret")
    assert answer["workers"] == 0
    assert answer["problems"] == [
        f"worker 0 (pid {lab.worker.pid}) has not taken the change within 0.05 s; it does when it goes on"
    ]


async def test_dead_worker_is_not_waited_for(lab, desk):
    await lab.start()
    link = lab.controller.links[lab.worker.pid]
    lab.worker.link.close()
    while link.is_open:
        await link.changed.wait()
    assert (await desk.store("tickets/token", b"s3cret"))["problems"] == []


async def test_change_of_the_files_by_somebody_else_is_noticed(lab, desk):
    await lab.start()
    await trio.to_thread.run_sync(lab.vault.set, "tickets/token", b"s3cret")
    with trio.fail_after(30):
        while lab.worker.credentials != {"tickets/token": b"s3cret"}:
            await lab.worker.changed.wait()


async def test_vault_that_cannot_be_read_leaves_workers_what_they_have(lab, desk):
    await lab.start()
    await desk.store("tickets/token", b"s3cret")
    lab.vault.path.write_bytes(b"rubbish")
    await lab.controller.secrets.refresh_vault()
    assert lab.worker.credentials == {"tickets/token": b"s3cret"}
    assert "is not a vault" in lab.controller.secrets.problems[0]


async def test_list_shows_everything_but_values(lab, desk, usage):
    lab.file = settings(
        TICKETS,
        listeners=[listener(users=(ProxyUser("u", "proxy/u"),))],
        secrets=(FROM_VAULT, SecretSource("proxy/u", vault="proxy/u"), variable("plain/key", "PLAIN_KEY")),
    )
    await lab.start()
    await desk.store("proxy/u", b"hunter2-hunter2")
    await desk.rotate("proxy/u", b"hunter3-hunter3")
    await desk.store("other", b"hunter4-hunter4")
    usage.note(["proxy/u"], 1_700_000_000.0)
    rows = {row["name"]: row for row in await desk.secrets()}
    assert "hunter" not in json.dumps(rows)
    assert {name: (row["source"], row["version"], row["used_by"]) for name, row in rows.items()} == {
        "proxy/u": ("vault", 2, ["apps"]),
        "other": ("vault", 1, []),
        "tickets/token": ("vault", None, ["tickets"]),
        "plain/key": ("env", None, []),
    }
    assert [version["state"] for version in rows["proxy/u"]["versions"]] == ["current", "overlap"]
    assert rows["proxy/u"]["last_used"] == "2023-11-14T22:13:20Z"


async def test_rekey_backup_and_restore_leave_workers_what_they_use(lab, desk):
    await lab.start()
    await desk.store("tickets/token", b"s3cret")
    assert "key file" in (await desk.rekey())["key"]
    data = (await desk.backup(b"correct horse"))["data"]
    await desk.remove("tickets/token")
    answer = await desk.restore(data, b"correct horse")
    assert (answer["secrets"], answer["ca_changed"]) == (1, False)
    assert lab.worker.credentials == {"tickets/token": b"s3cret"}


async def test_restore_says_whether_the_local_ca_is_another_one_now(lab, desk):
    await lab.start()
    own = Compartment(lab.vault)
    await trio.to_thread.run_sync(own.store, b"KEY" + lab.authority.root_pem)
    data = (await desk.backup(b"correct horse"))["data"]
    assert not (await desk.restore(data, b"correct horse", replacing=True))["ca_changed"]
    await trio.to_thread.run_sync(own.empty)
    await trio.to_thread.run_sync(own.store, b"another")
    other = (await desk.backup(b"correct horse"))["data"]
    assert (await desk.restore(other, b"correct horse"))["ca_changed"]


async def test_another_place_for_the_key_counts_from_the_next_start_on(lab, desk):
    await lab.start()
    lab.file = replace(lab.file, vault_key=VaultKey(env="OTHER"))
    assert (await lab.controller.reload()).problems == ["vault: where its key is changes at the next start only"]


async def test_refusals_are_words_for_the_caller(lab, desk):
    await lab.start()
    for act, code in (
        (lambda: desk.remove("none"), "not_found"),
        (lambda: desk.store("none", b""), "vault"),
        (lambda: desk.restore("%%"), "invalid_params"),
        (lambda: desk.restore("AAAA"), "vault"),
    ):
        with pytest.raises(Refusal) as caught:
            await act()
        assert caught.value.code == code


async def test_last_use_is_noted_from_records(lab, usage):
    chosen = settings(TICKETS, secrets=(SecretSource("tickets/token", vault="shared"), variable("plain", "P")))
    tap = LastUse(usage, lambda: chosen, lab.controller.tools.log, clock=lambda: 7.0)
    record = [ACCESS, *[None] * len(ACCESS_SCHEMA.fields)]
    used = list(record)
    used[ACCESS_SCHEMA.place["credential"]] = "tickets/token,plain,nonsense"
    tap.take(Batch(0, {ACCESS: [record]}))
    assert usage.last("shared") is None
    tap.take(Batch(0, {ACCESS: [record, used]}))
    assert usage.last("shared") == 7.0
    assert usage.last("plain") is None


async def test_a_secret_over_its_age_is_denied_and_comes_back_when_it_is_rotated(lab, desk):
    policy = Ages(max_age=DAY, deny=True)
    lab.file = settings(TICKETS, secrets=(replace(FROM_VAULT, ages=policy),))
    lab.vault._clock = lambda: time.time() - 2 * DAY
    lab.vault.set("tickets/token", b"old")
    lab.vault._clock = time.time
    await lab.start()
    await lab.worker.until(lambda: "tickets/token" in lab.worker.credentials)
    assert lab.worker.credentials == {"tickets/token": None}
    [row] = await desk.secrets()
    assert (row["state"], round(row["ends_seconds"] / HOUR)) == ("over age", -24)
    await desk.rotate("tickets/token", b"new")
    assert lab.worker.credentials == {"tickets/token": b"new"}
    [row] = await desk.secrets()
    assert row["state"] == "ok"


async def test_another_policy_is_a_change_of_the_secret(lab, desk):
    lab.vault._clock = lambda: time.time() - 2 * DAY
    lab.vault.set("tickets/token", b"old")
    await lab.start()
    await lab.worker.until(lambda: lab.worker.credentials == {"tickets/token": b"old"})
    lab.file = settings(TICKETS, secrets=(replace(FROM_VAULT, ages=Ages(max_age=DAY, deny=True)),))
    await lab.controller.reload()
    assert lab.worker.credentials == {"tickets/token": None}
