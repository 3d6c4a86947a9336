import os
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxyd.core.messages import Stats
from proxyd.core.metrics import ACCESS_LOG_LOST, DOWNSTREAM_ACTIVE, DURATION, METRICS, OWN, REQUESTS, Kind, Metric
from proxyd.sdk.testing import FakeHost
from proxyd.telemetry.aggregate import Aggregate
from proxyd.telemetry.cells import Cells
from proxyd.telemetry.families import Families, usage_families
from proxyd.telemetry.processes import Usage
from proxyd_plugins.prometheus import Prometheus, render


def samples(page):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def page(aggregate=None, cells=None):
    return render(Families(aggregate or Aggregate(), cells or Cells(), tuple).counted())


def test_what_workers_counted_stands_on_the_page():
    aggregate = Aggregate()
    buckets = [0] * (len(DURATION.buckets) + 1)
    buckets[0], buckets[-1] = 2, 1
    aggregate.add(
        0,
        Stats(
            [[REQUESTS.name, ["apps", 'quo"te\n', "200"], 3]],
            [[DOWNSTREAM_ACTIVE.name, [], 4]],
            [[DURATION.name, ["tickets"], buckets, 75.5]],
        ),
    )
    found = samples(page(aggregate))
    labels = (("code", "200"), ("listener", "apps"), ("service", 'quo"te\n'))
    assert found["proxyd_requests_total", labels] == 3
    assert found["proxyd_downstream_connections_active", (("worker", "0"),)] == 4
    assert found["proxyd_request_duration_seconds_bucket", (("le", "0.0005"), ("service", "tickets"))] == 2
    assert found["proxyd_request_duration_seconds_bucket", (("le", "60.0"), ("service", "tickets"))] == 2
    assert found["proxyd_request_duration_seconds_bucket", (("le", "+Inf"), ("service", "tickets"))] == 3
    assert found["proxyd_request_duration_seconds_count", (("service", "tickets"),)] == 3
    assert found["proxyd_request_duration_seconds_sum", (("service", "tickets"),)] == 75.5


def test_every_declared_family_is_described_before_it_has_a_series():
    text = page().decode() + render(usage_families(())).decode()
    for metric in (*METRICS.values(), *OWN):
        suffix = "_total" if metric.kind is Kind.COUNTER else ""
        assert text.count(f"# HELP {metric.name}{suffix} {metric.help}\n") == 1


def test_what_control_counts_stands_on_the_page():
    cells = Cells()
    cells.cell(ACCESS_LOG_LOST).value = 7
    cells.cell(Metric("proxyd_depth", Kind.GAUGE, "Depth.", ("side",)), "left").value = 2
    found = samples(page(cells=cells))
    assert found["proxyd_access_log_lost_total", ()] == 7
    assert found["proxyd_depth", (("side", "left"),)] == 2
    assert found["proxyd_stats_rejected_total", ()] == 0
    assert [value for (name, _), value in found.items() if name == "proxyd_build_info"] == [1]


def test_what_cannot_be_read_of_a_process_is_left_out():
    usage = Usage("worker-0", 1, 100.0, 1.5, 4096, None, None, 1)
    found = samples(render(usage_families([usage])))
    worker = (("process", "worker-0"),)
    assert found["proxyd_process_cpu_seconds_total", worker] == 1.5
    assert found["proxyd_process_resident_memory_bytes", worker] == 4096
    assert ("proxyd_process_proportional_memory_bytes", worker) not in found
    assert ("proxyd_process_open_fds", worker) not in found


async def test_the_page_measures_live_processes_and_forgets_dead_ones():
    gone = 2**22 + 1  # beyond the kernel's greatest pid
    families = Families(Aggregate(), Cells(), lambda: [("control", os.getpid()), ("worker-9", gone)])
    text = await Prometheus(FakeHost(families=await families.read())).page()
    assert samples(text)["proxyd_process_resident_memory_bytes", (("process", "control"),)] > 0
    assert b"worker-9" not in text


@pytest.mark.parametrize("module", ["proxyd_plugins.prometheus", "proxyd.control.reports"])
def test_nothing_heavy_is_loaded_before_a_page_is_asked_for(module):
    program = f"import {module}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"prometheus_client", "psutil", "importlib.metadata"} & set(done.stdout.split())
