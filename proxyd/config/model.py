"""The sections of a configuration file, each key described under it; the reference is generated from here.

A model checks the form of each value by itself. What takes more than one value to see is in ``checks``.
"""

from typing import Annotated, Final, Literal

from pydantic import AliasChoices, ConfigDict, Field

from proxyd.config import addresses, names
from proxyd.config.caching import CacheSection
from proxyd.config.discovery import DiscoverSection
from proxyd.config.fallback import FallbackSection
from proxyd.config.http2 import Http2Section
from proxyd.config.idempotency import IdempotencySection
from proxyd.config.limiting import LimitSection
from proxyd.config.readers import Bytes, Seconds, Several, Short, Text, Whole
from proxyd.config.resilience import EndpointSection, OverloadSection, ResilienceKeys
from proxyd.config.sections import Section
from proxyd.config.vendor_limits import VendorLimitsSection
from proxyd.core.limits import Limits, PoolLimits
from proxyd.core.service import BaseUrl, HostPattern
from proxyd.core.service import Timeouts as CoreTimeouts
from proxyd.core.units import DAY, GIB, HOUR, KIB, MIB, MILLISECOND, MINUTE

Name = Annotated[str, Text(names.name, "name", names.NAME_PATTERN)]
SecretName = Annotated[str, Text(names.name, "secret", names.NAME_PATTERN)]
ListenerAddress = Annotated[str, Text(addresses.listener_address, "ip:port or unix:path")]
ListenAddress = Annotated[str, Text(addresses.listen_address, "ip:port")]
FilePath = Annotated[str, Text(names.path_text, "path")]
Cidr = Annotated[str, Text(addresses.cidr, "range")]
HeaderName = Annotated[str, Text(names.header_name, "header", names.FIELD_NAME_PATTERN)]
PlainText = Annotated[str, Text(names.plain_text, "text")]
UserName = Annotated[str, Text(names.user_name, "user")]
Prefix = Annotated[str, Text(names.plain_text, "text")]
Count = Annotated[int, Whole(1, 1_000_000)]
CountOrNone = Annotated[int, Whole(0, 1_000_000_000)]
Id = Annotated[int, Whole(0, 2**32 - 2)]
TimeLimit = Annotated[float, Seconds(MILLISECOND, 7 * DAY)]
TimeLimitOrNone = Annotated[float, Seconds(0.0, 7 * DAY)]

_TIMEOUTS: Final = CoreTimeouts()
_POOL: Final = PoolLimits()
_LIMITS: Final = Limits()


class User(Section):
    """One user of proxy authentication."""

    name: UserName
    """The user name; no colon."""
    secret: SecretName
    """Name of the secret that holds the password."""


class ListenerSection(Section):
    """An address at which applications reach the proxy."""

    name: Name
    """Stands in logs and metrics; unique."""
    mode: Literal["forward", "gateway"]
    """`forward`: an HTTP forward proxy (HTTP_PROXY, CONNECT). `gateway`: the services as `http://SERVICE/…`."""
    address: ListenerAddress = ""
    """Port 0: chosen by the kernel. `unix:` path: relative to the runtime folder, a gateway's is `gateway.sock`."""
    unknown_hosts: Literal["tunnel", "deny", "intercept"] = "tunnel"
    """CONNECT to a host that is no service: pass the bytes on unread, refuse, or decrypt with the local CA."""
    users: Annotated[list[User], Field(min_length=1)] | None = None
    """Demand Basic proxy authentication from every client and accept these users. Mode `forward`."""
    origins: Annotated[list[Annotated[str, Text(addresses.web_origin, "origin")]], Field(min_length=1)] = []
    """Origins of web pages that may use the gateway. Without it: none. Mode `gateway`."""
    open: bool = False
    """Demand no token of callers on TCP: every local program may use the gateway. Mode `gateway`."""
    http2: bool = True
    """Speak HTTP/2 with applications that want it; `false`: HTTP/1.1 alone. Services are not concerned."""


class ReadersSection(Section):
    """Who may look through the admin socket and change nothing. The daemon's own user and root may do everything.

    The socket's folder must let them in, which the runtime folder does not: name another with `admin.socket`.
    """

    uids: list[Id] = []
    """User ids."""
    gids: list[Id] = []
    """Group ids, of which a caller has one or more."""


class AdminSection(Section):
    """Where the daemon is asked and told."""

    socket: FilePath = ""
    """Unix socket, relative to the runtime folder; mode 0600 unless there are `readers`. Without it: `admin.sock`."""
    readers: ReadersSection = ReadersSection()
    """Who may look and change nothing. Without it: nobody."""
    http: ListenAddress = ""
    """Address of `/metrics`, `/live` and `/ready`. Without it: none."""


