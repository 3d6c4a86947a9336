"""Oracle's signatures: verified by the public key over the documented text, and against the SDK's own signer."""

import base64
import re
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.auth.registry import compile as compile_auth
from proxyd.core.exchange import BodyUse
from proxyd.core.service import Auth
from tests.auth.lab import field, outgoing, request

KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
SEALED = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"open")
)
OPTIONS = (("tenancy", "ocid1.tenancy.x"), ("user", "ocid1.user.y"), ("fingerprint", "aa:bb"))
HOST = b"identity.eu-frankfurt-1.oraclecloud.com"


def signer(**more):
    secrets = (("private_key", "o/key"), *more.items())
    return compile_auth(Auth("oracle", secrets=secrets, options=OPTIONS))


def parts(made):
    said = field(made, b"authorization").decode()
    assert said.startswith("Signature ")
    return dict(re.findall(r'(\w+)="([^"]*)"', said))


def documented_text(made, names):
    """The signing string of the draft, §2.3."""
    lines = []
    for name in names:
        if name == "(request-target)":
            lines.append(f"(request-target): {made.method.decode().lower()} {made.path.decode()}")
        elif name == "host":
            lines.append(f"host: {made.host.decode()}")
        elif name == "content-length":
            lines.append(f"content-length: {len(made.body)}")
        else:
            lines.append(f"{name}: {field(made, name.encode()).decode()}")
    return "\n".join(lines).encode()


def verify(made):
    found = parts(made)
    text = documented_text(made, found["headers"].split())
    KEY.public_key().verify(base64.b64decode(found["signature"]), text, padding.PKCS1v15(), SHA256())
    return found


@settings(max_examples=50, deadline=None)
@given(
    method=st.sampled_from([b"GET", b"HEAD", b"DELETE", b"POST", b"PUT", b"PATCH"]),
    path=st.text("abc/-_.~%20", max_size=12).map(lambda text: b"/20160918/" + text.encode()),
    query=st.text("ab=&1%20+", max_size=12),
    body=st.binary(max_size=80),
)
def test_the_public_key_verifies_the_documented_text(method, path, query, body):
    target = path + (b"?" + query.encode() if query else b"")
    made = outgoing(method, HOST, target, [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")], body)
    signer().sign(made, {"o/key": PEM})
    found = verify(made)
    assert found["keyId"] == "ocid1.tenancy.x/ocid1.user.y/aa:bb"
    has_body = method in (b"POST", b"PUT", b"PATCH")
    assert ("x-content-sha256" in found["headers"]) is has_body
    if has_body:
        assert field(made, b"x-content-sha256") == base64.b64encode(sha256(body).digest())
        assert field(made, b"content-type") == b"application/json"
    assert field(made, b"date") == b""


def test_uploads_of_object_storage_are_signed_without_their_body():
    host = "objectstorage.eu-frankfurt-1.oraclecloud.com"
    upload = request(b"PUT", host, b"/n/ns/b/bucket/o/key", body=b"data")
    assert signer().use_of_body(upload) is BodyUse.NONE
    assert signer().use_of_body(request(b"PUT", host, b"/n/ns/b/bucket", body=b"{}")) is BodyUse.WHOLE
    made = outgoing(b"PUT", host.encode(), b"/n/ns/b/bucket/o/key", body=None, length=4)
    signer().sign(made, {"o/key": PEM})
    assert verify(made)["headers"] == "x-date (request-target) host"


def test_a_sealed_key_is_opened_by_its_passphrase():
    made = outgoing(b"GET", HOST, b"/")
    sealed = signer(passphrase="o/pass")
    sealed.sign(made, {"o/key": SEALED, "o/pass": b"open"})
    verify(made)
    with pytest.raises(ValueError, match="another passphrase"):
        sealed.sign(made, {"o/key": SEALED, "o/pass": b"wrong"})


@pytest.mark.parametrize("pem", [b"no key", PEM[:200]])
def test_what_is_no_key_is_said_without_showing_it(pem):
    with pytest.raises(ValueError, match="o/key is no private key in PEM") as caught:
        signer().sign(outgoing(b"GET", HOST, b"/"), {"o/key": pem})
    assert pem.decode() not in str(caught.value)


def test_options_are_missed_by_name():
    with pytest.raises(ValueError, match="fingerprint"):
        compile_auth(Auth("oracle", secrets=(("private_key", "o/key"),), options=OPTIONS[:2]))


@settings(max_examples=60, deadline=None)
@given(method=st.sampled_from(["GET", "POST"]), path=st.text("abc/-_.~%20?=&", max_size=12))
def test_signatures_are_the_sdks(method, path):
    sign = pytest.importorskip("oci._vendor.httpsig_cffi.sign")
    made = outgoing(method.encode(), HOST, b"/" + path.encode(), body=b"{}")
    signer().sign(made, {"o/key": PEM})
    found = parts(made)
    theirs = sign.HeaderSigner(found["keyId"], PEM.decode(), "rsa-sha256", headers=found["headers"].split())
    headers = {name.decode(): value.decode() for name, value in made.headers if name != b"authorization"}
    headers |= {"host": HOST.decode(), "content-length": "2"}
    signed = theirs.sign(headers, host=HOST.decode(), method=method, path="/" + path)
    assert found["signature"] == re.search(r'signature="([^"]+)"', signed["authorization"])[1]
