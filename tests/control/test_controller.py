import contextlib
import gc
import json
import os
import socket
from dataclasses import replace

import pytest
import trio
import trio.testing

from proxyd.control import controller as module
from proxyd.control import fleet, questions
from proxyd.control import leaves as leaves_module
from proxyd.control.discovery import files
from proxyd.control.read import SettingsError
from proxyd.core.access import Access
from proxyd.core.discovery import Discovery, ListFile
from proxyd.core.events import NOTICE
from proxyd.core.limits import Limits
from proxyd.core.messages import (
    Applied,
    CredentialApplied,
    Drain,
    Events,
    Ready,
    Reload,
    Reloaded,
    Reopen,
    Retire,
    Stats,
    WantLeaf,
    WorkerExited,
)
from proxyd.core.service import Endpoint, HostPattern
from proxyd.core.settings import AccessLog
from proxyd.core.snapshot import UnknownHosts
from proxyd.net.framing import LinkClosed
from proxyd.vault import secrets as secrets_module
from tests.control.fakes import listener, service, settings, variable

TICKETS = service("tickets", "api.tickets.example", secret="token")


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("TOKEN", "one")
    return monkeypatch


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]


# --- start -----------------------------------------------------------------------------------------


async def test_worker_is_brought_up_in_order(lab, token):
    lab.file = settings(TICKETS, secrets=(variable("token", "TOKEN"),))
    await lab.start()
    kinds = lab.worker.kinds()
    order = [kinds.index(kind) for kind in ("SetListener", "SetCredential", "InstallLeaf", "ApplySnapshot")]
    assert order == sorted(order)
    assert lab.worker.credentials == {"token": b"one"}
    assert set(lab.worker.leaves) == {"api.tickets.example"}
    assert lab.worker.inodes == {"apps": os.fstat(lab.supervisor.sockets["apps"].fileno()).st_ino}


async def test_snapshot_names_own_addresses_as_bound(lab):
    await lab.start()
    snapshot = lab.worker.snapshot
    port = lab.supervisor.sockets["apps"].getsockname()[1]
    assert snapshot.egress.own == (f"127.0.0.1:{port}", "127.0.0.1:3130")
    assert (snapshot.pseudonym, snapshot.daemon_uid) == ("proxyd-test", 1000)


async def test_systemd_is_told_once_every_worker_has_applied(lab, autojump_clock):
    lab.file = replace(lab.file, workers=2)
    lab.supervisor.options = {1: {"silent": True}}
    lab.nursery.start_soon(lab.start)
    await trio.sleep(30)
    assert not lab.controller.is_ready
    assert lab.supervisor.notices == []
    await lab.supervisor.replace(lab.supervisor.workers[1].pid)  # the successor is as silent
    await trio.sleep(1)
    assert lab.supervisor.notices == []
    lab.supervisor.options = {}
    await lab.supervisor.replace(lab.supervisor.workers[1].pid)
    await trio.sleep(1)
    assert lab.controller.is_ready
    assert lab.supervisor.notices == ["READY=1\nSTATUS=serving proxyd.yaml"]


async def test_addresses_that_cannot_be_bound_fail_the_start(lab):
    lab.supervisor.refuses = "listener apps: in use"
    with pytest.raises(SettingsError, match="listener apps: in use"):
        await lab.start()


async def test_control_pulses_and_ends_with_the_supervisor(lab, autojump_clock):
    await lab.start()
    await trio.sleep(10)
    assert lab.supervisor.pulses >= 10
    ended = trio.Event()

    async def run_again():
        await lab.controller.leave(5)
        ended.set()

    lab.supervisor.close()
    lab.nursery.start_soon(run_again)
    await ended.wait()


async def test_new_worker_is_told_everything(lab, token):
    lab.file = settings(TICKETS, secrets=(variable("token", "TOKEN"),))
    await lab.start()
    old = lab.worker
    old.link.close()
    await lab.supervisor.send(WorkerExited(0, old.pid, "killed"))
    fresh = await lab.supervisor.start_worker(0)
    await fresh.until(lambda: fresh.snapshot is not None)
    assert fresh.snapshot == old.snapshot
    assert fresh.credentials == {"token": b"one"}
    assert fresh.inodes == old.inodes
    assert list(lab.controller.links) == [fresh.pid]


