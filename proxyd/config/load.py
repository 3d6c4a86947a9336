"""One configuration file to settings: read, validate, check, compile; every mistake at once."""

from pathlib import Path
from typing import Final

from proxyd.config.checks import check
from proxyd.config.compile import Surroundings, compile_document
from proxyd.config.cpus import usable_cpus
from proxyd.config.fallback import check_fallbacks
from proxyd.config.model import FORM
from proxyd.config.roots import read_roots
from proxyd.core.settings import Settings
from proxyd.core.units import MIB
from proxyd.reading.explain import validate
from proxyd.reading.problems import ConfigError, Mistake, Problem
from proxyd.reading.tree import MAX_BYTES, Tree, read
from proxyd.reading.views import child

DEFAULT_NAME: Final = "(embedded default)"


def load(path: Path, state_dir: Path, runtime_dir: Path) -> Settings:
    """Load the file at ``path``; ConfigError lists every mistake.

    Files that the configuration reads are relative to its folder, files that the daemon writes to ``state_dir``,
    its sockets to ``runtime_dir``.
    """
    return load_text(_text_of(path), str(path), path.absolute().parent, state_dir, runtime_dir)


def load_text(text: str, name: str, folder: Path, state_dir: Path, runtime_dir: Path) -> Settings:
    """Load YAML ``text``, called ``name`` in messages, as if it stood in ``folder``."""
    tree = read(text, name, "the section listeners")
    around = Surroundings(folder.absolute(), state_dir.absolute(), runtime_dir.absolute(), usable_cpus())
    document = validate(tree, FORM)
    check(tree)
    check_fallbacks(tree, around.folder)
    roots = _extra_roots(tree, around.folder)
    if document is None or tree.problems:
        raise ConfigError(tree.problems)
    return compile_document(document, tree, around, roots)


def default_settings() -> Settings:
    """Return the settings of a daemon that was given no file: a forward proxy on loopback."""
    text = Path(__file__).with_name("default.yaml").read_text(encoding="utf-8")
    nowhere = Path("/")  # the default names no file
    return load_text(text, DEFAULT_NAME, nowhere, nowhere, nowhere)


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(str(path), 1, 1, "", _unreadable(error))]) from None
    if len(data) > MAX_BYTES:
        raise ConfigError([Problem(str(path), 1, 1, "", f"the file has more than {MAX_BYTES // MIB} MiB")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise ConfigError([Problem(str(path), line, column, "", "the file is not UTF-8")]) from None


def _unreadable(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file; name one with -c, or have one written: proxyd init -o FILE"
    if isinstance(error, IsADirectoryError):
        return "that is a folder; name the file in it"
    return f"the file cannot be read: {error.strerror if isinstance(error, OSError) else 'not a path'}"


def _extra_roots(tree: Tree, folder: Path) -> bytes:
    path = child(tree.value, "tls", "extra_roots")
    if not isinstance(path, str) or not path:
        return b""
    try:
        return read_roots(folder / path)
    except Mistake as mistake:
        tree.add(("tls", "extra_roots"), str(mistake))
        return b""