class TlsSection(Section):
    """Whom proxyd trusts."""

    extra_roots: FilePath = ""
    """PEM file of certificates that are trusted besides the system's; relative to the configuration file."""
    publish: FilePath = ""
    """Folder that `ca.pem` and `ca-bundle.pem` are written to as well, at the start; relative to the runtime folder."""


class EgressSection(Section):
    """Where hosts that are no service may be."""

    allow: list[Cidr] = []
    """Ranges that may be dialled although they are not public. Link-local addresses are never dialled."""
    ports: Annotated[list[Annotated[int, Whole(1, 65535, "*", 0)]], Field(min_length=1)] = [80, 443]
    """Ports that may be dialled; `["*"]` is every port."""


class TimeoutsSection(Section):
    """How long each phase of an exchange may take."""

    connect: TimeLimit = _TIMEOUTS.connect
    """Name resolution, TCP and TLS."""
    first_byte: TimeLimitOrNone = _TIMEOUTS.first_byte
    """From the last byte of the request to the first of the response; 0s: no limit."""
    total: TimeLimitOrNone = _TIMEOUTS.total
    """From the head of the request to the end of the response; 0s: no limit."""
    idle: TimeLimitOrNone = _TIMEOUTS.idle
    """Silence within a body; 0s: no limit."""
    per_try: TimeLimitOrNone = _TIMEOUTS.per_try
    """From the beginning of one attempt to its response head; 0s: no limit."""
    tls: TimeLimitOrNone = _TIMEOUTS.tls
    """The TLS handshake alone, within `connect`; 0s: `connect` alone bounds it."""
    head: TimeLimitOrNone = _TIMEOUTS.head
    """From the first byte of the response head to its last; 0s: `first_byte` goes on to the head's end."""
    stream: TimeLimitOrNone = _TIMEOUTS.stream
    """From the response head to the end of the body or of an upgraded connection; 0s: no limit."""
    propagate: HeaderName = _TIMEOUTS.propagate
    """Request header that tells the upstream the milliseconds that the attempt has left, in place of a client's own."""


class PoolSection(Section):
    """Connections to one upstream, counted per worker."""

    connections: Count = _POOL.connections
    """Connections open at a time."""
    pending: CountOrNone = _POOL.pending
    """Exchanges that wait for a connection; more are answered 503."""
    idle: TimeLimit = _POOL.idle
    """How long an idle connection is kept."""
    age: TimeLimit = _POOL.age
    """Age after which a connection takes no further request."""
    requests: CountOrNone = _POOL.requests
    """Requests on one connection; 0: no bound."""
    streams: Annotated[int, Whole(1, 10_000)] = _POOL.streams
    """Requests at a time on one HTTP/2 connection; its peer may allow fewer."""
    ping: TimeLimitOrNone = _POOL.ping
    """Silence on an HTTP/2 connection with requests under way until a PING is sent; 0s: none is."""
    ping_timeout: TimeLimit = _POOL.ping_timeout
    """How long its answer may take before the connection counts as dead."""


class AuthSection(Section):
    """What every scheme has."""

    keep: bool = False
    """Pass the client's own credential on when it sends one, in place of this one."""


class BearerAuth(AuthSection):
    """`Authorization: Bearer …`."""

    scheme: Literal["bearer"]
    """How the credential is presented."""
    secret: SecretName
    """Name of the secret that holds the token."""


class BasicAuth(AuthSection):
    """`Authorization: Basic …`; exactly one of `user` and `user_secret`."""

    scheme: Literal["basic"]
    """How the credential is presented."""
    user: UserName = ""
    """The user name in clear."""
    user_secret: SecretName = ""
    """Name of the secret that holds the user name."""
    secret: SecretName
    """Name of the secret that holds the password."""


class HeaderPart(Section):
    """One header field that carries a secret."""

    name: HeaderName
    """Such as `X-Api-Key`."""
    secret: SecretName
    """Name of the secret."""
    prefix: Prefix = ""
    """Text before the secret, such as `"Token "`."""


class HeaderAuth(AuthSection):
    """Header fields of the service's own: `name` and `secret`, or several under `headers`."""

    scheme: Literal["header"]
    """How the credential is presented."""
    name: HeaderName = ""
    """The only header field, such as `X-Api-Key`."""
    secret: SecretName = ""
    """Name of the secret that it carries."""
    prefix: Prefix = ""
    """Text before the secret, such as `"Token "`."""
    headers: Annotated[list[HeaderPart], Field(min_length=1)] | None = None
    """Several header fields."""


