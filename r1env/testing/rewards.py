"""`check_reward`: the contract of a reward, executable."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cloudpickle

from r1env.plugins import get_reward
from r1env.rewards import Isolation, Reward, Scope
from r1env.scoring import score
from r1env.testing.hostile import hostile_completions
from r1env.types import Conversation, Message, Rollout, Score, Status, Task


@dataclass(frozen=True, slots=True)
class Example:
    """A completion, and the value that the reward must give it.

    Attributes:
        completion: what the model wrote.
        value: what the reward must say; None where it must abstain.
        status: the status it must have; not checked when None.
        task: the task; a plain one with `answer` and `metadata` is made when None.
        earlier: for an episode of several turns, the messages between the prompt and the completion, the model's first.
    """

    completion: str
    value: float | None
    status: Status | None = None
    answer: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    task: Task | None = None
    earlier: Conversation = ()

    def rollout(self) -> Rollout:
        """Return the example as a reward sees it."""
        question: Conversation = ({"role": "user", "content": "What is the answer?"},)
        task = self.task or Task(id="example", prompt=question, answer=self.answer, metadata=self.metadata)
        last: Message = {"role": "assistant", "content": self.completion}
        messages = (*task.prompt, *self.earlier, last) if self.earlier else ()
        return Rollout(task=task, completion=self.completion, messages=messages)


def check_reward(reward: Reward | str, examples: Sequence[Example]) -> None:
    """Check that a reward keeps the contract.

    The examples get the values they name. On them and on every hostile text (as it is, in an answer block, in a box) the reward never
    raises, stays within its limits, and reports the same parts. It gives the same scores in a worker and where it belongs, and in any
    order. It survives pickling.

    Hostile texts are scored for the task of the first example, which should be a typical one.

    A reward of scope `group` sees examples with the same task as one group (give them the same `task`, or the same `answer`), and the
    hostile texts as another; the scores may depend on the company, but not on its order. A reward of scope `turn` is given
    the hostile texts as the second turn too.

    Args:
        reward: a reward, the name of an installed one, `module:attribute` or `file.py:attribute`.

    Raises:
        AssertionError: a promise is broken; the message says which, on which text.
    """
    subject = get_reward(reward) if isinstance(reward, str) else reward
    _require(len(examples) > 0, f"reward {subject.name!r}: give at least one example, for its task and to show what is right")
    _check_pickling(subject)
    scores = _check_verdicts(subject, {f"example {n}": example.rollout() for n, example in enumerate(examples)})
    for (label, found), example in zip(scores.items(), examples, strict=True):
        _check_example(f"reward {subject.name!r}, {label} ({example.completion[:60]!r})", found, example)
    check_hostile_texts(subject, examples[0].rollout().task)


def check_hostile_texts(reward: Reward | str, task: Task | None = None) -> None:
    """Check the part of a reward's contract that needs no examples: what it does on every hostile text, see `check_reward`.

    Args:
        task: that the texts are answers to; left out, a question with the answer 42.

    Raises:
        AssertionError: a promise is broken; the message says which, on which text.
    """
    subject = get_reward(reward) if isinstance(reward, str) else reward
    task = task or Example("", value=None, answer="42").rollout().task
    hostile = {label: Rollout(task=task, completion=completion) for label, completion in hostile_completions().items()}
    if subject.scope is Scope.TURN:
        hostile |= {
            f"{label}, in the second turn": _second_turn(task, rollout.completion) for label, rollout in hostile.items()
        }
    _check_verdicts(subject, hostile)


def _second_turn(task: Task, completion: str) -> Rollout:
    first: Conversation = ({"role": "assistant", "content": "3"}, {"role": "user", "content": "Think again."})
    return Example(completion, value=None, task=task, earlier=first).rollout()


def _check_pickling(reward: Reward) -> None:
    try:
        travelled = pickle.loads(cloudpickle.dumps(reward))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise AssertionError(f"reward {reward.name!r} cannot be pickled, so it cannot be sent to a worker: {error}") from error
    _require(
        (travelled.name, travelled.part_keys, travelled.options, travelled.scope)
        == (reward.name, reward.part_keys, reward.options, reward.scope),
        f"reward {reward.name!r} is another one after pickling: {travelled}",
    )


def _check_verdicts(reward: Reward, rollouts: Mapping[str, Rollout]) -> dict[str, Score]:
    """Score everything twice; complain of the first score that is none, or that changes. Returns the scores by label."""
    # In a worker first, whatever the reward's isolation: one that hangs is then reported instead of hanging the tests.
    killable = reward if reward.isolation is Isolation.ASYNC else replace(reward, isolation=Isolation.PROCESS)
    first = dict(zip(rollouts, score(list(rollouts.values()), killable), strict=True))
    for label, found in first.items():
        _check_score(reward, label, found)
    backwards = list(rollouts)[::-1]
    again = score([rollouts[label] for label in backwards], reward)
    for label, found in zip(backwards, again, strict=True):
        _require(
            found == first[label],
            f"reward {reward.name!r} is not deterministic on {label}: first {_shown(first[label])}, then {_shown(found)}",
        )
    return first


def _check_score(reward: Reward, label: str, found: Score) -> None:
    subject = f"reward {reward.name!r} on {label}"
    limits = reward.limits
    _require(
        found.status is not Status.TIMEOUT,
        f"{subject}: used up its {limits.cpu_seconds:g} CPU seconds; a reward must be bounded whatever the text",
    )
    _require(found.status is not Status.LIMIT, f"{subject}: used up its {limits.memory_mb} MB; {found.reason}")
    _require(not found.failed, f"{subject}: {found.reason}; a reward never raises on account of what a model wrote")
    _require(
        set(found.parts) == set(reward.part_keys),
        f"{subject}: reported the parts {sorted(found.parts)}, but promises {sorted(reward.part_keys)}",
    )
    _require(
        found.value is None or all(map(math.isfinite, found.parts.values())),
        f"{subject}: has a value, but a part that is not finite: {found.parts}",
    )


def _check_example(subject: str, found: Score, example: Example) -> None:
    if found.value is None or example.value is None:
        agree = found.value is None and example.value is None
    else:
        agree = math.isclose(found.value, example.value, rel_tol=1e-9, abs_tol=1e-9)
    _require(agree, f"{subject}: expected the value {example.value}, got {_shown(found)}")
    _require(example.status in (None, found.status), f"{subject}: expected the status {example.status!r}, got {_shown(found)}")


def _shown(found: Score) -> str:
    return f"{found.value} ({found.status}{': ' + found.reason if found.reason else ''})"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
