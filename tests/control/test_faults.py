import pytest

from proxyd.control.faults import Faults
from proxyd.core.access import Rule
from proxyd.core.fault import MAX_FAULTS, Fault, FaultAnswer, FaultKind
from proxyd.core.refusal import Refusal

FAULT = Fault("", FaultKind.STATUS, Rule(True, ("api",)), 100.0, share=0.1, answer=FaultAnswer(503))


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def told():
    return []


@pytest.fixture
def faults(clock, told):
    return Faults(told.append, clock)


def test_workers_are_told_the_whole_of_it_after_each_change(faults, told):
    first, second = faults.add(FAULT), faults.add(FAULT)
    assert [first.id, second.id] == ["f1", "f2"]
    assert faults.clear(["f1"]) == ["f1"]
    assert faults.clear() == ["f2"]
    assert [[fault.id for fault in message.faults] for message in told] == [["f1"], ["f1", "f2"], ["f2"], []]


def test_what_expired_is_gone_and_its_id_is_not_used_again(faults, clock):
    faults.add(FAULT)
    clock.now = 100.0
    assert not list(faults)
    assert not list(faults.problems(clock.now))
    with pytest.raises(Refusal, match="there is no fault 'f1'"):
        faults.clear(["f1"])
    assert faults.add(FAULT).id == "f2"


def test_a_fault_is_a_problem_that_says_how_to_end_it(faults):
    faults.add(FAULT)
    (text,) = faults.problems(40.0)
    assert "f1 is injected on purpose: status 503 for 10% of api, 60 s more (proxyd fault clear f1)" in text


def test_their_number_is_bounded(faults):
    for _ in range(MAX_FAULTS):
        faults.add(FAULT)
    with pytest.raises(Refusal, match="64 faults"):
        faults.add(FAULT)


def test_clearing_one_that_is_not_there_clears_none(faults):
    faults.add(FAULT)
    with pytest.raises(Refusal, match="f9"):
        faults.clear(["f1", "f9"])
    assert [fault.id for fault in faults] == ["f1"]