class QueryAuth(AuthSection):
    """A query parameter. Prefer a header where the service takes one: URLs are logged in many places."""

    scheme: Literal["query"]
    """How the credential is presented."""
    name: Annotated[str, Text(names.query_name, "parameter")]
    """The parameter, such as `api_key`."""
    secret: SecretName
    """Name of the secret."""


AnyAuth = Annotated[BearerAuth | BasicAuth | HeaderAuth | QueryAuth, Field(discriminator="scheme")]


class ServiceKeys(Section):
    """What a service is; a base of its section."""

    hosts: Annotated[list[Annotated[HostPattern, Text(addresses.host_pattern, "host")]], Field(min_length=1)]
    """Hosts of the service: `api.example.com`, `*.example.com`, `host:port`. Without a port: 80 and 443."""
    base_url: Annotated[BaseUrl, Text(addresses.base_url, "url")] | None = None
    """Scheme and authority towards the service. Without it: `https://` and the first host."""
    endpoints: list[Annotated[EndpointSection, Short("address")]] = []
    """Dial these addresses instead of resolving the host: `host:port`, or a map with weight and priority."""
    discover: DiscoverSection | None = None
    """Look for endpoints elsewhere; those above are used until something was found."""
    protocol: Literal["http/1.1", "auto", "h2"] = "http/1.1"
    """`auto`: HTTP/2 where TLS negotiates it. `h2`: nothing else; over plain http by prior knowledge. See the guide."""
    insecure: bool = False
    """The credential may go over plain http."""
    encoded_slash: bool = False
    """`%2F` within a path segment is legitimate (GitLab, npm)."""
    auth: AnyAuth | None = None
    """The credential that is added. Without it: none."""
    timeouts: TimeoutsSection = TimeoutsSection()
    """How long each phase may take."""
    pool: PoolSection = PoolSection()
    """Bounds of the connections to the service."""
    priority_class: Literal["low", "normal", "high"] = "normal"
    """`low` is refused first when a worker cannot keep up, `high` last (`overload`)."""
    limits: Annotated[list[LimitSection], Field(max_length=64)] = []
    """How many requests, how fast, for whom. Those that name the caller count before the cache, others per attempt."""
    vendor_limits: VendorLimitsSection | None = None
    """Keep to the vendor's own limits, as its answers tell of them. Without it: they are not looked at."""
    cache: CacheSection | None = None
    """Keep answers and give them again, as their headers allow. Without it: none."""
    idempotency: IdempotencySection | None = None
    """Honour clients' idempotency keys in the vendor's place: `{}` is enough. Without it: they are passed on."""
    fallback: Annotated[list[FallbackSection], Field(max_length=8)] = []
    """What answers when all attempts have failed, in this order. Without it: the failure goes to the client."""


class ServiceSection(ResilienceKeys, ServiceKeys):
    """A third-party service: the hosts that it answers on and what it demands."""


class SecretSection(Section):
    """Where a value comes from: exactly one of `env`, `file`, `command` and `vault`."""

    env: Annotated[str, Text(names.environment_name, "variable", names.ENV_PATTERN)] = ""
    """An environment variable of the daemon; `proxyd exec` takes it away from the program it runs."""
    file: FilePath = ""
    """A file, read again when it changes; relative to the configuration file."""
    command: Annotated[list[Annotated[str, Text(names.argument, "argument")]], Field(min_length=1)] | None = None
    """A program and its arguments, run without a shell; its output is the value."""
    vault: SecretName = ""
    """A secret in the vault, under the name that `proxyd secret set` was given."""
    timeout: Annotated[float, Seconds(10 * MILLISECOND, 10 * MINUTE)] = 10.0
    """How long the command may take."""
    ttl: Annotated[float, Seconds(1.0, 30 * DAY)] = 300.0
    """How long its output is used before the command is run again."""


class VaultSection(Section):
    """Where the key of the vault is: at most one of these keys.

    Without any: the systemd credential `proxyd-vault-key`, the file `vault/key` in the state folder, the variable
    `PROXYD_VAULT_KEY` or `PROXYD_VAULT_PASSPHRASE`, whichever fits first; the file is made when there is none of them.
    """

    key_file: FilePath = ""
    """File with the key (64 hexadecimal digits or base64 of 32 bytes), mode 0600; relative to the configuration."""
    env: Annotated[str, Text(names.environment_name, "variable", names.ENV_PATTERN)] = ""
    """Environment variable with the key."""
    credential: Name = ""
    """Name of a systemd credential with the key (`LoadCredential=`, `LoadCredentialEncrypted=`)."""
    passphrase_env: Annotated[str, Text(names.environment_name, "variable", names.ENV_PATTERN)] = ""
    """Environment variable with a passphrase; scrypt makes the key of it, which takes some 0.4 s and 128 MiB."""


