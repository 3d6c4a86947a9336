"""The generated pages are those that the tables say."""

from pathlib import Path

import pytest

from proxyd.sdk import reference

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", reference.files(ROOT), ids=lambda path: path.name)
def test_the_generated_page_is_current(path):
    assert path.read_text(encoding="utf-8") == reference.files(ROOT)[path], "run python -m proxyd.sdk.reference"


def test_a_stale_page_fails_the_check_and_is_written_without_it(tmp_path, capsys):
    (tmp_path / "docs").mkdir()
    assert reference.main([str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().err.count("is stale") == 2
    assert reference.main([str(tmp_path)]) == 0
    assert reference.main([str(tmp_path), "--check"]) == 0
