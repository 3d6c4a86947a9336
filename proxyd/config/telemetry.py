"""The sections that say what is reported, and where."""

from typing import Annotated

from pydantic import ConfigDict, Field

from proxyd.reading import names
from proxyd.reading.readers import Text, Whole
from proxyd.reading.sections import Section
from proxyd.reading.values import FilePath, Name


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
