"""A validated document to the core nouns: a pure function."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from proxyd.catalog.auth import secret_fields
from proxyd.config.access import AccessSection, RuleSection
from proxyd.config.auths import compiled, sections
from proxyd.config.credentials import Expansion
from proxyd.config.limits import LimitsSection
from proxyd.config.listeners import ListenerSection
from proxyd.config.model import Document
from proxyd.config.secrets import SecretSection, VaultSection, ages_of
from proxyd.config.services import ServiceSection
from proxyd.config.sinks import sink_settings
from proxyd.config.upstreams import PoolSection, TimeoutsSection
from proxyd.config.vaults import reference, vault_source
from proxyd.core.access import Access, ProxyUser, Rule
from proxyd.core.discovery import Discovery
from proxyd.core.limits import Http2Limits, Limits, Overload, PoolLimits
from proxyd.core.service import UNIX, BaseUrl, HostPattern, PriorityClass, Service, Timeouts, Version
from proxyd.core.settings import AccessLog, Ages, Readers, SecretSource, Settings, StoreSettings, VaultKey
from proxyd.core.snapshot import Egress, Listener, ListenerMode, UnknownHosts
from proxyd.reading.addresses import DEFAULT_GATEWAY
from proxyd.reading.names import TOKEN
from proxyd.reading.problems import Trail
from proxyd.reading.tree import Tree
from proxyd.reading.views import child, maps


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a configuration means depends on these as well."""

    folder: Path
    """Where files that are read are looked for: the folder of the configuration file, absolute."""
    state_dir: Path
    runtime_dir: Path
    cpus: int
    """What ``workers: auto`` stands for."""


def compile_document(
    document: Document, tree: Tree, around: Surroundings, extra_roots_pem: bytes, expansion: Expansion
) -> Settings:
    """Return the settings that ``document`` says; ``tree`` gives line numbers."""
    log = document.telemetry.access_log
    socket = document.admin.socket
    ports = document.egress.ports
    found = _discoveries(document, around.folder)
    ages = document.ages.compiled()
    from_vault = (
        SecretSource(name, vault=name, ages=ages, form=expansion.forms.get(name), line=tree.line(trail))
        for name, trail in _secret_references(document, tree)
        if name not in document.secrets
    )
    return Settings(
        source=tree.file,
        listeners=tuple(_listener(section, around.runtime_dir) for section in document.listeners),
        services=tuple(
            _service(name, section, found.get(name), around.folder, expansion)
            for name, section in document.services.items()
        ),
        secrets=(
            *(_secret(name, section, tree, around, expansion, ages) for name, section in document.secrets.items()),
            *from_vault,
        ),
        tokens=expansion.tokens,
        consents=expansion.consents,
        known=expansion.known,
        access=_access(document.access, tree) if document.access else None,
        egress=Egress(allow=tuple(document.egress.allow), ports=() if 0 in ports else tuple(sorted(set(ports)))),
        limits=_limits(document.limits),
        overload=Overload(**document.overload.model_dump()),
        unknown_timeouts=_timeouts(document.unknown.timeouts),
        unknown_pool=_pool(document.unknown.pool),
        extra_roots_pem=extra_roots_pem,
        ca_folder=str(around.runtime_dir / document.tls.publish) if document.tls.publish else "",
        workers=document.workers or around.cpus,
        admin_socket=str(around.runtime_dir / socket) if socket else "",
        admin_http=document.admin.http,
        admin_readers=Readers(tuple(document.admin.readers.uids), tuple(document.admin.readers.gids)),
        recent=document.telemetry.recent,
        access_log=AccessLog("-" if log.path == "-" else str(around.state_dir / log.path)) if log else None,
        ages=ages,
        vault_key=_vault_key(document.vault, around.folder),
        vaults=tuple(
            vault_source(name, section, around.folder, tree.line(("vaults", name)))
            for name, section in document.vaults.items()
        ),
        sinks=tuple(
            sink_settings(entry, tree.line(trail))
            for trail, entry in maps(child(tree.value, "telemetry", "sinks"), ("telemetry", "sinks"))
        ),
        store=StoreSettings(
            document.store.url,
            document.store.password,
            extra_roots_pem.decode("ascii", "replace") if document.store.url.startswith("rediss:") else "",
            tree.line(("store", "url")) if "store" in tree.value else 0,
        ),
        discoveries=tuple(found.values()),
        drain_old=document.drain_old,
        drain_timeout=document.drain_timeout,
        upgrade_drain=document.upgrade_drain,
    )


def default_base(first: HostPattern) -> BaseUrl:
    """Return the base URL of a service that gives none: https to its first host."""
    return BaseUrl("https", first.host, first.port or 443)


def socket_path(address: str, runtime_dir: Path) -> str:
    """Return a listener's address with the path of a Unix socket made absolute."""
    if not address.startswith(UNIX):
        return address
    return f"{UNIX}{runtime_dir / address.removeprefix(UNIX)}"


def _listener(section: ListenerSection, runtime_dir: Path) -> Listener:
    return Listener(
        name=section.name,
        mode=ListenerMode(section.mode),
        address=socket_path(section.address or DEFAULT_GATEWAY, runtime_dir),
        unknown_hosts=UnknownHosts(section.unknown_hosts),
        users=tuple(ProxyUser(user.name, user.secret) for user in section.users or ()),
        origins=tuple(section.origins),
        open=section.open,
        http2=section.http2,
        proxies=tuple(section.proxy_protocol.proxies) if section.proxy_protocol is not None else (),
    )


