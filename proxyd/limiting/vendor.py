"""A vendor's own limits as requests meet them: the gate before an attempt, and what it reads in answers.

An account is a credential, and which of the vendor's budgets a request counts against, where it has several; where a
service has any number of hosts (a wildcard), or the application brings its own credential, the host as well, and the
caller. Services that share a credential share its accounts.
"""

import math
from collections.abc import Awaitable, Callable
from time import time
from typing import Any, Final

from trio import current_time

from proxyd.core.errors import Flag, ProxyError
from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers
from proxyd.core.limiting import Limit, Mode
from proxyd.core.message import Response
from proxyd.core.service import PriorityClass
from proxyd.core.vendor import ACCOUNT_LIMIT, AtLimit, VendorLimits
from proxyd.limiting.accounts import MAX_ACCOUNTS, Account, Accounts, OwnEstimate, VendorLedger, settle
from proxyd.limiting.buckets import AGAIN
from proxyd.limiting.estimate import PLAIN, Seen
from proxyd.limiting.gate import FIRST_ANSWER, Gate
from proxyd.limiting.ledger import UNKNOWN
from proxyd.limiting.told import NOTHING, Told, read

MAX_RESOURCES: Final = 256
"""Beginnings of paths whose budget is remembered."""

MAX_CALLERS: Final = 64
SHOWN: Final = 4
"""Callers that a view names."""

MAX_PART: Final = 128
"""Characters of a part of an account's name."""

_TOO_MANY: Final = frozenset({429, 420})
_FORBIDDEN: Final = 403
_FIRST_ERROR: Final = 400
_RANK: Final = {PriorityClass.HIGH: 0, PriorityClass.NORMAL: 1, PriorityClass.LOW: 2}


