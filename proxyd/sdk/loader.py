"""Finds plugins: shipped ones by name, installed ones by their entry point, any other as ``module:name``.

Only what the configuration names is imported.
"""

import dataclasses
import difflib
import importlib
import inspect
from collections.abc import Mapping
from typing import Any, Final, cast

from proxyd.sdk import API_VERSION
from proxyd.sdk.exporter import Exporter
from proxyd.sdk.host import Host
from proxyd.sdk.sink import Sink
from proxyd.sdk.vault import Vault

GROUP: Final = "proxyd.sinks"
"""Entry points of sinks."""
VAULTS: Final = "proxyd.vaults"
"""Entry points of vaults elsewhere."""

SHIPPED: Final = {"access_log": "proxyd_plugins.access_log:AccessLog"}
"""Sinks that come with proxyd. They share control's loop: they neither block nor wait, and cost no thread."""

METRICS_PAGE: Final = "proxyd_plugins.prometheus:Prometheus"
"""The exporter behind ``/metrics``."""

SHIPPED_VAULTS: Final = {"folder": "proxyd_plugins.folder:Folder", "spiffe": "proxyd_plugins.spiffe:Spiffe"}
"""Vaults that come with proxyd."""


class LoadError(Exception):
    """A plugin cannot be had; the text says why and what to do."""


def load_sink(name: str) -> type[Sink]:
    """Return the sink class that ``name`` in a configuration means. LoadError."""
    found = _load(name, SHIPPED.get(name) or (name if ":" in name else _entry_point(name, GROUP, "sink", SHIPPED)))
    if not inspect.isclass(found) or Sink not in found.__mro__:
        raise LoadError(f"{name} is no sink: a class that derives from proxyd.sdk.Sink is expected")
    kind = cast("type[Sink]", found)
    if kind.events is Sink.events or not inspect.iscoroutinefunction(kind.events):
        raise LoadError(f"{name} is no sink: write 'async def events(self, batch)'")
    _check(name, kind, "sink")
    return kind


def load_vault(name: str) -> type[Vault]:
    """Return the vault class that ``kind`` in a configuration means. LoadError."""
    shipped = SHIPPED_VAULTS.get(name)
    found = _load(name, shipped or (name if ":" in name else _entry_point(name, VAULTS, "vault", SHIPPED_VAULTS)))
    if not inspect.isclass(found) or Vault not in found.__mro__:
        raise LoadError(f"{name} is no vault: a class that derives from proxyd.sdk.Vault is expected")
    kind = cast("type[Vault]", found)
    if kind.fetch is Vault.fetch or not inspect.iscoroutinefunction(kind.fetch):
        raise LoadError(f"{name} is no vault: write 'async def fetch(self, reference)'")
    _check(name, kind, "vault")
    return kind


def load_exporter(host: Host) -> Exporter:
    """Return what renders the page of metrics. LoadError."""
    return cast(Exporter, _load("the metrics page", METRICS_PAGE)(host))


def _check(name: str, kind: type[Sink] | type[Vault], what: str) -> None:
    if not dataclasses.is_dataclass(kind.options_type):
        raise LoadError(f"{name} is no {what}: its options_type is no dataclass")
    if kind.api_version != API_VERSION:
        raise LoadError(
            f"{name} is written for version {kind.api_version} of proxyd.sdk, this is {API_VERSION}; update it"
        )


def _entry_point(name: str, group: str, what: str, shipped: Mapping[str, str]) -> str:
    from importlib.metadata import entry_points  # reads every package's metadata: only where it is no shipped one

    found = {point.name: point.value for point in entry_points(group=group)}
    if name in found:
        return found[name]
    known = sorted({*found, *shipped})
    close = difflib.get_close_matches(name[:128], known, 1)
    guess = f"; did you mean '{close[0]}'?" if close else ""
    raise LoadError(f"no {what} of this name is installed; there are {', '.join(known)}, or write module:name{guess}")


def _load(name: str, target: str) -> Any:
    module, _, path = target.partition(":")
    try:
        value: Any = importlib.import_module(module.strip())
        for step in path.strip().split("."):
            value = getattr(value, step)
    except (Exception, SystemExit) as error:
        raise LoadError(f"{name} cannot be loaded: {type(error).__name__}: {error}") from error
    return value
