"""All rows by name, in the order of the table of faults."""

from bench.faults.rows.base import Row
from bench.faults.rows.blackhole import BlackHole
from bench.faults.rows.cuts import Cuts
from bench.faults.rows.dns import Dns
from bench.faults.rows.errors import Errors
from bench.faults.rows.kill import Kill
from bench.faults.rows.outage import Outage
from bench.faults.rows.slow import Slow

ROWS: dict[str, type[Row]] = {row.name: row for row in (Kill, Slow, Errors, Outage, Cuts, Dns, BlackHole)}
