import json
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.auth.body import FormField, JsonField
from proxyd.core.exchange import Outgoing
from proxyd.core.service import Auth, AuthPart

SECRET = b'R0"\\0123456789abcdef\xc3\xa9'
VALUES = {"s": SECRET}


def sent(kind, body, headers=(), name="key", prefix=""):
    scheme = {"json": JsonField, "form": FormField}[kind](Auth(kind, (AuthPart(name, "s", prefix),)))
    outgoing = Outgoing(b"POST", b"https", b"a.example", list(headers), b"/", body, len(body), 0.0)
    scheme.sign(outgoing, VALUES)
    return outgoing.body


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text() | st.just("key"), PLAIN, max_size=5)


@given(OBJECTS, st.sampled_from([None, 1, 3]), st.booleans())
def test_a_member_is_set_and_every_other_stays(value, indent, escaped):
    body = json.dumps(value, indent=indent, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    made = sent("json", body)
    assert json.loads(made.decode("utf-8", "surrogatepass")) in (value | {"key": SECRET.decode()}, value)


@given(OBJECTS)
def test_what_stands_in_other_members_stays_byte_for_byte(value):
    value.pop("key", None)
    body = json.dumps(value, separators=(",", ":")).encode()
    made = sent("json", body)
    assert made.endswith(body[1:])


@given(st.lists(OBJECTS, min_size=1, max_size=4))
def test_every_object_of_a_batch_gets_it(values):
    made = json.loads(sent("json", json.dumps(values).encode()))
    assert made == [value | {"key": SECRET.decode()} for value in values]


def test_numbers_keep_their_digits_and_a_repeated_member_goes():
    body = b' {"key":"old", "n": 1.10, "big":12345678901234567890123, "k\\u0065y": {"a": [1]} } '
    assert sent("json", body, name="key") == (
        b' {"key":' + json.dumps(SECRET.decode()).encode() + b',"n": 1.10,"big":12345678901234567890123} '
    )


@pytest.mark.parametrize(
    "body",
    [b"text", b"[1]", b'"x"', b"{", b'{"a":1,}', b'{"a" 1}', b'{"a":1} x', b"[{},]", b"[]", b"\xff{}", b"[" * 99999],
    ids=lambda body: repr(body[:8]),
)
def test_what_is_no_object_goes_as_it_came(body):
    assert sent("json", body) == body


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_a_form_gets_the_field_once(pairs):
    body = urlencode([*pairs, ("key", "old")]).encode()
    kept = [pair for pair in pairs if pair[0] != "key"]
    assert parse_qsl(sent("form", body).decode(), keep_blank_values=True) == [*kept, ("key", SECRET.decode())]


def test_other_fields_of_a_form_stay_byte_for_byte():
    assert sent("form", b"a=1+2&k%65y=x&b=%7e", prefix="T ").startswith(b"a=1+2&b=%7e&key=T%20R0")


@pytest.mark.parametrize("kind", ["json", "form"])
def test_a_compressed_body_is_refused_with_what_to_do(kind):
    with pytest.raises(ValueError, match="send it plain"):
        sent(kind, b"\x1f\x8b", [(b"content-encoding", b"gzip")])


@pytest.mark.parametrize("kind", ["json", "form"])
def test_without_a_body_there_is_nothing_to_change(kind):
    assert sent(kind, b"") == b""


def test_masks_know_the_secret_in_every_form():
    scheme = JsonField(Auth("json", (AuthPart("key", "s"),)))
    assert set(scheme.masks(VALUES)) == {
        SECRET,
        b"R0%22%5C0123456789abcdef%C3%A9",
        b'R0\\"\\\\0123456789abcdef\\u00e9',
    }


def test_a_missing_secret_is_named():
    scheme = FormField(Auth("form", (AuthPart("key", "other"),)))
    with pytest.raises(KeyError, match="other"):
        scheme.sign(Outgoing(b"POST", b"https", b"a", [], b"/", b"a=b", 3, 0.0), VALUES)
