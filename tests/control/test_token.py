import os
import stat

import pytest

from proxyd.control.token import FILE, gateway_token


def test_a_token_is_made_for_this_user_alone(tmp_path):
    token = gateway_token(tmp_path)
    path = tmp_path / FILE
    assert path.read_bytes() == token + b"\n"
    assert len(token) == 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [FILE]


def test_it_is_kept_for_the_next_control(tmp_path):
    assert gateway_token(tmp_path) == gateway_token(tmp_path)


@pytest.mark.parametrize("text", ["", "short\n", "x" * 44, "with space in it, forty-three characters ok\n"])
def test_what_is_no_token_is_replaced(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    (tmp_path / FILE).chmod(0o600)
    token = gateway_token(tmp_path)
    assert token.decode() not in text
    assert gateway_token(tmp_path) == token


def test_a_token_that_others_may_have_read_is_replaced(tmp_path):
    former = gateway_token(tmp_path)
    (tmp_path / FILE).chmod(0o644)
    assert gateway_token(tmp_path) != former
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_a_link_is_replaced_and_what_it_points_at_left_alone(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("A" * 43)
    elsewhere.chmod(0o600)
    (tmp_path / FILE).symlink_to(elsewhere)
    gateway_token(tmp_path)
    assert not (tmp_path / FILE).is_symlink()
    assert elsewhere.read_text() == "A" * 43


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path):
    with pytest.raises(OSError, match="missing"):
        gateway_token(tmp_path / "missing")
    assert os.listdir(tmp_path) == []
