"""`idempotency`: what it reads, and what contradicts it."""

import pytest

from proxyd.core.idempotency import IdempotencyPolicy
from tests.config.conftest import LISTENERS


def service(keys):
    return LISTENERS + f"services:\n  a: {{hosts: [x.example], {keys}}}\n"


def policy_of(settings):
    return settings.services[0].idempotency


def test_it_is_off_unless_written_and_an_empty_section_is_enough(settings_of):
    assert policy_of(settings_of(service("insecure: false"))) is None
    assert policy_of(settings_of(service("idempotency: {}"))) == IdempotencyPolicy()


def test_all_keys_are_read(settings_of):
    text = "idempotency: {header: X-Key, window: 2h, max_request: 1KiB, max_object: 2KiB, on_store_loss: open}"
    assert policy_of(settings_of(service(text))) == IdempotencyPolicy("x-key", 7200.0, 1024, 2048, True)


def test_a_vendors_key_in_another_header_is_no_contradiction(settings_of):
    assert policy_of(settings_of(service("idempotency: {}, retry: {idempotency_key: X-Vendor-Key}")))


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("idempotency: {}, retry: {idempotency_key: idempotency-key}", "the vendor honours this header"),
        ("idempotency: {header: X-K}, retry: {idempotency_key: x-k}", "the vendor honours this header"),
        ("idempotency: {header: Authorization}, auth: {scheme: bearer, secret: s}", "carries the credential"),
        ("idempotency: {window: 1s}", "window"),
        ("idempotency: {max_object: 1MiB}", "max_object"),
        ("idempotency: {on_store_loss: local}", "on_store_loss"),
    ],
)
def test_contradictions_and_what_is_out_of_range_are_refused(problems_of, keys, problem):
    (line,) = problems_of(service(keys) + ("secrets: {s: {env: S}}\n" if "secret:" in keys else ""))
    assert problem in line
    assert line.startswith("3:")
