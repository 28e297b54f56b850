"""The rewards `math` and `choice`, and `check_gold`, which finds references that neither can read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import r1env
from r1env_math import symbolic
from r1env_math.choice import Index, options_of, pick
from r1env_math.extraction import extract
from r1env_math.policy import AnswerPolicy
from r1env_math.reference import final_answer
from r1env_math.verdict import Verdict, fault_of_reference, settle, verify, verify_choice


@r1env.reward(name="math", isolation="process", limits=r1env.Limits(cpu_seconds=2, wall_seconds=10, memory_mb=512))
class Math:
    """Return 1 if the final answer equals the reference, 0 if it does not, and no value if the reference cannot be read.

    Args:
        policy: where the answer may stand: `strict`, `explicit` or `lenient`; the `where` of `AnswerPolicy`.
        unfinished_thought, prefilled, conflict, units, tolerance, rounded_reference, case: as in `AnswerPolicy`.
    """

    def __init__(
        self,
        policy: str = "explicit",
        unfinished_thought: bool = False,
        prefilled: bool = False,
        conflict: str = "refuse",
        units: str = "ignore",
        tolerance: float = 0.0,
        rounded_reference: bool = True,
        case: str = "ignore",
    ) -> None:
        self._policy = AnswerPolicy(
            where=policy,  # type: ignore[arg-type]  # names become members there, or a UsageError
            unfinished_thought=unfinished_thought,
            prefilled=prefilled,
            conflict=conflict,  # type: ignore[arg-type]
            units=units,  # type: ignore[arg-type]
            tolerance=tolerance,
            rounded_reference=rounded_reference,
            case=case,  # type: ignore[arg-type]
        )

    read_reference = staticmethod(final_answer)

    def read_answer(self, completion: str, task: r1env.Task) -> str | None:
        """Return the text of the final answer."""
        return extract(completion, self._policy).text

    def warm_up(self) -> None:
        """Load Math-Verify."""
        symbolic.warm_up()

    def settle(self, completion: str, answer: str | None, task: r1env.Task) -> r1env.Score | None:
        """Return the score if exact arithmetic alone decides it, else None."""
        verdict = None if answer is None else settle(answer, completion, task=task, policy=self._policy)
        return None if verdict is None else _score(verdict)

    def __call__(self, completion: str, answer: str | None, task: r1env.Task) -> r1env.Score:
        if answer is None:
            return r1env.Score(value=None, status=r1env.Status.UNPARSEABLE, reason="the task has no reference answer")
        return _score(verify(answer, completion, task=task, policy=self._policy))


@r1env.reward(name="choice", isolation="inline")
class Choice:
    """Return 1 if the completion chooses the option that the reference names, 0 if it does not, and None if this cannot be decided.

    The options are read from the task's metadata (`options` or `choices`) or from the prompt. The reference may be letters
    (`C`, `AC`), an option's text, or an index.

    Args:
        policy: where the answer may stand: `strict`, `explicit` or `lenient`; the `where` of `AnswerPolicy`.
        index: what a bare integer means as a reference: `auto` (an option's text, or else an index from 0), `zero`, `one`, `none`.
        unfinished_thought, prefilled, conflict, case: as in `AnswerPolicy`.
    """

    def __init__(
        self,
        policy: str = "explicit",
        index: str = "auto",
        unfinished_thought: bool = False,
        prefilled: bool = False,
        conflict: str = "refuse",
        case: str = "ignore",
    ) -> None:
        if index not in list(Index):
            raise r1env.UsageError(f"choice: index is {index!r}; known: {', '.join(Index)}")
        self._index = Index(index)
        self._policy = AnswerPolicy(
            where=policy,  # type: ignore[arg-type]  # names become members there, or a UsageError
            unfinished_thought=unfinished_thought,
            prefilled=prefilled,
            conflict=conflict,  # type: ignore[arg-type]
            case=case,  # type: ignore[arg-type]
        )

    def read_answer(self, completion: str, task: r1env.Task) -> str | None:
        """Return the letters of the chosen options."""
        return ", ".join(sorted(pick(completion, options_of(task), self._policy).letters)) or None

    def __call__(self, completion: str, answer: str | None, task: r1env.Task) -> r1env.Score:
        if answer is None:
            return r1env.Score(value=None, status=r1env.Status.UNPARSEABLE, reason="the task has no reference answer")
        return _score(verify_choice(answer, completion, task=task, policy=self._policy, index=self._index))


def _score(verdict: Verdict) -> r1env.Score:
    value = None if verdict.correct is None else float(verdict.correct)
    return r1env.Score(value=value, status=verdict.status, reason=verdict.reason)


# References.


@dataclass(frozen=True, slots=True)
class FaultyReference:
    """A reference that cannot be read and equals only its own text. A task with such a reference scores None.

    Attributes:
        index: its index in the argument of `check_gold`.
        id: the task's id, or the index if only answers were given.
        answer: the reference.
        reason: what is wrong with it.
    """

    index: int
    id: str
    answer: str | None
    reason: str


@r1env.reward(name="math-reference", isolation="process", limits=r1env.Limits(cpu_seconds=2, wall_seconds=10, memory_mb=512))
class ReferenceCheck:
    """Return 1 if the reference answer can be read; the completion does not matter."""

    def warm_up(self) -> None:
        """Load Math-Verify."""
        symbolic.warm_up()

    def settle(self, answer: str | None) -> r1env.Score | None:
        """Return the score if exact arithmetic can read the reference, else None."""
        return r1env.Score(value=1.0) if answer is not None and fault_of_reference(answer, with_algebra=False) is None else None

    def __call__(self, answer: str | None) -> r1env.Score:
        fault = "there is none" if answer is None else fault_of_reference(answer)
        return r1env.Score(value=0.0 if fault else 1.0, reason=fault or "")


def check_gold(references: Iterable[str | r1env.Task]) -> list[FaultyReference]:
    """Return the references that cannot be read, in order.

    References that exact arithmetic can read are checked in this process, the others in the scoring workers under their limits.

    Args:
        references: reference answers, or tasks with reference answers.
    """
    tasks = [
        reference if isinstance(reference, r1env.Task) else r1env.Task(id=str(index), prompt="", answer=reference)
        for index, reference in enumerate(references)
    ]
    check = cast(r1env.Reward, ReferenceCheck)  # type checkers do not see what a decorator makes of a class
    scores = r1env.score([r1env.Rollout(task=task, completion="") for task in tasks], check)
    return [
        FaultyReference(index, task.id, task.answer, score.reason)
        for index, (task, score) in enumerate(zip(tasks, scores, strict=True))
        if score.value != 1.0
    ]
