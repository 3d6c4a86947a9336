"""Text that strangers chose, made fit for where people and other programs read it."""


def printable(value: bytes | str) -> str:
    """Return it in printable ASCII; whatever else is in it becomes an escape."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isascii() and c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def without_query(path: bytes) -> bytes:
    """Return a path with its query replaced by ``<redacted>``: queries hold keys and signatures."""
    query = path.find(b"?")
    return path if query < 0 else path[:query] + b"?<redacted>"
