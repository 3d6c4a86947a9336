"""What plugins may import. Whatever is not named here may change with any release.

There are two doors. This is the control plane's: sinks of events, vaults elsewhere, and the page of metrics. The data
plane's, for filters of exchanges, will be ``proxyd.sdk.filters``; it is not built yet, and nothing else has that name.
"""

from typing import Final

from proxyd.core.events import ACCESS, NOTICE, SCHEMAS, Schema
from proxyd.core.metrics import Kind, Metric
from proxyd.core.records import Batch, Record, Values
from proxyd.core.settings import Reference
from proxyd.sdk.exporter import TEXT_FORMAT, Exporter
from proxyd.sdk.host import Host, Severity
from proxyd.sdk.options import Duration, NoOptions, SecretName, Size
from proxyd.sdk.sink import Sink
from proxyd.sdk.text import printable, without_query
from proxyd.sdk.vault import Fetched, Vault, VaultHost, VaultPluginError
from proxyd.telemetry.aggregate import Histogram
from proxyd.telemetry.cells import Cell
from proxyd.telemetry.families import Family

__all__ = [
    "ACCESS",
    "API_VERSION",
    "NOTICE",
    "SCHEMAS",
    "TEXT_FORMAT",
    "Batch",
    "Cell",
    "Duration",
    "Exporter",
    "Family",
    "Fetched",
    "Histogram",
    "Host",
    "Kind",
    "Metric",
    "NoOptions",
    "Record",
    "Reference",
    "Schema",
    "SecretName",
    "Severity",
    "Sink",
    "Size",
    "Values",
    "Vault",
    "VaultHost",
    "VaultPluginError",
    "printable",
    "without_query",
]

API_VERSION: Final = 1
"""Of what is named here. It rises when a plugin that was written for the former one may no longer work."""