# --- reload ----------------------------------------------------------------------------------------


async def test_reload_sends_what_changed_and_answers_when_applied(lab, token):
    lab.file = settings(TICKETS, secrets=(variable("token", "TOKEN"),))
    await lab.start()
    version = lab.worker.snapshot.version
    lab.worker.got.clear()
    lab.file = replace(lab.file, listeners=(listener(), listener("more")), access=Access())
    outcome = await lab.controller.reload()
    assert (outcome.ok, outcome.problems) == (True, [])
    assert outcome.version == lab.worker.snapshot.version > version
    assert lab.worker.kinds() == ["SetListener", "InstallLeaf", "ApplySnapshot"]
    assert lab.worker.got[0].name == "more"
    assert lab.worker.snapshot.access == Access()
    await trio.testing.wait_all_tasks_blocked()
    assert lab.supervisor.notices[-2:] == ["RELOADING=1", "READY=1"]


async def test_bad_file_is_refused_with_every_mistake_and_the_old_goes_on(lab):
    await lab.start()
    before = lab.worker.snapshot
    mistakes = ["proxyd.yaml:1:1: one", "proxyd.yaml:2:1: two"]
    lab.file = mistakes
    outcome = await lab.controller.reload()
    assert (outcome.ok, outcome.version, outcome.problems) == (False, before.version, mistakes)
    assert lab.controller.refusal == mistakes
    assert lab.worker.snapshot == before
    await trio.testing.wait_all_tasks_blocked()
    assert len(lab.supervisor.binds) == 1
    assert lab.supervisor.notices[-1] == "READY=1"


async def test_address_that_cannot_be_bound_changes_nothing(lab, token, tmp_path):
    lab.file = settings(TICKETS, secrets=(variable("token", "TOKEN"),))
    await lab.start()
    before, fingerprint = lab.worker.snapshot, lab.authority.constraints
    lab.worker.got.clear()
    token.setenv("TOKEN", "two")
    lab.supervisor.refuses = "listener more: in use"
    lab.file = settings(
        service("other", "other.example"),
        listeners=(listener("more"),),
        access_log=AccessLog(str(tmp_path / "access")),
    )
    outcome = await lab.controller.reload()
    assert (outcome.ok, outcome.problems) == (False, ["listener more: in use"])
    assert lab.worker.got == []
    assert lab.controller.snapshot == before
    assert lab.controller.secrets.get("token").value == b"one"
    assert lab.authority.constraints == fingerprint
    assert lab.reports.sinks.names == []


async def test_access_log_that_cannot_be_opened_is_refused(lab, tmp_path):
    await lab.start()
    lab.file = replace(lab.file, access_log=AccessLog(str(tmp_path / "none" / "access")))
    outcome = await lab.controller.reload()
    assert not outcome.ok
    assert "telemetry.access_log.path: " in outcome.problems[0]
    assert len(lab.supervisor.binds) == 1


async def test_service_on_every_host_is_refused(lab):
    await lab.start()
    everything = replace(service("all", "*.x"), hosts=(HostPattern("", None, True),))
    lab.file = settings(everything)
    outcome = await lab.controller.reload()
    assert "name its hosts" in outcome.problems[0]


async def test_snapshot_that_a_worker_refuses_is_taken_back(lab):
    lab.file = replace(lab.file, workers=2)
    lab.supervisor.options = {1: {"refuses": "new.example"}}
    await lab.start()
    lab.file = replace(settings(service("new", "new.example")), workers=2)
    outcome = await lab.controller.reload()
    assert not outcome.ok
    assert outcome.problems == ["worker 1 (pid 5000002) refuses it: no room"]
    for worker in lab.supervisor.workers.values():
        assert [service.name for service in worker.snapshot.services] == ["tickets"]
        assert worker.snapshot.version == outcome.version


