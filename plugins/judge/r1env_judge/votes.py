"""Which of two responses a judge prefers, over several votes in both orders. Pure functions.

R1's pairs are judged four times with the order drawn at random, because judges favour what they read first. Here half of the votes see
each order, so that such a leaning cancels exactly; what is random is which vote sees which.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from r1env_judge.verdicts import Verdict

LEADS: Mapping[str, int] = {"A>>B": 2, "A>B": 1, "A=B": 0, "B>A": -1, "B>>A": -2}
"""By how much the response shown first leads."""


class Preference(Verdict):
    """Which of the two responses shown is better, and how clearly."""

    verdict: Literal["A>>B", "A>B", "A=B", "B>A", "B>>A"]


def vote_orders(votes: int, seed: str) -> list[bool]:
    """For each vote whether the second response is shown first: for half of them, drawn under `seed`."""
    orders = [vote % 2 == 1 for vote in range(votes)]
    random.Random(seed).shuffle(orders)
    return orders


def lead_of_first(verdict: str, swapped: bool) -> int:
    """How far the first response leads, from -2 to 2, whatever the order it was shown in."""
    return -LEADS[verdict] if swapped else LEADS[verdict]


def labelled_pair(
    row: Mapping[str, Any], first: str, second: str, leads: Sequence[int], swapped: Sequence[bool]
) -> dict[str, Any]:
    """The row of a judged pair, as the trainer `reward_model` reads it; a tie calls the first response the chosen one.

    Args:
        row: what stays as it is: the prompt, an id.
        leads: of the first response, one a vote.
        swapped: whether the vote saw the second response first.
    """
    mean = math.fsum(leads) / len(leads)
    chosen, rejected, votes = (first, second, list(leads)) if mean >= 0 else (second, first, [-lead for lead in leads])
    return {
        **row,
        "chosen": chosen,
        "rejected": rejected,
        "votes": votes,
        "margin": abs(mean),
        "second_shown_first": list(swapped),
    }
