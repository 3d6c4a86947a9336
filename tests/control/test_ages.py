"""Ages and ends: each threshold is told once, and what is over may be denied."""

import pytest

from proxyd.control.ages import ENDED, OK, OVER_AGE, SOON, Ages, Subject, of_secret
from proxyd.core.messages import CredentialEnds
from proxyd.core.metrics import CERTIFICATE_EXPIRY, SECRET_AGE, SECRET_EXPIRY
from proxyd.core.secret import Secret
from proxyd.core.settings import Ages as Policy
from proxyd.core.settings import Reference, SecretSource
from proxyd.core.units import DAY, HOUR
from proxyd.telemetry.cells import Cells
from proxyd.vault.state import SecretState

NOW = 1_800_000_000.0
USUAL = Policy()


class Lab:
    def __init__(self):
        self.now = NOW
        self.told = []
        self.cells = Cells()
        self.ages = Ages(lambda *words: self.told.append(words), self.cells, lambda: self.now)

    def look(self, *subjects):
        self.told.clear()
        over = self.ages.look(subjects)
        return [event for _, event, _ in self.told], over

    def series(self):
        return {(metric.name, labels): value for metric, labels, value in self.cells}


@pytest.fixture
def lab():
    return Lab()


def secret(policy=USUAL, value=b"value", created=NOW, ends=0.0, **source):
    source = source or {"vault": "a"}
    return SecretState(
        SecretSource("a", ages=policy, **source), Secret("a", value), "", 1, 0.0, created=created, expires=ends
    )


def certificate(ends, kind="upstream", begun=NOW - 90 * DAY, which="one"):
    return Subject(kind, "api.example", which, USUAL, begun, ends)


def test_each_threshold_is_told_once(lab):
    subject = certificate(NOW + 40 * DAY)
    found = []
    for day in range(45):
        lab.now = NOW + day * DAY
        found += [(day, event) for event in lab.look(subject)[0]]
        lab.look(subject)
    assert found == [
        (10, "certificate_ends_soon"),
        (33, "certificate_ends_soon"),
        (39, "certificate_ends_soon"),
        (40, "certificate_over"),
    ]


def test_what_is_near_its_end_from_the_first_is_told_once_and_a_new_one_is_another(lab):
    assert lab.look(certificate(NOW + 3 * DAY))[0] == ["certificate_ends_soon"]
    assert lab.told[0][0] == "warning"
    assert lab.told[0][2] == "the upstream certificate of api.example ends in 3 days; renew it"
    assert lab.look(certificate(NOW + 3 * DAY))[0] == []
    assert lab.look(certificate(NOW + 90 * DAY, which="two", begun=NOW))[0] == []
    assert list(lab.ages.problems) == []
    assert lab.look(certificate(NOW + 2 * DAY, which="three"))[0] == ["certificate_ends_soon"]
    assert list(lab.ages.problems) == ["the upstream certificate of api.example ends in 2 days; renew it"]


def test_of_short_lives_only_what_fits_is_told(lab):
    subject = certificate(NOW + 6 * DAY, begun=NOW)
    assert lab.look(subject)[0] == []
    lab.now = NOW + 5.5 * DAY
    assert lab.look(subject)[0] == ["certificate_ends_soon"]


def test_a_secret_ages_and_is_over(lab):
    policy = Policy(max_age=90 * DAY)
    subject = of_secret(secret(policy, created=NOW - 80 * DAY))
    assert lab.look(subject) == (["secret_ends_soon"], [])
    assert lab.ages.row(secret(policy, created=NOW - 80 * DAY)) == {
        "age_seconds": 80 * DAY,
        "ends_seconds": 10 * DAY,
        "state": SOON,
    }
    assert lab.told[0][2] == "secret a is 80 days old, and max_age is 90 days; put a new one in its place"
    lab.now += 11 * DAY
    assert lab.look(subject) == (["secret_over"], ["a"])
    assert lab.told[0][0] == "error"
    assert lab.ages.row(secret(policy, created=NOW - 80 * DAY))["state"] == OVER_AGE
    assert lab.look(subject) == ([], [])


