"""HashiCorp Vault and OpenBao: key-value secrets of both versions, and dynamic secrets with their leases.

A lease ends with the token that asked for it, so what was lent to a former login is asked for anew.
https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2, …/system/leases.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import trio

from proxyd.core.settings import Reference, VaultSource
from proxyd.vault.outside import answers
from proxyd.vault.outside.lease import Lease, begun
from proxyd.vault.outside.login import Login, Session
from proxyd.vault.outside.provider import Document, OutsideError
from proxyd.vault.outside.wire import AskUrl, Refused, Wire

POLL_SPREAD: Final = (0.9, 1.1)
"""Share of ``poll`` after which a secret is read again: many daemons ask at different moments."""
SOONEST: Final = 1.0
"""Seconds between two questions for one secret."""


@dataclass(slots=True)
class _Loan:
    """A dynamic secret in use."""

    id: str = field(repr=False)
    lease: Lease
    session: Session
    document: Document


class Hashicorp:
    """One Vault or OpenBao, or a cluster of them."""

    def __init__(
        self,
        source: VaultSource,
        ask: AskUrl,
        secret: Callable[[str], bytes | None],
        wall: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        """``secret`` returns the present value of a secret by its name, for the login."""
        self._source = source
        self._wall = wall
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrecy
        self._wire = Wire(ask, source.addresses, source.namespace)
        self._login = Login(source.login, self._wire, secret, self._rng)
        self._loans: dict[Reference, _Loan] = {}
        self._locks: dict[Reference, trio.Lock] = {}

    def __repr__(self) -> str:
        return f"<Hashicorp {self._source.name} loans={len(self._loans)}>"

    def group(self, reference: Reference) -> Reference:
        """Return the reference without its field: a path is read once for all of them."""
        return replace(reference, field="")

    @property
    def login_ends(self) -> float:
        """Return when the user's own token ends, where it cannot be renewed."""
        session = self._login.session
        if session is None or session.is_own or session.lease.is_renewable or not session.lease.expires:
            return 0.0
        return self._wall() + session.lease.expires - trio.current_time()

    async def read(self, reference: Reference) -> Document:
        """Return what stands there, or what was lent and is good. OutsideError."""
        group = self.group(reference)
        if not reference.is_lease:
            return await self._stored(group)
        async with self._locks.setdefault(group, trio.Lock()):
            return await self._lent(group)

    async def aclose(self) -> None:
        """Revoke what was lent: by the token, where proxyd has logged in, else lease by lease."""
        loans, self._loans = self._loans, {}
        session = self._login.session
        try:
            for loan in loans.values():
                goes_along = loan.session is session and loan.session.is_own
                if not goes_along and not loan.session.is_dead and not loan.lease.is_over(trio.current_time()):
                    await self._wire.ask("PUT", "sys/leases/revoke", {"lease_id": loan.id}, loan.session.token)
            await self._login.end()
        except Refused as refusal:
            raise OutsideError(f"it does not take leases back: {refusal}") from None

    # --- stored secrets ---------------------------------------------------------------------------

    async def _stored(self, group: Reference) -> Document:
        mount = group.mount or self._source.mount
        again = self._source.poll * self._rng.uniform(*POLL_SPREAD)
        if self._source.kv == 1:
            said = await self._asked(f"{mount}/{group.path}")
            return Document(answers.fields(said.get("data")), again)
        path = f"{mount}/data/{group.path}"
        said = await self._asked(path, f"version={group.version}" if group.version else "")
        inner = said.get("data")
        if not isinstance(inner, dict):
            raise OutsideError("its answer holds no data; is the engine one of version 1 (kv: 1)?")
        metadata = inner.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        if inner.get("data") is None and (metadata.get("deletion_time") or metadata.get("destroyed")):
            raise OutsideError(f"the version of {group.path} was deleted there", is_gone=True)
        version = metadata.get("version")
        return Document(
            answers.fields(inner.get("data")),
            again,
            str(version) if isinstance(version, int) else "",
            answers.when(metadata.get("created_time")),
        )

    # --- leases -----------------------------------------------------------------------------------

    async def _lent(self, group: Reference) -> Document:
        session = await self._login.current()
        loan, now = self._loans.get(group), trio.current_time()
        is_good = loan is not None and loan.session is session and not loan.lease.is_over(now)
        if loan is not None and is_good and (not loan.lease.is_due(now) or await self._renewed(loan)):
            return self._seen(loan)
        asked = trio.current_time()
        said = await self._asked(group.path)
        granted = answers.lease(said)
        document = Document(answers.fields(said.get("data")), self._source.poll, created=self._wall())
        if not granted.id:
            return document  # an engine that lends nothing: it is asked again as a stored secret is
        session = self._login.session or session  # a refusal may have made another
        lease = begun(asked, granted.seconds, self._rng, is_renewable=granted.is_renewable)
        loan = self._loans[group] = _Loan(granted.id, lease, session, document)
        return self._seen(loan)

    async def _renewed(self, loan: _Loan) -> bool:
        """Renew what can be renewed; whether it goes on. OutsideError: nobody serves, and it is as it was."""
        if not loan.lease.is_renewable:
            return False
        asked = trio.current_time()
        try:
            said = await self._wire.ask("PUT", "sys/leases/renew", {"lease_id": loan.id}, loan.session.token)
        except Refused:
            return False
        granted = answers.lease(said)
        return loan.lease.granted(asked, granted.seconds, self._rng, is_renewable=granted.is_renewable)

    def _seen(self, loan: _Loan) -> Document:
        now, wall = trio.current_time(), self._wall()
        dues = [due for due in (loan.lease.due, loan.session.lease.due) if due]
        again = max(min(dues, default=now + self._source.poll) - now, SOONEST)
        expires = wall + loan.lease.expires - now if loan.lease.expires else 0.0
        return replace(loan.document, again=again, expires=expires)

    # --- questions --------------------------------------------------------------------------------

    async def _asked(self, path: str, query: str = "") -> dict[str, Any]:
        session = await self._login.current()
        try:
            return await self._get(path, query, session)
        except Refused as refusal:
            if refusal.status != 403 or not await self._login.refused(session):
                raise self._explained(path, refusal) from None
        try:  # its token was revoked there: once more with another
            return await self._get(path, query, await self._login.current())
        except Refused as refusal:
            raise self._explained(path, refusal) from None

    async def _get(self, path: str, query: str, session: Session) -> dict[str, Any]:
        try:
            return await self._wire.ask("GET", path, query=query, token=session.token)
        except Refused as refusal:
            if refusal.status != 404 or not refusal.body:
                raise
            said = answers.document(refusal.body)  # of a deleted version KV 2 tells its metadata with 404
            if not isinstance(said.get("data"), dict):
                raise
            return said

    @staticmethod
    def _explained(path: str, refusal: Refused) -> OutsideError:
        if refusal.status == 403:
            return OutsideError(f"{path}: {refusal}; its policy must let proxyd's login read this path")
        if refusal.status == 404:
            return OutsideError(f"{path}: nothing stands there; check path, mount and namespace")
        return OutsideError(f"{path}: {refusal}")
