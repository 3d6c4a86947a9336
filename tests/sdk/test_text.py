import pytest

from proxyd.sdk import printable, without_query


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"/plain", "/plain"),
        ("plain", "plain"),
        (b"a\x1b[2J\n\x7f", "a\\x1b[2J\\n\\x7f"),
        ("é\u202e", "\\xe9\\u202e"),
        (b"\xff", "\\xff"),
        ("\ud800", "\\ud800"),
        ("", ""),
    ],
)
def test_what_drives_terminals_becomes_an_escape(value, shown):
    assert printable(value) == shown


@pytest.mark.parametrize(
    ("path", "kept"), [(b"/a", b"/a"), (b"/a?k=v", b"/a?<redacted>"), (b"/a?", b"/a?<redacted>"), (b"", b"")]
)
def test_a_query_is_cut(path, kept):
    assert without_query(path) == kept
