"""The configuration file as a whole. Its sections are in the modules beside, each key described under it.

The reference is generated from here. A model checks the form of each value by itself; what takes more than one value
to see is in ``checks``.
"""

from typing import Annotated, Final

from pydantic import Field

from proxyd.config.access import AccessSection
from proxyd.config.limits import LimitsSection
from proxyd.config.listeners import AdminSection, ListenerSection
from proxyd.config.resilience import OverloadSection
from proxyd.config.secrets import AgesSection, SecretSection, VaultSection
from proxyd.config.services import ServiceSection
from proxyd.config.telemetry import TelemetrySection
from proxyd.config.upstreams import EgressSection, TlsSection, UnknownSection
from proxyd.config.vaults import OutsideVaultSection
from proxyd.reading import addresses
from proxyd.reading.readers import Several, Text, Whole
from proxyd.reading.schema import Form
from proxyd.reading.sections import Section
from proxyd.reading.values import FilePath, Name, SecretName, TimeLimitOrNone


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
    catalogue: Annotated[list[FilePath], Several()] = []
    """Definitions of your own: files, or folders of them, relative to the configuration file."""
    secrets: dict[SecretName, SecretSection] = {}
    """Sources of secrets by name; a secret that is named elsewhere and not here comes from the vault."""
    ages: AgesSection = AgesSection()
    """How old secrets may be, and when ends are told beforehand."""
    vault: VaultSection = VaultSection()
    """Where the key of the vault is."""
    vaults: dict[Name, OutsideVaultSection] = {}
    """Vaults elsewhere, by name: HashiCorp Vault, OpenBao, or what a plugin knows."""
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


FORM: Final = Form(Document, "proxyd configuration")
