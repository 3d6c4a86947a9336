"""What watches a simulation sees what it is there for: each promise is broken on purpose, and found broken."""

import pytest
import trio

from bench.simulate.__main__ import play
from proxyd.core.exchange import Exchange
from proxyd.upstream import router
from proxyd.upstream.balancer import Balancer
from proxyd.upstream.budget import RetryBudget
from proxyd.upstream.pool import Pool


def violations(name: str, seeds: int = 3, requests: int = 0) -> str:
    return "\n".join(str(play(name, seed, requests)["violations"]) for seed in range(seeds))


def test_retries_beyond_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RetryBudget, "try_retry", lambda self, now: True)
    assert "retries within 10 s" in violations("brownout")


def test_attempts_that_no_budget_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router.Router, "_may_wait", staticmethod(lambda *anything: True))
    assert "grants" in violations("brownout")


def test_an_ejected_endpoint_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Balancer, "_usable", lambda self, now, tried: self.states)
    assert "which is not available" in violations("kill_one", 40, 200)


def test_a_pool_beyond_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def reserve(self: Pool) -> bool:
        self.open += 1
        return True

    monkeypatch.setattr(Pool, "reserve", reserve)
    found = violations("queueing", 20, 200)
    assert "is outside its" in found or "connections to" in found


def test_a_side_effect_that_happens_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "may_retry_error", lambda *anything, **more: True)
    assert "the side effect of POST" in violations("resets")


def test_an_exchange_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forever(self: router.Router, exchange: Exchange) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(router.Router, "__call__", forever)
    found = str(play("steady", 1, 40)["violations"])
    assert "never ended" in found
    assert "was lost" in found


def test_places_that_are_not_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pool, "release", lambda self, connection, now: None)
    assert "lent connections that nobody uses" in str(play("steady", 1, 40)["violations"])