class RuleConditions(Section):
    """Conditions that must all hold; each key takes one value or a list, of which one must fit."""

    services: Annotated[
        list[Annotated[str, Text(names.service_reference, "service")]], Several(), Field(min_length=1)
    ] = []
    """Services that the rule judges; `*` is every service."""
    hosts: Annotated[
        list[Annotated[HostPattern, Text(addresses.rule_host, "host")]], Several(), Field(min_length=1)
    ] = []
    """Hosts that are no service; `*` is every host, a host without a port covers every port."""
    methods: Annotated[list[Annotated[str, Text(names.method, "method")]], Several(), Field(min_length=1)] = []
    """Methods, exactly as they are sent."""
    paths: Annotated[list[Annotated[str, Text(addresses.url_path, "path")]], Several(), Field(min_length=1)] = []
    """Prefixes of the upstream path, by whole segments."""
    uid: Annotated[list[Id], Several(), Field(min_length=1, validation_alias=AliasChoices("uid", "uids"))] = []
    """User ids of callers on this machine."""
    gid: Annotated[list[Id], Several(), Field(min_length=1, validation_alias=AliasChoices("gid", "gids"))] = []
    """Group ids of callers on this machine."""
    user: Annotated[list[UserName], Several(), Field(min_length=1, validation_alias=AliasChoices("user", "users"))] = []
    """Users that passed proxy authentication."""
    cidr: Annotated[list[Cidr], Several(), Field(min_length=1, validation_alias=AliasChoices("cidr", "cidrs"))] = []
    """Ranges that the caller's address is in."""


class RuleSection(Section):
    """One rule: exactly one of `allow` and `deny`. The first rule whose conditions hold decides."""

    allow: RuleConditions | None = None
    """Let pass what fits."""
    deny: RuleConditions | None = None
    """Refuse what fits (403)."""


class AccessSection(Section):
    """Who may call what."""

    default: Literal["allow", "deny"] = "deny"
    """What happens when no rule fits."""
    rules: list[RuleSection] = []
    """Rules in the order of their judgement."""


class LimitsSection(Section):
    """Limits of the data plane, per worker."""

    head_bytes: Annotated[int, Bytes(KIB, 1 * MIB)] = _LIMITS.head_bytes
    """Head of a request or response, trailers included (431)."""
    head_fields: Annotated[int, Whole(8, 10_000)] = _LIMITS.head_fields
    """Header fields in one head (431)."""
    uri_bytes: Annotated[int, Bytes(256, 1 * MIB)] = _LIMITS.uri_bytes
    """Request target (414)."""
    head_timeout: Annotated[float, Seconds(MILLISECOND, HOUR)] = _LIMITS.head_timeout
    """From a head's first byte to its last, and for a service's ClientHello (408)."""
    idle_timeout: TimeLimit = _LIMITS.idle_timeout
    """How long a client's connection is kept without a request."""
    body_rate: Annotated[int, Bytes(0)] = _LIMITS.body_rate
    """Bytes per second below which a request body counts as stalled; 0: no bound."""
    body_rate_grace: Annotated[float, Seconds(100 * MILLISECOND, HOUR)] = _LIMITS.body_rate_grace
    """How long before `body_rate` is enforced."""
    connections: Count = _LIMITS.connections
    """Connections from clients."""
    connections_per_caller: Count = _LIMITS.connections_per_caller
    """Connections from one caller (user id, else address)."""
    interim_responses: Annotated[int, Whole(0, 1000)] = _LIMITS.interim_responses
    """1xx responses passed on in one exchange."""
    read_bytes: Annotated[int, Bytes(4 * KIB, 1 * MIB)] = _LIMITS.read_bytes
    """The largest single read."""
    buffered_bytes: Annotated[int, Bytes(1 * MIB, 64 * GIB)] = _LIMITS.buffered_bytes
    """Body bytes held for all exchanges together."""
    linger_seconds: Annotated[float, Seconds(0.0, MINUTE)] = _LIMITS.linger_seconds
    """How long a connection is still read after an early final response."""
    linger_bytes: Annotated[int, Bytes(0, 64 * MIB)] = _LIMITS.linger_bytes
    """Bytes read and dropped meanwhile."""
    hello_bytes: Annotated[int, Bytes(1 * KIB, 256 * KIB)] = _LIMITS.hello_bytes
    """A TLS ClientHello."""
    silence: Annotated[float, Seconds(10 * MILLISECOND, 30.0)] = _LIMITS.silence
    """Silence of a client after CONNECT that makes an opaque tunnel, for unknown hosts."""
    tunnel_idle: TimeLimit = _LIMITS.tunnel_idle
    """How long a tunnel is kept in which neither side sends."""
    leaves_per_caller: Count = _LIMITS.leaves_per_caller
    """Certificates made for one caller within an hour."""
    contexts: Annotated[int, Whole(8, 100_000)] = _LIMITS.contexts
    """TLS contexts kept for reuse."""
    mask_bytes: Annotated[int, Bytes(0, 64 * MIB)] = _LIMITS.mask_bytes
    """The largest text body that is searched for a reflected secret."""
    cache_bytes: Annotated[int, Bytes(0, 64 * GIB)] = _LIMITS.cache_bytes
    """Answers that are kept for services with a `cache`."""
    http2: Http2Section = Http2Section()
    """Bounds of each HTTP/2 connection."""


