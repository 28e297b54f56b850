"""Rewards for TRL's GRPO and RLOO trainers.

A score without a value becomes **None**, which TRL takes as "this function does not apply": see `reward_function` and
`reward_functions` for what that means for the rollout.

    from trl import GRPOConfig, GRPOTrainer
    from r1env.adapters.trl import reward_function

    trainer = GRPOTrainer(model, reward_funcs=reward_function("zero"), train_dataset=dataset, args=GRPOConfig(...))

A reward of scope `group` gets all completions of a prompt that TRL hands over in one call. That is the whole group if
`per_device_train_batch_size` is a multiple of `num_generations`.

The data set's columns are read by their layout (see `r1env.adapters.core.task_of`); or write it with `row_of`.

An environment with turns or tools goes to TRL's `environment_factory`:

    env = environment("guess-number")
    trainer = GRPOTrainer(
        model, reward_funcs=env.reward, environment_factory=env.factory, train_dataset=Dataset.from_list(env.rows(512)), args=...
    )
"""

from __future__ import annotations

import inspect
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cloudpickle

from r1env.adapters.core import TASK_FIELD, load_rubric, rollout_of, score_items, task_field, task_of, text_of
from r1env.envs.conversation import CALL_CLOSE, CALL_OPEN, ConversationEnv, Episode, Tool, parse_tool_calls
from r1env.envs.environment import Environment, make_environment
from r1env.errors import UsageError
from r1env.rewards import Reward
from r1env.rubrics import AnyRubric, Rubric, WeightedReward
from r1env.types import Completion, Rollout, Score, Task

logger = logging.getLogger(__name__)

TESTED_WITH = "trl 1.16.0"

NOT_COLUMNS = frozenset({"trainer_state", "environments"})
"""Keywords TRL adds that say nothing about the task."""


