"""The corpora as plain tests: what fuzzing found stays found."""

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
INPUTS = [(name, path) for name in TARGETS for path in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize(("name", "path"), INPUTS, ids=[f"{name}-{path.name}" for name, path in INPUTS])
def test_an_input_is_taken_or_refused(name: str, path: Path) -> None:
    TARGETS[name](path.read_bytes())


def test_every_folder_belongs_to_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


def test_make_fuzz_names_every_target() -> None:
    (line,) = (line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("FUZZ_TARGETS"))
    assert line.split()[2:] == list(TARGETS)
