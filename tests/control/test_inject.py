import pytest

from proxyd.control.inject import FaultDesk, read
from proxyd.core.fault import FaultKind, FaultPlace
from proxyd.core.messages import SetFaults
from proxyd.core.refusal import Refusal
from tests.control.fakes import service, settings

GITHUB = service("code", "api.github.com")


def test_what_is_left_out_has_a_default():
    fault = read(GITHUB, {"status": 503}, 1000.0)
    assert (fault.kind, fault.place, fault.share) == (FaultKind.STATUS, FaultPlace.CLIENT, 1.0)
    assert fault.expires == 1600.0
    assert (fault.answer.status, fault.service, fault.scope.methods) == (503, "code", ())


def test_everything_can_be_said():
    values = {"method": ["get"], "path": ["/a"], "uid": 0, "user": "ann", "cidr": "10.0.0.0/8"}
    fault = read(GITHUB, {**values, "delay": 0.3, "share": 0.5, "seed": 7, "at": "upstream", "seconds": 60}, 0.0)
    scope = fault.scope
    assert (scope.methods, scope.paths, scope.uids) == (("GET",), ("/a",), (0,))
    assert (scope.users, scope.cidrs) == (("ann",), ("10.0.0.0/8",))
    assert (fault.seconds, fault.share, fault.seed, fault.place) == (0.3, 0.5, 7, FaultPlace.UPSTREAM)


def test_a_rate_limit_is_the_services_own_unless_a_vendor_is_named():
    assert read(GITHUB, {"rate_limit": ""}, 0.0).vendor == "github"
    named = read(GITHUB, {"rate_limit": "datadog"}, 0.0)
    assert "x-ratelimit-period" in dict(named.answer.headers)
    assert read(GITHUB, {"expired": True}, 0.0).answer.status == 401


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "exactly one of .* got none"),
        ({"reset": True, "delay": 1}, "got delay and reset"),
        ({"reset": False}, "got none"),
        ({"slow": 0}, "slow: expected 1"),
        ({"truncate": -1}, "truncate: expected 0"),
        ({"slow": 10, "at": "upstream"}, "no attempt looks at the body"),
        ({"delay": 0}, "delay: expected more than 0"),
        ({"delay": 601}, "at most 600"),
        ({"reset": True, "share": 0}, "share"),
        ({"reset": True, "share": 1.1}, "share"),
        ({"reset": True, "seconds": 0}, "seconds"),
        ({"reset": True, "seconds": 86401}, "24 h"),
        ({"reset": True, "method": ["GET "]}, "no HTTP method"),
        ({"reset": True, "path": ["v2"]}, "slash"),
        ({"reset": True, "cidr": "10.0.0.1/8"}, "host bits"),
        ({"rate_limit": "gihub"}, "no vendor 'gihub'"),
    ],
)
def test_what_makes_no_sense_is_refused(values, said):
    with pytest.raises(Refusal, match=said):
        read(GITHUB, values, 0.0)


async def test_a_fault_reaches_workers_and_is_seen_until_it_is_cleared(lab):
    lab.file = settings(GITHUB)
    await lab.start()
    desk = FaultDesk(lab.controller)
    added = await desk.add("code", reset=True, share=0.25)
    assert (added["ok"], added["id"], added["what"], added["hits"]) == (True, "f1", "connection reset", 0)
    assert [row["id"] for row in await desk.rows()] == ["f1"]
    assert [fault.id for fault in lab.worker.got[-3].faults] == ["f1"]
    assert await desk.clear() == {"ok": True, "cleared": ["f1"]}
    assert await desk.rows() == []


async def test_a_worker_that_comes_later_is_told_and_one_that_retires_forgets(lab):
    lab.file = settings(GITHUB)
    await lab.start()
    desk = FaultDesk(lab.controller)
    await desk.add("code", reset=True)
    await lab.supervisor.start_worker(1)
    late = lab.supervisor.workers[1]
    await late.until(lambda: late.snapshot is not None)
    assert [fault.id for message in late.got if isinstance(message, SetFaults) for fault in message.faults] == ["f1"]
    lab.controller._retire()
    await late.until(lambda: late.got[-1] == SetFaults([]))
    with pytest.raises(Refusal, match="shutting down"):
        await desk.add("code", reset=True)


async def test_an_unknown_service_is_refused_with_the_nearest(lab):
    lab.file = settings(GITHUB)
    await lab.start()
    with pytest.raises(Refusal, match="no service 'cod'") as caught:
        await FaultDesk(lab.controller).add("cod", reset=True)
    assert caught.value.nearest == "code"
