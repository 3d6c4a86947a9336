import gzip
import json

import pytest

from proxyd.auth.registry import compile as compile_auth
from proxyd.core.exchange import BodyUse
from proxyd.core.service import Auth
from tests.auth.lab import field, outgoing, request

KEY = b"0123456789abcdef0123456789abcdef"
DSN = b"https://%s@o1.ingest.example/42" % KEY
HOST = b"o1.ingest.example"
PATH = b"/api/42/envelope/"


def scheme():
    return compile_auth(Auth("sentry", secrets=(("dsn", "app/dsn"),)))


def signed(path=PATH, headers=(), body=b"", value=DSN):
    made = outgoing(b"POST", HOST, path, headers, body)
    scheme().sign(made, {"app/dsn": value})
    return made


def envelope(**header):
    return json.dumps(header).encode() + b'\n{"type":"event"}\n{"dsn":"https://not@me/1"}\n'


@pytest.mark.parametrize("value", [DSN, KEY])
def test_the_key_takes_the_place_of_the_clients_in_the_field(value):
    said = b"Sentry sentry_key=mock, sentry_version=7, sentry_client=sentry.python/2.0, sentry_secret=mock"
    made = signed(headers=[(b"x-sentry-auth", said), (b"authorization", b"Sentry sentry_key=mock")], value=value)
    auth = b"Sentry sentry_version=7, sentry_client=sentry.python/2.0, sentry_key=" + KEY
    assert made.headers == [(b"x-sentry-auth", auth)]


def test_a_client_that_says_nothing_gets_a_field():
    assert field(signed(), b"x-sentry-auth") == b"Sentry sentry_version=7, sentry_key=" + KEY


def test_the_query_is_changed_where_the_client_uses_it():
    made = signed(PATH + b"?sentry_version=7&sentry_key=mock&sentry_secret=mock")
    assert made.path == PATH + b"?sentry_version=7&sentry_key=" + KEY


@pytest.mark.parametrize("coding", [None, b"gzip"])
def test_the_envelope_names_the_services_key(coding):
    headers = [(b"content-encoding", coding)] if coding else []
    came = envelope(event_id="1", dsn="https://mock@o1.ingest.example/42")
    made = signed(headers=headers, body=gzip.compress(came, mtime=0) if coding else came)
    body = gzip.decompress(made.body) if coding else made.body
    line, _, items = body.partition(b"\n")
    assert json.loads(line) == {"event_id": "1", "dsn": DSN.decode()}
    assert items == came.partition(b"\n")[2]


@pytest.mark.parametrize(
    "body",
    [
        envelope(event_id="1"),
        envelope(dsn=7),
        envelope(dsn="https://o1.ingest.example/42"),
        b'{"dsn": broken\n',
        b"[" * 5000,
        b"",
        b"\xff\xfe",
    ],
)
def test_an_envelope_without_a_dsn_goes_byte_for_byte(body):
    assert signed(body=body).body == body


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b'{"dsn": 1}\n', mtime=0)[:12]])
def test_what_cannot_be_opened_goes_as_it_came(body):
    assert signed(headers=[(b"content-encoding", b"gzip")], body=body).body == body


def test_another_coding_is_not_opened():
    body = envelope(dsn="https://mock@o1.ingest.example/42")
    assert signed(headers=[(b"content-encoding", b"br")], body=body).body == body


def test_only_envelopes_are_held():
    assert scheme().use_of_body(request(b"POST", path=PATH, body=b"x")) is BodyUse.WHOLE
    assert scheme().use_of_body(request(b"POST", path=b"/api/42/store/", body=b"x")) is BodyUse.NONE


@pytest.mark.parametrize("value", [b"https://o1.ingest.example/42", b"no key", b"https://[x"])
def test_a_secret_that_is_neither_is_said_and_not_shown(value):
    with pytest.raises(ValueError, match="app/dsn is neither") as caught:
        signed(value=value)
    assert value.decode() not in str(caught.value)
