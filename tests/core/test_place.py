import pytest

from proxyd.core.place import place_of


def fail():
    raise ValueError("s3cret")


def test_the_innermost_frame_is_told_and_the_message_is_not():
    with pytest.raises(ValueError, match="s3cret") as caught:
        fail()
    line = fail.__code__.co_firstlineno + 1
    assert place_of(caught.value) == f"ValueError at {__file__}:{line}"


def test_of_a_group_the_first_leaf_is_told():
    with pytest.raises(ValueError, match="s3cret") as caught:
        fail()
    assert place_of(ExceptionGroup("x", [ExceptionGroup("y", [caught.value])])) == place_of(caught.value)


def test_an_error_that_was_never_raised_has_no_place():
    assert place_of(KeyError("s3cret")) == "KeyError"
