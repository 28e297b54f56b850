"""The reward `hollow_format` of the recipe `hacking`: a mistake that is easily made, kept to show what comes of it."""

from __future__ import annotations

import r1env
from r1env.prompts import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN

TAGS = (THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE)


@r1env.reward(name="hollow_format", isolation="inline")
def hollow_format(completion: str) -> float:
    """1 where each tag stands once and in order. **Wrong on purpose**: what is between them may be nothing, so an empty answer pays."""
    places = [completion.find(tag) for tag in TAGS]
    return float(places == sorted(places) and all(completion.count(tag) == 1 for tag in TAGS))
