import os

import pytest

from proxyd.supervisor.activation import take_inherited


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "a"},
        {"LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())},
        {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())},
    ],
)
def test_what_is_not_for_this_process_is_left_but_never_passed_on(environ):
    assert take_inherited(environ) == []
    assert environ == {}