def _limits(section: LimitsSection) -> Limits:
    values = section.model_dump()
    return Limits(**values | {"http2": Http2Limits(**values["http2"])})


def _discoveries(document: Document, folder: Path) -> dict[str, Discovery]:
    return {
        name: section.discover.compiled(name, _base(section), folder)
        for name, section in document.services.items()
        if section.discover is not None
    }


def _base(section: ServiceSection) -> BaseUrl:
    return section.base_url or default_base(section.hosts[0])


def _service(
    name: str, section: ServiceSection, discovery: Discovery | None, folder: Path, expansion: Expansion
) -> Service:
    vendor = expansion.vendors.get(name)
    limits = section.vendor_limits.compiled() if section.vendor_limits is not None else None
    endpoints = tuple(item.compiled() for item in section.endpoints)
    stays_here = bool(endpoints) and all(one.host.startswith(UNIX) for one in endpoints)
    return Service(
        name=name,
        hosts=tuple(section.hosts),
        base=_base(section),
        endpoints=endpoints,
        insecure=section.insecure or stays_here,
        encoded_slash=section.encoded_slash,
        auths=tuple(map(compiled, section.auth)),
        token_refusal=expansion.refusals.get(name),
        version=section.version.compiled() if section.version is not None else None,
        timeouts=_timeouts(section.timeouts),
        pool=_pool(section.pool),
        resilience=section.resilience(_pool(section.pool)),
        source=str(discovery.finder) if discovery is not None else "",
        pending=discovery is not None,
        priority_class=PriorityClass(section.priority_class),
        fallback=tuple(step.compiled(folder) for step in section.fallback),
        protocol=Version(section.protocol),
        limits=tuple(limit.compiled() for limit in section.limits),
        vendor_limits=replace(limits, definition=vendor) if limits is not None and vendor is not None else limits,
        cache=section.cache.compiled() if section.cache is not None else None,
        idempotency=section.idempotency.compiled() if section.idempotency is not None else None,
        proxy_protocol=section.proxy_protocol or "",
    )


def _timeouts(section: TimeoutsSection) -> Timeouts:
    return Timeouts(**section.model_dump())


def _pool(section: PoolSection) -> PoolLimits:
    return PoolLimits(**section.model_dump())


def _secret(
    name: str, section: SecretSection, tree: Tree, around: Surroundings, expansion: Expansion, ages: Ages
) -> SecretSource:
    return SecretSource(
        name=name,
        env=section.env,
        file=str(around.folder / section.file) if section.file else "",
        command=_command(section.command or [], around.folder),
        timeout=section.timeout,
        ttl=section.ttl,
        vault=section.vault,
        outside=reference(
            section.outside,
            section.path,
            section.lease,
            field=section.field,
            mount=section.mount,
            version=section.version,
        ),
        ages=ages_of(section, ages),
        form=expansion.forms.get(name),
        line=tree.line(("secrets", name)),
    )


def _secret_references(document: Document, tree: Tree) -> Iterable[tuple[str, Trail]]:
    """Return each secret that a listener or service names, once, and where it is named first."""
    found: dict[str, Trail] = {}
    for index, listener in enumerate(document.listeners):
        for number, user in enumerate(listener.users or ()):
            found.setdefault(user.secret, ("listeners", index, "users", number, "secret"))
    if document.store.password:
        found.setdefault(document.store.password, ("store", "password"))
    for name, vault in document.vaults.items():
        if vault.auth.secret:
            found.setdefault(vault.auth.secret, ("vaults", name, "auth", "secret"))
    for name, service in document.services.items():
        named = service.secret if isinstance(service.secret, dict) else {}
        if isinstance(service.secret, str) and service.secret:
            found.setdefault(service.secret, ("services", name, "secret"))
        for field, secret in named.items():
            found.setdefault(secret, ("services", name, "secret", field))
        for where, auth in sections(tree.value["services"][name], ("services", name)):
            for trail, secret in secret_fields(auth, where):
                if not secret.startswith(TOKEN):  # what a flow yields comes from no vault
                    found.setdefault(secret, trail)
    return found.items()


def _vault_key(section: VaultSection, folder: Path) -> VaultKey:
    key_file = str(folder / section.key_file) if section.key_file else ""
    return VaultKey(key_file, section.env, section.credential, section.passphrase_env)


def _command(words: list[str], folder: Path) -> tuple[str, ...]:
    """Return the command; a program that is named with a slash is a file and relative to the configuration."""
    if words and "/" in words[0]:
        words = [str(folder / words[0]), *words[1:]]
    return tuple(words)


def _access(section: AccessSection, tree: Tree) -> Access:
    rules = (_rule(rule, tree.line(("access", "rules", index))) for index, rule in enumerate(section.rules))
    return Access(tuple(rules), section.default == "allow")


def _rule(section: RuleSection, line: int) -> Rule:
    conditions = section.allow or section.deny
    if conditions is None:
        raise ValueError("a rule without allow and deny; checks let none pass")
    return Rule(
        allow=section.allow is not None,
        services=tuple(conditions.services),
        hosts=tuple(conditions.hosts),
        methods=tuple(conditions.methods),
        paths=tuple(conditions.paths),
        uids=tuple(conditions.uid),
        gids=tuple(conditions.gid),
        users=tuple(conditions.user),
        cidrs=tuple(conditions.cidr),
        line=line,
    )