class RewardFunction:
    """What TRL calls: a batch in keywords, one number or None a completion. Pickles, also when made in a script.

    Attributes:
        __name__: what TRL's metrics call it (`rewards/<name>/mean`).
        rubric: what scores.
        weight: for `GRPOConfig.reward_weights`.
        answer_field: the column of the reference answer, where its columns do not say it by themselves.
    """

    def __init__(self, rubric: Rubric, *, name: str, weight: float = 1.0, answer_field: str | None = None) -> None:
        self.__name__ = name
        self.rubric = rubric
        self.weight = weight
        self.answer_field = answer_field

    def __call__(
        self,
        *,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Score the batch in one call, and log the parts (`parts/…`), the share without a value (`unscored/…`) and each verdict."""
        rows = list(_rows(prompts, completions, completion_ids, columns))
        scores = score_items(rows, self._rollout, self.rubric)
        if log_metric is not None and scores:
            for name, value in self._metrics(scores):
                log_metric(name, value)
        if log_extra is not None and scores:
            log_extra(
                f"{self.__name__}_verdict",
                [f"{score.status}: {score.reason}" if score.reason else str(score.status) for score in scores],
            )
        return [score.value for score in scores]

    def _rollout(self, row: tuple[Any, Any, Sequence[int] | None, Mapping[str, Any]]) -> Rollout:
        prompt, completion, token_ids, fields = row
        return rollout_of(task_of(prompt, fields, answer_field=self.answer_field), completion, token_ids)

    def _metrics(self, scores: Sequence[Score]) -> Iterator[tuple[str, float]]:
        yield f"unscored/{self.__name__}", sum(score.value is None for score in scores) / len(scores)
        for key in self.rubric.part_keys:
            values = [score.parts[key] for score in scores if not math.isnan(score.parts.get(key, math.nan))]
            if values and key != self.__name__:  # that one TRL logs itself; and a NaN would spoil the mean over processes
                yield f"parts/{key}", math.fsum(values) / len(values)

    def __reduce__(self) -> tuple[Any, ...]:
        state = cloudpickle.dumps((self.rubric, self.__name__, self.weight, self.answer_field))
        return (_unpickle, (state,))


def reward_function(rubric: AnyRubric, *, accuracy: str = "math", answer_field: str | None = None) -> RewardFunction:
    """Return one function for the whole rubric: its value is the weighted sum, its name the rubric's, its parts are logged.

    Where a reward that counts has no value, neither has the sum, and TRL leaves the completion out of its group. This is the faithful
    form, and the one for the asynchronous trainer, which ignores `reward_weights`.

    Args:
        rubric: a preset, a YAML file, a reward's name, or any of these as objects.
        accuracy: the reward that `accuracy` stands for in the rubric.
        answer_field: the column of the reference answer; a dot leads into a mapping.

    Raises:
        UsageError: an unknown name, or a reward that cannot be sent to a worker.
    """
    loaded = load_rubric(rubric, accuracy=accuracy)
    return RewardFunction(loaded, name=loaded.name, answer_field=answer_field)


def reward_functions(rubric: AnyRubric, *, accuracy: str = "math", answer_field: str | None = None) -> list[RewardFunction]:
    """Return one function a reward, as TRL's own examples have them; give `[f.weight for f in functions]` as `reward_weights`.

    TRL adds up the functions that have a value for a completion: where `math` has none, `format` alone decides what it is
    worth. Use this form where TRL shall see the rewards apart (GDPO's `normalize_then_sum`), and `reward_function` otherwise.

    Args, Raises: as `reward_function`.
    """
    return [
        RewardFunction(
            Rubric(item.reward.name, [WeightedReward(item.reward)]),
            name=item.reward.name,
            weight=item.weight,
            answer_field=answer_field,
        )
        for item in load_rubric(rubric, accuracy=accuracy).rewards
    ]


OVER = "The episode is over."


@dataclass(frozen=True, slots=True)
class TRLEnvironment:
    """What `GRPOTrainer` takes of an environment.

    Attributes:
        factory: for `environment_factory`. Its objects have a method for every tool, or the tool `say` where the environment answers in
            words.
        reward: for `reward_funcs`. It scores finished episodes; one whose environment failed has no score (None).
        environment: the environment.
    """

    factory: type
    reward: EpisodeReward
    environment: Environment

    def rows(self, count: int, *, seed: int = 0) -> list[dict[str, Any]]:
        """Return the first `count` tasks as rows of a data set."""
        tasks = (self.environment.task(index, seed) for index in range(count))
        return [{**row_of(task), "prompt": [dict(one) for one in self.environment.open(task).messages]} for task in tasks]


def environment(given: str | Environment, rubric: AnyRubric = "accuracy", **options: Any) -> TRLEnvironment:
    """Return an environment for `GRPOTrainer(environment_factory=...)`.

    TRL calls tools and knows no user turns, so a dialogue becomes one tool, `say(text)`, and its prompt gets a sentence that says so. What the
    model writes when it calls no tool any more is its last turn. An environment that opens every episode differently shows the opening
    of the row.

    Args:
        given: an environment, or its name.
        rubric: see `r1env.make_environment`.
        options: of the environment, where it is given by name.

    Raises:
        UsageError: an unknown name or option, an environment of one turn, which needs no factory, or a tool of a name that TRL has taken.

    Example:
        >>> environment("guess-number").factory.__name__
        'GuessNumber'
    """
    made = given if isinstance(given, Environment) else make_environment(given, rubric=_by_name(rubric), **options)
    if made.other is None:
        raise UsageError(f"environment {made.name!r} has one turn; give TRL its rows and reward_function(...) instead")
    other = made.other()
    tools = tuple(other.tools) if isinstance(other, ConversationEnv) else ()
    made = replace(made, tool_parser=parse_tool_calls)  # calls reach the episode in this form, whatever the model's own is
    methods: dict[str, Any] = {tool.name: _tool_method(tool) for tool in tools}
    if taken := {"reset", "get_reward"} & methods.keys() or {name for name in methods if name.startswith("_")}:
        raise UsageError(f"environment {made.name!r}: TRL cannot have a tool called {', '.join(sorted(taken))}")
    name = "".join(part.capitalize() for part in made.name.replace("/", "-").split("-"))
    base = _EpisodeTools if tools else _Talk
    factory = type(name, (base,), {**methods, "_environment": made, "_note": "" if tools else _NOTE})
    return TRLEnvironment(factory, EpisodeReward(made.rubric), made)


_NOTE = "\n\nTalk by the tool `say`: call it for everything you say, your final answer included."


class _EpisodeTools:
    """One episode after another, as TRL keeps its environments. Raises nothing: TRL ends the run where `reset` raises."""

    _environment: Environment
    _note: str

    def __init__(self) -> None:
        self._episode: Episode | None = None

    def reset(self, **row: Any) -> str:
        """Begin the episode of a row; return what is appended to its last user message."""
        if self._episode is not None:
            self._episode.close()
        try:
            self._episode = self._environment.open(task_of(row.get("prompt", ""), row))
        except Exception as error:  # noqa: BLE001 - TRL would end the run; the reward says None
            logger.warning("a row that cannot be read: %s: %s", type(error).__name__, error)
            self._episode = None
        return self._note

    def _submit(self, text: str) -> str:
        episode = self._episode
        if episode is None or episode.done:
            return OVER
        episode.submit(Completion(text=text))
        return OVER if episode.done else "\n".join(message["content"] for message in episode.replies)

    def _finish(self, text: str) -> Rollout | None:
        """Return the finished episode; what the model wrote without calling a tool is its last turn."""
        episode = self._episode
        if episode is None:
            return None
        if not episode.done and (text.strip() or not episode.turns):
            episode.submit(Completion(text=text))
        if not episode.done:
            episode.stop()
        return episode.rollout()


class _Talk(_EpisodeTools):
    """An environment that answers in words."""

    def say(self, text: str) -> str:
        """Say something to the other side. Your final answer is said by this tool too.

        Args:
            text: What you say.
        """
        return self._submit(text)


def _tool_method(tool: Tool) -> Callable[..., str]:
    """Return a method whose signature and docstring give TRL the tool's own schema."""

    def method(self: _EpisodeTools, **arguments: Any) -> str:
        call = {"name": tool.name, "arguments": arguments}
        return self._submit(f"{CALL_OPEN}{json.dumps(call)}{CALL_CLOSE}")

    properties: Mapping[str, Any] = tool.parameters.get("properties", {})
    required = set(tool.parameters.get("required", ()))
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    annotations: dict[str, Any] = {"return": str}
    for name in sorted(properties, key=lambda one: one not in required):  # those with a default come last
        annotations[name] = _TYPES.get(str(properties[name].get("type")), str)
        default = inspect.Parameter.empty if name in required else properties[name].get("default")
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotations[name])
        )
    listed = "".join(f"    {name}: {properties[name].get('description', name)}\n" for name in properties)
    method.__name__ = method.__qualname__ = tool.name
    method.__doc__ = f"{tool.description or tool.name}\n\nArgs:\n{listed}" if listed else tool.description or tool.name
    method.__annotations__ = annotations
    setattr(method, "__signature__", inspect.Signature(parameters, return_annotation=str))  # noqa: B010 - functions have no such field for type checkers
    return method


