"""What one configuration file says, validated and compiled: the part for workers and the part for control.

Everything relative in the file is absolute here; nothing here is secret.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from proxyd.core.access import Access
from proxyd.core.catalogue import KnownService
from proxyd.core.discovery import Discovery
from proxyd.core.limits import Limits, Overload, PoolLimits
from proxyd.core.service import Service, Timeouts
from proxyd.core.snapshot import Egress, Listener
from proxyd.core.units import DAY


@dataclass(frozen=True, slots=True)
class SecretForm:
    """What a definition of the catalogue knows of a secret's value."""

    title: str
    """What the vendor calls it."""
    where: str = ""
    """Where the vendor shows it."""
    kind: str = "text"
    """``text``, ``pem``, ``json``, ``base64`` or ``url``."""
    pattern: str = ""
    """A regular expression that usually fits the whole value; empty: nothing is known."""
    refused: tuple[tuple[str, str], ...] = ()
    """Expressions that fit values of a kind which the vendor has ended, each with what to use instead."""


@dataclass(frozen=True, slots=True)
class Ages:
    """How old a secret may be, and when its end is told beforehand."""

    max_age: float = 0.0
    """Seconds; 0: as old as it likes."""
    warn_before: tuple[float, ...] = (30 * DAY, 7 * DAY, DAY)
    """Seconds before an end, each told once."""
    deny: bool = False
    """Whether a secret over its age, or over altogether, is not used any more."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One value in a vault elsewhere."""

    vault: str
    """The name of a VaultSource."""
    path: str
    """Of a secret below the mount; of a lease the whole path below ``/v1/``; of a plugin's vault what it says."""
    field: str = ""
    """Which value of the secret; empty: it has one alone."""
    mount: str = ""
    """Where the engine is mounted; empty: as the vault says."""
    version: int = 0
    """Of the secret; 0: the latest."""
    is_lease: bool = False
    """It is made when it is asked for, and ends with its lease."""


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where one secret's value comes from: exactly one of ``env``, ``file``, ``command``, ``vault`` and ``outside`` is
    set.
    """

    name: str
    env: str = ""
    """An environment variable of the daemon."""
    file: str = ""
    """An absolute path, read again when it changes."""
    command: tuple[str, ...] = ()
    """A program and its arguments, run without a shell; its standard output is the value."""
    timeout: float = 10.0
    """Seconds that the command may take."""
    ttl: float = 300.0
    """Seconds after which the command is run again."""
    vault: str = ""
    """A secret's name in the vault."""
    outside: Reference | None = None
    """A value in a vault elsewhere."""
    ages: Ages = field(default_factory=Ages)
    form: SecretForm | None = None
    """What its value must look like, where a definition of the catalogue says so."""
    line: int = 0
    """Line in the configuration, for messages."""


@dataclass(frozen=True, slots=True)
class TokenSource:
    """How a service's short-lived tokens are had: a flow of proxyd.tokens, what it asks, and with which secrets."""

    name: str
    """``token:SERVICE``. Workers know what comes of it as secrets: this name, or this name, ``/`` and a field."""
    service: str
    flow: str
    url: str = ""
    """Where the issuer is asked; empty where the flow knows."""
    secrets: tuple[tuple[str, str], ...] = ()
    """Fields of the flow, each with the name of its secret."""
    options: tuple[tuple[str, str], ...] = ()
    """Fields that are no secret."""
    hosts: tuple[str, ...] = ()
    """Hosts of the issuer: the secrets go to these and to no others."""
    line: int = 0
    """Line in the configuration, for messages."""
    realms: tuple[str, ...] = ()
    """Hosts that a vendor's challenge may lead to for a token of its scope."""
    connects: bool = False
    """Whether `proxyd connect` can have it anew."""


@dataclass(frozen=True, slots=True)
class Consent:
    """How a person's consent is had for a service (proxyd.tokens.consent), and what it yields."""

    source: TokenSource
    """The client: its fields, the token endpoint and the hosts that they may be sent to."""
    title: str
    """The vendor."""
    stores: str
    """The field that gets what comes of it."""
    secret: str
    """The name of that field's secret."""
    is_renewed: bool
    """It is a refresh token; else an access token that lasts."""
    device_url: str = ""
    """Empty: the vendor has no device grant."""
    authorize_url: str = ""
    """Empty: only devices."""
    redirect: str = "http://127.0.0.1/callback"
    """Without a port."""
    issuer: str = ""
    """What `iss` must be where the callback has it (RFC 9207)."""
    scope: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    """Further parameters of the authorization request."""
    fields: tuple[tuple[str, str, str], ...] = ()
    """Fields of the client: name, title, and where the vendor shows it."""


@dataclass(frozen=True, slots=True)
class VaultLogin:
    """How proxyd proves to a vault elsewhere who it is."""

    method: str = "token"
    """``token``, ``approle``, ``kubernetes`` or ``jwt``."""
    mount: str = ""
    """Where the method is mounted, below ``auth/``."""
    secret: str = ""
    """Name of the secret: the token, the secret id, or the JWT."""
    role_id: str = ""
    role: str = ""
    token_file: str = ""
    """An absolute path; a JWT that is read at every login."""


