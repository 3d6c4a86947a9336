"""The limits of a worker: one gate for each of the configuration's, which outlives snapshots that leave it alone."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import trio

from proxyd.core.limiting import Limit, Mode
from proxyd.core.messages import SetLease, WantLease
from proxyd.core.service import Service
from proxyd.core.snapshot import Snapshot
from proxyd.core.vendor import ACCOUNT_LIMIT, VendorLimits
from proxyd.limiting.accounts import Accounts, OwnEstimate, VendorLedger
from proxyd.limiting.allowances import Allowance, LocalRate, Slots
from proxyd.limiting.gate import Gate, Gates
from proxyd.limiting.ledger import Ledger, Question, Reply
from proxyd.limiting.vendor import VendorGate, pseudo_limit, reserve

TEND_SECONDS: Final = 0.05
"""Between two looks at the leases: what is due to be told or given back is so many late at most."""


class Limits:
    """Makes gates, and brings control's answers to them."""

    def __init__(self, ask: Callable[[WantLease], None], spawn: Callable[..., None]) -> None:
        self._ask = ask
        self._spawn = spawn
        self._gates: dict[tuple[str, str], Gate] = {}
        self._ledgers: dict[tuple[str, str], Ledger] = {}
        self._vendors: dict[str, VendorGate] = {}
        self._accounts = Accounts()
        self._is_shared = False
        self._workers = 1

    def apply(self, snapshot: Snapshot) -> None:
        """Keep the gates of limits that are as they were; make the others."""
        is_shared = snapshot.shares_limits or snapshot.workers != 1
        is_same = (is_shared, snapshot.workers) == (self._is_shared, self._workers)
        former = self._gates if is_same else {}
        vendors = self._vendors if is_same else {}
        ledgers, self._ledgers = self._ledgers, {}
        self._is_shared, self._workers = is_shared, snapshot.workers
        self._gates = {}
        for service in snapshot.services:
            for limit in service.limits:
                place = (service.name, limit.name)
                gate = former.get(place)
                if gate is None or gate.limit != limit:
                    gate = self._gate(service.name, limit)
                elif place in ledgers:
                    self._ledgers[place] = ledgers[place]
                self._gates[place] = gate
        self._vendors = {
            service.name: self._vendor(service, service.vendor_limits, vendors.get(service.name), ledgers)
            for service in snapshot.services
            if service.vendor_limits is not None
        }
        self._accounts.enlist(list(self._vendors.values()))
        for place, ledger in ledgers.items():
            if self._ledgers.get(place) is not ledger:
                ledger.surrender(trio.current_time())

    def before_cache(self, service: Service) -> Gates:
        """Return the limits that name the caller, those on how many at a time among them."""
        chosen = [one for one in service.limits if one.names_caller]
        return Gates([self._gates[service.name, one.name] for one in _longest_first(chosen)])

    def after_cache(self, service: Service) -> Gates:
        """Return the limits on how many at a time that do not name the caller."""
        chosen = [one for one in service.limits if one.concurrency and not one.names_caller]
        return Gates([self._gates[service.name, one.name] for one in chosen])

    def per_attempt(self, service: Service) -> Gates:
        """Return the limits that every attempt takes from; the vendor's own come first, since they may wait longest."""
        chosen = [one for one in service.limits if not one.concurrency and not one.names_caller]
        gates = [self._gates[service.name, one.name] for one in _longest_first(chosen)]
        vendor = self._vendors.get(service.name)
        return Gates(gates if vendor is None else [vendor, *gates])

    def vendor(self, service: Service) -> VendorGate | None:
        """Return what reads of the vendor's own limits in its answers."""
        return self._vendors.get(service.name)

    def answer(self, message: SetLease) -> None:
        """Take what control says."""
        ledger = self._ledgers.get((message.service, message.limit))
        vendor = self._vendors.get(message.service) if message.limit == ACCOUNT_LIMIT else None
        if vendor is not None and message.is_free:
            vendor.set_free(message.key)
        if vendor is not None and message.pause:
            vendor.pause(message.key, message.pause, trio.current_time())
        if ledger is not None:
            reply = Reply(
                message.key, message.tokens, message.lifetime, message.wait, message.left, message.reset,
                message.members, message.is_lost,
            )  # fmt: skip
            ledger.answer(reply, trio.current_time())

    async def run(self) -> None:
        """Tend the leases for ever."""
        while True:
            await trio.sleep(TEND_SECONDS)
            now = trio.current_time()
            for ledger in self._ledgers.values():
                ledger.tend(now)

    def reconnect(self) -> None:
        """Ask a new control what the former one has not answered."""
        for ledger in self._ledgers.values():
            ledger.reconnect()

    def surrender(self) -> None:
        """Give everything back: the worker ends."""
        for ledger in self._ledgers.values():
            ledger.surrender(trio.current_time())

    def view(self) -> list[dict[str, Any]]:
        """Describe every limit, for the admin socket."""
        now = trio.current_time()
        return [
            {
                "service": service,
                "limit": name,
                "refused": gate.refused,
                "waited": gate.waited,
                "waiting": gate.waiting,
                "remaining": gate.allowance.left("", now) if not gate.is_keyed else None,
                "reset_seconds": round(gate.allowance.reset("", now), 3) if not gate.is_keyed else None,
            }
            for (service, name), gate in self._gates.items()
        ]

    def vendor_view(self) -> list[dict[str, Any]]:
        """Describe what is known of vendors' own limits, for the admin socket."""
        now = trio.current_time()
        return [
            {"service": service, "refused": gate.refused, "waited": gate.waited, "refusals": gate.refusals, **one}
            for service, gate in self._vendors.items()
            for one in gate.rows(now)
        ]

    def _vendor(
        self,
        service: Service,
        policy: VendorLimits,
        former: VendorGate | None,
        ledgers: dict[tuple[str, str], Ledger],
    ) -> VendorGate:
        """Return the gate of a service's vendor: the former one where nothing has changed."""
        place = (service.name, ACCOUNT_LIMIT)
        if former is not None and (former.policy, former.kind) == (policy, service.priority_class):
            if place in ledgers:
                self._ledgers[place] = ledgers[place]
            return former
        share = reserve(service.priority_class, policy)
        gates: list[VendorGate] = []
        allowance: OwnEstimate | VendorLedger = OwnEstimate(self._accounts, share)
        if self._is_shared:

            def ask(question: Question) -> None:
                seen, silent, pause = gates[0].news(question.key, trio.current_time())
                spent = list(question.spent)
                self._ask(
                    WantLease(
                        service.name, ACCOUNT_LIMIT, question.key, question.want, question.kept, spent,
                        [(*one,) for one in seen], silent, pause,
                    )
                )  # fmt: skip

            allowance = VendorLedger(pseudo_limit(policy), self._workers, ask, self._accounts.notice, share)
            self._ledgers[place] = allowance
        by_host = any(pattern.wildcard for pattern in service.hosts)
        gate = VendorGate(
            service.name, service.priority_class, policy, allowance, self._accounts, self._spawn, by_host=by_host
        )
        gates.append(gate)
        return gate

    def _gate(self, service: str, limit: Limit) -> Gate:
        allowance: Allowance
        if limit.concurrency:
            allowance = Slots(limit.concurrency)
        elif limit.rate and not self._is_shared:
            allowance = LocalRate(limit.rate, 1 if limit.mode is Mode.PACE else limit.burst)
        else:
            return self._leased(service, limit)
        return Gate(service, limit, allowance, self._spawn)

    def _leased(self, service: str, limit: Limit) -> Gate:
        gates: list[Gate] = []

        def ask(question: Question) -> None:
            self._ask(WantLease(service, limit.name, question.key, question.want, question.kept, list(question.spent)))

        def arrived(key: str) -> None:
            gates[0].notice(key)

        ledger = self._ledgers[service, limit.name] = Ledger(limit, self._workers, ask, arrived)
        gates.append(Gate(service, limit, ledger, self._spawn))
        return gates[0]


def _longest_first(limits: Iterable[Limit]) -> list[Limit]:
    """Order limits so that nobody waits long for one while it holds a token of a shorter one.

    Such tokens would go out together when the longer wait is over, later than the shorter limit counted them.
    """
    return sorted(limits, key=_span, reverse=True)


def _span(limit: Limit) -> float:
    """Return the seconds that somebody may wait for a token at most, roughly."""
    if limit.concurrency:
        return 0.0
    return math.inf if limit.quota else limit.window_seconds or limit.burst / limit.rate
