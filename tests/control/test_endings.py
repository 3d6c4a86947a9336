import pytest

from proxyd.control.endings import MOST, Endings
from proxyd.core.catalogue import KnownService, Probe
from proxyd.core.messages import Announced

NOW = 1_800_000_000.0
"""2027-01-15."""


class Lab:
    def __init__(self):
        self.notices = []
        self.endings = Endings(lambda *notice: self.notices.append(notice), lambda: NOW)

    def say(self, *fields, service="api", path="/v1/items"):
        self.endings.take(Announced(service, "GET", path, [list(item) for item in fields]))


@pytest.fixture
def lab():
    return Lab()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([("deprecation", "@1688169599")], "is deprecated since 2023-06-30"),
        ([("deprecation", "Fri, 30 Jun 2023 23:59:59 GMT")], "is deprecated since 2023-06-30"),
        ([("deprecation", "true")], "is deprecated: deprecated"),
        ([("sunset", "Sat, 31 Dec 2033 23:59:59 GMT")], "is deprecated and ends on 2033-12-31"),
        (
            [("deprecation", "@1688169599"), ("sunset", "Sat, 31 Dec 2033 23:59:59 GMT")],
            "is deprecated since 2023-06-30 and ends on 2033-12-31",
        ),
        (
            [("deprecation", "@1688169599"), ("link", '<https://x.example/bye>; rel="deprecation"')],
            "is deprecated since 2023-06-30: see https://x.example/bye",
        ),
        ([("deprecation", "soon\x1b[1m")], "is deprecated: soon\N{REPLACEMENT CHARACTER}[1m"),
    ],
)
def test_an_announcement_is_an_event_in_words(lab, fields, text):
    lab.say(*fields)
    assert lab.notices == [("warning", "endpoint_deprecated", f"GET /v1/items of api {text}")]


@pytest.mark.parametrize(
    "field",
    [("sunset", "never"), ("sunset", "@999999999999"), ("deprecation", "false"), ("deprecation", ""), ("warning", "x")],
)
def test_what_announces_nothing_is_no_event(lab, field):
    lab.say(field)
    assert lab.notices == []


def test_fields_that_a_definition_names_count_for_its_service_alone(lab):
    known = KnownService("k8s", "kubernetes", "Kubernetes", Probe("GET", "/"), deprecation=("warning",))
    lab.endings.configure((known,), frozenset({"k8s", "api"}))
    lab.say(("warning", '299 - "v1beta1 goes"'), service="k8s")
    lab.say(("warning", '110 - "stale"'))
    assert [detail for _, _, detail in lab.notices] == ['GET /v1/items of k8s is deprecated: 299 - "v1beta1 goes"']


def test_several_workers_make_one_event_and_another_date_a_second(lab):
    for _ in range(2):
        lab.say(("sunset", "Sat, 31 Dec 2033 23:59:59 GMT"))
    lab.say(("sunset", "Fri, 30 Dec 2033 23:59:59 GMT"))
    assert len(lab.notices) == 2
    (row,) = lab.endings.rows("api")
    assert (row["endpoint"], row["ends"], row["first_seen"]) == ("GET /v1/items", "2033-12-30", "2027-01-15T08:00:00Z")


def test_the_nearest_end_comes_first_and_is_a_problem(lab):
    lab.say(("sunset", "Sat, 31 Dec 2033 23:59:59 GMT"), path="/late")
    lab.say(("sunset", "Mon, 25 Jan 2027 00:00:00 GMT"), path="/soon")
    lab.say(("deprecation", "true"), path="/some-day")
    assert [row["endpoint"] for row in lab.endings.rows("api")] == ["GET /soon", "GET /late", "GET /some-day"]
    assert [*lab.endings.problems] == ["GET /soon of api is deprecated and ends on 2027-01-25"]


def test_a_service_that_is_gone_is_forgotten(lab):
    lab.say(("deprecation", "true"))
    lab.endings.configure((), frozenset())
    assert lab.endings.rows("api") == []


def test_the_table_is_bounded(lab):
    for number in range(MOST + 5):
        lab.say(("deprecation", "true"), path=f"/{number}")
    assert len(lab.notices) == MOST


@pytest.mark.parametrize(
    "fields", [[["sunset", "x"]] * 9, [["sunset"]], [["sunset", "x" * 513]]], ids=["many", "no-pair", "long"]
)
def test_a_worker_that_breaks_the_rule_is_told_so(lab, fields):
    with pytest.raises(ValueError, match="Announced"):
        lab.endings.take(Announced("api", "GET", "/", fields))
