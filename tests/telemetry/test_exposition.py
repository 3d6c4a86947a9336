import os

from prometheus_client.parser import text_string_to_metric_families

from proxyd.core.messages import Stats
from proxyd.core.metrics import DOWNSTREAM_ACTIVE, DURATION, METRICS, REQUESTS
from proxyd.telemetry.aggregate import Aggregate
from proxyd.telemetry.exposition import Exposition, Reading
from proxyd.telemetry.processes import Usage


def samples(page):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


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
    found = samples(Exposition(aggregate).render(()))
    labels = (("code", "200"), ("listener", "apps"), ("service", 'quo"te\n'))
    assert found["proxyd_requests_total", labels] == 3
    assert found["proxyd_downstream_connections_active", (("worker", "0"),)] == 4
    assert found["proxyd_request_duration_seconds_bucket", (("le", "0.0005"), ("service", "tickets"))] == 2
    assert found["proxyd_request_duration_seconds_bucket", (("le", "60.0"), ("service", "tickets"))] == 2
    assert found["proxyd_request_duration_seconds_bucket", (("le", "+Inf"), ("service", "tickets"))] == 3
    assert found["proxyd_request_duration_seconds_count", (("service", "tickets"),)] == 3
    assert found["proxyd_request_duration_seconds_sum", (("service", "tickets"),)] == 75.5


def test_every_declared_family_is_described_before_it_has_a_series():
    page = Exposition(Aggregate()).render(()).decode()
    for metric in METRICS.values():
        assert f"# HELP {metric.name}" in page


def test_build_and_own_readings_stand_on_the_page():
    readings = (Reading("proxyd_access_log_lost", "Lines lost.", 7), Reading("proxyd_workers", "Workers.", 2, False))
    found = samples(Exposition(Aggregate(), readings=lambda: readings).render(()))
    assert found["proxyd_access_log_lost_total", ()] == 7
    assert found["proxyd_workers", ()] == 2
    assert found["proxyd_stats_rejected_total", ()] == 0
    assert [value for (name, _), value in found.items() if name == "proxyd_build_info"] == [1]


def test_what_cannot_be_read_of_a_process_is_left_out():
    usage = Usage("worker-0", 1, 100.0, 1.5, 4096, None, None, 1)
    found = samples(Exposition(Aggregate()).render([usage]))
    worker = (("process", "worker-0"),)
    assert found["proxyd_process_cpu_seconds_total", worker] == 1.5
    assert found["proxyd_process_resident_memory_bytes", worker] == 4096
    assert ("proxyd_process_proportional_memory_bytes", worker) not in found
    assert ("proxyd_process_open_fds", worker) not in found


async def test_the_page_measures_live_processes_and_forgets_dead_ones():
    gone = 2**22 + 1  # beyond the kernel's greatest pid
    page = await Exposition(Aggregate(), lambda: [("control", os.getpid()), ("worker-9", gone)]).page()
    found = samples(page)
    assert found["proxyd_process_resident_memory_bytes", (("process", "control"),)] > 0
    assert b"worker-9" not in page
