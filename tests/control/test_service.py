import json
import time

import pytest
import trio
import trio.testing

from proxyd.control.service import ControlService, Facts
from proxyd.control.vault import VaultDesk
from proxyd.core.access import ProxyUser
from proxyd.core.described import Described
from proxyd.core.events import ACCESS, ACCESS_FIELDS, NOTICE
from proxyd.core.messages import CertificateSeen, Drain, Events, Shutdown, Stats
from proxyd.core.refusal import Refusal
from proxyd.core.service import HostPattern
from proxyd.core.settings import Readers, VaultSource
from proxyd.telemetry.exchanges import Filter
from proxyd.telemetry.log import Level
from proxyd.vault.usage import Usage
from tests.control.fakes import listener, service, settings, variable

TICKETS = service("tickets", "api.tickets.example", "*.tickets.example", secret="token")


@pytest.fixture
def answers(lab, monkeypatch, tmp_path):
    monkeypatch.setenv("TOKEN", "hunter2-hunter2")
    monkeypatch.delenv("NONE", raising=False)
    lab.file = settings(TICKETS, secrets=(variable("token", "TOKEN"), variable("other", "NONE")))
    desk = VaultDesk(lab.controller, lab.vault, Usage(tmp_path / "state"))
    return ControlService(lab.controller, Facts(0.0, "/state/ca.pem", "/state/ca-bundle.pem", "/run/admin.sock"), desk)


async def test_every_answer_is_plain_and_without_a_secret(lab, answers):
    await lab.start()
    for ask in (answers.status, answers.services, answers.pools, answers.config, answers.environment, answers.reload):
        text = json.dumps(await ask())
        assert "hunter2" not in text
        assert "PRIVATE" not in text


async def test_every_answer_is_plain_before_the_start(lab, answers):
    await lab.nursery.start(lab.controller.run)
    for ask in (answers.status, answers.services, answers.pools, answers.config, answers.environment, answers.reload):
        json.dumps(await ask())
    assert "still starting" in (await answers.reload())["problems"][0]
    assert (await answers.status())["state"] == "starting"
    assert not await answers.is_ready()


async def test_status_shows_listeners_as_bound_and_workers(lab, answers):
    await lab.start()
    status = await answers.status()
    port = lab.supervisor.sockets["apps"].getsockname()[1]
    assert status["listeners"] == [
        {"name": "apps", "mode": "forward", "address": f"127.0.0.1:{port}", "unknown_hosts": "tunnel"}
    ]
    assert [(worker["index"], worker["pid"]) for worker in status["workers"]] == [(0, lab.worker.pid)]
    assert status["workers"][0]["applied"] == status["snapshot"] == lab.worker.snapshot.version
    assert (status["state"], status["config"]) == ("ready", "proxyd.yaml")
    assert status["ca_fingerprint"] == lab.authority.fingerprint


async def test_status_says_what_is_wrong(lab, answers):
    await lab.start()
    assert (await answers.status())["problems"] == [
        "secret other: the environment variable NONE is not set; set it for proxyd and start again"
    ]
    lab.file = ["proxyd.yaml:1:1: wrong"]
    await answers.reload()
    assert (await answers.status())["problems"][1:] == ["the last reload was refused: proxyd.yaml:1:1: wrong"]
    lab.file = settings()
    await answers.reload()
    assert (await answers.status())["problems"] == []


async def test_services_show_secrets_by_state_and_counts(lab, answers):
    await lab.start()
    counters = [
        ["proxyd_requests", ["apps", "tickets", "200"], 3],
        ["proxyd_requests", ["apps", "tickets", "500"], 1],
        ["proxyd_requests", ["apps", "", "200"], 9],
        ["proxyd_errors", ["tickets", "UF"], 2],
    ]
    await lab.worker.send(Stats(counters, [["proxyd_downstream_connections_active", [], 4]], []))
    await trio.testing.wait_all_tasks_blocked()
    assert await answers.services() == [
        {
            "name": "tickets",
            "hosts": ["api.tickets.example", "*.tickets.example"],
            "base_url": "https://api.tickets.example:443",
            "endpoints": [],
            "auth": "bearer",
            "secrets": [{"name": "token", "state": "ok"}],
            "requests": 4,
            "errors": 2,
        }
    ]
    status = await answers.status()
    assert status["totals"] == {"requests": 13, "errors": 2, "tunnels": 0, "connections": 0, "active": 4}
    assert status["workers"][0]["connections"] == 4
    assert b'proxyd_requests_total{code="200",listener="apps",service="tickets"} 3.0' in await answers.metrics_text()


