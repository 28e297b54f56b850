"""Environments and rewards for Inspect AI: an environment as a `Task`, a rubric as a scorer.

A score without a value becomes **`Score.unscored`** with the reason `scoring_failed` (or `no_response` and the like where it is the
model's doing), which Inspect leaves out of its metrics. A file for `inspect eval`:

    from inspect_ai import task
    from r1env.adapters.inspect_ai import environment_task

    @task
    def sort_4(limit: int = 100):
        return environment_task("sort-4", limit=limit)

Inspect AI is imported when one of these functions is called.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from r1env.adapters.core import TASK_FIELD, load_rubric, rollout_of, score_items, task_field, task_of
from r1env.data.sources import iterate
from r1env.envs.environment import Environment, make_evaluation_environment
from r1env.rollout import conversation_with_tools
from r1env.rubrics import AnyRubric, Rubric
from r1env.types import Completion, FinishReason, Rollout, Score, Status

TESTED_WITH = "inspect-ai 0.3.285"

ROLLOUT = "r1env_rollout"
"""Where a sample's store has the episode that the solver played."""

REASONS: Mapping[Status, str] = {
    Status.NO_ANSWER: "no_response",
    Status.BAD_FORMAT: "invalid_response_format",
    Status.UNPARSEABLE: "invalid_response_format",
}


def environment_task(
    environment: str | Environment,
    *,
    rubric: AnyRubric = "accuracy",
    limit: int | None = 100,
    seed: int = 0,
    **options: Any,
) -> Any:
    """Return an Inspect `Task`: the environment's tasks as samples, its episodes as the solver, its rubric as the scorer.

    Args:
        environment: its name, or an environment. By name, the split `test` is taken where there is one.
        rubric: see `r1env.make_environment`; the name `accuracy` is the environment's own checker.
        limit: number of tasks; None for all of a finite source.
        options: of the environment.

    Raises:
        UsageError: an unknown name or option, or a source that never ends without a limit.
    """
    from inspect_ai import Task
    from inspect_ai.dataset import MemoryDataset, Sample

    made = (
        environment
        if isinstance(environment, Environment)
        else make_evaluation_environment(environment, rubric=rubric, **options)
    )
    tasks = iterate(made.source) if limit is None else (made.task(index, seed) for index in range(_count(made, limit)))
    samples = [
        Sample(
            input=[_chat_message(message["role"], message["content"]) for message in made.template.messages(task)],
            target=task.answer or "",
            id=task.id,
            metadata={TASK_FIELD: task_field(task)},
        )
        for task in tasks
    ]
    return Task(
        dataset=MemoryDataset(samples, name=made.name), solver=_solver(made), scorer=scorer(made.rubric), name=made.name
    )


def scorer(rubric: AnyRubric, *, accuracy: str = "math") -> Any:
    """Return an Inspect scorer for a rubric. The parts, the status and the reason are in the score's metadata.

    It scores the episode that `environment_task` played, and otherwise the sample's last output against its target and metadata.

    Args:
        rubric: a preset, a YAML file, a reward's name, or any of these as objects.
        accuracy: the reward that `accuracy` stands for in the rubric.

    Raises:
        UsageError: an unknown name, or a reward of scope `group`.
    """
    from inspect_ai.scorer import mean, stderr
    from inspect_ai.scorer import scorer as registered

    loaded = load_rubric(rubric, accuracy=accuracy, one_by_one="Inspect")

    @registered(metrics=[mean(), stderr()], name=loaded.name)  # type: ignore[untyped-decorator]
    def make() -> Any:
        async def score(state: Any, target: Any) -> Any:
            (found,) = await asyncio.to_thread(score_items, [(state, target)], _rollout, loaded)
            return _inspect_score(found, loaded, state.output.completion)

        return score

    return make()


def _inspect_score(score: Score, rubric: Rubric, completion: str) -> Any:
    from inspect_ai.scorer import Score as InspectScore

    parts = {key: part for key, part in score.parts.items() if part == part}  # a NaN equals nothing
    metadata = {"rubric": rubric.name, "parts": parts, "status": str(score.status)}
    if score.value is None:
        reason = REASONS.get(score.status, "scoring_failed")
        return InspectScore.unscored(reason=reason, explanation=score.reason, metadata=metadata)
    return InspectScore(value=score.value, answer=completion, explanation=score.reason or None, metadata=metadata)


def _solver(environment: Environment) -> Any:
    from inspect_ai.solver import solver

    @solver(name=f"r1env/{environment.name}")  # type: ignore[untyped-decorator]
    def play() -> Any:
        async def solve(state: Any, generate: Any) -> Any:
            episode = await asyncio.to_thread(environment.open, task_of("", state.metadata))
            shown = conversation_with_tools(episode)
            state.messages = [_chat_message(message["role"], message["content"]) for message in shown]
            while not episode.done:
                state = await generate(state, tool_calls="none")
                await asyncio.to_thread(episode.submit, _completion(state.output))
                if not episode.done:
                    state.messages += [_chat_message(message["role"], message["content"]) for message in episode.replies]
            state.store.set(ROLLOUT, episode.rollout().model_dump_json())
            return state

        return solve

    return play()


def _completion(output: Any) -> Completion:
    cut = output.stop_reason in ("max_tokens", "model_length")
    return Completion(text=output.completion, finish_reason=FinishReason.LENGTH if cut else FinishReason.STOP)


def _rollout(item: tuple[Any, Any]) -> Rollout:
    state, target = item
    if played := state.store.get(ROLLOUT):
        return Rollout.model_validate(json.loads(played))
    messages = [{"role": message.role, "content": message.text} for message in state.messages]
    first = next((place for place, message in enumerate(messages) if message["role"] == "assistant"), len(messages))
    return rollout_of(task_of(messages[:first], {"answer": target.text, **state.metadata}), messages[first:])


def _chat_message(role: str, content: str) -> Any:
    """Return a message of Inspect. A tool's reply is shown as the user's: calls are written in words here."""
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    kinds: dict[str, Any] = {"system": ChatMessageSystem, "developer": ChatMessageSystem, "assistant": ChatMessageAssistant}
    return kinds.get(role, ChatMessageUser)(content=content)


def _count(environment: Environment, limit: int) -> int:
    return limit if environment.source.size is None else min(limit, environment.source.size)
