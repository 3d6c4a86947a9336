"""`fallback`: what it reads, and what contradicts itself."""

import re

import pytest

from proxyd.core.fallback import MAX_BODY, FallbackStep, StaticResponse
from tests.config.conftest import LISTENERS


def services(*lines):
    return LISTENERS + "services:\n" + "".join(f"  {line}\n" for line in lines)


def one(*steps):
    return f"one: {{hosts: [one.example], fallback: [{', '.join(steps)}]}}"


OTHER = "other: {hosts: [other.example]}"


def steps_of(settings, name="one"):
    return next(service.fallback for service in settings.services if service.name == name)


def test_the_steps_are_read_in_order(settings_of):
    text = services(
        one("{service: other, on: [open, 503]}", "{response: {status: 200, headers: {X-A: b}, body: down}}"), OTHER
    )
    written = StaticResponse(200, (("x-a", "b"), ("content-type", "text/plain; charset=utf-8")), b"down")
    assert steps_of(settings_of(text)) == (
        FallbackStep("other", on=("open", "503")),
        FallbackStep("", written),
    )


def test_without_fallback_there_is_none(settings_of):
    assert steps_of(settings_of(services(OTHER)), "other") == ()


def test_a_response_without_a_status_is_503_without_a_body(settings_of):
    assert steps_of(settings_of(services(one("{response: {}}"))))[0].response == StaticResponse(503)


def test_a_body_comes_from_a_file_beside_the_configuration_with_its_type(settings_of, tmp_path):
    (tmp_path / "down.json").write_text('{"a": 1}')
    text = services(one("{response: {body_file: down.json}}"))
    expected = StaticResponse(503, (("content-type", "application/json"),), b'{"a": 1}')
    assert steps_of(settings_of(text))[0].response == expected


def test_a_type_that_is_written_stays(settings_of):
    text = services(one("{response: {headers: {Content-Type: text/html}, body: <p>}}"))
    assert steps_of(settings_of(text))[0].response.headers == (("content-type", "text/html"),)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (
            [one("{service: othr}"), OTHER],
            "3: services.one.fallback[0].service: no service of this name stands under services; did you mean 'other'?",
        ),
        (
            [one("{service: one}")],
            "3: services.one.fallback[0].service: a service cannot fall back on itself; `retry` makes further attempts",
        ),
        (
            [one("{service: other}", "{service: other}"), OTHER],
            "3: services.one.fallback[1].service: the service is named twice",
        ),
        (
            [one("{service: other, response: {}}"), OTHER],
            "3: services.one.fallback[0]: service and response are given; "
            "expected exactly one of service, response and stale",
        ),
        (
            [one("{on: [503]}")],
            "3: services.one.fallback[0]: none is given; expected exactly one of service, response and stale",
        ),
        (
            [one("{response: {}}", "{service: other, on: [503]}"), OTHER],
            "3: services.one.fallback[1]: never reached: a response before it answers for all that this one is for",
        ),
        (
            [one("{stale: true}")],
            "3: services.one.fallback[0].stale: nothing is kept; expected cache beside fallback",
        ),
        (
            [one("{response: {body: a, body_file: b}}")],
            "3: services.one.fallback[0].response.body_file: body is given too; keep one of them",
        ),
        (
            [one("{response: {status: 204, body: a}}")],
            "3: services.one.fallback[0].response.status: a 204 has no body (RFC 9110)",
        ),
        (
            [one("{response: {body_file: missing}}")],
            "3: services.one.fallback[0].response.body_file: the file cannot be read: No such file or directory; "
            "expected a readable file with the body",
        ),
        (
            [one("{service: other, on: [301]}"), OTHER],
            "3: services.one.fallback[0].on[0]: no condition for a fallback; "
            "expected connect, reset, timeout, open, or a status from 400 to 599",
        ),
        (
            [
                one("{service: other}"),
                "other: {hosts: [other.example], fallback: [{service: third}]}",
                "third: {hosts: [third.example], fallback: [{service: one}]}",
            ],
            "5: services.third.fallback[0].service: services fall back on each other: one → other → third → one; "
            "let the last one have a response",
        ),
    ],
)
def test_contradictions_are_refused(problems_of, tmp_path, lines, problem):
    (tmp_path / "b").write_text("b")
    assert [re.sub("^([0-9]+):[0-9]+", r"\1", line) for line in problems_of(services(*lines))] == [problem]


def test_a_body_file_that_is_too_long_is_refused(problems_of, tmp_path):
    (tmp_path / "long").write_bytes(bytes(MAX_BODY + 1))
    (problem,) = problems_of(services(one("{response: {body_file: long}}")))
    assert problem.endswith("the file has more than 64 KiB; expected a short body")


def test_two_services_may_share_one_that_they_fall_back_on(settings_of):
    text = services(
        one("{service: third}"),
        "other: {hosts: [other.example], fallback: [{service: one}, {service: third}]}",
        "third: {hosts: [third.example]}",
    )
    assert [step.service for step in steps_of(settings_of(text), "other")] == ["one", "third"]


def test_what_is_kept_may_be_a_step_where_there_is_a_cache(settings_of):
    text = services("one: {hosts: [one.example], cache: {stale_if_error: 1h}, fallback: [{stale: true}]}")
    assert steps_of(settings_of(text)) == (FallbackStep(stale=True),)


def test_a_step_after_a_response_for_other_failures_stands(settings_of):
    text = services(one("{response: {}, on: [open]}", "{service: other}"), OTHER)
    assert len(steps_of(settings_of(text))) == 2
