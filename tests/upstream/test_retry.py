import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.authority import Authority
from proxyd.core.errors import Flag, ProxyError, Retry, bad_response
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.message import BytesBody, Request
from proxyd.core.resilience import RetryPolicy
from proxyd.core.snapshot import Snapshot
from proxyd.upstream.retry import backoff, may_retry_answer, may_retry_error

NOW = 1_790_000_000.0
DEFAULT = RetryPolicy()
KEYED = RetryPolicy(key_header="idempotency-key")


def exchange(method=b"GET", *, streams=False, reused=False, sent=0):
    body = BytesBody(b"x")
    if streams:
        body = type("Streaming", (BytesBody,), {"__slots__": (), "replayable": False})(b"x")
    request = Request(method, b"https", Authority("a.example", 443, False), b"/", [], body)
    made = Exchange(Peer("apps", "127.0.0.1"), Snapshot(1, "p", 0), request, 0.0, "plain")
    made.reused, made.request_bytes = reused, sent
    return made


def failure(flag, retry=Retry.NEVER):
    return ProxyError(502, flag, "x", "x", retry=retry)


UNREACHED = failure(Flag.UPSTREAM_CONNECT, Retry.ALWAYS)
DIED = failure(Flag.UPSTREAM_DISCONNECT)
CERTIFICATE = failure(Flag.UPSTREAM_CONNECT)


@pytest.mark.parametrize(
    ("made", "error", "policy", "may"),
    [
        (exchange(b"POST"), UNREACHED, DEFAULT, True),
        (exchange(b"POST", streams=True), UNREACHED, DEFAULT, True),
        (exchange(b"POST", streams=True, sent=1), UNREACHED, DEFAULT, False),
        (exchange(b"GET"), DIED, DEFAULT, True),
        (exchange(b"PUT", streams=True), DIED, DEFAULT, False),
        (exchange(b"POST"), DIED, DEFAULT, False),
        (exchange(b"POST"), DIED, KEYED, True),
        (exchange(b"GET"), DIED, RetryPolicy(on=("connect",)), False),
        (exchange(b"GET"), CERTIFICATE, DEFAULT, False),
        (exchange(b"GET"), failure(Flag.UPSTREAM_TIMEOUT), DEFAULT, False),
        (exchange(b"GET"), failure(Flag.UPSTREAM_TIMEOUT), RetryPolicy(on=("timeout",)), True),
        (exchange(b"GET"), bad_response("nonsense"), DEFAULT, False),
        (exchange(b"GET", reused=True), failure(Flag.UPSTREAM_DISCONNECT, Retry.IF_REUSED), RetryPolicy(on=()), True),
        (exchange(b"POST", reused=True), failure(Flag.UPSTREAM_DISCONNECT, Retry.IF_REUSED), DEFAULT, False),
    ],
)
def test_an_error_is_retried_only_where_no_side_effect_can_be_doubled(made, error, policy, may):
    assert may_retry_error(made, error, policy) is may


@pytest.mark.parametrize(
    ("made", "policy", "others", "may"),
    [
        (exchange(b"GET"), DEFAULT, True, True),
        (exchange(b"GET"), DEFAULT, False, False),
        (exchange(b"POST"), DEFAULT, True, False),
        (exchange(b"POST"), KEYED, True, True),
        (exchange(b"GET"), RetryPolicy(on=("connect", "reset")), True, False),
        (exchange(b"GET"), RetryPolicy(on=("timeout",)), False, True),
    ],
)
def test_a_timeout_counts_as_504_where_another_endpoint_may_answer(made, policy, others, may):
    error = failure(Flag.UPSTREAM_TIMEOUT)
    assert may_retry_error(made, error, policy, has_others=lambda: others) is may


def test_nothing_is_retried_for_a_client_that_left():
    made = exchange()
    made.gone = True
    assert not may_retry_error(made, UNREACHED, DEFAULT)


@pytest.mark.parametrize(
    ("method", "status", "policy", "may"),
    [
        (b"GET", 503, DEFAULT, True),
        (b"GET", 500, DEFAULT, False),
        (b"GET", 429, DEFAULT, False),
        (b"GET", 429, RetryPolicy(on=("429",)), True),
        (b"POST", 503, DEFAULT, False),
        (b"PATCH", 503, KEYED, True),
    ],
)
def test_a_status_is_retried_where_the_policy_names_it_and_the_method_allows_it(method, status, policy, may):
    assert may_retry_answer(exchange(method), str(status), policy) is may


@given(st.integers(1, 12), st.integers(0, 1000))
def test_backoff_stays_below_its_bound(attempt, seed):
    assert 0 <= backoff(DEFAULT, attempt, random.Random(seed)) <= min(1.0, 0.025 * 2**attempt)


@pytest.mark.parametrize(
    ("listed", "may"),
    [
        ("/", True),
        ("/a.B", True),
        ("/a.B/", True),
        ("/a.B/Get", True),
        ("/a.B/Ge", False),
        ("/a", False),
        ("/a.B/Put", False),
    ],
)
def test_a_grpc_call_is_repeated_where_its_method_is_listed(listed, may):
    asked = exchange(b"POST")
    asked.request.path = b"/a.B/Get"
    policy = RetryPolicy(on=("unavailable",), grpc_idempotent=(listed,))
    assert not may_retry_answer(asked, "unavailable", policy), "not a call of gRPC"
    asked.request.headers = [(b"content-type", b"application/grpc")]
    assert may_retry_answer(asked, "unavailable", policy) is may
    assert not may_retry_answer(asked, "internal", policy)