class UnknownSection(Section):
    """Policies for hosts that are no service."""

    timeouts: TimeoutsSection = TimeoutsSection()
    """How long each phase may take."""
    pool: PoolSection = PoolSection()
    """Bounds of the connections to one host."""


class AccessLogSection(Section):
    """One JSON line per exchange."""

    path: FilePath
    """File, relative to the state folder; `-` is standard output."""


class SinkSection(Section):
    """A plugin that takes events somewhere. What else stands here are the plugin's own options."""

    model_config = ConfigDict(extra="allow")

    plugin: Annotated[str, Text(names.plugin, "plugin")]
    """A shipped or installed sink by its name, or `module:name`."""
    name: Name = ""
    """Stands in logs, metrics and problems; unique. Without it: the plugin's name."""


class TelemetrySection(Section):
    """What is reported, and where."""

    access_log: AccessLogSection | None = None
    """The access log. Without it: none."""
    sinks: Annotated[list[SinkSection], Field(max_length=32)] = []
    """Plugins that take events elsewhere; see the guide to plugins."""
    recent: Annotated[int, Whole(0, 1_000_000)] = 4096
    """Exchanges kept in memory for `proxyd exchanges`, within 8 MiB; 0: none."""


class StoreSection(Section):
    """Where state is kept; opened where a limit needs it."""

    url: Annotated[str, Text(addresses.store_url, "url")] = "sqlite:state.db"
    """`sqlite:PATH`, relative to the state folder; `redis://host:port/db`, `rediss://` with TLS, `unix:///path`."""
    password: SecretName = ""
    """Name of the secret that holds the password of a Redis; its user stands in the URL."""


class Document(Section):
    """A configuration file of proxyd. Every section but `listeners` is optional."""

    listeners: Annotated[list[ListenerSection], Field(min_length=1)]
    """Where applications reach the proxy."""
    admin: AdminSection = AdminSection()
    """Where the daemon is asked and told."""
    workers: Annotated[int, Whole(1, 256, "auto", 0)] = 1
    """Worker processes; `auto` is one per CPU that the daemon may use (affinity, cgroup)."""
    tls: TlsSection = TlsSection()
    """Whom proxyd trusts."""
    egress: EgressSection = EgressSection()
    """Where hosts that are no service may be."""
    services: dict[Name, ServiceSection] = {}
    """Third-party services by name."""
    secrets: dict[SecretName, SecretSection] = {}
    """Sources of secrets by name; a secret that is named elsewhere and not here comes from the vault."""
    vault: VaultSection = VaultSection()
    """Where the key of the vault is."""
    access: AccessSection | None = None
    """Who may call what. Without it: services are for the daemon's own user, unknown hosts follow the listener."""
    limits: LimitsSection = LimitsSection()
    """Limits of the data plane, per worker."""
    overload: OverloadSection = OverloadSection()
    """When requests are refused because a worker cannot keep up."""
    unknown: UnknownSection = UnknownSection()
    """Policies for hosts that are no service."""
    telemetry: TelemetrySection = TelemetrySection()
    """What is reported, and where."""
    store: StoreSection = StoreSection()
    """Where limits keep what outlives the daemon or is shared with other hosts."""
    drain_old: TimeLimitOrNone = 300.0
    """How long a tunnel or stream goes on after a reload that forbids it."""
    drain_timeout: TimeLimitOrNone = 30.0
    """How long exchanges may still take after SIGTERM."""
    upgrade_drain: TimeLimitOrNone = 3600.0
    """How long tunnels and exchanges of the former generation may go on after `proxyd upgrade`."""
