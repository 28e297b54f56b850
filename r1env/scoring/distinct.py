"""Which rollouts of a call are equal, so that each is scored once. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from r1env.rollouts import Rollout


def without_tokens(rollout: Rollout) -> Rollout:
    """The rollout as a reward sees it that does not ask for `rollout`: no token ids, no log-probs.

    They are most of a rollout's bytes on the way to a worker, and would tell equal texts apart.
    """
    if rollout.token_ids is None and rollout.logprobs is None:
        return rollout
    return rollout.model_copy(update={"token_ids": None, "logprobs": None})


def distinct(rollouts: Sequence[Rollout]) -> tuple[list[Rollout], list[int]]:
    """Every different rollout once, in order of appearance; and for each given rollout the index of its equal there."""
    found: list[Rollout] = []
    places: list[int] = []
    alike: dict[tuple[object, ...], list[int]] = {}  # a cheap key first: comparing whole tasks is the slow part
    for rollout in rollouts:
        key = (rollout.task.id, rollout.completion, rollout.finish_reason, rollout.turns)
        candidates = alike.setdefault(key, [])
        place = next((index for index in candidates if _equal(found[index], rollout)), None)
        if place is None:
            place = len(found)
            found.append(rollout)
            candidates.append(place)
        places.append(place)
    return found, places


def _equal(one: Rollout, other: Rollout) -> bool:
    """Full equality; tasks that are the same object (a group of samples) are not compared field by field."""
    try:
        return (
            (one.task is other.task or one.task == other.task)
            and one.messages == other.messages
            and one.token_ids == other.token_ids
            and one.logprobs == other.logprobs
        )
    except (ValueError, RuntimeError):  # arrays and tensors in a task's metadata have no truth value; then score both
        return False