async def test_pools_of_workers_that_answer_are_merged(lab, answers, autojump_clock):
    lab.file = settings(workers=2)
    await lab.start()
    assert [row["worker"] for row in await answers.pools()] == [0, 1]
    lab.supervisor.workers[1].silent = True
    await answers.pools()  # the one that it still takes
    assert [row["worker"] for row in await answers.pools()] == [0]


async def test_config_shows_secrets_as_names(lab, answers):
    await lab.start()
    config = await answers.config()
    assert config["secrets"] == [{"name": "token", "source": "env"}, {"name": "other", "source": "env"}]
    assert config["extra_roots_pem"] == "0 certificates"


async def test_config_shows_of_vaults_elsewhere_where_they_are_and_no_options(lab, answers):
    lab.file = settings(vaults=(VaultSource("mine", kind="folder", options={"pin": "hunter2"}, roots_pem="PEM"),))
    await lab.start()
    assert (await answers.config())["vaults"] == [{"name": "mine", "kind": "folder", "addresses": []}]


async def test_environment_is_what_a_client_needs(lab, answers):
    lab.file = settings(
        TICKETS,
        secrets=(variable("token", "TOKEN"),),
        listeners=(listener("closed", users=(ProxyUser("a", "token"),)), listener("open")),
    )
    await lab.start()
    port = lab.supervisor.sockets["open"].getsockname()[1]
    assert await answers.environment() == {
        "proxy_socket": None,
        "gateway_socket": None,
        "gateway_url": None,
        "gateway_token_file": None,
        "proxy": f"http://127.0.0.1:{port}",
        "ca_bundle": "/state/ca-bundle.pem",
        "ca": "/state/ca.pem",
        "secret_variables": ["TOKEN"],
    }


async def test_stop_asks_the_supervisor_to_drain(lab, answers):
    await lab.start()
    assert await answers.stop() == {"ok": True, "drain_seconds": 30.0}
    await trio.testing.wait_all_tasks_blocked()
    assert lab.supervisor.others == [Shutdown(30.0)]
    await lab.supervisor.send(Drain(30.0))
    await trio.testing.wait_all_tasks_blocked()
    assert (await answers.status())["state"] == "draining"
    assert not await answers.is_ready()


def test_patterns_are_spelled_as_in_the_configuration():
    patterns = [
        HostPattern("a.example"),
        HostPattern("a.example", 8443, True),
        HostPattern("::1", 443),
        HostPattern("", None, True),
    ]
    assert list(map(str, patterns)) == ["a.example", "*.a.example:8443", "[::1]:443", "*"]


def record(**changes):
    values = {
        "time": 1.0, "id": "a", "kind": "http", "listener": "apps", "caller": "127.0.0.1:1", "uid": None, "user": None,
        "mode": "plain", "method": b"GET", "scheme": b"https", "authority": "api.tickets.example:443", "path": b"/?k=v",
        "service": "tickets", "credential": None, "status": 200, "flags": "", "error": None, "detail": None,
        "origin": "upstream", "endpoint": None, "attempts": 1, "reused": False, "request_bytes": 0,
        "response_bytes": 0, "queue_ms": None, "connect_ms": None, "first_byte_ms": None, "total_ms": 1.0,
    }  # fmt: skip
    return [ACCESS, *({**values, **changes}.get(name) for name in ACCESS_FIELDS)]


async def test_exchanges_are_those_that_workers_reported(lab, answers):
    await lab.start()
    await lab.worker.send(Events([record(), record(id="b", status=502, flags="UF"), ["no record"]]))
    await trio.testing.wait_all_tasks_blocked()
    found = await answers.exchanges(Filter(errors=True), 10)
    assert [(exchange["id"], exchange["path"]) for exchange in found] == [("b", "/?<redacted>")]
    answers.subscribe(Filter(), ["exchange"], 10).close()
    lab.file = settings(recent=0)
    await answers.reload()
    with pytest.raises(Refusal, match=r"not reported: telemetry.recent is 0"):
        answers.subscribe(Filter(), ["exchange", "notice"], 10)
    answers.subscribe(Filter(), ["notice"], 10).close()
    with pytest.raises(Refusal, match=r"telemetry.recent is 0"):
        await answers.exchanges(Filter(), 10)


