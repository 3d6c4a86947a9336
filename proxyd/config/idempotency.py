"""The section of a service that has clients' idempotency keys honoured."""

from typing import Annotated, Final, Literal

from proxyd.core.idempotency import IdempotencyPolicy
from proxyd.core.units import DAY, KIB, MIB, MINUTE
from proxyd.reading import names
from proxyd.reading.readers import Bytes, Seconds, Text
from proxyd.reading.sections import Section

_POLICY: Final = IdempotencyPolicy()


class IdempotencySection(Section):
    """The same key gets the same answer, for POST and PATCH, and the vendor is asked once: see the guide on caching."""

    header: Annotated[str, Text(names.header_name, "header", names.FIELD_NAME_PATTERN)] = "Idempotency-Key"
    """The request header that holds the client's key."""
    window: Annotated[float, Seconds(1 * MINUTE, 30 * DAY)] = _POLICY.window
    """How long a key is remembered."""
    max_request: Annotated[int, Bytes(0, 1 * MIB)] = _POLICY.request_bytes
    """The largest request body that goes with a key: it is held in memory. 413 for a longer one."""
    max_object: Annotated[int, Bytes(0, 240 * KIB)] = _POLICY.object_bytes
    """The largest answer body that is kept; a repeat of a request with a longer one gets 409."""
    on_store_loss: Literal["open", "closed"] = "closed"
    """While the store is away: 503 for requests with a key, or they pass unprotected."""

    def compiled(self) -> IdempotencyPolicy:
        """Return the noun."""
        return IdempotencyPolicy(
            self.header.lower(), self.window, self.max_request, self.max_object, self.on_store_loss == "open"
        )
