"""A simulation's outcome as a JSON document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.simulate.scenarios import Scenario
from bench.simulate.world import GONE, Answer, Outcome
from bench.stats import percentile


def document(name: str, seed: int, scenario: Scenario, outcome: Outcome) -> dict[str, object]:
    """Describe ``outcome``; clients that left by themselves count neither as served nor as failed."""
    answers = outcome.answers
    judged = [answer for answer in answers if answer.status != GONE]
    good = [answer for answer in judged if answer.is_good]
    failed = [answer for answer in judged if not answer.is_good]
    requests = len(answers)
    return {
        "scenario": name,
        "about": scenario.about,
        "seed": seed,
        "requests": requests,
        "availability": round(len(good) / len(judged), 6) if judged else None,
        "amplification": round(outcome.attempts / requests, 4) if requests else None,
        "latency_ms": latencies(good),
        "failure_latency_ms": latencies(failed),
        "failed": len(failed),
        "failed_posts": sum(1 for answer in failed if answer.method == b"POST"),
        "failed_from_s": round(min(answer.began for answer in failed), 3) if failed else None,
        "failed_until_s": round(max(answer.began for answer in failed), 3) if failed else None,
        "left": requests - len(judged),
        "statuses": {str(status): count for status, count in sorted(Counter(a.status for a in answers).items())},
        "attempts": outcome.attempts,
        "retries": outcome.retries,
        "hedges": outcome.hedges,
        "concurrency_refused": outcome.refused,
        "concurrency_limits": outcome.limits,
        "panic_picks": outcome.panics,
        "connections_per_server": outcome.most_connections,
        "seconds": round(outcome.seconds, 3),
        "violations": outcome.violations,
    }


def latencies(answers: Sequence[Answer]) -> dict[str, float] | None:
    """Percentiles in milliseconds, None where nobody was answered."""
    if not answers:
        return None
    seconds = [answer.seconds for answer in answers]
    return {
        **{f"p{share}": round(percentile(seconds, share / 100) * 1000, 3) for share in (50, 90, 99)},
        "max": round(max(seconds) * 1000, 3),
    }
