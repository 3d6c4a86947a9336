import pytest

from proxyd.auth.values import SHORTEST_MASKED, long_enough, value_of


@pytest.mark.parametrize("mark", [b"\r", b"\n", b"\0", b"\r\n"])
@pytest.mark.parametrize("where", ["%bvalue", "val%bue", "value%b"])
def test_a_secret_that_breaks_a_line_is_refused_by_name_and_never_by_value(mark, where):
    with pytest.raises(ValueError, match="api/token") as caught:
        value_of("api/token", {"api/token": where.encode() % mark})
    assert "val" not in repr(caught.value)


def test_a_missing_secret_is_named():
    with pytest.raises(KeyError, match="api/token"):
        value_of("api/token", {})


@pytest.mark.parametrize("value", [b"plain", b"", b"with space\tand tab", "ünicode".encode(), b"\xff"])
def test_any_other_value_is_returned_as_it_is(value):
    assert value_of("api/token", {"api/token": value}) == value


def test_only_what_cannot_occur_by_chance_is_searched_for_and_each_once():
    short, long, other = b"s" * (SHORTEST_MASKED - 1), b"l" * SHORTEST_MASKED, b"o" * 40
    assert long_enough(long, short, other, long) == (long, other)
