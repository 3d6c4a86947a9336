"""Questions to one vault: to the address that answered last first, and to the next where that one cannot serve.

A standby of a cluster answers 307 with the active node's address, which is followed to addresses of the configuration
alone: the question carries the token. Statuses: https://developer.hashicorp.com/vault/api-docs#http-status-codes and
``sys/health`` (472, 473: standbys that do not serve).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

from proxyd.vault.outside import answers
from proxyd.vault.outside.provider import OutsideError

REDIRECT: Final = (301, 302, 307, 308)
ELSEWHERE: Final = frozenset((412, 472, 473, 502, 503, 504))
"""This node cannot serve (standby, sealed, behind); another may. 500 is an answer: of an engine whose database is away,
and of a renewal beyond ``max_ttl``.
"""
LONGEST_PAUSE: Final = 300.0
"""Seconds of a Retry-After that are believed."""
MAX_HOPS: Final = 2


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


AskUrl = Callable[[str, str, str, Any, Mapping[str, str]], Awaitable[Answer]]
"""``ask(method, url, host, document, headers)``; OutsideError: there is no answer. Redirects are not followed."""


class Refused(Exception):
    """The vault answered, and not with what was asked for."""

    def __init__(self, status: int, said: str, body: bytes) -> None:
        super().__init__(f"it answered {status}{f' ({said})' if said else ''}")
        self.status = status
        self.body = body


class Wire:
    """Knows which address answers."""

    def __init__(self, ask: AskUrl, addresses: tuple[str, ...], namespace: str = "") -> None:
        self._ask = ask
        self._addresses = addresses
        self._origins = {_origin(address): address for address in addresses}
        self._first = addresses[0]
        # X-Vault-Request: agents and proxies of Vault take no question without it (against SSRF).
        self._headers = {"x-vault-request": "true", **({"x-vault-namespace": namespace} if namespace else {})}

    async def ask(
        self, method: str, path: str, document: Any = None, token: str = "", query: str = ""
    ) -> dict[str, Any]:
        """Return the JSON answer (empty for 204). Refused: the vault says no. OutsideError: nobody serves."""
        headers = {**self._headers, "x-vault-token": token} if token else self._headers
        target = f"/v1/{quote(path)}{f'?{query}' if query else ''}"
        pause, problems = 0.0, []
        for address in (self._first, *(other for other in self._addresses if other != self._first)):
            try:
                address, answer = await self._hop(method, address, target, document, headers)
            except OutsideError as error:
                problems.append(str(error))
                continue
            if answer.status not in ELSEWHERE and answer.status != 429:
                self._first = address
                return self._read(answer, token)
            pause = max(pause, _pause(answer.headers))
            problems.append(f"{urlsplit(address).hostname} answered {answer.status}{_why(answer.status)}")
        raise OutsideError("; ".join(problems), pause=pause)

    async def _hop(
        self, method: str, address: str, target: str, document: Any, headers: Mapping[str, str]
    ) -> tuple[str, Answer]:
        for _ in range(MAX_HOPS + 1):
            host = urlsplit(address).hostname or ""
            answer = await self._ask(method, address + target, host, document, headers)
            if answer.status not in REDIRECT:
                return address, answer
            known = self._origins.get(_origin(answer.headers.get("location", "")))
            if known is None:
                raise OutsideError(
                    f"{host} sends on to an address that the configuration does not name; "
                    "add the active node's api_addr to address"
                )
            address = known
        raise OutsideError(f"{host} sends on in a circle")

    @staticmethod
    def _read(answer: Answer, token: str) -> dict[str, Any]:
        if answer.status == 204 or (answer.status == 200 and not answer.body):
            return {}
        if answer.status == 200:
            return answers.document(answer.body)
        said = answers.errors(answer.body)
        raise Refused(answer.status, said.replace(token, "…") if token else said, answer.body)


def _origin(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "", "", 0
    return parts.scheme, (parts.hostname or "").lower(), port or (443 if parts.scheme == "https" else 80)


def _pause(headers: Mapping[str, str]) -> float:
    text = headers.get("retry-after", "")
    return min(float(text), LONGEST_PAUSE) if text.isascii() and text.isdecimal() and len(text) < 10 else 0.0


def _why(status: int) -> str:
    words = {429: ": it is asked too often", 472: ": a standby", 473: ": a standby", 503: ": sealed, or no active node"}
    return words.get(status, "")