async def test_a_subscriber_gets_what_workers_report(lab, answers):
    await lab.start()
    subscription = answers.subscribe(Filter(), ["exchange", "notice"], 10)
    await lab.worker.send(Events([record(), [NOTICE, 1.0, "warning", "odd", "detail"]]))
    items, _ = await subscription.take()
    assert [kind for kind, _ in items] == ["exchange", "notice"]
    subscription.close()


async def test_a_service_in_detail(lab, answers):
    await lab.start()
    counters = [
        ["proxyd_requests", ["apps", "tickets", "200"], 3],
        ["proxyd_requests", ["apps", "tickets", "502"], 1],
        ["proxyd_requests", ["apps", "other", "200"], 9],
        ["proxyd_errors", ["tickets", "UF"], 1],
    ]
    buckets = [0] * 17
    buckets[1], buckets[3] = 9, 1
    histograms = [["proxyd_request_duration_seconds", ["tickets"], buckets, 0.02]]
    await lab.worker.send(Stats(counters, [], histograms))
    await lab.worker.send(Events([record(status=502, flags="UF"), record(service=None, status=502)]))
    await trio.testing.wait_all_tasks_blocked()
    detail = await answers.service("tickets")
    assert (detail["requests"], detail["errors"]) == (4, 1)
    assert (detail["by_status"], detail["by_flag"]) == ({"200": 3, "502": 1}, {"UF": 1})
    assert detail["latency"] == {"p50_ms": 1.0, "p90_ms": 1.0, "p99_ms": 5.0}
    assert detail["timeouts"]["connect_seconds"] == 5.0
    assert detail["timeouts"]["propagate"] == ""
    assert detail["fallback"] == []
    assert [exchange["flags"] for exchange in detail["latest_errors"]] == ["UF"]
    json.dumps(detail)


async def test_an_unknown_service_names_the_nearest(lab, answers):
    await lab.start()
    with pytest.raises(Refusal, match="there is no service 'ticket'") as caught:
        await answers.service("ticket")
    assert (caught.value.code, caught.value.nearest) == ("not_found", "tickets")


async def test_workers_and_memory_are_plain_and_tell_what_is_kept(lab, answers):
    await lab.start()
    (worker,) = await answers.workers()
    assert (worker["index"], worker["pid"], worker["messages_waiting"]) == (0, lab.worker.pid, 0)
    memory = await answers.memory()
    assert [process["process"] for process in memory["processes"]] == ["supervisor", "control", "worker-0"]
    assert memory["processes"][1]["pss_bytes"] > 0
    assert memory["control"]["recent_exchanges"] == 0
    assert memory["control"]["secrets"] == 2
    json.dumps([worker, memory])


async def test_a_silent_worker_is_shown_as_such(lab, answers, autojump_clock):
    await lab.start()
    lab.worker.silent = True
    await answers.workers()  # the questions that it still takes
    assert (await answers.workers())[0]["state"] == "silent"
    assert (await answers.memory())["workers"] == [{"worker": 0}]


async def test_certificates_are_named_and_end(lab, answers):
    await lab.start()
    rows = await answers.certificates()
    assert [(row["kind"], row["name"]) for row in rows if row["kind"] == "leaf"] == [("leaf", "api.tickets.example")]
    assert [row["kind"] for row in rows] == ["leaf", "intermediate", "root"]
    assert rows[2]["fingerprint"] == lab.authority.fingerprint
    assert 0 < rows[0]["days_left"] <= 1 < rows[1]["days_left"] < rows[2]["days_left"]
    assert rows[0]["names"] == ["api.tickets.example"]
    assert rows[0]["issuer"] == rows[1]["subject"]
    assert rows[1]["issuer"] == rows[2]["issuer"] == rows[2]["subject"]
    assert "PRIVATE" not in json.dumps(rows)
    assert {row["status"] for row in rows} == {"ok"}


