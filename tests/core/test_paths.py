import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.paths import METHOD_OVERRIDES, check_path, covers

PLAIN = [
    b"/",
    b"*",
    b"/v2",
    b"/v2/",
    b"/v2/tickets/17",
    b"/v2/tickets?next=../x;y//z%2e",
    b"/v2/.well-known/x",
    b"/v2/...",
    b"/v2/a..b/c.",
    b"/v2/~me/a-b_c",
    b"/v2/projects/x:run",
    b"/v2/a@b/c,d",
    b"/v2/caf%C3%A9",
    b"/v2/caf%c3%a9",
    b"/v2/a%20b",
    b"/v2/a%3Bb",
    b"/v2/50%25",
    b"/v2/50%25off",
    b"/v2/$filter(x='y')!*+=&",
]

REFUSED = [
    (b"", "slash"),
    (b"v2/x", "slash"),
    (b"**", "slash"),
    (b"http://h/v2", "slash"),
    (b"/v2/.", "dot segment"),
    (b"/v2/..", "dot segment"),
    (b"/v2/./x", "dot segment"),
    (b"/v2/../x", "dot segment"),
    (b"/../v2", "dot segment"),
    (b"/v2/%2e/x", "dot segment"),
    (b"/v2/%2E/x", "dot segment"),
    (b"/v2/%2e%2e/x", "dot segment"),
    (b"/v2/%2E%2e/x", "dot segment"),
    (b"/v2/.%2e/x", "dot segment"),
    (b"/v2/%2E./x", "dot segment"),
    (b"/v2/..;/x", "dot segment"),
    (b"/v2/.;/x", "dot segment"),
    (b"/v2/..;a=b/x", "dot segment"),
    (b"/v2/%2e%2e;a/x", "dot segment"),
    (b"/v2/..%3b/x", "dot segment"),
    (b"/v2/..%3Ba=b", "dot segment"),
    (b"/v2/x;y/z", "parameter"),
    (b"/v2/x;", "parameter"),
    (b"/v2/;/x", "parameter"),
    (b"//v2", "empty segment"),
    (b"/v2//x", "empty segment"),
    (b"/v2//", "empty segment"),
    (b"/v2\\x", "backslash"),
    (b"/v2/..\\x", "backslash"),
    (b"/v2/%5cx", "encoded backslash"),
    (b"/v2/%5Cx", "encoded backslash"),
    (b"/v2%2fx", "encoded slash"),
    (b"/v2/..%2Fx", "encoded slash"),
    (b"/v2/a\tb", "control"),
    (b"/v2/a\x00b", "control"),
    (b"/v2/a\x7fb", "control"),
    (b"/v2/a b", "space"),
    (b"/v2/\xc0\xae\xc0\xae/x", "beyond ASCII"),
    (b"/v2/%00", "encoded control"),
    (b"/v2/a%0d%0ab", "encoded control"),
    (b"/v2/%7f", "encoded control"),
    (b"/v2/%c0%ae%c0%ae/x", "UTF-8 never has"),
    (b"/%76%32/x", "needs no encoding"),
    (b"/v2/file%2etxt", "needs no encoding"),
    (b"/v2/%7Eme", "needs no encoding"),
    (b"/v2/%252e%252e/x", "encoded twice"),
    (b"/v2/%252fx", "encoded twice"),
    (b"/v2/%255cx", "encoded twice"),
    (b"/v2/%25252e", "encoded twice"),
    (b"/v2/%2", "percent sign"),
    (b"/v2/%", "percent sign"),
    (b"/v2/%zz", "percent sign"),
    (b"/v2/%u002e", "percent sign"),
]


@pytest.mark.parametrize("path", PLAIN)
def test_a_path_with_one_reading_passes(path):
    assert check_path(path, encoded_slash=False) is None


@pytest.mark.parametrize(("path", "why"), REFUSED)
def test_a_path_with_two_readings_is_refused_and_told_why(path, why):
    assert why in (check_path(path, encoded_slash=False) or "")


@pytest.mark.parametrize("path", [b"/projects/group%2Fname", b"/@scope%2fname", b"/a%2Fb%2Fc/d"])
def test_a_service_may_admit_encoded_slashes(path):
    assert check_path(path, encoded_slash=True) is None


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (b"/a%2f..%2fb", "dot segment"),
        (b"/a%2F%2e%2E%2Fb", "dot segment"),
        (b"/a%2f%2fb", "empty segment"),
        (b"/a/%2fb", "empty segment"),
        (b"/a%2f..;x", "dot segment"),
        (b"/a%5cb", "encoded backslash"),
        (b"/a%252fb", "encoded twice"),
    ],
)
def test_encoded_slashes_hide_nothing(path, why):
    assert why in (check_path(path, encoded_slash=True) or "")


@pytest.mark.parametrize(
    ("prefix", "path", "covered"),
    [
        ("/v2/", b"/v2", True),
        ("/v2/", b"/v2/", True),
        ("/v2/", b"/v2/x", True),
        ("/v2", b"/v2/x?y=/v3", True),
        ("/v2", b"/v2?x", True),
        ("/v2", b"/v20", False),
        ("/v2", b"/V2/x", False),
        ("/v2", b"/v", False),
        ("/v2", b"/v3?/v2/", False),
        ("/", b"/anything", True),
        ("", b"/anything", True),
        ("/", b"*", False),
        ("/caf%C3%A9", b"/caf%c3%a9/x", True),
        ("/caf%c3%a9", b"/caf%C3%A9", True),
        ("/v2", b"/%76%32/x", False),
        ("/v2", b"/v2%2fx", False),
        ("/", b"/v2%2fx", False),
    ],
)
def test_a_prefix_covers_whole_segments(prefix, path, covered):
    assert covers(prefix, path, encoded_slash=False) is covered


@pytest.mark.parametrize(
    ("prefix", "path", "covered"),
    [
        ("/projects/group%2Fname", b"/projects/group%2fname/issues", True),
        ("/projects/group%2Fname", b"/projects/group/name", False),
        ("/projects/group", b"/projects/group%2Fname", False),
        ("/projects", b"/projects/group%2Fname", True),
    ],
)
def test_an_encoded_slash_is_a_character_of_its_segment(prefix, path, covered):
    assert covers(prefix, path, encoded_slash=True) is covered


@given(st.binary(max_size=40), st.booleans())
def test_what_passes_is_the_same_after_decoding_what_needs_no_encoding(tail, encoded_slash):
    path = b"/" + tail
    if check_path(path, encoded_slash) is None:
        bare = path.partition(b"?")[0]
        assert not {b".", b".."} & set(bare.split(b"/"))
        assert b"\\" not in bare
        assert b";" not in bare
        assert bare.isascii()


def test_method_override_fields_are_lower_case():
    assert all(name == name.lower() for name in METHOD_OVERRIDES)
