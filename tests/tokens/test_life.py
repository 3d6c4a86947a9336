"""The life of a token: early, patient, and forced once."""

import random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxyd.tokens.life import FINAL_PAUSE, FORCED_EVERY, LONGEST_PAUSE, MARGIN, Life


def test_it_is_renewed_in_the_last_fifth_and_each_time_at_another_moment():
    rng = random.Random(1)
    due = set()
    for _ in range(50):
        life = Life()
        life.issued(100.0, 3600.0, rng)
        assert 100 + 0.75 * 3600 <= life.due <= 100 + 0.85 * 3600
        due.add(life.due)
    assert len(due) == 50


def test_a_short_life_keeps_a_margin():
    life = Life()
    life.issued(0.0, 100.0, random.Random(1))
    assert life.due <= 100 - MARGIN
    assert life.is_valid(99.9)
    assert not life.is_valid(100.0)


def test_questions_become_rare_while_the_issuer_is_away():
    life, now, pauses = Life(), 0.0, []
    for _ in range(12):
        life.failed(now, "away", random.Random(3), is_final=False)
        pauses.append(life.due - now)
        now = life.due
    assert pauses[0] <= 1.2
    assert pauses == sorted(pauses)[: len(pauses)] or max(pauses) <= LONGEST_PAUSE * 1.2
    life.failed(now, "invalid_grant", random.Random(3), is_final=True)
    assert life.due - now >= FINAL_PAUSE * 0.8


def test_a_refusal_counts_once_and_for_the_present_token_alone():
    life = Life(serial=7, due=1000.0)
    assert not life.refused(6, 10.0)
    assert life.refused(7, 10.0)
    assert life.due == 10.0
    assert not life.refused(7, 10.0 + FORCED_EVERY - 0.1)
    assert life.refused(7, 10.0 + FORCED_EVERY)


class Machine(RuleBasedStateMachine):
    """Whatever comes in which order, a valid token stays valid and a question is always due some time."""

    def __init__(self):
        super().__init__()
        self.life, self.now, self.rng = Life(), 0.0, random.Random(5)
        self.promised = 0.0

    @rule(seconds=st.floats(0.0, 5000.0))
    def wait(self, seconds):
        self.now += seconds

    @rule(life=st.floats(1.0, 100_000.0))
    def issued(self, life):
        self.life.issued(self.now, life, self.rng)
        self.promised = self.now + life
        assert self.life.problem == ""

    @rule(is_final=st.booleans())
    def failed(self, is_final):
        self.life.failed(self.now, "no", self.rng, is_final=is_final)
        assert self.now < self.life.due <= self.now + FINAL_PAUSE * 1.2

    @rule()
    def refused(self):
        if self.life.refused(self.life.serial, self.now):
            assert self.life.due == self.now

    @invariant()
    def what_was_promised_is_kept(self):
        assert self.life.is_valid(self.now) is (self.promised > self.now)


TestMachine = Machine.TestCase