async def test_stopped_worker_is_reported_and_stalls_nobody(lab, autojump_clock):
    lab.file = replace(lab.file, workers=2)
    await lab.start()
    stopped = lab.supervisor.workers[1]
    stopped.silent = True
    began = trio.current_time()
    for round_ in (1, 2):
        lab.file = replace(settings(*(service(f"s{n}", f"s{n}.example") for n in range(round_))), workers=2)
        outcome = await lab.controller.reload()
        assert len(lab.supervisor.workers[0].snapshot.services) == round_
    assert not outcome.ok
    assert outcome.problems == ["worker 1 (pid 5000002) has not applied it within 10 s"]
    assert trio.current_time() - began < 3 * module.APPLY_SECONDS


async def test_supervisor_that_does_not_answer_is_reported(lab, autojump_clock):
    await lab.start()
    lab.supervisor.deaf = True
    outcome = await lab.controller.reload()
    assert outcome.problems == ["the supervisor does not answer within 10 s"]
    lab.supervisor.deaf = False
    await lab.supervisor.bind(lab.supervisor.binds[-1])  # it answers too late
    assert (await lab.controller.reload()).ok


async def test_caller_who_gives_up_stops_no_reload(lab):
    await lab.start()
    lab.file = settings(service("new", "new.example"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await lab.controller.reload()
    await lab.worker.until(lambda: lab.worker.snapshot.services[0].name == "new")


async def test_sighup_reloads(lab):
    await lab.start()
    lab.file = settings(service("new", "new.example"))
    await lab.supervisor.send(Reload())
    await lab.worker.until(lambda: lab.worker.snapshot.services[0].name == "new")


async def test_sigusr1_has_logs_opened_again(lab, tmp_path):
    path = tmp_path / "access"
    lab.file = replace(lab.file, access_log=AccessLog(str(path)))
    await lab.start()
    path.rename(tmp_path / "access.1")
    await lab.supervisor.send(Reopen())
    with trio.fail_after(10):
        while not path.exists():  # noqa: ASYNC110 - a thread makes it
            await trio.sleep(0.01)


async def test_versions_rise_across_a_restart_of_control(lab, monkeypatch):
    await lab.start()
    first = lab.controller.snapshot.version
    monkeypatch.setattr(module.time, "time", lambda: 1.0)  # even when the clock is set back
    await lab.controller.reload()
    assert lab.controller.snapshot.version == first + 1
    assert first > 1_700_000_000_000


async def test_changed_admin_address_is_noted(lab):
    await lab.start()
    lab.file = replace(lab.file, admin_http="127.0.0.1:4000")
    outcome = await lab.controller.reload()
    assert outcome.ok
    assert outcome.problems == ["admin: its addresses change at the next start only"]


async def test_no_listening_socket_is_held_while_draining(lab):
    await lab.start()
    address = lab.supervisor.sockets["apps"].getsockname()
    await lab.supervisor.send(Drain(5.0))
    await trio.testing.wait_all_tasks_blocked()
    lab.supervisor.sockets["apps"].close()
    with pytest.raises(OSError, match=f"{address[1]}"):
        await trio.open_tcp_stream(*address)


async def test_no_reload_while_draining(lab):
    await lab.start()
    await lab.supervisor.send(Drain(5.0))
    await trio.testing.wait_all_tasks_blocked()
    assert not lab.controller.is_ready
    assert (await lab.controller.reload()).problems == ["proxyd is shutting down"]


async def retire(lab):
    ours, theirs = socket.socketpair()
    with theirs:
        await lab.supervisor.send(Retire(), [theirs.fileno()])
    await trio.testing.wait_all_tasks_blocked()
    return ours


async def test_a_retired_control_holds_no_socket_and_brings_nothing_in_but_what_is_forbidden(lab, token):
    lab.file = settings(TICKETS, secrets=(variable("token", "TOKEN"),))
    await lab.start()
    own = lab.worker.snapshot.egress.own
    with await retire(lab):
        assert lab.controller.sockets == {}
        lab.file = settings(access=Access(allow_by_default=True))
        lab.worker.got.clear()
        assert (await lab.controller.reload()).problems == ["another generation has taken over; call again"]
        await trio.testing.wait_all_tasks_blocked()
        assert lab.worker.snapshot.access == Access(allow_by_default=True)
        assert lab.worker.snapshot.egress.own == own
        assert lab.worker.credentials == {"token": None}
        assert "SetListener" not in lab.worker.kinds()
        assert len(lab.supervisor.binds) == 1


async def test_a_file_that_the_former_version_cannot_read_allows_nothing_there(lab):
    await lab.start()
    with await retire(lab):
        lab.file = ["proxyd.yaml:1:1: from: unknown key: of a later version"]
        await lab.controller.reload()
        await trio.testing.wait_all_tasks_blocked()
        assert lab.worker.snapshot.access == Access()


async def test_former_generations_hear_of_a_reload_that_was_accepted(lab):
    await lab.start()
    lab.file = ["proxyd.yaml:1:1: a mistake"]
    await lab.controller.reload()
    assert Reloaded() not in lab.supervisor.others
    lab.file = settings()
    await lab.controller.reload()
    await trio.testing.wait_all_tasks_blocked()
    assert Reloaded() in lab.supervisor.others


async def test_descriptors_do_not_pile_up(lab):
    gc.collect()  # what other tests left behind would be closed in the middle
    await lab.start()
    counts = []
    for names in (["a", "b"], ["b"], ["c"], ["apps"]) * 2:
        lab.file = replace(lab.file, listeners=tuple(map(listener, names)))
        assert (await lab.controller.reload()).ok
        counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[:4] == counts[4:]


# --- secrets ---------------------------------------------------------------------------------------


async def test_changed_secret_reaches_every_worker_without_a_snapshot(lab, monkeypatch, tmp_path):
    monkeypatch.setattr(secrets_module, "POLL_SECONDS", 0.01)
    path = tmp_path / "token"
    path.write_text("one")
    lab.file = replace(
        settings(TICKETS, secrets=(replace(variable("token", ""), file=str(path)),)),
        workers=2,
    )
    await lab.start()
    workers = list(lab.supervisor.workers.values())
    for worker in workers:
        worker.got.clear()
    path.write_text("two, longer")
    for worker in workers:
        await worker.until(lambda worker=worker: worker.credentials == {"token": b"two, longer"})
        assert worker.kinds() == ["SetCredential"]
    path.unlink()
    await workers[0].until(lambda: len(workers[0].got) == 2)
    assert workers[0].credentials == {"token": b"two, longer"}  # the last good value stays
    assert "two" not in (tmp_path / "log").read_text()


async def test_secret_that_cannot_be_read_is_told_with_its_reason(lab, monkeypatch):
    monkeypatch.delenv("TOKEN", raising=False)
    lab.file = settings(TICKETS, secrets=(variable("token", "TOKEN"),))
    await lab.start()
    message = next(message for message in lab.worker.got if getattr(message, "name", "") == "token")
    assert message.value is None
    assert "TOKEN is not set" in message.why


async def test_removed_secret_is_taken_away_after_the_snapshot(lab, token):
    lab.file = settings(TICKETS, secrets=(variable("token", "TOKEN"),))
    await lab.start()
    lab.worker.got.clear()
    lab.file = settings()
    await lab.controller.reload()
    await lab.worker.until(lambda: lab.worker.credentials == {"token": None})
    assert lab.worker.kinds() == ["ApplySnapshot", "SetCredential"]


# --- leaves ----------------------------------------------------------------------------------------


async def ask(lab, host, caller="uid:1"):
    worker = lab.worker
    worker.leaves.pop(host, None)
    await worker.send(WantLeaf(host, caller))
    await worker.until(lambda: host in worker.leaves)
    return worker.leaves[host]


async def test_leaf_below_a_wildcard_is_minted_when_asked_for(lab):
    lab.file = settings(service("tickets", "*.tickets.example"))
    await lab.start()
    assert lab.worker.leaves == {}
    leaf = await ask(lab, "a.tickets.example")
    assert b"PRIVATE KEY" in leaf.key_pem
    assert await ask(lab, "a.tickets.example", "uid:2") == leaf  # from the cache


@pytest.mark.parametrize("host", ["evil.example", "tickets.example", "A.tickets.example", "1.2.3.4", "", "a b"])
async def test_no_leaf_for_a_host_that_is_no_service(lab, host):
    lab.file = settings(service("tickets", "*.tickets.example"))
    await lab.start()
    leaf = await ask(lab, host)
    assert leaf.refused == "the host belongs to no service"
    assert leaf.key_pem == b""


async def test_any_host_gets_a_leaf_where_all_is_intercepted(lab):
    lab.file = settings(listeners=(listener(unknown_hosts=UnknownHosts.INTERCEPT),))
    await lab.start()
    assert (await ask(lab, "anything.example")).key_pem


async def test_leaves_are_capped_per_caller_and_hour(lab, monkeypatch):
    now = 0.0
    monkeypatch.setattr(leaves_module.CallerCap.__init__, "__defaults__", (lambda: now,))
    lab.file = settings(service("tickets", "*.tickets.example"), limits=Limits(leaves_per_caller=2))
    lab.controller.leaves._cap = leaves_module.CallerCap(lambda: now)
    await lab.start()
    assert (await ask(lab, "a.tickets.example")).key_pem
    assert (await ask(lab, "b.tickets.example")).key_pem
    assert (await ask(lab, "a.tickets.example")).key_pem  # costs nothing
    assert "had 2 certificates within the hour" in (await ask(lab, "c.tickets.example")).refused
    assert (await ask(lab, "c.tickets.example", "uid:2")).key_pem
    now = 3601.0
    assert (await ask(lab, "d.tickets.example")).key_pem


async def test_leaves_are_pushed_again_at_two_thirds_of_their_life(lab, autojump_clock):
    await lab.start()
    first = lab.worker.leaves["api.tickets.example"]
    lab.controller.leaves._clock = lambda: first.expires - 3600.0
    await trio.sleep(leaves_module.RENEWAL_SECONDS + 1)
    assert lab.worker.leaves["api.tickets.example"].chain_pem != first.chain_pem


# --- workers are not trusted -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        Applied(1 << 60),
        Applied(0),
        Applied(-1),
        Ready(1),
        CredentialApplied("none", 7),
        WantLeaf("x" * 254, "uid:1"),
        WantLeaf("a.example", "x" * 65),
        Drain(1.0),
    ],
    ids=str,
)
async def test_worker_that_breaks_a_rule_is_killed_and_replaced(lab, autojump_clock, message):
    await lab.start()
    worker = lab.worker
    await worker.send(message)
    await worker.until(lambda: worker.closed)
    await trio.sleep(1)
    assert lab.supervisor.killed == [worker.pid]
    assert lab.worker is not worker
    assert lab.controller.is_ready


