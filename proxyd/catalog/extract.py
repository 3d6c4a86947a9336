"""``python -m proxyd.catalog.extract KIND FILE …``: one value out of a file that holds more, for a ``command`` secret.

=================  ==========================  =========================
KIND               arguments                   prints
=================  ==========================  =========================
netrc              FILE HOST login|password    of that machine's entry
git-credentials    FILE HOST login|password    of the first URL with that host
npmrc              FILE KEY                    the value of KEY, such as //host/:_authToken
ini                FILE SECTION KEY            such as ~/.pypirc
gh                 FILE HOST                   the oauth_token of gh's hosts.yml
yaml               FILE KEY KEY ...            what stands there, key below key; JSON, too
=================  ==========================  =========================

Standard library (and PyYAML for gh and yaml) only. Errors name file and key; none shows what the file says.
"""

import configparser
import netrc
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

MAX_BYTES: Final = 1024 * 1024


class ExtractError(Exception):
    """The file cannot be read, or does not hold the value; the text shows nothing of it."""


def read_netrc(path: Path) -> dict[str, tuple[str, str]]:
    """Return (login, password) by machine; ``default`` is left out, for it names no host."""
    _text(path)  # the same errors as for other files
    try:
        hosts = netrc.netrc(str(path)).hosts
    except netrc.NetrcParseError as error:
        raise ExtractError(f"{path}:{error.lineno or 1}: not a netrc file") from None
    return {host: (entry[0], entry[2] or "") for host, entry in hosts.items() if host != "default"}


def read_git_credentials(path: Path) -> dict[str, tuple[str, str]]:
    """Return (login, password) by host or host:port, https only, the first line of each host."""
    found: dict[str, tuple[str, str]] = {}
    for line in _text(path).splitlines():
        try:
            url = urlsplit(line.strip())
            host = f"{url.hostname}:{url.port}" if url.port else str(url.hostname or "")
        except ValueError:
            continue
        if url.scheme == "https" and host and url.password:
            found.setdefault(host, (unquote(url.username or ""), unquote(url.password)))
    return found


def read_npmrc(path: Path) -> dict[str, str]:
    """Return keys and values; of a repeated key the last value, as npm does."""
    pairs: dict[str, str] = {}
    for line in _text(path).splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith((";", "#")):
            pairs[key.strip()] = value.strip().strip("\"'")
    return pairs


def read_ini(path: Path) -> configparser.RawConfigParser:
    """Return the sections of an ini file."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(_text(path))
    except configparser.Error:
        raise ExtractError(f"{path}: not an ini file") from None
    return parser


def read_gh(path: Path) -> dict[str, str]:
    """Return gh's token by host; empty where gh keeps it in the system's keyring."""
    document = read_yaml(path)
    hosts = document if isinstance(document, dict) else {}
    return {
        str(host): str(entry.get("oauth_token") or "")
        for host, entry in hosts.items()
        if isinstance(entry, dict)
    }  # fmt: skip


def read_yaml(path: Path) -> Any:
    """Return what a YAML or JSON file says."""
    import yaml

    try:
        return yaml.safe_load(_text(path))
    except (yaml.YAMLError, RecursionError):
        raise ExtractError(f"{path}: not YAML") from None


def value_at(document: Any, keys: Sequence[str]) -> str:
    """Return the text that stands there, key below key (numbers count in lists); empty where none does."""
    for key in keys:
        if isinstance(document, list):
            document = document[int(key)] if key.isdecimal() and int(key) < len(document) else None
        else:
            document = document.get(key) if isinstance(document, dict) else None
    return str(document) if isinstance(document, str | int) and not isinstance(document, bool) else ""


def main(words: Sequence[str]) -> int:
    """Print one value; 1 with a reason on standard error, 2 for a wrong command line."""
    kind, arguments = (words[0], list(words[1:])) if words else ("", [])
    known = _KINDS.get(kind)
    if known is None or (len(arguments) != known[0] if known[0] else len(arguments) < 2):
        print(__doc__, file=sys.stderr)  # noqa: T201 - a program of its own
        return 2
    try:
        value = known[1](*arguments)
        if not value:
            raise ExtractError(f"{arguments[0]}: there is no {' '.join(arguments[1:])}")
    except ExtractError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    sys.stdout.write(value)
    return 0


def _netrc(file: str, host: str, part: str) -> str:
    return _part(read_netrc(Path(file)).get(host), part)


def _git(file: str, host: str, part: str) -> str:
    return _part(read_git_credentials(Path(file)).get(host), part)


def _npmrc(file: str, key: str) -> str:
    return read_npmrc(Path(file)).get(key, "")


def _ini(file: str, section: str, key: str) -> str:
    return str(read_ini(Path(file)).get(section, key, fallback=""))


def _gh(file: str, host: str) -> str:
    return read_gh(Path(file)).get(host, "")


def _yaml(file: str, *keys: str) -> str:
    return value_at(read_yaml(Path(file)), keys)


def _part(entry: tuple[str, str] | None, part: str) -> str:
    return "" if entry is None else dict(zip(("login", "password"), entry, strict=True)).get(part, "")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ExtractError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise ExtractError(f"{path}: more than {MAX_BYTES // 1024} KiB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ExtractError(f"{path}: not UTF-8") from None


# How many arguments each takes; 0: two and more.
_KINDS: Final[dict[str, tuple[int, Callable[..., str]]]] = {
    "netrc": (3, _netrc),
    "git-credentials": (3, _git),
    "npmrc": (2, _npmrc),
    "ini": (3, _ini),
    "gh": (2, _gh),
    "yaml": (0, _yaml),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
