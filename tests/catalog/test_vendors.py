import json

import pytest

from proxyd.catalog import vendors
from proxyd.core.fault import FaultKind
from proxyd.core.service import BaseUrl, HostPattern, Service

CASES = [(name, kind) for name in vendors.vendors() for kind in (FaultKind.RATE_LIMIT, FaultKind.EXPIRED)]


@pytest.mark.parametrize(("vendor", "kind"), CASES)
def test_every_answer_is_a_valid_response(vendor, kind):
    answer = vendors.answer(vendor, kind)
    assert answer.status in ((400, 429) if kind is FaultKind.RATE_LIMIT else (200, 400, 401, 403))
    headers, body = answer.fill(1e9)
    assert all(name == name.lower() and value and b"$" not in value for name, value in headers)
    assert b"$" not in body
    if b"json" in dict(headers)[b"content-type"]:
        json.loads(body)


def service(name, host):
    return Service(name, (HostPattern(host),), BaseUrl("https", host, 443))


@pytest.mark.parametrize(
    ("name", "host", "vendor"),
    [
        ("code", "api.github.com", "github"),
        ("errors", "us.sentry.io", "sentry"),
        ("jira", "acme.atlassian.net", "jira"),
        ("issues", "acme.atlassian.net", "confluence"),
        ("stripe", "payments.example", "stripe"),
        ("code", "evilsentry.io", "generic"),
        ("code", "api.example", "generic"),
    ],
)
def test_a_vendor_is_known_by_hosts_or_else_by_name(name, host, vendor):
    assert vendors.vendor_of(service(name, host)) == vendor


def test_reset_is_in_the_vendors_own_unit():
    by_epoch, _ = vendors.answer("github", FaultKind.RATE_LIMIT).fill(1e9)
    by_seconds, _ = vendors.answer("datadog", FaultKind.RATE_LIMIT).fill(1e9)
    assert dict(by_epoch)[b"x-ratelimit-reset"] == b"1000000060"
    assert dict(by_seconds)[b"x-ratelimit-reset"] == b"10"


def test_an_unknown_vendor_is_a_key_error():
    with pytest.raises(KeyError):
        vendors.answer("nobody", FaultKind.EXPIRED)