class VendorGate(Gate):
    """The vendor's limits before every attempt at a service."""

    recheck = AGAIN

    def __init__(
        self,
        service: str,
        kind: PriorityClass,
        policy: VendorLimits,
        allowance: OwnEstimate | VendorLedger,
        accounts: Accounts,
        spawn: Callable[..., None],
        *,
        by_host: bool = False,
    ) -> None:
        """``by_host``: each host of the service counts for itself."""
        super().__init__(service, pseudo_limit(policy), allowance, spawn)
        self.kind = kind
        self._by_host = by_host
        self.rank = _RANK[kind]
        self.policy = policy
        self._accounts = accounts
        self._ledger = allowance if isinstance(allowance, VendorLedger) else None
        if self._ledger is not None:
            self._ledger.account = self._by_key_or_none
        self._places: dict[tuple[str, str, str], Account] = {}
        self._by_key: dict[str, Account] = {}
        self._resources: dict[bytes, str] = {}
        self._usual = ""
        """The budget of paths that none is known of."""
        self._under_way: dict[str, tuple[Account, int]] = {}
        """Accounts that exchanges took from, and how many attempts they had made by then."""
        self._words: dict[str, Told] = {}
        """What answers told, until their attempts are over."""
        self.refusals = 0
        """By the vendor."""

    # --- before an attempt ------------------------------------------------------------------------

    def key(self, exchange: Exchange) -> str:
        """Return the key of the account that the exchange counts against."""
        return self._account(exchange).key

    def is_waited_for(self, key: str) -> bool:
        """Whether somebody stands in line for an account."""
        return bool(self._lines.get(key))

    def take(self, exchange: Exchange, now: float) -> Awaitable[None] | None:
        """Take now, or return what waits for it. ProxyError 429."""
        account = self._account(exchange)
        if account.is_free:
            account.untracked += 1
            return None
        key, limit = account.key, self.limit
        line = self._lines.get(key)
        wait = UNKNOWN if line else self._try(key, 1, now)
        if not wait:
            self._leaves(exchange, account)
            return None
        longest = FIRST_ANSWER if limit.mode is Mode.REJECT else limit.max_wait
        if wait > (0 if limit.mode is Mode.REJECT else longest) or (line and line.size >= limit.max_waiting):
            _flag(exchange)
            raise self._refusal(key, wait, now)
        return self._stand(exchange, account, now + longest)

    def try_take(self, exchange: Exchange, now: float) -> bool:
        """Take now or not at all; nothing where others wait."""
        account = self._account(exchange)
        if account.is_free:
            account.untracked += 1
            return True
        if self._lines.get(account.key) or self._try(account.key, 1, now):
            return False
        self._leaves(exchange, account)
        return True

    def give_back(self, exchange: Exchange) -> None:
        """Undo a take: another limit refused the request."""
        taken = self._under_way.pop(exchange.id, None)
        if taken is None:
            account = self._account(exchange)
            account.untracked = max(0, account.untracked - 1)
            return
        self._return(taken[0])

    async def _stand(self, exchange: Exchange, account: Account, until: float) -> None:
        """Wait in line; an answer may show meanwhile that the request counts against another account."""
        _flag(exchange)
        await self._wait(exchange, account.key, 1, until)
        now = self._account(exchange)
        if now is account:
            self._leaves(exchange, account)
            return
        self._return(account)
        waits = self.take(exchange, current_time())
        if waits is not None:
            await waits

    def _try(self, key: str, cost: int, now: float) -> float:
        return UNKNOWN if self._accounts.is_outranked(self, key) else self.allowance.try_take(key, cost, now)

    def _leaves(self, exchange: Exchange, account: Account) -> None:
        self._under_way[exchange.id] = (account, exchange.attempts)
        caller = exchange.peer.caller
        if caller in account.callers or len(account.callers) < MAX_CALLERS:
            account.callers[caller] = account.callers.get(caller, 0) + 1

    def _return(self, account: Account) -> None:
        self.allowance.give_back(account.key, 1)
        self._accounts.notice(account.key)

    # --- after it ---------------------------------------------------------------------------------

    def heard(self, exchange: Exchange, response: Response, sent: float, *, is_refusal: bool = False) -> None:
        """Read what an answer tells; ``sent``: when its attempt began; ``is_refusal``: its body says so."""
        told = read(response.headers, time())
        status = response.status
        taken = self._under_way.get(exchange.id)
        account = taken[0] if taken is not None else self._account(exchange)
        is_refusal = is_refusal or status in _TOO_MANY or (status == _FORBIDDEN and _is_used_up(told))
        if told is NOTHING and not is_refusal and (account.is_free or status >= _FIRST_ERROR):
            return
        if told.resource:
            account = self._counted(exchange, told.resource)
        self._words[exchange.id] = told
        now = current_time()
        if told.windows or status < _FIRST_ERROR:
            account.estimate.observe(_seen(told, max(0.0, now - sent)), now)
            account.is_news = True
        if told.windows:
            account.is_free = False
            if account.estimate.turns != account.turns:
                account.turns = account.estimate.turns
                account.callers.clear()
                account.callers[exchange.peer.caller] = 1
        if is_refusal:
            self.refuse(account, told.retry, now)
        self._spread(account, now)

    def refuse(self, account: Account, seconds: float | None, now: float) -> None:
        """The vendor refused an attempt: nobody asks for so long."""
        self.refusals += 1
        account.estimate.refused(seconds, self.policy.definition.pause, now)
        account.pause = (now, -1.0 if seconds is None else seconds)
        account.is_free = False
        if self._ledger is not None:
            self._ledger.hold(account.key, account.estimate.blocked_until - now, now)

    def answered(self, exchange: Exchange, now: float) -> None:
        """An attempt is over."""
        told = self._words.pop(exchange.id, None)
        taken = self._under_way.pop(exchange.id, None)
        if taken is None:
            account, attempts = self._account(exchange), -1  # the second of two attempts beside each other
            if account.untracked or account.is_free:
                account.untracked = max(0, account.untracked - 1)
                return
        else:
            account, attempts = taken
        if exchange.attempts == attempts and told is None:
            self._return(account)  # a breaker or a limit was in the way
            return
        if account.alone:
            account.alone -= 1
            settle(account.estimate, now, is_silent=told is None)
        elif told is not None and not told.windows and account.pause is None:
            self.allowance.give_back(account.key, 1)  # the vendor does not count such requests
        else:
            self.allowance.answered(account.key, 1, now)
            if told is None:
                account.silent += 1
                if self._ledger is None:
                    account.estimate.lower(1)
        self._accounts.notice(account.key)

    def set_free(self, key: str) -> None:
        """Control says that the vendor tells nothing."""
        account = self._by_key.get(key)
        if account is not None and not account.estimate.windows:
            account.is_free = True

    def pause(self, key: str, seconds: float, now: float) -> None:
        """Control says that the vendor refuses requests of this account."""
        account = self._by_key.get(key)
        if account is not None and self._ledger is not None:
            account.is_free = False
            account.estimate.blocked_until = max(account.estimate.blocked_until, now + seconds)
            self._ledger.hold(key, seconds, now)

    def news(self, key: str, now: float) -> tuple[list[Seen], int, float]:
        """Return, once, what control has not been told: words, attempts without one, seconds of a pause.

        A pause of 0 is none; below 0 the vendor did not say how long.
        """
        account = self._by_key.get(key)
        if account is None:
            return [], 0, 0.0
        seen = account.estimate.report(now) if account.is_news else []
        silent, account.silent, account.is_news = account.silent, 0, False
        pause, account.pause = account.pause, None
        if pause is None:
            return seen, silent, 0.0
        when, seconds = pause
        return seen, silent, -1.0 if seconds < 0 else max(0.001, seconds - (now - when))

    def notice(self, key: str) -> None:
        """Something changed for an account: whoever waits looks again."""
        if self._ledger is None:
            account = self._by_key.get(key)
            if account is not None:
                account.is_free = account.estimate.is_plain
        super().notice(key)

    def rows(self, now: float) -> list[dict[str, Any]]:
        """Describe every window that is known."""
        found = []
        for account in self._by_key.values():
            line = self._lines.get(account.key)
            estimate = account.estimate
            for name, window in estimate.windows.items():
                found.append({
                    "account": account.key,
                    "window": name,
                    "limit": window.limit,
                    "length": window.length,
                    "remaining": estimate.remaining(name, now),
                    "reset_seconds": round(max(0.0, window.reset_at - now), 3),
                    "seen_seconds": round(max(0.0, now - window.seen_at), 3),
                    "paused_seconds": round(max(0.0, estimate.blocked_until - now), 3),
                    "waiting": line.size if line else 0,
                    "callers": _most(account.callers),
                })  # fmt: skip
        return found

    # --- accounts ---------------------------------------------------------------------------------

    def _by_key_or_none(self, key: str) -> Account | None:
        return self._by_key.get(key)

    def _account(self, exchange: Exchange) -> Account:
        request, credential = exchange.request, exchange.credential
        if credential is not None:
            who = ",".join(credential.secret_names)
            host = request.authority.text if self._by_host else ""
        else:
            who, host = exchange.peer.caller, request.authority.text
        resource = self._resources.get(_beginning(request.path), self._usual) if self._usual else ""
        place = (host, who, resource)
        return self._places.get(place) or self._open(place)

    def _open(self, place: tuple[str, str, str]) -> Account:
        if len(self._places) >= MAX_ACCOUNTS:
            busy = {id(account) for account, _ in self._under_way.values()}
            self._places = {at: one for at, one in self._places.items() if id(one) in busy or self._lines.get(one.key)}
            self._by_key = {one.key: one for one in self._places.values()}
        key = " ".join(part[:MAX_PART] for part in place if part)
        account = self._places[place] = self._by_key[key] = Account(key, self._accounts.estimate(key))
        account.is_free = self._ledger is None and account.estimate.is_plain
        return account

    def _counted(self, exchange: Exchange, resource: str) -> Account:
        """Remember which budget requests like this one count against, and return its account."""
        self._usual = self._usual or resource
        start = _beginning(exchange.request.path)
        if self._resources.get(start, self._usual) != resource:
            if len(self._resources) >= MAX_RESOURCES:
                self._resources.pop(next(iter(self._resources)))
            self._resources[start] = resource
        return self._account(exchange)

    def _spread(self, account: Account, now: float) -> None:
        """Let those know who wait for what was told."""
        if self._ledger is not None and (account.pause is not None or self._lines.get(account.key)):
            self._ledger.tell(account.key, now)
        self._accounts.notice(account.key)

    def _refusal(self, key: str, wait: float, now: float) -> ProxyError:
        self.refused += 1
        account = self._by_key.get(key)
        if wait <= 0 and account is not None:
            wait = account.estimate.reset(now)
        seconds = min(86_400 * 40, max(1, math.ceil(wait)))
        detail = (
            f"the limit that {self.service} has for this credential is used up, as its own answers tell; "
            f"there is more in {seconds} s"
        )
        headers: Headers = [(b"retry-after", b"%d" % seconds), (b"ratelimit", b'"vendor";r=0;t=%d' % seconds)]
        return ProxyError(429, Flag.RATE_LIMITED, "http_request_denied", detail, headers=headers)


