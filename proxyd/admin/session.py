"""One connection to the admin socket: who it is, what it may do, and what it listens to."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Final

from proxyd.admin.role import Role
from proxyd.admin.rpc import notification
from proxyd.admin.service import Service
from proxyd.core.refusal import Refusal
from proxyd.telemetry.exchanges import Filter
from proxyd.telemetry.recent import Subscription, TooManySubscribers

SUBSCRIPTIONS: Final = 4
"""Of one connection."""

Send = Callable[[bytes], Awaitable[None]]


class Session:
    """What methods know of their caller, beside the daemon's answers (``service``)."""

    def __init__(self, service: Service, role: Role = Role.FULL, uid: int = 0) -> None:
        self.service = service
        self.role = role
        self.uid = uid
        self.started: list[tuple[int, Subscription]] = []
        """Subscriptions that wait to be passed on: the answer that names them goes first."""
        self._open: dict[int, Subscription] = {}
        self._numbers = count(1)

    @property
    def listens(self) -> bool:
        """Whether anything is subscribed to."""
        return bool(self._open)

    def demand_full(self, what: str) -> None:
        """Refusal unless the caller may change things."""
        if self.role is not Role.FULL:
            raise Refusal("forbidden", f"{what} needs the full role; uid {self.uid} is a reader (admin.readers)")

    def subscribe(self, wanted: Filter, kinds: Sequence[str], buffer: int) -> int:
        """Begin to listen; return the subscription's number. Refusal."""
        if len(self._open) >= SUBSCRIPTIONS:
            raise Refusal("busy", f"this connection has {SUBSCRIPTIONS} subscriptions; unsubscribe one first")
        try:
            subscription = self.service.subscribe(wanted, kinds, buffer)
        except TooManySubscribers:
            raise Refusal("busy", "all places of subscribers are taken; end another one") from None
        number = next(self._numbers)
        self._open[number] = subscription
        self.started.append((number, subscription))
        return number

    def unsubscribe(self, number: int) -> bool:
        """End one subscription; False when there is none of this number."""
        subscription = self._open.pop(number, None)
        if subscription is not None:
            subscription.close()
        return subscription is not None

    async def pass_on(self, number: int, subscription: Subscription, send: Send) -> None:
        """Send what is listened to, until the subscription is ended or this is cancelled."""
        while self._open.get(number) is subscription:
            items, dropped = await subscription.take()
            if self._open.get(number) is not subscription:
                return
            messages = [notification(kind, [number, item]) for kind, item in items]
            if dropped:
                messages.append(notification("dropped", [number, dropped]))
            await send(b"".join(messages))

    def close(self) -> None:
        """End every subscription."""
        for number in list(self._open):
            self.unsubscribe(number)
