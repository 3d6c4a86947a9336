"""The section of a service that has proxyd keep to the vendor's own limits."""

from typing import Annotated, Any, Final, Literal

from proxyd.core.units import HOUR
from proxyd.core.vendor import ACCOUNT_LIMIT, AtLimit, VendorLimits
from proxyd.reading.problems import Trail
from proxyd.reading.readers import Seconds, Share, Whole
from proxyd.reading.sections import Section
from proxyd.reading.tree import Tree
from proxyd.reading.views import maps

_POLICY: Final = VendorLimits()


class VendorLimitsSection(Section):
    """Read X-RateLimit, RateLimit and Retry-After in each answer, and wait before the vendor's limit is reached."""

    enabled: bool = True
    """`false`: answers are not looked at."""
    mode: Literal["queue", "reject"] = "queue"
    """Where nothing is left: wait, callers in turn; or 429 at once."""
    max_wait: Annotated[float, Seconds(0.0, HOUR)] = _POLICY.max_wait
    """The longest wait; 429 where the vendor's reset is further away."""
    max_waiting: Annotated[int, Whole(1, 100_000)] = _POLICY.max_waiting
    """Requests that wait for one credential, in each worker; 429 beyond."""
    reserve: Annotated[float, Share(0, 40)] = _POLICY.reserve
    """Share of each window left to services of class `high` and to other users; class `low` leaves twice as much."""

    def compiled(self) -> VendorLimits | None:
        """Return the noun, None where it is off; what the vendor is known for is added by control."""
        if not self.enabled:
            return None
        return VendorLimits(self.reserve, AtLimit(self.mode), self.max_wait, self.max_waiting)


def check_vendor_limits(tree: Tree, trail: Trail, service: dict[str, Any]) -> None:
    """Report what only several values show."""
    section = service.get("vendor_limits")
    for item_trail, item in maps(service.get("limits"), (*trail, "limits")):
        if item.get("name") == ACCOUNT_LIMIT and section is not None:
            tree.add((*item_trail, "name"), "the name stands for the vendor's own limits (vendor_limits)")
    if isinstance(section, dict) and section.get("mode") == "reject":
        for key in ("max_wait", "max_waiting"):
            if key in section:
                tree.add((*trail, "vendor_limits", key), "nothing waits in mode reject", at_key=True)
