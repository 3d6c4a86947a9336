"""The section of a service that says what of its answers is kept."""

from typing import Annotated, Final

from proxyd.core.caching import CachePolicy
from proxyd.core.units import DAY, GIB
from proxyd.reading.readers import Bytes, Seconds
from proxyd.reading.sections import Section

_POLICY: Final = CachePolicy()


class CacheSection(Section):
    """A shared cache by RFC 9111's rules, in each worker's memory (`limits.cache_bytes`)."""

    enabled: bool = True
    """`false`: nothing is kept."""
    private: bool = _POLICY.private
    """Keep what is marked `private`, too: an entry is for one credential alone."""
    stale_if_error: Annotated[float, Seconds(0.0, 30 * DAY)] = _POLICY.stale_if_error
    """How long a stale answer may stand in for a failure, where the answer does not say."""
    stale_while_revalidate: Annotated[float, Seconds(0.0, 30 * DAY)] = _POLICY.stale_while_revalidate
    """How long a stale answer is given while it is asked for anew, where it does not say."""
    max_object: Annotated[int, Bytes(0, 1 * GIB)] = _POLICY.object_bytes
    """The largest body that is kept."""

    def compiled(self) -> CachePolicy | None:
        """Return the noun, None where it is off."""
        if not self.enabled:
            return None
        return CachePolicy(self.private, self.stale_if_error, self.stale_while_revalidate, self.max_object)
