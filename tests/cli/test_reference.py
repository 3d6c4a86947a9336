from pathlib import Path

from proxyd.cli import reference
from proxyd.cli.main import build_parser
from proxyd.cli.tree import tree

ROOT = Path(__file__).parents[2]


def test_the_page_is_current():
    page = (ROOT / reference.PAGE).read_text(encoding="utf-8")
    assert page == reference.page_text(), "run python -m proxyd.cli.reference"


def test_every_command_has_its_section():
    page = reference.page_text()
    for node in tree(build_parser()).walk():
        if not node.commands:
            assert f"\n## `{' '.join(('proxyd', *node.path))}`\n" in page


def test_the_tree_knows_what_words_take():
    root = tree(build_parser())
    nodes = {node.path: node for node in root.walk()}
    run = {name: word for word in nodes["run",].options for name in word.names}
    assert run["-c"].is_file
    assert run["--state-dir"].is_folder
    assert nodes["exec",].arguments[0].rest
    assert nodes["log-level",].arguments[0].choices == ("debug", "info", "warning", "error")
    assert not nodes["log-level",].arguments[0].required
    assert nodes["ca", "export"].help


def test_a_stale_page_fails_the_check_and_is_written_without_it(tmp_path, capsys):
    (tmp_path / "docs").mkdir()
    assert reference.main([str(tmp_path), "--check"]) == 1
    assert "is stale" in capsys.readouterr().err
    assert reference.main([str(tmp_path)]) == 0
    assert reference.main([str(tmp_path), "--check"]) == 0