async def test_worker_whose_link_ended_but_not_its_life_is_killed(lab, autojump_clock):
    await lab.start()
    worker = lab.worker
    worker.link.close()
    await trio.sleep(fleet.LEAVING_SECONDS - 1)
    assert lab.supervisor.killed == []
    assert not lab.controller.is_ready
    await trio.sleep(2)
    assert lab.supervisor.killed == [worker.pid]


async def test_worker_that_asks_and_takes_nothing_is_killed(lab, autojump_clock, monkeypatch):
    monkeypatch.setattr(questions, "MAX_WAITING", 5)
    lab.file = settings(service("tickets", "*.tickets.example"), limits=Limits(leaves_per_caller=10**6))
    await lab.start()
    worker = lab.worker
    worker.silent = True
    await worker.send(WantLeaf("wakes.tickets.example", "uid:1"))
    await worker.until(lambda: "wakes.tickets.example" in worker.leaves)

    async def flood():
        for number in range(1000):
            await worker.send(WantLeaf(f"h{number}.tickets.example", "uid:1"))

    with trio.move_on_after(60), contextlib.suppress(LinkClosed):
        await flood()
    await trio.sleep(1)
    assert lab.supervisor.killed == [worker.pid]


# --- discovery -------------------------------------------------------------------------------------


