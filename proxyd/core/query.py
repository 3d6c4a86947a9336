"""The query of a path, read as servers read it and changed byte for byte."""

from collections.abc import Collection
from urllib.parse import unquote_to_bytes


def _name(item: bytes) -> bytes:
    return unquote_to_bytes(item.partition(b"=")[0].replace(b"+", b" "))


def without_parameters(path: bytes, names: Collection[bytes]) -> bytes:
    """Return path and query without the parameters of these names, which are not encoded; all else byte for byte."""
    bare, mark, query = path.partition(b"?")
    if not mark:
        return path
    kept = [item for item in query.split(b"&") if _name(item) not in names]
    return bare + b"?" + b"&".join(kept) if kept else bare


def parameter_names(path: bytes) -> set[bytes]:
    """Return the names of the query's parameters as a server decodes them."""
    query = path.partition(b"?")[2]
    return {_name(item) for item in query.split(b"&") if item}
