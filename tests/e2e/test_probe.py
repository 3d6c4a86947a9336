"""``proxyd test`` against vendors that fail in one way each."""

import http.client
import json
import socket

import pytest

from tests.catalogue.lab.proxied import configuration, loopback, variable_of
from tests.catalogue.lab.vendor import Answer, Vendor
from tests.lab.daemon import Daemon
from tests.lab.pki import create_pki

pytestmark = pytest.mark.e2e

SECRET = "right-secret-000000"
SUNSET = "Sat, 31 Dec 2033 23:59:59 GMT"
HOSTS = ("api.github.com", "gitlab.com", "api.digitalocean.com", "api.fastly.com", "own.example", "api.vercel.com")


def check(asked):
    return "" if SECRET in asked.value("authorization") + asked.value("private-token") else "Bad\x1b credentials"


def answers(asked):
    match asked.host:
        case "api.github.com":
            return Answer(200, {"rate": {}}, {"x-oauth-scopes": "repo, gist", "sunset": SUNSET})
        case "api.vercel.com":
            return Answer(429, {"error": {"code": "rate_limited", "message": "Slow down"}}, {"retry-after": "7"})
        case "own.example":
            return Answer(404)
    return Answer(500, "trouble")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")
    pki = create_pki(folder / "known", HOSTS)
    strange = create_pki(folder / "strange", HOSTS)
    with socket.socket() as closed, Vendor(pki, check, answers) as vendor, Vendor(strange, check, answers) as imposter:
        closed.bind(("127.0.0.1", 0))  # bound, and nothing listens
        services = {
            "github": {"secret": "s/right", **loopback(vendor.port)},
            "gitlab": {"secret": "s/wrong", **loopback(vendor.port)},
            "digitalocean": {"secret": "s/right", **loopback(imposter.port)},
            "fastly": {"secret": "s/right", **loopback(closed.getsockname()[1])},
            "heroku": {"secret": "s/absent", **loopback(vendor.port)},
            "vercel": {"secret": "s/right", **loopback(vendor.port), "retry": {"attempts": 1}},
            "circleci": {"secret": "s/right", **loopback(vendor.port)},
            "own": {
                "hosts": ["own.example"],
                "auth": {"scheme": "bearer", "secret": "s/right"},
                **loopback(vendor.port),
            },
        }
        secrets = {"s/right": SECRET, "s/wrong": "another-secret-0000"}
        rules = [{"deny": {"services": "circleci"}}, {"allow": {"services": "*"}}]
        config = configuration(folder, pki, services, secrets, access={"rules": rules})
        values = {variable_of(name): value for name, value in secrets.items()}
        with Daemon(folder, config, values) as daemon:
            done = daemon.run("test", "--all", "--json")
            text = daemon.run("test", "github", "gitlab")
            nobody = daemon.run("test", "gitlap")
            proxy = http.client.HTTPConnection(*daemon.address(), timeout=30)
            proxy.request("GET", "https://api.pagerduty.com/users", headers={"Authorization": "Token token=mine"})
            with proxy.getresponse() as answer:
                assert answer.status == 403
            proxy.close()
            daemon.wait_for_log(11)
            discovered = daemon.run("discover", "--json")
            deprecations = daemon.admin.call("service", "github")["deprecations"]
    assert done.stderr == ""
    return {one["service"]: one for one in json.loads(done.stdout)}, done, text, nobody, deprecations, discovered


def test_a_service_that_answers_is_well_and_every_step_has_its_time(report):
    found = report[0]["github"]
    assert (found["outcome"], found["status"], found["step"]) == ("ok", 200, "")
    assert found["scopes"] == "repo, gist"
    spans = found["timings_ms"]
    assert all(spans[name] >= 0 for name in ("dns", "tcp", "tls", "first_byte", "total"))
    assert spans["total"] >= spans["tls"]


@pytest.mark.parametrize(
    ("service", "step", "words", "todo"),
    [
        (
            "gitlab",
            "refused",
            r"refuses the credential: Bad\x1b credentials",
            "look at s/wrong; the vendor shows it at",
        ),
        ("digitalocean", "certificate", "certificate", "tls.extra_roots"),
        ("fastly", "tcp", "refused", "nothing listens there"),
        ("heroku", "credential", "s/absent", "proxyd secret set s/absent; the vendor shows it at"),
        ("vercel", "limit", "limit is reached: rate_limited Slow down", "try again in 7 s"),
        ("circleci", "access", "", "`access` says who may call what"),
    ],
)
def test_the_step_that_failed_is_told_in_words(report, service, step, words, todo):
    found = report[0][service]
    assert (found["outcome"], found["step"]) == ("failed", step)
    assert words in found["words"]
    assert todo in found["what_to_do"]
    assert found["words"].isprintable()


def test_without_a_definition_an_answer_is_all_that_is_known(report):
    found = report[0]["own"]
    assert (found["outcome"], found["status"]) == ("ok", 404)
    assert "not known" in found["words"]


def test_failures_show_in_the_exit_code_and_no_secret_is_printed(report):
    _, done, text, nobody, *_ = report
    assert (done.returncode, text.returncode, nobody.returncode) == (1, 1, 2)
    assert "did you mean gitlab?" in nobody.stderr
    assert "github  ok      200 the credential is accepted" in text.stdout
    assert "gitlab  FAILED  401 refused: the service refuses the credential" in text.stdout
    assert "scopes: repo, gist" in text.stdout
    assert SECRET not in done.stdout + text.stdout
    assert "another-secret" not in done.stdout + text.stdout


def test_an_endpoint_whose_end_was_announced_is_listed(report):
    (row,) = report[4]
    assert (row["endpoint"], row["ends"]) == ("GET /rate_limit", "2033-12-31")


def test_a_host_that_is_no_service_is_recognised_and_who_still_sends_a_key_to_it(report):
    (found,) = json.loads(report[5].stdout)
    assert (found["service"], found["hosts"], found["requests"]) == ("pagerduty", ["api.pagerduty.com"], 1)
    assert found["own_credentials"] == ["authorization: Token"]
    assert found["configuration"] == "  pagerduty:\n    secret: pagerduty/token\n"
