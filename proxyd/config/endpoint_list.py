"""A file with a list of endpoints, as ``discover.file`` names it: the items of a service's ``endpoints``.

Read by control while the daemon runs, and therefore without the models, which control does not load.
"""

import stat
from pathlib import Path
from typing import Any, Final

from proxyd.core.discovery import MAX_ENDPOINTS, MAX_PRIORITY, MAX_WEIGHT
from proxyd.core.service import Endpoint
from proxyd.core.units import MIB
from proxyd.reading.addresses import endpoint
from proxyd.reading.problems import ConfigError, Mistake, Problem, Trail, describe, kind_of
from proxyd.reading.tree import Tree, read

MAX_BYTES: Final = 1 * MIB

_AN_ITEM: Final = "host:port, or a map with address, weight and priority"
_NUMBERS: Final = {"weight": (1, 1, MAX_WEIGHT), "priority": (0, 0, MAX_PRIORITY)}
"""What stands where the key is missing, and the bounds."""


def load_endpoints(path: Path) -> tuple[Endpoint, ...]:
    """Read the file at ``path``, JSON or YAML; ConfigError lists every mistake with its line. OSError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise _refused(path, "that is no regular file; name a file with a list of endpoints")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _refused(path, f"the file has more than {MAX_BYTES // MIB} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(path, "the file is not UTF-8", data.count(b"\n", 0, error.start) + 1) from None
    if not text.strip():
        raise _refused(path, "the file is empty; a list without endpoints is written []")
    tree = read(text, str(path))
    endpoints = _endpoints(tree)
    if tree.problems:
        raise ConfigError(tree.problems)
    return endpoints


def _endpoints(tree: Tree) -> tuple[Endpoint, ...]:
    items = tree.value
    if not isinstance(items, list):
        tree.add((), describe(f"{kind_of(items)} stands here", "a list of endpoints"))
        return ()
    if len(items) > MAX_ENDPOINTS:
        tree.add((MAX_ENDPOINTS,), f"more than {MAX_ENDPOINTS} endpoints")
        return ()
    found: dict[tuple[str, int], Endpoint] = {}
    for index, item in enumerate(items):
        try:
            read_item = _endpoint(tree, (index,), item)
        except Mistake as mistake:
            tree.add((index,), str(mistake))
            continue
        if (read_item.host, read_item.port) in found:
            tree.add((index,), "the endpoint is named twice")
        found[read_item.host, read_item.port] = read_item
    return tuple(found.values())


def _endpoint(tree: Tree, trail: Trail, item: Any) -> Endpoint:
    if not isinstance(item, dict):
        return endpoint(item)
    for key in item:
        if key != "address" and key not in _NUMBERS:
            problem = describe("unknown key", _AN_ITEM, tree.nearest(key, ("address", *_NUMBERS)))
            tree.add((*trail, key), problem, at_key=True)
    if "address" not in item:
        raise Mistake("the address is missing", _AN_ITEM)
    address = endpoint(item["address"])
    weight, priority = (_number(tree, trail, item, key) for key in _NUMBERS)
    return Endpoint(address.host, address.port, weight, priority)


def _number(tree: Tree, trail: Trail, item: dict[str, Any], key: str) -> int:
    default, low, high = _NUMBERS[key]
    value = item.get(key, default)
    if type(value) is not int or not low <= value <= high:
        tree.add((*trail, key), describe("out of range", f"a whole number from {low} to {high}"))
        return default
    return value


def _refused(path: Path, message: str, line: int = 1) -> ConfigError:
    return ConfigError([Problem(str(path), line, 1, "", message)])
