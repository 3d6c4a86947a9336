from proxyd.core.access import Rule
from proxyd.core.fault import Fault, FaultAnswer, FaultKind


def test_an_answer_says_when_the_limit_is_lifted_in_every_unit():
    headers = (("a", "$reset_epoch"), ("b", "${reset_seconds}s"), ("c", "$reset_date"), ("d", "$reset_iso"))
    filled, body = FaultAnswer(429, headers, '{"at":$reset_epoch,"cost":"$5"}', reset=60).fill(1_000_000_000.5)
    assert dict(filled) == {
        b"a": b"1000000060",
        b"b": b"60s",
        b"c": b"Sun, 09 Sep 2001 01:47:40 GMT",
        b"d": b"2001-09-09T01:47:40Z",
    }
    assert body == b'{"at":1000000060,"cost":"$5"}'


def test_a_fault_is_told_in_words():
    scope = Rule(True, ("api",), methods=("GET",), paths=("/v2",), uids=(7,), users=("ann",), cidrs=("10.0.0.0/8",))
    fault = Fault("f1", FaultKind.RATE_LIMIT, scope, 0.0, vendor="github", answer=FaultAnswer(429))
    assert fault.what == "rate limit 429 as github answers"
    assert fault.where == "api GET /v2 uid 7 user ann 10.0.0.0/8"
    assert Fault("f2", FaultKind.DELAY, scope, 0.0, seconds=0.3).what == "delay 0.3 s"
