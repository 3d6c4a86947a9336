"""The generic HMAC: RFC 4231's vectors, and Azure App Configuration's library as an independent maker of one."""

import base64
import hashlib
import hmac
from types import SimpleNamespace
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.auth.message_mac import names_in
from proxyd.auth.registry import compile as compile_auth
from proxyd.core.exchange import BodyUse
from proxyd.core.service import Auth, AuthPart
from tests.auth.lab import MOMENT, field, outgoing, request

HOST = b"api.example"
SECRETS = (("key", "acme/key"), ("key_id", "acme/id"))
VALUES = {"acme/key": b"Jefe", "acme/id": b"K1"}


def scheme(message="$body", headers=None, secrets=SECRETS, **options):
    fields = headers or {"X-Signature": "$signature"}
    parts = tuple(AuthPart(name, "", text) for name, text in fields.items())
    return compile_auth(Auth("hmac", parts, secrets=secrets, options=(("message", message), *options.items())))


def signed(made_scheme, target=b"/", body=b"", headers=(), method=b"GET", values=VALUES):
    made = outgoing(method, HOST, target, headers, body)
    made_scheme.sign(made, values)
    return made


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            "sha384",
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
        ),
    ],
)
def test_codes_are_those_of_the_vectors(algorithm, expected):
    """RFC 4231 §4.3."""
    made = signed(scheme(algorithm=algorithm), body=b"what do ya want for nothing?")
    assert field(made, b"x-signature").decode() == expected


def test_every_part_stands_where_the_text_names_it():
    text = (
        "$method $scheme $host $target $path $query $content_type $body $$ ${timestamp}0 $milliseconds $date $iso_date"
    )
    made = signed(scheme(text), b"/a%20b?x=1&y", b"{}", [(b"content-type", b"application/json")], method=b"PUT")
    said = (
        b"PUT https api.example /a%20b?x=1&y /a%20b x=1&y application/json {} $ 14409381600 1440938160000 "
        b"Sun, 30 Aug 2015 12:36:00 GMT 2015-08-30T12:36:00Z"
    )
    assert field(made, b"x-signature").decode() == hmac.new(b"Jefe", said, "sha256").hexdigest()


def test_hashes_of_the_body_are_those_of_the_standard_library():
    text = "$body_md5_base64 $body_sha256_base64 $body_sha256_hex"
    made = signed(scheme("x", {"X-Hashes": text, "X-Signature": "$signature"}), body=b"abc")
    md5, sha = hashlib.md5(b"abc", usedforsecurity=False).digest(), hashlib.sha256(b"abc")
    expected = b" ".join((base64.b64encode(md5), base64.b64encode(sha.digest()), sha.hexdigest().encode()))
    assert field(made, b"x-hashes") == expected


def test_the_client_s_own_fields_go():
    made = signed(scheme(), headers=[(b"x-signature", b"old"), (b"accept", b"*/*"), (b"x-signature", b"older")])
    assert [name for name, _ in made.headers] == [b"accept", b"x-signature"]


def test_message_and_fields_have_the_same_nonce():
    made = signed(scheme("$nonce", {"X-Nonce": "$nonce", "X-Signature": "$signature"}))
    nonce = field(made, b"x-nonce")
    assert len(nonce) == 32
    assert field(made, b"x-signature").decode() == hmac.new(b"Jefe", nonce, "sha256").hexdigest()
    assert field(signed(scheme("$nonce", {"X-Nonce": "$nonce"})), b"x-nonce") != nonce


@pytest.mark.parametrize(("form", "raw"), [("base64", b"AAECAw=="), ("hex", b"00010203")])
def test_a_key_is_decoded_as_it_is_written(form, raw):
    made = signed(scheme("x", key=form), values={**VALUES, "acme/key": raw})
    assert field(made, b"x-signature").decode() == hmac.new(bytes(range(4)), b"x", "sha256").hexdigest()


@pytest.mark.parametrize("form", ["base64", "hex"])
def test_a_key_that_is_written_otherwise_is_said_and_not_shown(form):
    with pytest.raises(ValueError, match=f"acme/key is not {form}") as caught:
        signed(scheme("x", key=form), values={**VALUES, "acme/key": b"private!"})
    assert "private!" not in str(caught.value)


def test_the_body_is_held_only_where_a_text_names_it():
    with_body = request(b"POST", body=b"x")
    assert scheme("$body_sha256_hex").use_of_body(with_body) is BodyUse.WHOLE
    assert scheme("$target").use_of_body(with_body) is BodyUse.NONE
    assert scheme("$body").use_of_body(request()) is BodyUse.NONE


@pytest.mark.parametrize("text", ["$key", "$kye", "$signature2", "${key}"])
def test_a_text_names_no_key_and_nothing_unknown(text):
    with pytest.raises(ValueError, match=r"knows no \$\w+; it knows body, .*key_id"):
        scheme(text)


@pytest.mark.parametrize("text", ["costs 5$", "$ 5", "$A", "${"])
def test_a_dollar_sign_that_begins_nothing_is_refused(text):
    with pytest.raises(ValueError, match=r"write \$\$"):
        names_in(text)


def test_the_vendors_clock_is_followed():
    made = scheme("x", {"X-Timestamp": "$timestamp"})
    made.clock.skew = 90.0
    assert field(signed(made), b"x-timestamp") == b"%d" % (MOMENT + 90)


TARGETS = st.from_regex(r"/[a-z%20/]{0,9}(\?[a-z=&%20]{0,9})?", fullmatch=True)


@settings(max_examples=300, deadline=None)
@given(
    method=st.sampled_from(["GET", "PUT", "POST"]), target=TARGETS, body=st.text(max_size=20), key=st.binary(min_size=1)
)
def test_azures_app_configuration_signs_the_same(method, target, body, key):
    """https://learn.microsoft.com/en-us/azure/azure-app-configuration/rest-api-authentication-hmac."""
    theirs = pytest.importorskip("azure.appconfiguration._azure_appconfiguration_requests")
    raw = base64.b64encode(key)
    endpoint = f"https://{HOST.decode()}"
    asked = SimpleNamespace(method=method, url=endpoint + target, body=body, headers={})
    policy = theirs.AppConfigRequestsCredentialsPolicy(SimpleNamespace(key=raw.decode()), endpoint, "K1")
    with mock.patch.object(theirs, "get_current_utc_time", return_value="Sun, 30 Aug 2015 12:36:00 GMT"):
        policy._signed_request(SimpleNamespace(http_request=asked, context=SimpleNamespace(transport=None)))
    ours = scheme(
        "$method\n$target\n$date;$host;$body_sha256_base64",
        {
            "x-ms-date": "$date",
            "x-ms-content-sha256": "$body_sha256_base64",
            "Authorization": "HMAC-SHA256 Credential=$key_id&SignedHeaders=x-ms-date;host;x-ms-content-sha256"
            "&Signature=$signature",
        },
        key="base64",
        encoding="base64",
    )
    made = signed(ours, target.encode(), body.encode(), method=method.encode(), values={**VALUES, "acme/key": raw})
    assert {name.decode(): value.decode() for name, value in made.headers} == {
        name.lower(): value for name, value in asked.headers.items()
    }
