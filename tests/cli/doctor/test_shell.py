from pathlib import Path

import pytest

from proxyd.cli.authority import STORED_NAME, Store
from proxyd.cli.doctor.findings import Verdict
from proxyd.cli.doctor.shell import exceptions, held, proxies, store
from proxyd.cli.variables import PLACEHOLDER
from proxyd.config.load import load_text

OWN = "http://127.0.0.1:3128"
TEXT = """
listeners: [{name: a, mode: forward, address: "127.0.0.1:3128"}]
services:
  tickets: {hosts: [api.tickets.example, "*.cdn.example"], base_url: "https://api.tickets.example"}
"""


@pytest.fixture(scope="module")
def settings():
    return load_text(TEXT, "test", Path("/"), Path("/"), Path("/"))


@pytest.mark.parametrize(
    ("variables", "own", "verdict"),
    [
        ({}, OWN, Verdict.OK),
        ({"HTTPS_PROXY": OWN, "http_proxy": f"{OWN}/"}, OWN, Verdict.OK),
        ({"HTTPS_PROXY": "http://corp.example:8080"}, OWN, Verdict.WARN),
        ({"HTTPS_PROXY": OWN}, "", Verdict.WARN),
        ({"ALL_PROXY": "socks5://corp.example"}, OWN, Verdict.WARN),
        ({"HTTPS_PROXY": "http://[:1"}, OWN, Verdict.WARN),
    ],
)
def test_proxies_that_are_not_ours_are_a_warning(variables, own, verdict):
    assert proxies(variables, own).verdict is verdict


def test_a_proxys_password_is_not_shown():
    assert "s3cret" not in proxies({"HTTPS_PROXY": "http://me:s3cret@corp.example:8080"}, OWN).what


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        ("", None),
        ("localhost,127.0.0.1", Verdict.OK),
        ("*", Verdict.WARN),
        ("api.tickets.example", Verdict.WARN),
        ("tickets.example", Verdict.WARN),
        (".tickets.example", Verdict.WARN),
        ("*.tickets.example:443", Verdict.WARN),
        ("other.example, example", Verdict.WARN),
        ("ickets.example", Verdict.OK),
        ("cdn.example", Verdict.WARN),
    ],
)
def test_exceptions_that_cover_a_services_host_are_a_warning(settings, value, verdict):
    found = exceptions({"NO_PROXY": value}, settings)
    assert [each.verdict for each in found] == ([] if verdict is None else [verdict])


def test_without_a_configuration_only_the_star_is_judged():
    assert exceptions({"no_proxy": "api.tickets.example"}, None)[0].verdict is Verdict.OK
    assert exceptions({"no_proxy": "*"}, None)[0].verdict is Verdict.WARN


def test_secrets_that_stand_in_the_shell_are_named_and_not_shown():
    (found,) = held({"A_TOKEN": "s3cret", "B_TOKEN": PLACEHOLDER}, ["A_TOKEN", "B_TOKEN", "C_TOKEN"])
    assert "A_TOKEN" in found.what
    assert "B_TOKEN" not in found.what
    assert "s3cret" not in found.what + found.todo
    assert held({}, ["A_TOKEN"]) == []


def test_the_systems_store_is_compared(tmp_path):
    system = Store(folder=tmp_path)
    assert store("PEM", system).verdict is Verdict.OK
    (tmp_path / STORED_NAME).write_text("PEM\n")
    assert "is among them" in store("PEM", system).what
    assert store("OTHER", system).verdict is Verdict.FAIL
    assert store("PEM", Store(folder=tmp_path / "none")).verdict is Verdict.OK
