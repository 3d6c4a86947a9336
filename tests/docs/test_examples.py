"""What the guides and the README show: configurations load, commands parse, log lines are lines of the log, links lead
somewhere, and blocks marked ``sh run`` do what they say.

In a guide, ``yaml`` is a configuration or sections of one (what they only name is added); other documents (manifests)
have an ``apiVersion``, and ``yaml definition`` is one of the catalogue, or keys for the first one of its page.
``sh run`` blocks of a page run in order in one folder; ``sh`` blocks are only parsed.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
import yaml

from proxyd.catalog.load import load
from proxyd.cli.main import build_parser
from proxyd.config.load import load_text
from proxyd.config.model import Document
from proxyd.core.errors import Flag
from proxyd.core.events import ACCESS_FIELDS
from tests.docs.blocks import PAGES, ROOT, Block, all_blocks, blocks, prose
from tests.lab.daemon import PROXYD, environment
from tests.lab.tools import require_tool

RUN_SECONDS = 100
TELLING = 12
"""Characters of two words that are not said by chance."""
_SHELL_WORDS = {"|", "||", "&&", ";", "&", "(", ")", ">", ">>", "<", "2>&1"}
_PLUGIN = re.compile(r"plugin: *\"?(\w+):(\w+)")
_LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)(?:#[^)]*)?\)")
_SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*")
_BEFORE_A_COMMAND = ("sudo", "env", "exec", "timeout", "time", "nohup", "$")
_PLACEHOLDERS = ("…", "...", "[", "{")

YAML = [block for block in all_blocks("yaml") if block.kind != "yaml definition"]
DEFINITIONS = [block for block in all_blocks("yaml") if block.kind == "yaml definition"]
SHELL = all_blocks("sh", "bash", "console", "")
JSON = all_blocks("json")
PAGES_TO_RUN = [page for page in PAGES if any(block.kind == "sh run" for block in blocks(page))]


def names(block: Block) -> str:
    return str(block)


# --- configurations -------------------------------------------------------------------------------


@pytest.mark.parametrize("block", YAML, ids=names)
def test_a_configuration_loads(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = list(yaml.safe_load_all(block.text))
    if any(isinstance(document, dict) and "apiVersion" in document for document in documents):
        return  # a manifest
    (document,) = documents
    assert document.keys() <= Document.model_fields.keys(), f"{block}: no section of a configuration"
    text = block.text
    if "listeners" not in document:
        text = "listeners: [{name: apps, mode: forward, address: '127.0.0.1:3128'}]\n" + text
        text += missing_sections(document)
    for module, name in _PLUGIN.findall(text):
        write_plugin(block.page, module, name, tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, module, raising=False)
    for definition in (one for one in DEFINITIONS if one.page == block.page and "name" in yaml.safe_load(one.text)):
        (tmp_path / f"{yaml.safe_load(definition.text)['name']}.yaml").write_text(definition.text)
    roots = tmp_path / "roots.pem"
    trustme.CA().cert_pem.write_to_path(roots)
    text = re.sub(r"(extra_roots: *)[^},\s]+", rf"\g<1>{roots}", text)
    assert load_text(text, str(block), tmp_path, tmp_path, tmp_path).listeners


@pytest.mark.parametrize("block", DEFINITIONS, ids=names)
def test_a_definition_loads(block: Block, tmp_path: Path) -> None:
    keys = yaml.safe_load(block.text)
    whole = yaml.safe_load(next(one.text for one in DEFINITIONS if one.page == block.page))
    if "token" in keys:  # a scheme's
        scheme = whole["schemes"][0]
        scheme |= keys | {"apply": [{"scheme": "bearer", "secret": "access_token"}]}
        if "connect" in keys:  # what it stores is one of the scheme's fields
            whole["fields"]["refresh_token"] = {"title": "Refresh token"}
            scheme["fields"] = [*scheme["fields"], "refresh_token"]
    else:
        whole |= keys
    path = tmp_path / f"{whole['name']}.yaml"
    path.write_text(yaml.safe_dump(whole))
    assert load(path).name == whole["name"]


def write_plugin(page: Path, module: str, name: str, folder: Path) -> None:
    """Make a module of the Python block of ``page`` that defines ``name``."""
    code = next((block.text for block in blocks(page) if block.kind == "python" and f"class {name}" in block.text), "")
    assert code, f"{page.name}: no block defines {name}"
    (folder / f"{module}.py").write_text(code)


def missing_sections(document: dict[str, object]) -> str:
    """Return sections for the services and secrets that a fragment only names."""
    said = json.dumps(document)
    text = ""
    if "secrets" not in document:
        wanted = sorted(set(re.findall(r'"(?:user_)?secret": "([^"]+)"', said)))
        if wanted:
            text += "secrets:\n" + "".join(f"  {name}: {{env: X}}\n" for name in wanted)
    if "services" not in document:
        wanted = sorted({name for found in re.findall(r'"services": \[?([^\]}]+)', said)
                         for name in re.findall(r'"([^"*]+)"', found)})  # fmt: skip
        if wanted:
            text += "services:\n" + "".join(f"  {name}: {{hosts: [{name}.example]}}\n" for name in wanted)
    return text


# --- commands -------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every proxyd command in shell text, without what the shell takes."""
    for line in text.replace("\\\n", " ").splitlines():
        if any(frame in line for frame in "│┌└▶"):
            continue  # a drawing
        for inner in _SUBSTITUTION.findall(line):
            yield from commands(inner)
        try:
            lexer = shlex.shlex(_SUBSTITUTION.sub("X", line), posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError:
            continue  # a quote that goes over lines: a script within quotes
        part: list[str] = []
        for word in [*words, ";"]:
            if word in _SHELL_WORDS or set(word) <= set("|&;()<>"):
                yield from one(part)
                part = []
            else:
                part.append(word)


def one(words: list[str]) -> Iterator[list[str]]:
    while words and (_ASSIGNMENT.fullmatch(words[0]) or words[0] in _BEFORE_A_COMMAND):
        words = words[1:]
    if words and words[0].rpartition("/")[2] == "proxyd":
        yield words[1:]


def is_schematic(words: list[str]) -> bool:
    """Whether a word stands for others."""
    return not words or any(word.startswith(_PLACEHOLDERS) or word.endswith("…") for word in words)


def check_command(where: str, words: list[str]) -> None:
    code: object = 0
    try:
        build_parser().parse_args(words)
    except SystemExit as end:
        code = end.code
    assert code == 0, f"{where}: proxyd {shlex.join(words)} is no command line of proxyd"


@pytest.mark.parametrize("block", SHELL, ids=names)
def test_commands_in_blocks_parse(block: Block) -> None:
    for words in commands(block.text):
        if not is_schematic(words):
            check_command(str(block), words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_prose_parse(page: Path) -> None:
    for line, code in prose(page):
        for words in commands(code):
            if not is_schematic(words):
                check_command(f"{page.name}:{line}", words)


# --- log lines and links --------------------------------------------------------------------------


@pytest.mark.parametrize("block", JSON, ids=names)
def test_a_log_line_has_the_fields_of_the_log(block: Block) -> None:
    entry = json.loads(block.text)
    if "kind" not in entry and "status" not in entry:
        return  # another JSON
    assert entry.keys() <= set(ACCESS_FIELDS), block
    assert set(filter(None, str(entry.get("flags", "")).split(","))) <= {flag.value for flag in Flag}
    assert entry.get("kind", "http") in ("http", "tunnel")


def test_what_the_guides_quote_is_what_proxyd_says() -> None:
    """Two words in a row stand in the source: names and numbers differ, the words around them do not."""
    sources = "".join(path.read_text() for path in (ROOT / "proxyd").rglob("*.py"))
    said = re.sub(r'"\s*\n\s*f?"', "", sources)
    for block in JSON:
        words = str(json.loads(block.text).get("detail") or "").split()
        rows = [" ".join(words[number : number + 2]) for number in range(len(words) - 1)]
        rows = [row for row in rows if len(row) >= TELLING]
        assert not words or any(row in said for row in rows), f"{block}: nothing says {' '.join(words)!r}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target} is not there"


# --- runs -----------------------------------------------------------------------------------------


@pytest.mark.e2e
@pytest.mark.parametrize("page", PAGES_TO_RUN, ids=lambda page: page.name)
def test_blocks_that_can_run_do(page: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    require_tool("curl")
    folder = tmp_path_factory.mktemp("guide")
    script = "set -eu\n" + "".join(block.text for block in blocks(page) if block.kind == "sh run")
    variables = environment(folder, {"PATH": f"{Path(PROXYD).parent}{os.pathsep}{os.environ['PATH']}"})
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if page.name == "first-steps.md":
        assert "service github: api.github.com" in done.stdout
        assert "http://127.0.0.1:" in done.stdout
        assert "proxyd-placeholder" in done.stdout
        assert "not-a-real-token" not in done.stdout + done.stderr


def test_there_are_examples_at_all() -> None:
    assert len(YAML) >= 3
    assert sum(1 for block in SHELL for _ in commands(block.text)) >= 10
    assert len(JSON) >= 5
    assert PAGES_TO_RUN