def test_over_is_denied_where_the_policy_says_so(lab):
    state = secret(Policy(max_age=DAY), created=NOW - 2 * DAY)
    assert lab.ages.judged(state) is state
    denied = secret(Policy(max_age=DAY, deny=True), created=NOW - 2 * DAY)
    assert lab.ages.judged(denied).value is None
    assert lab.ages.judged(denied).why == (
        "secret a is 2 days old, and max_age is 24 hours; put a new one in its place (over: deny)"
    )
    young = secret(Policy(max_age=DAY, deny=True), created=NOW - HOUR)
    assert lab.ages.judged(young) is young


def test_a_jwt_says_itself_when_it_ends(lab):
    jwt = b"eyJhbGciOiJub25lIn0.eyJleHAiOjE4MDAwMDcyMDB9."  # {"exp": NOW + 7200}
    subject = of_secret(secret(value=jwt))
    assert subject.ends == NOW + 2 * HOUR
    assert lab.look(subject)[0] == []
    lab.now += 3 * HOUR
    assert lab.look(subject)[0] == ["secret_over"]
    assert lab.ages.row(secret(value=jwt))["state"] == ENDED


def test_what_renews_itself_is_not_followed():
    lease = Reference("company", "database/creds/ro", is_lease=True)
    subject = of_secret(secret(Policy(max_age=60.0), ends=NOW + 60, outside=lease))
    assert subject.end == 0.0


def test_the_end_of_a_login_counts():
    assert of_secret(secret(), NOW + DAY).end == NOW + DAY


def test_gauges_come_and_go(lab):
    lab.look(of_secret(secret(Policy(max_age=10 * DAY), created=NOW - DAY)), certificate(NOW + 40 * DAY))
    assert lab.series() == {
        (SECRET_AGE.name, ("a",)): DAY,
        (SECRET_EXPIRY.name, ("a",)): 9 * DAY,
        (CERTIFICATE_EXPIRY.name, ("upstream", "api.example")): 40 * DAY,
    }
    lab.look()
    assert lab.series() == {}


def test_what_never_ends_is_fine(lab):
    state = secret(created=NOW - 4000 * DAY)
    assert lab.look(of_secret(state)) == ([], [])
    assert lab.ages.row(state)["state"] == OK
    assert "value" not in repr(of_secret(state))


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2027-01-17 08:00:00 UTC", NOW + 2 * DAY),
        ("2027-01-17 03:00:00 -0500", NOW + 2 * DAY),
        ("soon", 0.0),
        ("9999-99-99 00:00:00 UTC", 0.0),
    ],
)
def test_what_a_vendor_says_of_a_tokens_end_counts_for_this_very_token(lab, text, at):
    state = secret(created=NOW - 90 * DAY)
    lab.look(of_secret(state))
    lab.ages.told(CredentialEnds("a", text))
    lab.ages.told(CredentialEnds("unknown", text))
    assert lab.ages.end_told(state) == at
    assert lab.ages.end_told(secret(value=b"another")) == 0.0
    subject = of_secret(state, told_end=lab.ages.end_told(state))
    assert lab.look(subject)[0] == (["secret_ends_soon"] if at else [])
    lab.look()
    assert lab.ages.end_told(state) == 0.0


def test_a_vendor_cannot_have_a_secret_denied(lab):
    state = secret(Policy(deny=True))
    lab.look(of_secret(state))
    lab.ages.told(CredentialEnds("a", "2001-01-01 00:00:00 UTC"))
    assert lab.ages.judged(state) is state


def test_a_text_that_is_too_long_breaks_a_rule(lab):
    with pytest.raises(ValueError, match="CredentialEnds"):
        lab.ages.told(CredentialEnds("a", "x" * 300))
