"""``proxyd connect`` with an issuer of the lab, and the vault in its files."""

import io
import json
import sys
import threading
import urllib.request

import pytest
import yaml

from proxyd.cli import connect as module
from proxyd.cli import secret
from proxyd.cli.main import main
from proxyd.vault.store import Vault
from tests.lab.issuer import Issuer

FIELDS = ("client_id", "client_secret", "refresh_token")
pytestmark = pytest.mark.usefixtures("quick_scrypt")


@pytest.fixture(autouse=True)
def no_hardening(monkeypatch):
    """The process under test here is pytest's own."""
    monkeypatch.setattr(module, "harden", lambda: None)
    monkeypatch.setattr(secret, "harden", lambda: None)


@pytest.fixture
def issuer():
    with Issuer() as made:
        made.device["interval"] = 0.05
        yield made


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


class Lab:
    def __init__(self, folder, issuer, monkeypatch, capsys):
        self.folder, self.issuer = folder, issuer
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.secrets = {}
        self.names = {"client_id": "lab/id", "client_secret": "lab/secret", "refresh_token": "lab/refresh"}

    def configuration(self):
        document = {
            "name": "lab-vendor",
            "title": "A vendor",
            "category": "other",
            "hosts": ["vendor.example"],
            "fields": {name: {"title": f"The {name}", "where": "its pages"} for name in FIELDS},
            "schemes": [
                {
                    "name": "oauth",
                    "fields": ["client_id", "refresh_token"],
                    "optional": ["client_secret"],
                    "token": {"flow": "refresh_token", "url": self.issuer.url, "hosts": ["localhost"]},
                    "connect": {
                        "device_url": self.issuer.device_url,
                        "authorize_url": self.issuer.authorize_url,
                        "scope": "read",
                    },
                    "apply": [{"scheme": "bearer", "secret": "access_token"}],
                }
            ],
            "probe": {"path": "/"},
            "documentation": ["https://vendor.example/docs"],
        }
        (self.folder / "lab-vendor.yaml").write_text(yaml.safe_dump(document))
        settings = {
            "listeners": [{"name": "apps", "mode": "forward", "address": "127.0.0.1:3128"}],
            "catalogue": ["lab-vendor.yaml"],
            "services": {"lab": {"use": "lab-vendor", "secret": self.names}, "plain": {"hosts": ["plain.example"]}},
            "secrets": self.secrets,
        }
        path = self.folder / "proxyd.yaml"
        path.write_text(yaml.safe_dump(settings))
        return path

    def connect(self, *words, service="lab", kind=io.TextIOWrapper):
        """Return exit code, standard output and standard error."""
        state = self.folder / "state"
        self.monkeypatch.setattr(sys, "stdin", kind(io.BytesIO()))
        code = main(["connect", service, "-c", str(self.configuration()), "--state-dir", str(state), *words])
        said = self.capsys.readouterr()
        assert "the-secret" not in said.out + said.err
        assert self.issuer.refresh not in said.out + said.err
        return code, said.out, said.err

    def store(self, **values):
        for name, value in values.items():
            secret.store(secret.Place(self.folder / "none", False, self.folder / "state", True), f"lab/{name}", value)

    def stored(self, name):
        return Vault(self.folder / "state").get(name).value


@pytest.fixture
def lab(tmp_path, issuer, monkeypatch, capsys):
    return Lab(tmp_path, issuer, monkeypatch, capsys)


def test_a_code_is_shown_and_the_refresh_token_is_in_the_vault(lab):
    lab.store(id=b"the-id", secret=b"the-secret")
    lab.issuer.replies = ["authorization_pending"]
    code, out, err = lab.connect()
    assert (code, err) == (0, "")
    assert "WDJB-MJHT" in out
    assert f"{lab.issuer.url.replace('token', 'activate')}" in out
    assert "connected: lab; stored: lab/refresh" in out
    assert lab.stored("lab/refresh").decode() == lab.issuer.refresh
    assert [form.get("client_secret") for form in lab.issuer.asked] == ["the-secret"] * 3


def test_json_is_one_line_for_what_is_to_be_done_and_one_for_what_was(lab):
    del lab.names["client_secret"]
    code, out, _ = lab.connect("--json", "--client-id", "another-id")
    asked, done = map(json.loads, out.splitlines())
    assert code == 0
    assert (asked["code"], asked["seconds"]) == ("WDJB-MJHT", 60)
    assert (done["service"], done["stored"], done["ok"]) == ("lab", ["lab/id", "lab/refresh"], True)
    assert lab.stored("lab/id") == b"another-id"
    assert (lab.issuer.asked[0]["client_id"], lab.issuer.asked[0]["scope"]) == ("another-id", "read")
    assert "client_secret" not in lab.issuer.asked[0]
    assert lab.issuer.asked[0]["authorization"] == ""


def test_a_browser_is_opened_and_comes_back(lab):
    lab.store(id=b"the-id", secret=b"the-secret")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def browser(url):
        threading.Thread(target=lambda: opener.open(url, timeout=20).read()).start()
        return True

    lab.monkeypatch.setattr(module.webbrowser, "open", browser)
    code, out, _ = lab.connect("--browser", "--open")
    assert code == 0
    assert "/authorize?" in out
    assert lab.stored("lab/refresh").decode() == lab.issuer.refresh


@pytest.mark.parametrize(("reply", "why"), [("access_denied", "consent was refused"), ("expired_token", "begin again")])
def test_what_went_wrong_is_said_and_nothing_is_stored(lab, reply, why):
    lab.store(id=b"the-id", secret=b"the-secret", refresh=b"former")
    lab.issuer.replies = [reply]
    code, _, err = lab.connect()
    assert code == 1
    assert why in err
    assert lab.stored("lab/refresh") == b"former"


def test_a_client_that_nobody_stored_is_asked_for_by_name(lab):
    code, _, err = lab.connect()
    assert code == 1
    assert "the secret lab/id has no value: The client_id (its pages); store it first: proxyd secret set lab/id" in err


def test_clients_are_typed_in_on_a_terminal(lab):
    lab.monkeypatch.setattr("builtins.input", lambda text: "typed-id")
    lab.monkeypatch.setattr(module.getpass, "getpass", lambda text: "the-secret")
    code, _, err = lab.connect(kind=Terminal)
    assert (code, err) == (0, "")
    assert (lab.stored("lab/id"), lab.stored("lab/secret")) == (b"typed-id", b"the-secret")


def test_a_client_may_come_from_elsewhere_and_the_refresh_token_may_not(lab):
    lab.monkeypatch.setenv("LAB_ID", "id-of-the-environment")
    lab.secrets = {"lab/id": {"env": "LAB_ID"}, "lab/refresh": {"env": "LAB_REFRESH"}}
    del lab.names["client_secret"]
    code, _, err = lab.connect()
    assert code == 2
    assert "lab/refresh is not the vault's; take it out of secrets" in err
    del lab.secrets["lab/refresh"]
    assert lab.connect()[0] == 0
    assert lab.issuer.asked[0]["client_id"] == "id-of-the-environment"


def test_a_service_that_takes_no_consent_is_said_with_those_that_do(lab):
    code, _, err = lab.connect(service="plain")
    assert code == 2
    assert "the service plain has no scheme that takes consent" in err
    assert "those that can be connected: lab" in err
    assert "has no service nowhere; those" in lab.connect(service="nowhere")[2]


def test_a_port_that_is_none_is_refused(lab):
    assert "--port 99999: not a number from 1 to 65535" in lab.connect("--browser", "--port", "99999")[2]
