"""Active health checks: control asks every endpoint of a service now and then, and workers are told what changed.

A check is a GET of ``health.path`` over the service's own scheme and certificate name, or without a path a connection
(and TLS). Intervals are jittered, so that endpoints are not asked in step. An endpoint is healthy until
``unhealthy`` checks in a row have failed, and again after ``healthy`` good ones.
"""

import contextlib
import random
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from proxyd.control.pace import Turn, at_once
from proxyd.core.messages import SetHealth
from proxyd.core.resilience import HealthPolicy
from proxyd.core.service import UNIX, Endpoint, Service, written
from proxyd.core.settings import Settings
from proxyd.net.guard import Guard
from proxyd.net.tls import system_roots
from proxyd.wire.proxy_protocol import header

JITTER: Final = 0.2
"""Share of the interval by which it varies."""
EXPIRY_WARNING: Final = 14 * 86400.0
"""Before a certificate ends by this much, ``status`` says so."""
WHY_CHARACTERS: Final = 200


@dataclass(slots=True)
class Check:
    """One endpoint under watch."""

    service: Service
    endpoint: Endpoint
    policy: HealthPolicy
    is_healthy: bool = True
    in_a_row: int = 0
    """Results that speak against ``is_healthy``, without one for it between."""
    why: str = ""
    """What was wrong last; empty: nothing."""
    expires: float = 0.0
    """End of the certificate, Unix time; 0: unknown."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def message(self) -> SetHealth:
        """What workers are told."""
        return SetHealth(self.service.name, self.endpoint.host, self.endpoint.port, self.is_healthy)

    def take(self, why: str) -> bool:
        """Take in a result, ``why`` empty for a good one; True when the verdict changes."""
        self.why = why[:WHY_CHARACTERS]
        if bool(why) != self.is_healthy:
            self.in_a_row = 0
            return False
        self.in_a_row += 1
        if self.in_a_row < (self.policy.unhealthy if self.is_healthy else self.policy.healthy):
            return False
        self.is_healthy = not self.is_healthy
        self.in_a_row = 0
        return True


Key = tuple[str, str, int]


class HealthChecks:
    """All checks of the configuration in use. ``tell`` gets what workers must know."""

    def __init__(
        self, tell: Callable[[SetHealth], None], rng: random.Random | None = None, turn: Turn = at_once
    ) -> None:
        """``turn`` is waited for before each check: with many endpoints intervals stretch rather than pile up."""
        self._tell = tell
        self._turn = turn
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrecy
        self._checks: dict[Key, Check] = {}
        self._roots = b""
        self._guard: Guard | None = None
        self._nursery: trio.Nursery | None = None
        self._client: Any = None

    def __iter__(self) -> Iterator[Check]:
        return iter(self._checks.values())

    async def run(self) -> None:
        """Check until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for check in self:
                nursery.start_soon(self._watch, check)
            await trio.sleep_forever()

    def configure(self, settings: Settings) -> None:
        """Watch what ``settings`` say; verdicts on endpoints that stay are kept."""
        former, self._checks = self._checks, {}
        self._guard = Guard(settings.egress)
        if settings.extra_roots_pem != self._roots:
            self._roots, self._client = settings.extra_roots_pem, None
        for service in settings.services:
            policy = service.resilience.health
            for endpoint in service.endpoints if policy is not None else ():
                assert policy is not None
                key = (service.name, endpoint.host, endpoint.port)
                old = former.pop(key, None)
                if old is not None and (old.policy, old.service.base) == (policy, service.base):
                    old.service, old.endpoint = service, endpoint
                    self._checks[key] = old  # its interval goes on, however often lists of endpoints change
                    continue
                check = Check(service, endpoint, policy)
                if old is not None:
                    old.scope.cancel()
                    check.is_healthy, check.why, check.expires = old.is_healthy, old.why, old.expires
                self._checks[key] = check
                if self._nursery is not None:
                    self._nursery.start_soon(self._watch, check)
        for gone in former.values():
            gone.scope.cancel()
            if not gone.is_healthy:
                gone.is_healthy = True
                self._tell(gone.message)

    def problems(self, now: float) -> Iterator[str]:
        """Say what is wrong, for ``status``; ``now`` is Unix time."""
        for check in self:
            address = check.endpoint.address
            if not check.is_healthy:
                yield f"{check.service.name}: the endpoint {address} is unhealthy: {check.why}"
            left = check.expires - now
            if check.expires and left < EXPIRY_WARNING:
                yield f"{check.service.name}: the certificate of {address} ends in {max(0, left) / 86400:.0f} days"

    async def _watch(self, check: Check) -> None:
        with check.scope:
            while True:
                spread = JITTER * check.policy.interval
                await trio.sleep(check.policy.interval + self._rng.uniform(-spread, spread))
                await self._turn()
                if check.take(await self._ask(check)):
                    self._tell(check.message)

    async def _ask(self, check: Check) -> str:
        """Make one check; return what is wrong, empty for nothing."""
        with trio.move_on_after(check.policy.timeout):
            try:
                return await (self._get(check) if check.policy.path else self._connect(check))
            except (OSError, ssl.SSLError, trio.BrokenResourceError) as error:
                return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return f"no answer within {check.policy.timeout:g} s"

    async def _addresses(self, check: Check) -> str:
        """Return one address of the endpoint that may be dialled. OSError."""
        assert self._guard is not None
        found = await trio.socket.getaddrinfo(check.endpoint.host, check.endpoint.port, type=trio.socket.SOCK_STREAM)
        for *_, where in found:
            address = str(where[0])
            if self._guard.check(address, check.endpoint.port, configured=True) is None:
                return address
        raise OSError("every address is refused by the egress guard")

    async def _connect(self, check: Check) -> str:
        stream: trio.abc.Stream
        if check.endpoint.host.startswith(UNIX):
            stream = await trio.open_unix_socket(check.endpoint.host.removeprefix(UNIX))
        else:
            stream = await trio.open_tcp_stream(await self._addresses(check), check.endpoint.port)
        try:
            if check.service.proxy_protocol:
                await stream.send_all(header(check.service.proxy_protocol, None, None))
            if check.service.base.scheme == "https":
                stream = trio.SSLStream(
                    stream, self._context(), server_hostname=check.service.base.host, https_compatible=True
                )
                await stream.do_handshake()
                check.expires = _expiry(stream)
        finally:
            with trio.move_on_after(0.5):
                await stream.aclose()
        return ""

    async def _get(self, check: Check) -> str:
        import httpx  # a GET with all its cases is a library's work, and few configurations need it

        told = check.service.proxy_protocol
        path = check.endpoint.host.removeprefix(UNIX) if check.endpoint.host.startswith(UNIX) else None
        if path is not None or told:
            way: httpx.AsyncBaseTransport
            if told:
                from proxyd.control.telling import telling

                way = telling(told, self._context(), path)
            else:
                way = httpx.AsyncHTTPTransport(uds=path, verify=self._context(), trust_env=False)
            authority = check.service.base.host if path is not None else await self._authority(check)
            async with httpx.AsyncClient(transport=way, follow_redirects=False) as client:
                return await self._get_by(client, check, authority)
        if self._client is None:
            self._client = httpx.AsyncClient(verify=self._context(), trust_env=False, follow_redirects=False)
        return await self._get_by(self._client, check, await self._authority(check))

    async def _authority(self, check: Check) -> str:
        """Return the address that is dialled and its port, as a URL has them. OSError."""
        return written(await self._addresses(check), check.endpoint.port)

    async def _get_by(self, client: Any, check: Check, authority: str) -> str:
        import httpx

        base = check.service.base
        try:
            async with client.stream(
                "GET",
                f"{base.scheme}://{authority}{check.policy.path}",
                headers={"host": base.host, "user-agent": "proxyd-health"},
                extensions={"sni_hostname": base.host},
            ) as response:
                stream = response.extensions.get("network_stream")
                tls = stream.get_extra_info("ssl_object") if stream is not None else None
                if tls is not None:
                    check.expires = _expiry(tls)
                low, high = check.policy.statuses
                return "" if low <= response.status_code <= high else f"status {response.status_code}"
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=system_roots())
        if self._roots:
            context.load_verify_locations(cadata=self._roots.decode("ascii"))
        return context


def _expiry(tls: Any) -> float:
    certificate = tls.getpeercert() or {}
    ends = certificate.get("notAfter")
    with contextlib.suppress(ValueError):
        return float(ssl.cert_time_to_seconds(ends)) if isinstance(ends, str) else 0.0
    return 0.0
