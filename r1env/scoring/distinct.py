"""Which rollouts of a call are equal, so that each is scored once. No threads, no processes here."""

from __future__ import annotations

from r1env.rollouts import Rollout


def without_tokens(rollout: Rollout) -> Rollout:
    """The rollout as a reward sees it that does not ask for `rollout`: no token ids, no log-probs.

    They are most of a rollout's bytes on the way to a worker, and would tell equal texts apart.
    """
    if rollout.token_ids is None and rollout.logprobs is None:
        return rollout
    return rollout.model_copy(update={"token_ids": None, "logprobs": None})


class Distinct:
    """Rollouts as they come, each different one once.

    Attributes:
        found: in order of appearance.
    """

    def __init__(self) -> None:
        self.found: list[Rollout] = []
        self._alike: dict[tuple[object, ...], list[int]] = {}  # a cheap key first: comparing whole tasks is the slow part

    def place(self, rollout: Rollout) -> int:
        """The index in `found` of the rollout's equal, which it is itself if there was none."""
        key = (rollout.task.id, rollout.completion, rollout.finish_reason, rollout.turns)
        candidates = self._alike.setdefault(key, [])
        place = next((index for index in candidates if _equal(self.found[index], rollout)), None)
        if place is None:
            place = len(self.found)
            self.found.append(rollout)
            candidates.append(place)
        return place


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
