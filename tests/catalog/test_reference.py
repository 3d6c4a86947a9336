"""The generated files are those that definitions, models and results of proofs say."""

from pathlib import Path

import pytest

from proxyd.catalog import reference

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", reference.files(ROOT), ids=lambda path: path.name)
def test_the_generated_file_is_current(path):
    assert path.read_text(encoding="utf-8") == reference.files(ROOT)[path], "run python -m proxyd.catalog.reference"


def test_a_stale_file_fails_the_check_and_is_written_without_it(tmp_path, capsys):
    for folder in ("docs", "conf"):
        (tmp_path / folder).mkdir()
    assert reference.main([str(tmp_path), "--check"]) == 1
    assert "is stale" in capsys.readouterr().err
    assert reference.main([str(tmp_path)]) == 0
    assert reference.main([str(tmp_path), "--check"]) == 0


def test_a_proof_that_failed_is_none(tmp_path):
    result = {"date": "2026-01-02", "clients": ["sdk 1.0"], "against": "double", "passed": True}
    assert "| sdk 1.0 (double) | 2026-01-02 |" in reference.services_text({"github": result})
    assert "| not yet |  |" in reference.services_text({"github": result | {"passed": False}})
