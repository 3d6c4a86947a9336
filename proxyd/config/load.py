"""One configuration file to settings: read, validate, check, compile; every mistake at once."""

from pathlib import Path
from typing import Final

from proxyd.config.auths import check_schemes, check_tokens
from proxyd.config.checks import check
from proxyd.config.compile import Surroundings, compile_document
from proxyd.config.cpus import usable_cpus
from proxyd.config.credentials import Expansion, is_use
from proxyd.config.fallback import check_fallbacks
from proxyd.config.model import FORM
from proxyd.config.roots import read_roots
from proxyd.config.vaults import check_vaults
from proxyd.core.settings import Settings
from proxyd.reading.explain import validate
from proxyd.reading.files import text_of
from proxyd.reading.problems import ConfigError, Mistake
from proxyd.reading.tree import Tree, read
from proxyd.reading.views import child, entries

DEFAULT_NAME: Final = "(embedded default)"
_WHERE: Final = "name one with -c, or have one written: proxyd init -o FILE"


def load(path: Path, state_dir: Path, runtime_dir: Path) -> Settings:
    """Load the file at ``path``; ConfigError lists every mistake.

    Files that the configuration reads are relative to its folder, files that the daemon writes to ``state_dir``,
    its sockets to ``runtime_dir``.
    """
    return load_text(text_of(path, _WHERE), str(path), path.absolute().parent, state_dir, runtime_dir)


def load_text(text: str, name: str, folder: Path, state_dir: Path, runtime_dir: Path) -> Settings:
    """Load YAML ``text``, called ``name`` in messages, as if it stood in ``folder``."""
    tree = read(text, name, "the section listeners")
    around = Surroundings(folder.absolute(), state_dir.absolute(), runtime_dir.absolute(), usable_cpus())
    expansion = _expanded(tree, around.folder)
    check_tokens(tree, {source.name for source in expansion.tokens})
    document = validate(tree, FORM)
    check(tree)
    check_schemes(tree, expansion.shipped)
    check_fallbacks(tree, around.folder)
    check_vaults(tree, around.folder)
    roots = _extra_roots(tree, around.folder)
    if document is None or tree.problems:
        raise ConfigError(tree.problems)
    return compile_document(document, tree, around, roots, expansion)


def default_settings() -> Settings:
    """Return the settings of a daemon that was given no file: a forward proxy on loopback."""
    text = Path(__file__).with_name("default.yaml").read_text(encoding="utf-8")
    nowhere = Path("/")  # the default names no file
    return load_text(text, DEFAULT_NAME, nowhere, nowhere, nowhere)


def _expanded(tree: Tree, folder: Path) -> Expansion:
    """Put what the catalogue knows into the services that use it; return what it adds to the settings."""
    services = [service for _, _, service in entries(child(tree.value, "services"), ("services",))]
    if child(tree.value, "catalogue") is None and not any(map(is_use, services)):
        return Expansion()
    from proxyd.config.uses import expand  # models that few configurations need

    return expand(tree, folder)


def _extra_roots(tree: Tree, folder: Path) -> bytes:
    path = child(tree.value, "tls", "extra_roots")
    if not isinstance(path, str) or not path:
        return b""
    try:
        return read_roots(folder / path)
    except Mistake as mistake:
        tree.add(("tls", "extra_roots"), str(mistake))
        return b""
