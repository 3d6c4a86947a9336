import json

import pytest
import trio
import trio.testing

from proxyd.control.service import ControlService, Facts
from proxyd.control.services import pattern_text
from proxyd.control.vault import VaultDesk
from proxyd.core.access import ProxyUser
from proxyd.core.messages import Drain, Shutdown, Stats
from proxyd.core.service import HostPattern
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
        "secret_variables": ["TOKEN", "PROXYD_VAULT_KEY", "PROXYD_VAULT_PASSPHRASE"],
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
    assert list(map(pattern_text, patterns)) == ["a.example", "*.a.example:8443", "[::1]:443", "*"]
