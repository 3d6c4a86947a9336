"""`vendor_limits`: what it reads, and what contradicts itself."""

import pytest

from proxyd.core.vendor import AtLimit, VendorLimits
from tests.config.conftest import LISTENERS


def one(section: str, more: str = "") -> str:
    return f"{LISTENERS}services:\n  one: {{hosts: [one.example], vendor_limits: {section}{more}}}\n"


@pytest.mark.parametrize(
    ("section", "policy"),
    [
        ("{}", VendorLimits()),
        ("{enabled: false}", None),
        (
            "{mode: queue, max_wait: 2m, max_waiting: 7, reserve: 5%}",
            VendorLimits(0.05, AtLimit.QUEUE, 120.0, 7),
        ),
        ("{mode: reject}", VendorLimits(mode=AtLimit.REJECT)),
    ],
)
def test_the_policy_is_read(settings_of, section, policy):
    (service,) = settings_of(one(section)).services
    assert service.vendor_limits == policy


def test_without_the_section_answers_are_not_looked_at(settings_of):
    (service,) = settings_of(f"{LISTENERS}services:\n  one: {{hosts: [one.example]}}\n").services
    assert service.vendor_limits is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (one("{mode: reject, max_wait: 3s}"), "nothing waits in mode reject"),
        (one("{reserve: 50%}"), "0% to 40%"),
        (one("{mode: maybe}"), "queue"),
        (one("{}", ", limits: [{name: vendor, rate: 1/s}]"), "stands for the vendor's own limits"),
    ],
)
def test_what_contradicts_itself_is_told(problems_of, text, problem):
    (found,) = problems_of(text)
    assert problem in str(found)
