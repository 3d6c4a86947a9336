import pytest

from proxyd.control.answers import MAX_ROWS, TEXT_CHARACTERS, row, rows


@pytest.mark.parametrize("answer", [None, 7, "x", {"a": 1}, b"x"])
def test_what_is_no_list_has_no_rows(answer):
    assert rows(answer) == []


@pytest.mark.parametrize("answer", [None, 7, "x", [1], b"x"])
def test_what_is_no_map_is_an_empty_one(answer):
    assert row(answer) == {}


def test_only_scalars_are_kept_and_texts_are_cut():
    assert rows([{"a": 1, "b": [1], "c": {"d": 1}, "e": b"x", 7: None}, "row", None]) == [{"a": 1, "7": None}]
    assert row({"a": "x" * 9999}) == {"a": "x" * TEXT_CHARACTERS}
    assert len(rows([{}] * (MAX_ROWS + 1))) == MAX_ROWS
    assert len(row({str(n): n for n in range(9999)})) == TEXT_CHARACTERS