_TYPES: Mapping[str, type] = {"integer": int, "number": float, "boolean": bool, "array": list, "object": dict, "string": str}


class EpisodeReward:
    """The reward function for the environments of `environment`: scores their finished episodes in one call."""

    def __init__(self, rubric: Rubric) -> None:
        self.__name__ = rubric.name
        self._rubric = rubric

    def __call__(
        self, *, completions: Sequence[Any], environments: Sequence[Any], log_metric: Any = None, **_: Any
    ) -> list[float | None]:
        last = [_last_words(completion) for completion in completions]
        scores = score_items(list(zip(environments, last, strict=True)), _finished, self._rubric)
        if log_metric is not None and scores:
            log_metric(f"unscored/{self.__name__}", sum(score.value is None for score in scores) / len(scores))
        return [score.value for score in scores]


def _finished(item: tuple[_EpisodeTools, str]) -> Rollout:
    environment, text = item
    rollout = environment._finish(text)
    if rollout is None:
        raise ValueError("its row could not be read")
    return rollout


def _last_words(completion: Any) -> str:
    """Return what the model wrote last, where that was no tool call."""
    if isinstance(completion, str):
        return completion
    last = completion[-1] if completion else {}
    return text_of(last.get("content")) if last.get("role") == "assistant" and not last.get("tool_calls") else ""


def _by_name(rubric: AnyRubric) -> Any:
    """Return a rubric as `make_environment` takes it."""
    return Rubric(rubric.name, [WeightedReward(rubric)]) if isinstance(rubric, Reward) else rubric


def row_of(task: Task) -> dict[str, Any]:
    """Return a row of a conversational data set that brings the task whole to the reward.

    To show the model another prompt (a template's rendering), replace `prompt`; the task keeps its own.
    """
    return {"prompt": [dict(message) for message in task.prompt], TASK_FIELD: task_field(task)}


def _rows(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    completion_ids: Sequence[Sequence[int]] | None,
    columns: Mapping[str, Any],
) -> Iterator[tuple[Any, Any, Sequence[int] | None, Mapping[str, Any]]]:
    """Columns to rows. What is no column of this batch's length is not about its rows."""
    fields = {
        key: values
        for key, values in columns.items()
        if key not in NOT_COLUMNS and isinstance(values, list) and len(values) == len(completions)
    }
    for place, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        token_ids = None if completion_ids is None else completion_ids[place]
        yield prompt, completion, token_ids, {key: values[place] for key, values in fields.items()}


def _unpickle(state: bytes) -> RewardFunction:
    rubric, name, weight, answer_field = cloudpickle.loads(state)
    return RewardFunction(rubric, name=name, weight=weight, answer_field=answer_field)