def discovered(tmp_path, *ports):
    path = tmp_path / "list.yaml"
    path.write_text(json.dumps([f"192.0.2.1:{port}" for port in ports]))
    finder = ListFile(str(path))
    found = replace(service("tickets", "api.tickets.example"), source=str(finder), pending=True)
    return settings(found, discoveries=(Discovery("tickets", finder),))


def ports(snapshot):
    return [endpoint.port for endpoint in snapshot.services[0].endpoints]


async def test_a_list_that_changes_is_a_snapshot_of_its_own(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "POLL_SECONDS", 0.01)
    lab.file = discovered(tmp_path, 1)
    await lab.start()
    first = lab.worker.snapshot
    assert (ports(first), first.services[0].pending) == ([1], False)
    discovered(tmp_path, 2, 3)
    await lab.worker.until(lambda: ports(lab.worker.snapshot) == [2, 3])
    assert lab.worker.snapshot.version > first.version
    assert [*lab.worker.kinds()].count("SetListener") == 1, "nothing but the snapshot is sent again"


async def test_a_reload_keeps_what_was_found_and_one_that_fails_looks_for_nothing_new(lab, tmp_path):
    lab.file = discovered(tmp_path, 1)
    await lab.start()
    assert (await lab.controller.reload()).ok
    assert ports(lab.worker.snapshot) == [1]
    other = Discovery("other", ListFile("/nowhere"))
    lab.supervisor.refuses = "no room"
    lab.file = replace(lab.file, discoveries=(*lab.file.discoveries, other))
    assert not (await lab.controller.reload()).ok
    assert [watch.discovery.service for watch in lab.controller.discovery] == ["tickets"]
    assert lab.controller.discovery.found(lab.file.discoveries) == {"tickets": (Endpoint("192.0.2.1", 1),)}


