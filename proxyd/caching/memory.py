"""Entries in memory, under a bound of bytes, the least recently used forgotten first."""

from collections import OrderedDict
from typing import Final, NamedTuple

from proxyd.caching.policy import Entry, matches
from proxyd.core.headers import Headers

MAX_VARIANTS: Final = 16
"""Answers kept under one key that differ by Vary."""


class Key(NamedTuple):
    """What makes two requests ask for the same thing: a URL of a service."""

    service: str
    scheme: bytes
    authority: str
    path: bytes
    """Query included, byte for byte."""


class Memory:
    """The entries of one worker."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """Bytes."""
        self.size = 0
        self.evicted = 0
        self._kept: OrderedDict[Key, list[Entry]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def find(self, key: Key, scope: str, request: Headers) -> Entry | None:
        """Return the newest entry that this request with this credential selects (§4.1)."""
        variants = self._kept.get(key)
        if variants is None:
            return None
        self._kept.move_to_end(key)
        for entry in variants:
            if entry.scope == scope and (not entry.vary or matches(entry, request)):
                return entry
        return None

    def keep(self, key: Key, entry: Entry) -> None:
        """Keep an entry in place of those that the same requests select."""
        size = entry.size
        if size > self.limit:
            return
        former = self._kept.get(key, [])
        others = [one for one in former if one.vary != entry.vary or one.scope != entry.scope][: MAX_VARIANTS - 1]
        self.size += size - sum(one.size for one in former) + sum(one.size for one in others)
        self._kept[key] = [entry, *others]
        self._kept.move_to_end(key)
        self._evict()

    def resize(self, limit: int) -> None:
        """Take this bound from now on."""
        self.limit = limit
        self._evict()

    def _evict(self) -> None:
        while self.size > self.limit:
            _, oldest = self._kept.popitem(last=False)
            self.size -= sum(one.size for one in oldest)
            self.evicted += len(oldest)

    def replace(self, key: Key, old: Entry, new: Entry) -> None:
        """Put what a validation made of an entry in its place, if it is still there."""
        variants = self._kept.get(key, [])
        for at, one in enumerate(variants):
            if one is old:
                variants[at] = new
                self.size += new.size - old.size
                self._evict()
                return

    def drop(self, key: Key) -> int:
        """Forget everything under a key; return how many entries that were."""
        variants = self._kept.pop(key, [])
        self.size -= sum(one.size for one in variants)
        return len(variants)

    def purge(self, service: str, path: bytes = b"", tag: bytes = b"") -> int:
        """Forget a service's entries: all, those of a path (or below one that ends in ``/``), those with a tag.

        Tags are what Cache-Tag or Surrogate-Key named, as CDNs have them.
        """
        gone = 0
        for key in [key for key in self._kept if not service or key.service == service]:
            if path and not _is_below(key.path, path):
                continue
            if tag and not any(tag in _tags(one.headers) for one in self._kept[key]):
                continue
            gone += self.drop(key)
        return gone

    def summary(self) -> dict[str, tuple[int, int]]:
        """Return entries and bytes by service."""
        found: dict[str, tuple[int, int]] = {}
        for key, variants in self._kept.items():
            count, size = found.get(key.service, (0, 0))
            found[key.service] = (count + len(variants), size + sum(one.size for one in variants))
        return found


def _is_below(path: bytes, wanted: bytes) -> bool:
    bare = path.partition(b"?")[0]
    return bare.startswith(wanted) if wanted.endswith(b"/") else bare == wanted


def _tags(headers: Headers) -> set[bytes]:
    tags: set[bytes] = set()
    for name, value in headers:
        if name == b"cache-tag":
            tags.update(part.strip() for part in value.split(b","))
        elif name == b"surrogate-key":
            tags.update(value.split())
    return tags
