import json

import pytest

from proxyd.cli.probe.command import lines
from proxyd.cli.probe.send import Reply
from proxyd.cli.probe.verdict import judge

FIELD = {"name": "token", "title": "Token", "where": "https://acme.example/keys", "secret": "acme/token", "why": ""}
PROBE = {
    "service": "acme",
    "title": "Acme",
    "definition": "acme",
    "method": "GET",
    "url": "https://api.acme.example/me",
    "expect": [200],
    "says": {"403": "refused", "400": "version"},
    "body_says": {'"ok": false': "refused"},
    "scopes": "X-Scopes",
    "error_code": "errors.0.code",
    "error_message": "errors.0.message",
    "request_id": "X-Request",
    "fields": [FIELD],
    "secrets": ["acme/token", "token:acme"],
    "status_page": "https://status.acme.example",
    "documentation": ["https://docs.acme.example"],
}
STATUS = 'proxyd-1; error={}; details="{}"'


def verdict(status=200, body=b"{}", headers=None, record=None, **changes):
    return judge({**PROBE, **changes}, Reply(status, headers or {}, body, 0.25), record)


@pytest.mark.parametrize(
    ("status", "body", "step"),
    [
        (200, b"{}", ""),
        (200, b'{"ok" : false}', "refused"),
        (401, b"", "refused"),
        (403, b"", "refused"),
        (400, b"", "version"),
        (404, b"", "missing"),
        (429, b"", "limit"),
        (503, b"", "down"),
        (302, b"", "unknown"),
    ],
)
def test_statuses_mean_what_the_definition_says_and_what_is_usual(status, body, step):
    found = verdict(status, body)
    assert found.step == step
    assert found.outcome == ("failed" if step else "ok")


def test_the_vendors_words_are_cut_and_harmless():
    body = json.dumps({"errors": [{"code": 17, "message": "no\x1b[31m" + "x" * 1000}]}).encode()
    found = verdict(401, body, {"x-request": "r-1\x07"})
    assert found.words.startswith(r"the service refuses the credential: 17 no\x1b[31m")
    assert len(found.words) < 400
    assert found.request_id == r"r-1\x07"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"errors": []}', b'{"errors": {"0": 1}}', b"[" * 100_000])
def test_a_body_that_says_nothing_adds_nothing(body):
    assert verdict(401, body).words == "the service refuses the credential"


@pytest.mark.parametrize(
    ("error", "detail", "step"),
    [
        ("dns_error", "the name does not resolve", "dns"),
        ("connection_refused", "nobody listens", "tcp"),
        ("connection_timeout", "no connection within 5 s", "tcp"),
        ("connection_timeout", "TLS with api.acme.example took longer", "tls"),
        ("tls_certificate_error", "certificate has expired", "certificate"),
        ("http_response_timeout", "no answer", "timeout"),
        ("destination_unavailable", "the breaker is open", "breaker"),
        ("proxy_configuration_error", "the secret acme/token cannot be used", "credential"),
        ("proxy_configuration_error", "the secret token:acme cannot be used: invalid_client", "token"),
        ("http_protocol_error", "bad head", "response"),
    ],
)
@pytest.mark.parametrize("is_recorded", [True, False])
def test_an_error_of_proxyds_own_names_the_step(error, detail, step, is_recorded):
    record = {"origin": "proxyd", "error": error, "detail": detail} if is_recorded else None
    found = verdict(502, b"", {"proxy-status": STATUS.format(error, detail)}, record)
    assert (found.step, found.error, found.words) == (step, error, detail)


def test_a_missing_secret_leads_to_where_the_vendor_shows_it():
    detail = "the secret acme/token cannot be used: it has no value yet"
    found = verdict(500, b"", {"proxy-status": STATUS.format("proxy_configuration_error", detail)})
    assert found.what_to_do == "proxyd secret set acme/token; the vendor shows it at https://acme.example/keys"


def test_a_secret_that_no_issuer_can_be_asked_with_is_told_before_its_token():
    status = STATUS.format("proxy_configuration_error", "the secret token:acme cannot be used: no value")
    why = "secret acme/token is no Token: not JSON; store it anew"
    found = verdict(500, b"", {"proxy-status": status}, fields=[{**FIELD, "secret": None}, {**FIELD, "why": why}])
    assert (found.step, found.words) == ("token", why)
    assert found.what_to_do == "proxyd secret set acme/token; the vendor shows it at https://acme.example/keys"


def test_an_error_that_the_upstream_tells_is_the_upstreams():
    told = {"proxy-status": "edge; error=dns_error"}
    assert verdict(401, b"", told, {"origin": "upstream", "error": None}).step == "refused"


@pytest.mark.parametrize(
    ("status", "outcome", "step"),
    [(200, "ok", ""), (404, "ok", ""), (401, "failed", "refused"), (429, "failed", "limit"), (502, "failed", "down")],
)
def test_a_service_without_a_definition_is_judged_by_its_status_alone(status, outcome, step):
    found = verdict(status, definition=None)
    assert (found.outcome, found.step) == (outcome, step)


def test_the_wait_that_a_vendor_asks_for_is_told():
    assert verdict(429, b"", {"retry-after": "30"}).what_to_do == "try again in 30 s"
    assert verdict(429, b"", {"retry-after": "soon"}).what_to_do == "try again later"


def test_steps_of_a_connection_add_up():
    record = {"connect_ms": 30.0, "dns_ms": 5.0, "tls_ms": 15.5, "first_byte_ms": 20.0, "total_ms": 60.0}
    assert verdict(record=record).timings_ms == {
        "queue": None,
        "dns": 5.0,
        "tcp": 9.5,
        "tls": 15.5,
        "first_byte": 20.0,
        "total": 60.0,
    }


def test_without_a_record_the_whole_time_is_known():
    assert verdict().timings_ms["total"] == 250.0


def test_a_daemon_that_ends_the_connection_is_a_failure_of_its_own():
    found = judge(PROBE, Reply(problem="no answer in 60 s"), None)
    assert (found.outcome, found.step, found.words) == ("failed", "listener", "no answer in 60 s")


def test_a_person_reads_steps_scopes_and_what_to_do():
    good = verdict(200, b"{}", {"x-scopes": ""})
    bad = verdict(401, b'{"errors": [{"message": "expired"}]}', {"x-request": "r-9"})
    assert list(lines([good, bad])) == [
        "acme  ok      200 the credential is accepted (total 250 ms)",
        "              scopes: none",
        "acme  FAILED  401 refused: the service refuses the credential: expired (total 250 ms)",
        "              look at acme/token; the vendor shows it at https://acme.example/keys",
        "              the vendor's number of the request: r-9",
    ]


def test_no_service_is_said():
    assert list(lines([])) == ["no services are configured"]
