"""What a scenario is to the run: which peers, what one round yields, what is worth a column."""

import abc
from dataclasses import dataclass

from bench.peers.base import Peer
from bench.stats import Sample
from bench.tools import Tools


class ScenarioError(Exception):
    """A peer does not do what the scenario measures; the text says what it did instead."""


@dataclass(frozen=True, slots=True)
class Round:
    """How long one peer is measured in one round, in whole seconds (wrk knows no others)."""

    seconds: int
    warmup: int


class Scenario(abc.ABC):
    """One row of the table of figures."""

    fresh = False
    """Whether every round starts the peer anew (``measure`` starts it, the run stops it)."""

    feature = ""
    """What peers have on besides (``Peer.feature``)."""

    needs: tuple[str, ...] = ()
    """Tools without which nobody can be measured."""

    def __init__(self, name: str, about: str, peers: tuple[str, ...], columns: tuple[str, ...]) -> None:
        self.name = name
        self.about = about
        self.peers = peers
        """Those measured unless others are asked for, proxyd first."""
        self.columns = columns
        """Metrics for the table, the first one the most important."""

    def check(self, peer: Peer, tools: Tools) -> None:  # noqa: B027 - most scenarios need none
        """One exchange before anything is measured; ScenarioError where it is not as it should be."""

    @abc.abstractmethod
    def measure(self, peer: Peer, tools: Tools, times: Round) -> Sample:
        """One round: warm up, measure, return the metrics."""
