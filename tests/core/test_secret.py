import copy
import pickle

import pytest

from proxyd.core.secret import Secret

VALUE = b"s3cr3t-value"


@pytest.mark.parametrize("show", [repr, str, format, lambda s: f"{s!r:>40}", lambda s: f"{[s]}", lambda s: "%s" % s])  # noqa: UP031
def test_every_printed_form_shows_the_name_alone(show):
    shown = show(Secret("api/token", VALUE))
    assert "api/token" in shown
    assert "s3cr3t" not in shown


def test_the_value_is_revealed_on_request():
    assert Secret("api/token", VALUE).reveal() == VALUE


def test_secrets_are_equal_by_name_and_value():
    secret = Secret("api/token", VALUE)
    assert secret == Secret("api/token", VALUE)
    assert hash(secret) == hash(Secret("api/token", VALUE))
    assert secret != Secret("api/token", b"other")
    assert secret != Secret("other", VALUE)
    assert secret != VALUE


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_neither_pickled_nor_copied(take):
    with pytest.raises(TypeError, match="api/token"):
        take(Secret("api/token", VALUE))
