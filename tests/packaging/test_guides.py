"""The guides of deployment: configurations load, commands are the program's, drop-ins are what systemd takes."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from proxyd.cli.main import build_parser
from proxyd.config.load import load_text
from tests.lab.tools import require_tool

ROOT = Path(__file__).parents[2]
GUIDES = [ROOT / "docs" / "guides" / f"{name}.md" for name in ("systemd", "container")]
UNIT = ROOT / "packaging" / "systemd" / "proxyd.service"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

COMMAND = re.compile(r"(?:^|sudo |-- )proxyd (\w.*)$", re.MULTILINE)


def blocks(language):
    """(guide's name and number, text) of each block."""
    found = []
    for guide in GUIDES:
        texts = [text for kind, text in BLOCK.findall(guide.read_text()) if kind == language]
        found += [pytest.param(text, id=f"{guide.stem}-{number}") for number, text in enumerate(texts)]
    return found


def commands():
    """The words after every ``proxyd`` of the shell blocks."""
    lines = "".join(block.values[0] for block in blocks("sh"))
    return [shlex.split(words, comments=True) for words in COMMAND.findall(lines)]


@pytest.mark.parametrize("text", blocks("yaml"))
def test_a_configuration_loads(text):
    assert load_text(text, "guide.yaml", ROOT, Path("/var/lib/proxyd"), Path("/run/proxyd")).listeners


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_is_the_program_s(words):
    assert build_parser().parse_args(words).function


def test_commands_were_found():
    assert {words[0] for words in commands()} >= {"check", "status", "secret", "upgrade"}


@pytest.mark.parametrize("text", blocks("ini"))
def test_a_drop_in_is_what_systemd_takes(text, tmp_path):
    unit = tmp_path / "proxyd.service"
    unit.write_text(UNIT.read_text().replace("/usr/bin/proxyd", sys.executable))
    if "proxyd.service" in text:  # an application's, which wants proxyd
        unit = tmp_path / "application.service"
        unit.write_text(f"[Service]\nExecStart={sys.executable}\n")
    folder = unit.with_name(f"{unit.name}.d")
    folder.mkdir()
    (folder / "guide.conf").write_text(text)
    command = [require_tool("systemd-analyze"), "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_files_that_a_guide_names_are_there(guide):
    text = guide.read_text()
    links = [guide.parent / target for target in re.findall(r"\]\(([^)#]+)\)", text)]
    named = [ROOT / path for path in re.findall(r"(?<![\w/])(?:packaging|conf)/[\w./-]+\.(?:yaml|conf)", text)]
    assert links + named
    assert not [path for path in links + named if not path.exists()]
