"""What the admin side asks of control: the shape of its service object."""

from collections.abc import Sequence
from typing import Any, Protocol

from proxyd.core.settings import Readers
from proxyd.telemetry.exchanges import Filter
from proxyd.telemetry.recent import Subscription


class Vault(Protocol):
    """The vault. Every method raises Refusal in words for whoever called."""

    async def secrets(self) -> list[Any]:
        """A row for every secret, without its value."""
        ...

    async def store(self, name: str, value: bytes) -> dict[str, Any]:
        """Make ``value`` the only version of a secret."""
        ...

    async def rotate(self, name: str, value: bytes, overlap: float | None = None) -> dict[str, Any]:
        """Add a version; the former one counts for ``overlap`` seconds."""
        ...

    async def remove(self, name: str) -> dict[str, Any]:
        """Forget a secret."""
        ...

    async def rekey(
        self, kind: str | None = None, place: str = "", material: str = "", accept: bool = False
    ) -> dict[str, Any]:
        """Seal everything anew."""
        ...

    async def backup(self, passphrase: bytes | None = None) -> dict[str, Any]:
        """``{data}``: a backup in base64."""
        ...

    async def restore(
        self, data: str, passphrase: bytes | None = None, key: bytes | None = None, replacing: bool = False
    ) -> dict[str, Any]:
        """Put a backup in the place of what is there."""
        ...


class Accounts(Protocol):
    """Limits, quotas and caches. Every method raises Refusal in words for whoever called."""

    async def limits(self) -> list[Any]:
        """A row for each limit."""
        ...

    async def quotas(self) -> list[Any]:
        """A row for each quota."""
        ...

    async def set_used(self, service: str, limit: str, used: int, key: str = "") -> dict[str, Any]:
        """Say how much is used."""
        ...

    async def reset(self, service: str, limit: str, key: str = "") -> dict[str, Any]:
        """Begin anew."""
        ...

    async def grant(self, service: str, limit: str, tokens: int, key: str = "") -> dict[str, Any]:
        """Allow more."""
        ...

    async def caches(self) -> list[Any]:
        """A row for each service and worker."""
        ...

    async def purge(self, service: str, path: str = "", tag: str = "") -> dict[str, Any]:
        """Forget entries."""
        ...


class Faults(Protocol):
    """Faults that are injected on purpose. Every method raises Refusal in words for whoever called."""

    async def add(self, service: str, **values: Any) -> dict[str, Any]:
        """Inject one."""
        ...

    async def rows(self) -> list[Any]:
        """A row for each."""
        ...

    async def clear(self, ids: list[str] | None = None) -> dict[str, Any]:
        """End some, or all."""
        ...


class Service(Protocol):
    """Control's answers. Every value is plain: what JSON and MessagePack both carry; secrets appear as names.

    Refusal (core.refusal): what was asked for is not possible.
    """

    @property
    def vault(self) -> Vault:
        """Secrets at rest."""
        ...

    @property
    def accounts(self) -> Accounts:
        """Limits, quotas and caches."""
        ...

    @property
    def faults(self) -> Faults:
        """Faults that are injected."""
        ...

    async def status(self) -> dict[str, Any]:
        """The daemon at a glance: version, processes, listeners as bound, problems."""
        ...

    async def services(self) -> list[Any]:
        """The configured services."""
        ...

    async def service(self, name: str) -> dict[str, Any]:
        """One service in detail. Refusal: there is none of this name."""
        ...

    async def pools(self) -> list[Any]:
        """Upstream pools of all workers."""
        ...

    async def tokens(self) -> list[Any]:
        """Tokens that issuers gave: how they are, never a value."""
        ...

    async def unknown_hosts(self) -> list[Any]:
        """Hosts that are no service and were asked for."""
        ...

    async def probes(self) -> list[Any]:
        """How each service is asked whether it takes its credential."""
        ...

    async def endpoints(self) -> list[Any]:
        """Endpoints of all services as every worker sees them."""
        ...

    async def hold_breaker(self, service: str, state: str, endpoint: str | None = None) -> dict[str, Any]:
        """Hold a breaker in a state. Refusal: there is none."""
        ...

    async def hold_endpoint(self, service: str, state: str, endpoint: str) -> dict[str, Any]:
        """Hold an endpoint in a state. Refusal: there is none."""
        ...

    async def exchanges(self, wanted: Filter, limit: int) -> list[Any]:
        """The latest exchanges that are wanted, the oldest first."""
        ...

    def subscribe(self, wanted: Filter, kinds: Sequence[str], buffer: int) -> Subscription:
        """Listen to exchanges and notices. TooManySubscribers."""
        ...

    async def certificates(self) -> list[Any]:
        """Every certificate in play."""
        ...

    async def workers(self) -> list[Any]:
        """The workers in detail."""
        ...

    async def memory(self) -> dict[str, Any]:
        """Memory of all processes."""
        ...

    async def log_level(self, level: str | None) -> dict[str, Any]:
        """The level of the daemon's log, after it was set unless ``level`` is None."""
        ...

    def readers(self) -> Readers:
        """Who may look, beside root and the daemon's user."""
        ...

    async def config(self) -> dict[str, Any]:
        """The configuration in use."""
        ...

    async def reload(self) -> dict[str, Any]:
        """Read the configuration again: ``{ok, version, problems}``."""
        ...

    async def drain(self, *, exit: bool = False, seconds: float | None = None) -> dict[str, Any]:  # noqa: A002
        """Stop accepting; with ``exit`` end when what runs has finished, and return at once."""
        ...

    async def stop(self) -> Any:
        """Begin to drain and end; returns at once."""
        ...

    async def upgrade(self, seconds: float, drain: float | None) -> dict[str, Any]:
        """Have the program on disk take over within ``seconds``: ``{ok, generation}`` and ``drain_seconds`` or
        ``problem``. ``drain``: what connections of this generation may take to end; None: ``upgrade_drain``.
        """
        ...

    async def is_ready(self) -> bool:
        """Whether every worker has applied a snapshot."""
        ...

    async def metrics_text(self) -> bytes:
        """The metrics page."""
        ...

    async def ca_pem(self) -> str:
        """The certificate that clients must trust."""
        ...

    async def environment(self) -> dict[str, Any]:
        """What a client's environment needs: ``{proxy, ca_bundle, ca, secret_variables}``.

        ``proxy`` is None where no listener serves clients without a password.
        """
        ...
