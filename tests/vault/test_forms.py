import base64
import datetime

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxyd.core.settings import SecretForm
from proxyd.vault.forms import doubt, ends, fault

KEY = ec.generate_private_key(ec.SECP256R1())


def pem(encryption=None):
    scheme = encryption or serialization.NoEncryption()
    return KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, scheme)


def form(kind, **more):
    return SecretForm("Key of the App", "the console", kind, **more)


def test_what_has_its_form_is_no_fault():
    assert fault("k", pem(), form("pem")) == ""
    assert fault("k", b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----", form("pem")) == ""
    assert fault("k", b'{"a": 1}', form("json")) == ""
    assert fault("k", base64.b64encode(b"x" * 99), form("base64")) == ""
    assert fault("k", b"https://key@sentry.example/1", form("url")) == ""
    assert fault("k", b"anything", form("text")) == ""


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("pem", b"hunter2", "no PEM block"),
        ("pem", pem().replace(b"\n", b"\\n"), "its line breaks are the two characters"),
        ("pem", pem().replace(b"MIG", b"AAA", 1), "no private key that can be read"),
        ("json", b'{"hunter2": }', "not JSON (line 1, column 13)"),
        ("json", b'"hunter2"', "JSON, but not an object"),
        ("base64", b"hunter2!", "not base64"),
        ("url", b"hunter2", "not a URL"),
        ("text", b"\xff\xfehunter2", "not UTF-8"),
    ],
    ids=["no pem", "escaped", "broken pem", "broken json", "json text", "base64", "url", "utf-8"],
)
def test_a_fault_is_told_without_the_value(kind, value, words):
    said = fault("app/key", value, form(kind))
    assert said.startswith("secret app/key is no Key of the App: ")
    assert words in said
    assert "hunter2" not in said


def test_a_sealed_key_cannot_be_used():
    sealed = pem(serialization.BestAvailableEncryption(b"word"))
    assert "sealed with a passphrase" in fault("k", sealed, form("pem"))


def test_a_dead_kind_names_its_successor():
    dead = form("text", refused=(("ATBB.*", "app passwords ended; create an API token"),))
    assert fault("k", b"ATBBhunter2", dead) == "secret k cannot be used: app passwords ended; create an API token"
    assert fault("k", b"ATATT1", dead) == ""


def test_another_pattern_is_a_doubt_alone():
    known = form("text", pattern="ghp_.+")
    assert doubt("k", b"ghp_1", known) == ""
    assert (
        doubt("k", b"hunter2", known)
        == "secret k does not look like a Key of the App; the vendor shows it at the console"
    )


@pytest.mark.parametrize(
    "value",
    [
        b"ghp_plain",
        b"a.b.c",
        b"eyJhbGciOiJub25lIn0.bm90IGpzb24.sig",
        b"eyJhbGciOiJub25lIn0.W10.sig",
        b"eyJhbGciOiJub25lIn0.eyJleHAiOiJzb29uIn0.sig",
        b"eyJhbGciOiJub25lIn0.eyJleHAiOjFlOTl9.sig",
        b"-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----",
        b"-----BEGIN PRIVATE KEY-----\nbm8=\n-----END PRIVATE KEY-----",
    ],
)
def test_a_value_that_says_nothing_of_its_end_has_none(value):
    assert ends(value) == 0.0


def test_certificates_and_tokens_say_when_they_end():
    assert ends(b"eyJhbGciOiJub25lIn0.eyJleHAiOjE4MDAwMDcyMDB9.c2ln") == 1_800_007_200.0
    authority = trustme.CA()
    leaf = authority.issue_cert("a.example", not_after=datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC))
    chain = leaf.cert_chain_pems[0].bytes() + authority.cert_pem.bytes()
    assert ends(chain) == datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC).timestamp()
