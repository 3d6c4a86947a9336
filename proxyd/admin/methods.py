"""The admin methods by name, and the one place that turns a call into its answer."""

import difflib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

import proxyd
from proxyd.admin.rpc import Call, RpcError
from proxyd.admin.service import Service

CALL_SECONDS: Final = 60.0
"""The longest call: a reload runs the commands of its secrets, 10 s each by default, side by side."""
UPGRADE_SECONDS: Final = 60.0
MAX_UPGRADE_SECONDS: Final = 600.0
MAX_DRAIN_SECONDS: Final = 7 * 86400.0

Method = Callable[[], Awaitable[Any]]


class Methods:
    """The methods of one daemon; none takes parameters."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._table: dict[str, tuple[str, Method]] = {
            "version": ("the daemon's version", self._version),
            "methods": ("this list", self._methods),
            "status": ("the daemon at a glance", service.status),
            "services": ("the configured services", service.services),
            "pools": ("upstream connections", service.pools),
            "config": ("the configuration in use, secrets as names", service.config),
            "reload": ("read the configuration again", service.reload),
            "stop": ("drain and end", service.stop),
            "upgrade": ("have the program on disk take over: [seconds to get ready, seconds to drain]", self._upgrade),
            "environment": ("what a client's environment needs", service.environment),
            "ca": ("the certificate that clients must trust", self._ca),
        }

    async def call(self, call: Call) -> Any:
        """Return the result; RpcError when the call is not possible."""
        entry = self._table.get(call.method)
        if entry is None:
            raise RpcError("unknown_method", f"there is no method {call.method[:64]!r}", self._nearest(call.method))
        if call.method == "upgrade":
            return await self._upgrade(*call.params)
        if call.params:
            raise RpcError("invalid_params", f"{call.method} takes no parameters, got {len(call.params)}")
        _, method = entry
        with trio.move_on_after(CALL_SECONDS):
            return await method()
        raise RpcError("timeout", f"{call.method} took longer than {CALL_SECONDS:.0f} s")

    def _nearest(self, name: str) -> str | None:
        return next(iter(difflib.get_close_matches(name[:64], self._table, 1)), None)

    async def _upgrade(self, seconds: Any = UPGRADE_SECONDS, drain: Any = None, *_: Any) -> dict[str, Any]:
        if type(seconds) not in (int, float) or not 1 <= seconds <= MAX_UPGRADE_SECONDS:
            raise RpcError("invalid_params", f"seconds: expected 1 to {MAX_UPGRADE_SECONDS:.0f}")
        if drain is not None and (type(drain) not in (int, float) or not 0 <= drain <= MAX_DRAIN_SECONDS):
            raise RpcError("invalid_params", f"drain: expected 0 to {MAX_DRAIN_SECONDS:.0f} seconds")
        return await self._service.upgrade(float(seconds), drain)

    async def _version(self) -> dict[str, str]:
        return {"version": proxyd.__version__}

    async def _methods(self) -> list[dict[str, str]]:
        return [{"name": name, "help": text} for name, (text, _) in self._table.items()]

    async def _ca(self) -> dict[str, str]:
        return {"pem": await self._service.ca_pem()}