async def test_certificates_of_upstreams_are_listed_with_their_state(lab, answers):
    await lab.start()
    now = time.time()
    await lab.worker.send(
        CertificateSeen("api.tickets.example", Described("0f" * 32, now - 80 * 86400, now + 10 * 86400))
    )
    with trio.fail_after(20):
        while not list(lab.controller.upstream_certificates):
            await trio.lowlevel.checkpoint()
    lab.controller.ages.look(lab.controller._aging())
    row = next(row for row in await answers.certificates() if row["kind"] == "upstream")
    assert (row["name"], row["status"], row["fingerprint"]) == (
        "api.tickets.example",
        "expiring",
        ":".join(["0F"] * 32),
    )
    text = "the upstream certificate of api.tickets.example ends in 10 days; renew it"
    assert text in (await answers.status())["problems"]


async def test_the_level_of_the_log_is_told_and_set(lab, answers):
    await lab.start()
    assert await answers.log_level() == {"level": "info"}
    assert await answers.log_level("debug") == {"level": "debug"}
    assert lab.controller.tools.log.level is Level.DEBUG


async def test_a_drain_closes_the_listeners_until_the_next_reload(lab, answers):
    await lab.start()
    version = lab.worker.snapshot.version
    assert await answers.drain(seconds=7) == {"ok": True, "exit": False, "seconds": 7.0}
    assert lab.supervisor.sockets == {}
    await lab.worker.until(lambda: lab.worker.snapshot.version > version)
    assert (lab.worker.snapshot.listeners, lab.worker.snapshot.drain_old) == ((), 7.0)
    status = await answers.status()
    assert (status["state"], status["listeners"]) == ("drained", [])
    assert "proxyd reload ends it" in status["problems"][0]
    assert not await answers.is_ready()
    assert [each["name"] for each in (await answers.config())["listeners"]] == ["apps"]
    assert (await answers.reload())["ok"]
    assert [each.name for each in lab.worker.snapshot.listeners] == ["apps"]
    assert lab.worker.snapshot.drain_old == 300.0
    assert (await answers.status())["state"] == "ready"
    assert lab.supervisor.notices[-1] == "STATUS=serving proxyd.yaml"


async def test_a_reload_that_is_refused_does_not_end_a_drain(lab, answers):
    lab.supervisor.options[0] = {"refuses": "bad.example"}
    await lab.start()
    await answers.drain(seconds=7)
    lab.file = ["proxyd.yaml:1:1: wrong"]
    assert not (await answers.reload())["ok"]
    assert (await answers.status())["state"] == "drained"
    lab.file = settings(service("bad", "bad.example"))
    assert not (await answers.reload())["ok"]
    assert (await answers.status())["state"] == "drained"
    assert lab.supervisor.sockets == {}
    assert lab.worker.snapshot.drain_old == 7.0


async def test_an_upgrade_does_not_end_a_drain(lab, answers):
    await lab.start()
    await answers.drain(seconds=7)
    answer = await answers.upgrade(60.0, None)
    assert (answer["ok"], answer["generation"]) == (False, 1)
    assert "`proxyd reload` ends the drain" in answer["problem"]
    assert (await answers.status())["state"] == "drained"
    assert lab.supervisor.sockets == {}


async def test_a_drain_that_ends_is_the_supervisor_s(lab, answers):
    await lab.start()
    assert await answers.drain(exit=True) == {"ok": True, "exit": True, "seconds": 30.0}
    await trio.testing.wait_all_tasks_blocked()
    assert lab.supervisor.others == [Shutdown(30.0)]


async def test_a_drain_that_is_not_possible_says_why(lab, answers):
    await lab.nursery.start(lab.controller.run)
    with pytest.raises(Refusal, match="starting or shutting down"):
        await answers.drain()


async def test_readers_are_those_of_the_configuration_in_use(lab, answers):
    assert not answers.readers()
    lab.file = settings(admin_readers=Readers(uids=(1001,)))
    await lab.start()
    assert answers.readers() == Readers(uids=(1001,))
    lab.file = settings()
    outcome = await answers.reload()
    assert not answers.readers()
    assert outcome["problems"] == ["admin.readers: the mode of the socket changes at the next start only"]
