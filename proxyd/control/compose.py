"""From settings to the snapshot that workers route by: a pure function."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from proxyd.catalog import vendors
from proxyd.core.service import UNIX, Endpoint, HostPattern, Service
from proxyd.core.settings import Settings
from proxyd.core.snapshot import Snapshot, UnknownHosts

NOTHING: Final[Mapping[str, tuple[Endpoint, ...]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Instance:
    """What a snapshot says of the daemon itself."""

    pseudonym: str
    uid: int
    own: tuple[str, ...] = ()
    """Admin addresses, ``ip:port`` as bound."""
    member: str = ""
    """This daemon's name among those that share limits; a new control process has the former one's."""


Found = Mapping[str, tuple[Endpoint, ...]]
"""Endpoints that discovery has found, by the name of the service."""


def compose(
    settings: Settings, bound: Mapping[str, str], version: int, instance: Instance, found: Found = NOTHING
) -> Snapshot:
    """Return the snapshot for ``settings`` whose listeners are bound to these addresses (by name)."""
    tcp = (address for address in bound.values() if not address.startswith(UNIX))
    egress = replace(settings.egress, own=tuple(dict.fromkeys((*tcp, *instance.own, *settings.egress.own))))
    return Snapshot(
        version=version,
        pseudonym=instance.pseudonym,
        daemon_uid=instance.uid,
        listeners=settings.listeners,
        services=with_found(vendors.defined(settings.services), found),
        access=settings.access,
        egress=egress,
        limits=settings.limits,
        overload=settings.overload,
        unknown_timeouts=settings.unknown_timeouts,
        unknown_pool=settings.unknown_pool,
        extra_roots_pem=settings.extra_roots_pem,
        drain_old=settings.drain_old,
        drain_timeout=settings.drain_timeout,
        workers=settings.workers,
        shares_limits=not settings.store.url.startswith("sqlite:"),
        access_log=settings.access_log is not None or bool(settings.sinks) or settings.recent > 0,
    )


def with_found(services: tuple[Service, ...], found: Found) -> tuple[Service, ...]:
    """Return the services with the endpoints that were found for them."""
    return tuple(
        replace(service, endpoints=found[service.name], pending=False)
        if service.source and service.name in found
        else service
        for service in services
    )


def intercepted_hosts(settings: Settings) -> Iterable[HostPattern]:
    """Patterns of every host that leaves are minted for."""
    return [pattern for service in settings.services for pattern in service.hosts]


def intercepts_all(settings: Settings) -> bool:
    """Whether some listener intercepts hosts that are no service."""
    return any(listener.unknown_hosts is UnknownHosts.INTERCEPT for listener in settings.listeners)


def unchangeable(former: Settings, settings: Settings) -> list[str]:
    """Return in words what differs and takes effect at the next start only."""
    notes = []
    if (former.admin_socket, former.admin_http) != (settings.admin_socket, settings.admin_http):
        notes.append("admin: its addresses change at the next start only")
    if bool(former.admin_readers) != bool(settings.admin_readers):
        notes.append("admin.readers: the mode of the socket changes at the next start only")
    if former.vault_key != settings.vault_key:
        notes.append("vault: where its key is changes at the next start only")
    return notes
