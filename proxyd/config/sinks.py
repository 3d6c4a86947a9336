"""The sinks of ``telemetry.sinks``: each one's plugin is loaded, and says what it thinks of its options."""

from typing import Any, Final

from proxyd.core.settings import SinkSettings
from proxyd.reading.problems import Trail, describe
from proxyd.reading.tree import Tree
from proxyd.reading.views import child, maps, table

OWN_KEYS: Final = ("plugin", "name")
ACCESS_LOG: Final = "access_log"
"""Name of the sink that ``telemetry.access_log`` makes."""


def check_sinks(tree: Tree) -> None:
    """Report every mistake in sinks to ``tree.problems``."""
    names: dict[str, int] = {}
    if child(tree.value, "telemetry", "access_log") is not None:
        names[ACCESS_LOG] = tree.line(("telemetry", "access_log"))
    for trail, entry in maps(child(tree.value, "telemetry", "sinks"), ("telemetry", "sinks")):
        plugin, name = entry.get("plugin"), entry.get("name")
        if not isinstance(plugin, str):
            continue  # the model has said so
        name = name if isinstance(name, str) else default_name(plugin)
        if name in names:
            tree.add(trail, f"another sink is called '{name}', on line {names[name]}; give this one a name of its own")
        names.setdefault(name, tree.line(trail))
        _check_options(tree, trail, plugin, options_of(entry))


def sink_settings(entry: dict[str, Any], line: int) -> SinkSettings:
    """Return what a checked entry of the file says."""
    return SinkSettings(entry.get("name") or default_name(entry["plugin"]), entry["plugin"], options_of(entry), line)


def default_name(plugin: str) -> str:
    """Return what a sink without a name is called: its plugin, or what stands behind the colon."""
    return plugin.rpartition(":")[2]


def options_of(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what in an entry is the plugin's."""
    return {key: value for key, value in entry.items() if key not in OWN_KEYS}


def _check_options(tree: Tree, trail: Trail, plugin: str, plain: dict[str, Any]) -> None:
    from proxyd.sdk.loader import LoadError, load_sink  # with trio and more: only for files that name a sink
    from proxyd.sdk.options import OptionsError, read_options, secret_places

    try:
        options = read_options(load_sink(plugin).options_type, plain)
    except LoadError as error:
        tree.add((*trail, "plugin"), str(error))
        return
    except OptionsError as error:
        for mistake in error.mistakes:
            tree.add((*trail, *mistake.trail), mistake.message, at_key=True)
        return
    declared = table(tree.value, "secrets")
    for place, name in secret_places(options):
        if name not in declared:
            message = "no secret of this name stands under secrets"
            tree.add((*trail, *place), describe(message, "", tree.nearest(name, declared)))
