"""The reward `math`: a verdict as a score."""

from __future__ import annotations

import r1env
from r1env_math.equivalence import load_library
from r1env_math.verdict import How, verify

_STATUS_OF_REFUSAL = {
    How.NO_ANSWER: r1env.Status.NO_ANSWER,
    How.EXCESS: r1env.Status.UNPARSEABLE,
    How.UNREADABLE: r1env.Status.UNPARSEABLE,
}


@r1env.reward(name="math", isolation="process")
class Math:
    """1 when the final answer equals the reference, 0 when it does not; no value when the reference cannot be read.

    Args:
        prefilled: the prompt ended with `<think>`.
    """

    def __init__(self, prefilled: bool = False) -> None:
        self.prefilled = prefilled
        load_library()  # in a worker, before the clock of the first rollout starts

    def __call__(self, completion: str, answer: str | None) -> r1env.Score:
        if answer is None:
            return r1env.Score(value=None, status=r1env.Status.UNPARSEABLE, reason="the task has no reference answer")
        verdict = verify(answer, completion, prefilled=self.prefilled)
        if verdict.correct is None:
            return r1env.Score(value=None, status=r1env.Status.UNPARSEABLE, reason=verdict.reason)
        if verdict.correct:
            return r1env.Score(value=1.0, reason=verdict.reason)
        status = _STATUS_OF_REFUSAL.get(verdict.how, r1env.Status.WRONG)
        return r1env.Score(value=0.0, status=status, reason=verdict.reason)
