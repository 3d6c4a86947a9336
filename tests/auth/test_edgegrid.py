"""EdgeGrid against Akamai's own library."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.auth.registry import compile as compile_auth
from proxyd.core.exchange import BodyUse
from proxyd.core.service import Auth
from tests.auth.lab import field, outgoing, request

VALUES = {
    "a/client": b"akab-client-token-xxx",
    "a/secret": b"c2VjcmV0LW9mLWEtY2xpZW50",
    "a/access": b"akab-access-token",
}
SECRETS = (("client_token", "a/client"), ("client_secret", "a/secret"), ("access_token", "a/access"))
HOST = b"akab-x.luna.akamaiapis.net"


def signer():
    return compile_auth(Auth("edgegrid", secrets=SECRETS))


def test_what_is_sent_for_a_known_nonce_and_time(monkeypatch):
    monkeypatch.setattr("proxyd.auth.edgegrid.uuid.uuid4", lambda: "ec9d20ee-1e9b-4c1f-925a-f0017754f86c")
    made = outgoing(b"GET", HOST, b"/papi/v1/contracts?x=1", [(b"authorization", b"EG1-HMAC-SHA256 old")])
    signer().sign(made, VALUES)
    assert field(made, b"authorization") == (
        b"EG1-HMAC-SHA256 client_token=akab-client-token-xxx;access_token=akab-access-token;"
        b"timestamp=20150830T12:36:00+0000;nonce=ec9d20ee-1e9b-4c1f-925a-f0017754f86c;"
        b"signature=vtV/FWeZeydOB56yIAcBUx9G+4m3UKMbJLyc/NkIhj0="
    )


def test_only_a_posts_body_is_asked_for():
    assert signer().use_of_body(request(b"POST", body=b"x")) is BodyUse.WHOLE
    assert signer().use_of_body(request(b"PUT", body=b"x")) is BodyUse.NONE
    assert signer().use_of_body(request(b"POST")) is BodyUse.NONE


@settings(max_examples=400, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
    path=st.text("abc/-_.~%2F", max_size=12),
    query=st.text("ab=&1%20+", max_size=12),
    body=st.tuples(st.binary(max_size=80), st.sampled_from([0, 140_000])),
)
def test_signatures_are_akamais(method, path, query, body):
    edgegrid = pytest.importorskip("akamai.edgegrid.edgegrid")
    import requests

    target = "/" + path + ("?" + query if query else "")
    body = body[0] + bytes(body[1])
    made = outgoing(method.encode(), HOST, target.encode(), body=body)
    signer().sign(made, VALUES)
    said = field(made, b"authorization").decode()
    timestamp, nonce = re.search(r"timestamp=([^;]+);nonce=([^;]+);", said).groups()
    theirs = edgegrid.EdgeGridAuth(*(VALUES[name].decode() for _, name in SECRETS))
    prepared = requests.Request(method, f"https://{HOST.decode()}/").prepare()
    prepared.url = f"https://{HOST.decode()}{target}"
    prepared.body = body
    assert theirs.ah.make_auth_header(prepared, timestamp, nonce) == said
