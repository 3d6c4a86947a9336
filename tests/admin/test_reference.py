import re
from pathlib import Path

from proxyd.admin import reference
from proxyd.admin.table import METHODS

ROOT = Path(__file__).parents[2]


def test_the_page_is_current():
    example = (ROOT / reference.EXAMPLE).read_text(encoding="utf-8")
    page = (ROOT / reference.PAGE).read_text(encoding="utf-8")
    assert page == reference.page_text(example), "run python -m proxyd.admin.reference"


def test_every_method_has_its_section():
    page = reference.page_text("")
    assert all(f"\n### `{name}`" in page for name in METHODS)


def test_every_error_code_is_named():
    page = reference.page_text("")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "proxyd").rglob("*.py")]
    codes = {code for source in sources for code in re.findall(r'Refusal\(\s*"(\w+)"', source)}
    assert codes
    assert all(f"`{code}`" in page for code in codes), codes


def test_a_stale_page_fails_the_check_and_is_written_without_it(tmp_path, capsys):
    (tmp_path / "docs" / "examples").mkdir(parents=True)
    (tmp_path / reference.EXAMPLE).write_text("pass\n")
    assert reference.main([str(tmp_path), "--check"]) == 1
    assert "is stale" in capsys.readouterr().err
    assert reference.main([str(tmp_path)]) == 0
    assert reference.main([str(tmp_path), "--check"]) == 0
