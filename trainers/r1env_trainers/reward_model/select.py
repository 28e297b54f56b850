"""Which preference pairs are worth learning from. Pure functions.

R1 keeps pairs whose judged difference exceeds 1 and whose lengths are comparable over the whole set, since a judge likes long
answers, and a reward model that has learnt "longer is better" teaches a policy to ramble.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from r1env.types import Conversation

BUCKETS_PER_DOUBLING = 4  # pairs whose lengths differ by a factor within 19 % of each other are of one bucket


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses to a prompt, and which is the better one.

    Attributes:
        votes: of a judge, each how far `chosen` leads, from -2 to 2; empty where nobody voted.
    """

    prompt: Conversation
    chosen: str
    rejected: str
    votes: tuple[float, ...] = ()

    @property
    def margin(self) -> float | None:
        """The mean vote; None without votes."""
        return math.fsum(self.votes) / len(self.votes) if self.votes else None


def select_pairs(pairs: Sequence[Pair], min_margin: float = 1.0, balance_lengths: bool = True) -> list[Pair]:
    """The pairs to train on, in their order.

    A pair whose votes prefer `rejected` is turned round. One with a mean vote of at most `min_margin`, or with two equal responses,
    is dropped.
    """
    turned = (_turned(pair) for pair in pairs)
    kept = [p for p in turned if p.chosen != p.rejected and (p.margin is None or p.margin > min_margin)]
    return balanced(kept) if balance_lengths else kept


def balanced(pairs: Sequence[Pair]) -> list[Pair]:
    """A subset in which the length of a response tells nothing about which one was chosen.

    Pairs are sorted into buckets by the ratio of the two lengths, in characters. In each, as many pairs are kept whose chosen
    response is the longer one as pairs whose rejected one is: of the more frequent kind those with the largest margins, the earlier
    ones where these are equal. Pairs of equal lengths all stay.
    """
    buckets: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    kept: list[int] = []
    for place, pair in enumerate(pairs):
        difference = len(pair.chosen) - len(pair.rejected)
        if difference == 0:
            kept.append(place)
        else:
            buckets[_bucket(pair)][difference > 0].append(place)
    for shorter, longer in buckets.values():
        count = min(len(shorter), len(longer))
        for places in (shorter, longer):
            kept += sorted(places, key=lambda place: (-(pairs[place].margin or 0.0), place))[:count]
    return [pairs[place] for place in sorted(kept)]


def _bucket(pair: Pair) -> int:
    lengths = sorted((len(pair.chosen), len(pair.rejected)))
    return math.floor(BUCKETS_PER_DOUBLING * math.log2((lengths[1] + 1) / (lengths[0] + 1)))


def _turned(pair: Pair) -> Pair:
    if (pair.margin or 0.0) >= 0:
        return pair
    return Pair(pair.prompt, pair.rejected, pair.chosen, tuple(-vote for vote in pair.votes))