async def test_a_list_that_nobody_has_yet_is_left_to_the_workers(lab, tmp_path):
    lab.file = discovered(tmp_path, 1)
    (tmp_path / "list.yaml").unlink()
    await lab.start()
    assert lab.worker.snapshot.services[0].pending


# --- reports ---------------------------------------------------------------------------------------


async def test_events_and_statistics_reach_telemetry(lab, tmp_path):
    await lab.start()
    await lab.worker.send(Events([[NOTICE, 1.0, "warning", "something", "to know"], [99], []]))
    await lab.worker.send(Stats([["proxyd_requests", ["apps", "tickets", "200"], 3]], [], []))
    await trio.testing.wait_all_tasks_blocked()
    notice = next(line for line in lines(tmp_path) if line["event"] == "something")
    assert (notice["from"], notice["level"], notice["detail"]) == ("worker-0", "warning", "to know")
    counters = {metric.name: dict(series) for metric, series in lab.reports.aggregate.counters()}
    assert counters["proxyd_requests"] == {("apps", "tickets", "200"): 3}
    assert b"proxyd_events_malformed_total 2.0" in await lab.reports.page()


async def test_flood_of_notices_is_cut(lab, autojump_clock, tmp_path):
    await lab.start()
    await lab.worker.send(Events([[NOTICE, 1.0, "warning", "flood", "x"]] * 500))
    await trio.testing.wait_all_tasks_blocked()
    assert sum(line["event"] == "flood" for line in lines(tmp_path)) == 50
    assert b"proxyd_notices_dropped_total 450.0" in await lab.reports.page()


async def test_last_words_are_taken_before_the_end(lab, autojump_clock):
    await lab.start()
    await lab.supervisor.send(Drain(5.0))
    await lab.worker.send(Stats([["proxyd_requests", ["apps", "tickets", "200"], 3]], [], []))
    lab.worker.link.close()
    began = trio.current_time()
    await lab.controller.leave(5.0)
    assert trio.current_time() - began < 5.0
    totals = {metric.name: sum(series.values()) for metric, series in lab.reports.aggregate.counters()}
    assert totals["proxyd_requests"] == 3
