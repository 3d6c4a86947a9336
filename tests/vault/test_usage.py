from proxyd.vault.usage import MAX_NAMES, NAME, Usage


def test_times_outlive_a_restart(tmp_path):
    (tmp_path / "vault").mkdir()
    usage = Usage(tmp_path)
    usage.note(["a", "b"], 5.0)
    usage.note(["a"], 4.0)
    usage.save()
    again = Usage(tmp_path)
    again.load()
    assert (again.last("a"), again.last("b"), again.last("c")) == (5.0, 5.0, None)
    assert (tmp_path / "vault" / NAME).stat().st_mode & 0o777 == 0o600


def test_nothing_is_written_where_there_is_no_vault(tmp_path):
    usage = Usage(tmp_path)
    usage.note(["a"], 5.0)
    usage.save()
    assert list(tmp_path.iterdir()) == []


def test_damaged_file_counts_as_none(tmp_path):
    (tmp_path / "vault").mkdir()
    for text in ("rubbish", "[]", '{"a": "x"}'):
        path = tmp_path / "vault" / NAME
        path.write_text(text)
        path.chmod(0o600)
        usage = Usage(tmp_path)
        usage.load()
        assert usage.last("a") is None


def test_forgotten_and_surplus_names_are_not_kept(tmp_path):
    usage = Usage(tmp_path)
    usage.note(map(str, range(MAX_NAMES + 1)), 1.0)
    assert usage.last(str(MAX_NAMES)) is None
    usage.forget("0")
    assert usage.last("0") is None
