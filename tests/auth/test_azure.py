"""Shared Key against Microsoft's own libraries; shared access signatures that are appended."""

import base64
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.auth.registry import compile as compile_auth
from proxyd.core.service import Auth
from tests.auth.lab import field, outgoing, request

KEY = base64.b64encode(b"the key of an account of storage")
BLOB = b"acme.blob.core.windows.net"
TABLE = b"acme.table.core.windows.net"


def signer(**options):
    return compile_auth(Auth("azure_shared_key", secrets=(("key", "az/key"),), options=tuple(options.items())))


def signed(method, host, target, headers=(), body=b"", **options):
    made = outgoing(method, host, target, headers, body)
    signer(**options).sign(made, {"az/key": KEY})
    return made


def test_the_clients_own_signature_and_date_go():
    own = [(b"authorization", b"SharedKey acme:old"), (b"x-ms-date", b"old"), (b"x-ms-version", b"2024-01-01")]
    made = signed(b"GET", BLOB, b"/box?restype=container&comp=list", own)
    assert field(made, b"authorization").startswith(b"SharedKey acme:")
    assert field(made, b"x-ms-date") == b"Sun, 30 Aug 2015 12:36:00 GMT"
    assert field(made, b"x-ms-version") == b"2024-01-01"


def test_a_version_is_pinned_where_the_client_names_none():
    assert field(signed(b"GET", BLOB, b"/"), b"x-ms-version") == b"2025-11-05"


def test_a_shared_access_signature_in_the_url_is_a_signature():
    assert signer().is_presigned(request(path=b"/box/key?sv=2024&sig=abc"))
    assert not signer().is_presigned(request(path=b"/box/key?comp=list"))


def test_a_key_that_is_no_base64_is_said_and_not_shown():
    with pytest.raises(ValueError, match="az/key is not base64") as caught:
        signer().sign(outgoing(b"GET", BLOB, b"/"), {"az/key": b"not base64!"})
    assert "not base64!" not in str(caught.value)


def test_a_given_signature_replaces_the_clients():
    scheme = compile_auth(Auth("azure_sas", secrets=(("sas", "az/sas"),)))
    made = outgoing(b"GET", BLOB, b"/box/key?comp=list&sv=old&sig=old", [(b"authorization", b"Bearer old")])
    scheme.sign(made, {"az/sas": b"?sv=2025-11-05&sp=r&sig=abc%3D"})
    assert made.path == b"/box/key?comp=list&sv=2025-11-05&sp=r&sig=abc%3D"
    assert field(made, b"authorization") == b""


NAMES = st.text("abz019_", min_size=1, max_size=6).map(lambda name: f"x-ms-meta-{name}")
META = st.dictionaries(NAMES, st.text("ab c", max_size=5).map(str.strip), max_size=4)
PARAMETERS = st.sampled_from(["comp", "restype", "prefix", "maxresults", "a"])
QUERY = st.dictionaries(PARAMETERS, st.text("ab/é 1", max_size=5), max_size=4)


@settings(max_examples=300, deadline=None)
@given(
    method=st.sampled_from(["GET", "PUT", "DELETE", "HEAD"]),
    path=st.text("abc/-_.~%20", max_size=10),
    query=QUERY,
    meta=META,
    body=st.binary(max_size=20),
    kind=st.sampled_from(["", "text/plain"]),
)
def test_signatures_of_blobs_are_microsofts(method, path, query, meta, body, kind):
    theirs = pytest.importorskip("azure.storage.blob._shared.authentication")
    from azure.core.rest import HttpRequest

    url = f"https://{BLOB.decode()}/{path}"
    asked = HttpRequest(method, url, params=query)
    headers = [(name.encode(), value.encode()) for name, value in meta.items()]
    if kind:
        headers.append((b"content-type", kind.encode()))
    target = asked.url.removeprefix(f"https://{BLOB.decode()}")
    made = signed(method.encode(), BLOB, target.encode(), headers, body)
    for name, value in made.headers:
        if name != b"authorization":
            asked.headers[name.decode()] = value.decode()
    asked.headers["Content-Length"] = str(len(body))
    context = types.SimpleNamespace(transport=None)
    legacy = types.SimpleNamespace(
        method=method, url=asked.url, headers=dict(asked.headers), query=dict(parsed(asked.url))
    )
    policy = theirs.SharedKeyCredentialPolicy("acme", KEY.decode())
    policy.on_request(types.SimpleNamespace(http_request=legacy, context=context))
    assert field(made, b"authorization").decode() == legacy.headers["Authorization"]


def parsed(url):
    from urllib.parse import parse_qsl, urlsplit

    return parse_qsl(urlsplit(url).query, keep_blank_values=True)


@settings(max_examples=200, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "DELETE"]), path=st.text("abc()',=", max_size=10), body=st.binary(max_size=9)
)
def test_signatures_of_tables_are_microsofts(method, path, body):
    theirs = pytest.importorskip("azure.data.tables._authentication")
    from azure.core.credentials import AzureNamedKeyCredential

    target = f"/{path}?comp=acl"
    made = signed(method.encode(), TABLE, target.encode(), [(b"content-type", b"application/json")], body)
    legacy = types.SimpleNamespace(
        method=method,
        url=f"https://{TABLE.decode()}{target}",
        headers={name.decode(): value.decode() for name, value in made.headers if name != b"authorization"},
        query={"comp": "acl"},
    )
    policy = theirs.SharedKeyCredentialPolicy(AzureNamedKeyCredential("acme", KEY.decode()))
    policy.on_request(types.SimpleNamespace(http_request=legacy, context=types.SimpleNamespace(transport=None)))
    assert field(made, b"authorization").decode() == legacy.headers["Authorization"]