HASHICORP: Final = "hashicorp"
"""The kind of vault elsewhere that is built in; OpenBao speaks the same."""


@dataclass(frozen=True, slots=True)
class VaultSource:
    """A vault elsewhere."""

    name: str
    kind: str = HASHICORP
    """HASHICORP, or a plugin by its name or as ``module:name``."""
    addresses: tuple[str, ...] = ()
    """``scheme://host:port/path`` without a slash at the end; the first that answers is asked."""
    namespace: str = ""
    mount: str = "secret"
    """Where the key-value engine is mounted."""
    kv: int = 2
    """Version of that engine."""
    poll: float = 60.0
    """Seconds after which what has no lease is read again."""
    login: VaultLogin = field(default_factory=VaultLogin)
    roots_pem: str = ""
    """Certificates that are trusted besides the system's."""
    options: dict[str, Any] = field(default_factory=dict)
    """Plain values that a plugin's options are read from."""
    secrets: tuple[str, ...] = ()
    """Names of the secrets by which proxyd, or a plugin, logs in: read first, and never sent to workers."""
    line: int = 0
    """Line in the configuration, for messages."""


@dataclass(frozen=True, slots=True)
class VaultKey:
    """Where the key of the vault is: one of these, or none for the order that proxyd.vault.keys describes."""

    key_file: str = ""
    """An absolute path."""
    env: str = ""
    """An environment variable that holds the key."""
    credential: str = ""
    """Name of a systemd credential."""
    passphrase_env: str = ""
    """An environment variable that holds a passphrase."""


@dataclass(frozen=True, slots=True)
class AccessLog:
    """One JSON line per exchange."""

    path: str
    """An absolute path, or ``-`` for standard output."""


@dataclass(frozen=True, slots=True)
class Readers:
    """Who may look through the admin socket, beside root and the daemon's own user, who may do everything."""

    uids: tuple[int, ...] = ()
    gids: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.uids or self.gids)


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """One sink of events."""

    name: str
    plugin: str
    """A shipped or installed plugin by its name, or ``module:name``."""
    options: dict[str, Any] = field(default_factory=dict)
    """Plain values that the plugin's options are read from."""
    line: int = 0
    """Line in the configuration, for messages."""

    def is_same(self, other: "SinkSettings") -> bool:
        """Whether a sink of the one can go on as the other: wherever they stand in a file."""
        return (self.name, self.plugin, self.options) == (other.name, other.plugin, other.options)


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where state is kept that outlives the daemon or is shared with others."""

    url: str = "sqlite:state.db"
    """``sqlite:PATH`` (relative to the state folder), ``redis://host:port/db``, ``rediss://…`` or ``unix:///path``."""
    password: str = ""
    """Name of the secret."""
    roots_pem: str = ""
    """Certificates that ``rediss`` trusts; empty: the system's."""
    line: int = 0
    """Line in the configuration, for messages."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One valid configuration."""

    source: str
    """The file, or a name for the embedded default."""
    listeners: tuple[Listener, ...]
    services: tuple[Service, ...] = ()
    secrets: tuple[SecretSource, ...] = ()
    tokens: tuple[TokenSource, ...] = ()
    consents: tuple[Consent, ...] = ()
    known: tuple[KnownService, ...] = ()
    """What the catalogue says of services that use it."""
    access: Access | None = None
    egress: Egress = field(default_factory=Egress)
    limits: Limits = field(default_factory=Limits)
    overload: Overload = field(default_factory=Overload)
    unknown_timeouts: Timeouts = field(default_factory=Timeouts)
    unknown_pool: PoolLimits = field(default_factory=PoolLimits)
    extra_roots_pem: bytes = b""
    """Contents of ``tls.extra_roots``."""
    ca_folder: str = ""
    """Absolute path of a folder that gets the CA's certificates too; empty: none."""
    workers: int = 1
    admin_socket: str = ""
    """Absolute path; empty: ``admin.sock`` in the runtime folder."""
    admin_http: str = ""
    """``host:port``; empty: no admin HTTP address."""
    admin_readers: Readers = field(default_factory=Readers)
    recent: int = 4096
    """Exchanges kept in memory for the admin socket; 0: none."""
    access_log: AccessLog | None = None
    vault_key: VaultKey = field(default_factory=VaultKey)
    vaults: tuple[VaultSource, ...] = ()
    """Vaults elsewhere."""
    ages: Ages = field(default_factory=Ages)
    """Of secrets that say nothing else; its warnings are those of certificates too."""
    sinks: tuple[SinkSettings, ...] = ()
    store: StoreSettings = field(default_factory=StoreSettings)
    discoveries: tuple[Discovery, ...] = ()
    """Services whose endpoints are looked for; each has a ``source``."""
    drain_old: float = 300.0
    drain_timeout: float = 30.0
    upgrade_drain: float = 3600.0
    """Seconds that tunnels and exchanges of a former generation may go on after an upgrade in place."""