def pseudo_limit(policy: VendorLimits) -> Limit:
    """Return the vendor's limit as a limit of ours: a window whose size the vendor tells."""
    mode = Mode.QUEUE if policy.mode is AtLimit.QUEUE else Mode.REJECT
    return Limit(
        ACCOUNT_LIMIT, window=1, window_seconds=1.0, mode=mode, max_wait=policy.max_wait, max_waiting=policy.max_waiting
    )


def reserve(kind: PriorityClass, policy: VendorLimits) -> float:
    """Return the share of a window that a class leaves alone."""
    return policy.reserve * _RANK[kind]


def _seen(told: Told, ago: float) -> list[Seen]:
    found = [
        Seen(one.name, one.remaining, one.limit, one.reset, one.length, ago, one.remaining) for one in told.windows
    ]
    return found or [PLAIN]


def _is_used_up(told: Told) -> bool:
    return told.retry is not None or any(one.remaining == 0 for one in told.windows)


def _beginning(path: bytes) -> bytes:
    """Return the first two segments of a path: a vendor's budgets are told apart by them."""
    return b"/".join(path.partition(b"?")[0].split(b"/", 3)[1:3])[:64]


def _most(callers: dict[str, int]) -> str:
    """Return those who spent most, in one text."""
    most = sorted(callers.items(), key=lambda one: -one[1])[:SHOWN]
    return ",".join(f"{caller}={count}" for caller, count in most)


def _flag(exchange: Exchange) -> None:
    flag = Flag.VENDOR_LIMIT.value
    if flag not in exchange.flags.split(","):
        exchange.flags = f"{exchange.flags},{flag}" if exchange.flags else flag
