"""What the admin side asks of control: the shape of its service object."""

from typing import Any, Protocol


class Service(Protocol):
    """Control's answers. Every value is plain: what JSON and MessagePack both carry; secrets appear as names."""

    async def status(self) -> dict[str, Any]:
        """The daemon at a glance: version, processes, listeners as bound, problems."""
        ...

    async def services(self) -> list[Any]:
        """The configured services."""
        ...

    async def pools(self) -> list[Any]:
        """Upstream pools of all workers."""
        ...

    async def config(self) -> dict[str, Any]:
        """The configuration in use."""
        ...

    async def reload(self) -> dict[str, Any]:
        """Read the configuration again: ``{ok, version, problems}``."""
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
