"""Medians, spreads and ratios of samples: one sample is one round of one peer, a dictionary of metric to value."""

from collections.abc import Iterable, Sequence
from statistics import median

Sample = dict[str, float]


def medians(samples: Sequence[Sample]) -> Sample:
    """The median of each metric over the samples that hold it; the empty dictionary for no samples."""
    return {metric: median(s[metric] for s in samples if metric in s) for metric in _metrics(samples)}


def spread(samples: Sequence[Sample], metric: str) -> float | None:
    """(largest - smallest) / median over the rounds, or None where there is nothing to spread."""
    values = [sample[metric] for sample in samples if metric in sample]
    middle = median(values) if values else 0.0
    return (max(values) - min(values)) / middle if middle else None


def ratio(own: float | None, other: float | None) -> float | None:
    """``own / other``, or None where a side is missing or the divisor is zero."""
    return None if own is None or not other else own / other


def percentile(values: Iterable[float], quantile: float) -> float:
    """The nearest-rank percentile; ``quantile`` is between 0 and 1, and there is at least one value."""
    ordered = sorted(values)
    return ordered[round(quantile * (len(ordered) - 1))]


def _metrics(samples: Sequence[Sample]) -> list[str]:
    return list(dict.fromkeys(metric for sample in samples for metric in sample))
