"""The episode player: tasks, an engine and sampling parameters become finished episodes with their tokens.

Training, evaluation, rejection sampling and distillation play their episodes here, and see the same tokens. An episode is one
append-only sequence of token ids. What the model wrote stays the tokens that it sampled: text need not encode back to them, and a
chat template may drop the thinking of earlier turns, so nothing is ever encoded a second time. What the environment says is encoded
by itself and appended.

An engine that knows text only (not a `TokenEngine`) is asked for whole conversations instead, which it encodes anew every turn.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from r1env.engines import Engine, SamplingParams, TokenEngine, derive_seed
from r1env.envs.conversation import Episode, Tool, submit_all
from r1env.envs.environment import Environment
from r1env.errors import TrainingStoppedError, UsageError
from r1env.types import Completion, Conversation, FinishReason, Rollout, Score, Task

logger = logging.getLogger(__name__)


def play(
    tasks: Sequence[tuple[Environment, Task]],
    engine: Engine,
    params: SamplingParams,
    on_done: OnDone | None = None,
) -> list[Trajectory]:
    """Play `params.n` episodes of each task to their end; return them in task-major order.

    All episodes whose templates stop at the same texts take their turn in one call of the engine; the first turn of a task is
    sampled n times from one prompt. The stop texts of an environment's prompt template are added to those of `params`. Each call has
    a seed derived from `params.seed`; the first has that seed itself.

    One rule for a full context: no turn gets more tokens than fit into `engine.max_length`; and where a reply leaves no room for
    another token of the model, the episode ends before it, as truncated, and is scored as it is.

    Args:
        on_done: receives every episode once, as soon as it is over, while others may still be being sampled.

    Raises:
        EngineError: the engine cannot answer.
        UsageError: the prompt of a task leaves no room in the model's context.

    >>> from r1env.engines import ScriptedEngine
    >>> from r1env.envs.environment import make_environment
    >>> environment = make_environment("add-1digit")
    >>> [one] = play([(environment, environment.task(0))], ScriptedEngine("7"), SamplingParams())
    >>> one.episode.ended_by
    <EndedBy.MODEL: 'model'>
    """
    if not isinstance(engine, TokenEngine):
        if any(environment.max_turns > 1 for environment, _ in tasks):
            logger.info("%s knows text only: it encodes the conversation anew for every turn", type(engine).__name__)
        return _take_all_turns(tasks, _MessageTurns(engine), params, on_done)
    return _take_all_turns(tasks, _TokenTurns(engine), params, on_done)


def sample_rollouts(
    environment: Environment, engine: Engine, tasks: Sequence[Task], params: SamplingParams, *, batch: int = 0
) -> list[list[Rollout]]:
    """Return `params.n` finished episodes of each task of one environment, in the order of the tasks; see `play`.

    Args:
        batch: number of this batch among those of one evaluation; every batch has a seed derived from `params.seed`.
    """
    params = params.model_copy(update={"seed": derive_seed(params.seed, batch)})
    played = play([(environment, task) for task in tasks], engine, params)
    rollouts = [trajectory.episode.rollout() for trajectory in played]
    return [rollouts[start : start + params.n] for start in range(0, len(rollouts), params.n)]


@dataclass(slots=True)
class Trajectory:
    """An episode and its tokens; without tokens where the engine knows text only.

    Attributes:
        prompt: token ids of the opening.
        ids: of everything after the prompt.
        sampled: True where the model drew the token.
        logprobs: of the sampler; 0 for the environment's tokens.
        truncated: a token limit cut a turn off, or the context was full.
    """

    environment: Environment
    episode: Episode
    prompt: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    sampled: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    truncated: bool = False

    @property
    def tokens(self) -> list[int]:
        """The whole sequence so far: what the model reads before its next turn."""
        return [*self.prompt, *self.ids]

    def append(self, completion: Completion) -> None:
        """Append the tokens of the model's turn."""
        turn, logprobs = completion.token_ids or (), completion.logprobs or ()
        self.ids += turn
        self.sampled += [True] * len(turn)
        self.logprobs += logprobs
        self.truncated |= completion.finish_reason is FinishReason.LENGTH

    def read_replies(self, tokenizer: Any, max_length: int | None, *, chat: bool) -> None:
        """Append the environment's replies; or end the episode, where no token of another turn would fit behind them."""
        between = encode_replies(tokenizer, self.episode.replies, chat=chat)
        between = join_turns(tokenizer, self.ids, between)
        if not has_room(len(self.prompt) + len(self.ids) + len(between), max_length):
            self.truncated = True
            self.episode.stop()
            return
        self.ids += between
        self.sampled += [False] * len(between)
        self.logprobs += [0.0] * len(between)


def take_turns(trajectories: Sequence[Trajectory], completions: Sequence[Completion]) -> None:
    """Append a turn of the model to each, and give it to the environment; the environments answer side by side."""
    for trajectory, completion in zip(trajectories, completions, strict=True):
        trajectory.append(completion)
    submit_all([(one.episode, completion) for one, completion in zip(trajectories, completions, strict=True)])


OnDone = Callable[[Sequence[Trajectory]], None]
"""Receives episodes that are over."""


def has_room(tokens: int, max_length: int | None) -> bool:
    """Return whether the model can sample at least one token behind so many; `max_length` None means no limit."""
    return max_length is None or tokens < max_length


# The loop over turns, and what a turn is for each kind of engine.


def _take_all_turns(
    tasks: Sequence[tuple[Environment, Task]],
    turns: _TokenTurns | _MessageTurns,
    params: SamplingParams,
    on_done: OnDone | None,
) -> list[Trajectory]:
    trajectories: list[Trajectory] = []
    try:
        groups = []
        for environment, task in tasks:
            opened = turns.open(environment, task, params)
            trajectories += (trajectory for group in opened for trajectory in group)
            groups += [group for group in opened if not group[0].episode.done]
        if on_done is not None and (failed := [trajectory for trajectory in trajectories if trajectory.episode.done]):
            on_done(failed)
        calls = 0
        while groups:
            for (stop, chat, n), members in _by_settings(groups, params).items():
                calls += 1
                seed = params.seed if calls == 1 else derive_seed(params.seed, calls)
                how = params.model_copy(update={"n": n, "stop": stop, "chat": chat, "seed": seed})
                turns.take(members, how, on_done)
            going_on = [trajectory for group in groups for trajectory in group if not trajectory.episode.done]
            for trajectory in going_on:
                turns.read(trajectory, params)
            if on_done is not None and (stopped := [trajectory for trajectory in going_on if trajectory.episode.done]):
                on_done(stopped)
            groups = [[trajectory] for trajectory in going_on if not trajectory.episode.done]
    finally:
        for trajectory in trajectories:  # those that an exception cut short: their environments are closed all the same
            trajectory.episode.close()
    return trajectories


def _by_settings(
    groups: Sequence[list[Trajectory]], params: SamplingParams
) -> dict[tuple[tuple[str, ...], bool, int], list[list[Trajectory]]]:
    """Groups by what they ask of the engine: stop texts, whether the prompt is a chat, and completions per prompt."""
    found: dict[tuple[tuple[str, ...], bool, int], list[list[Trajectory]]] = {}
    for group in groups:
        template = group[0].environment.template
        stop = tuple(dict.fromkeys((*params.stop, *template.stop)))
        found.setdefault((stop, params.chat and template.chat, len(group)), []).append(group)
    return found


class _TokenTurns:
    """Turns of an engine that takes and returns tokens."""

    def __init__(self, engine: TokenEngine) -> None:
        self._engine = engine

    def open(self, environment: Environment, task: Task, params: SamplingParams) -> list[list[Trajectory]]:
        """Return `params.n` episodes, in groups with one and the same prompt."""
        episodes = [environment.open(task) for _ in range(params.n)]
        return [
            [Trajectory(environment, episode, list(prompt)) for episode in members]
            for members in _alike(episodes)
            for prompt in [self._prompt(members[0], task, chat=params.chat and environment.template.chat)]
        ]

    def _prompt(self, episode: Episode, task: Task, *, chat: bool) -> list[int]:
        prompt = encode_prompt(self._engine.tokenizer, episode.messages, chat=chat, tools=episode.tools)
        if not has_room(len(prompt), self._engine.max_length):
            raise UsageError(
                f"the prompt of task {task.id!r} has {len(prompt)} tokens and leaves no room in the model's context of "
                f"{self._engine.max_length}; drop the task, or use a model with a longer context"
            )
        return prompt

    def take(self, groups: Sequence[list[Trajectory]], params: SamplingParams, on_done: OnDone | None) -> None:
        """Take one turn of every episode; those of a group have the same tokens so far."""
        trajectories = [trajectory for group in groups for trajectory in group]

        def finish(rows: Sequence[int], completions: Sequence[Completion]) -> None:
            take_turns([trajectories[row] for row in rows], completions)
            if on_done is not None:
                on_done([trajectories[row] for row in rows if trajectories[row].episode.done])

        self._engine.generate_tokens([group[0].tokens for group in groups], params, finish)

    def read(self, trajectory: Trajectory, params: SamplingParams) -> None:
        """Take the environment's reply in."""
        chat = params.chat and trajectory.environment.template.chat
        trajectory.read_replies(self._engine.tokenizer, self._engine.max_length, chat=chat)


class _MessageTurns:
    """Turns of an engine that knows text only. Its context limit shows as an EngineError, or as a turn that was cut off."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, environment: Environment, task: Task, params: SamplingParams) -> list[list[Trajectory]]:
        episodes = [environment.open(task) for _ in range(params.n)]
        return [[Trajectory(environment, episode) for episode in members] for members in _alike(episodes)]

    def take(self, groups: Sequence[list[Trajectory]], params: SamplingParams, on_done: OnDone | None) -> None:
        answers = self._engine.generate([group[0].episode.messages for group in groups], params)
        for group, completions in zip(groups, answers, strict=True):
            take_turns(group, completions)
        if on_done is not None:
            on_done([trajectory for group in groups for trajectory in group if trajectory.episode.done])

    def read(self, trajectory: Trajectory, params: SamplingParams) -> None:
        """Nothing: the conversation is encoded by the engine."""


def _alike(episodes: Sequence[Episode]) -> list[list[Episode]]:
    """All episodes as one group where they open with the same messages, each by itself otherwise. One that has failed is by itself."""
    if not episodes[0].has_state:
        return [list(episodes)]
    first = episodes[0].messages
    if all(episode.messages == first and not episode.done for episode in episodes):
        return [list(episodes)]
    return [[episode] for episode in episodes]


# Text to tokens. The tokenizer has the interface of those of transformers.


def encode_prompt(tokenizer: Any, messages: Conversation, *, chat: bool, tools: Sequence[Tool] = ()) -> list[int]:
    """Return the token ids of a conversation up to where the model answers.

    Args:
        chat: use the tokenizer's chat template. Without one (a base model), and when False, the contents are joined as plain
            text, which is how R1-Zero's prompt is meant.
        tools: that the model may call; the chat template says how. Plain text begins with a description of them.
    """
    if chat and tokenizer.chat_template:
        given = {"tools": [tool.as_function() for tool in tools]} if tools else {}
        text = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False, **given)
        return cast(list[int], tokenizer(text, add_special_tokens=False)["input_ids"])
    text = "\n".join([*([_tools_in_words(tools)] if tools else []), *(message["content"] for message in messages)])
    return cast(list[int], tokenizer(text)["input_ids"])


def _tools_in_words(tools: Sequence[Tool]) -> str:
    listed = "\n".join(json.dumps(tool.as_function()["function"]) for tool in tools)
    return f'You can call these tools by writing <tool_call>{{"name": …, "arguments": {{…}}}}</tool_call>:\n{listed}'


SENTINEL = "r1env-turn"
"""Stands for the model's turn where a template is asked what it writes after one."""


def encode_replies(tokenizer: Any, replies: Conversation, *, chat: bool) -> list[int]:
    """Return the token ids between the model's turn and its next one: the end of its turn, the replies, the next turn's opening.

    They are to be appended to the tokens so far. Where the model drew the template's end-of-turn token itself, see `join_turns`.

    Args:
        chat: as in `encode_prompt`. A plain conversation goes on in a new line, and the model's next turn begins where the reply ends.
    """
    if chat and tokenizer.chat_template:
        # A short conversation is enough: templates that cut the thinking out of earlier turns change what comes before this.
        messages = [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": SENTINEL},
            *replies,
        ]
        text = cast(str, tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
        after = text[text.index(SENTINEL) + len(SENTINEL) :]
    else:
        after = "".join(f"\n{reply['content']}" for reply in replies)
    return cast(list[int], tokenizer(after, add_special_tokens=False)["input_ids"])


def join_turns(tokenizer: Any, turn: Sequence[int], between: Sequence[int]) -> list[int]:
    """Return what to append after the model's turn: `between`, less the end-of-turn token that the turn already ends with."""
    ended = len(turn) > 0 and len(between) > 0 and turn[-1] == between[0] and turn[-1] in tokenizer.all_special_ids
    return list(between[1:] if ended else between)


# What every caller does about scoring that fails.


def stop_when_scoring_fails(scores: Sequence[Score], max_failed: float, what: str) -> None:
    """Raise TrainingStoppedError where scoring failed for more than the share `max_failed` of the scores.

    Args:
        what: the scores are of, for the message: "the rollouts of a step".
    """
    reasons = [score.reason for score in scores if score.failed]
    if len(reasons) > max_failed * len(scores):
        commonest = max(set(reasons), key=reasons.count)
        raise TrainingStoppedError(
            f"scoring failed for {len(reasons) / len(scores):.0%} of {what} (limit {max_failed:.0%}, setting max_failed); "
            f"the commonest reason: {commonest}"
        )


def stop_when_unscored(scores: Sequence[Score], max_unscored: float, what: str) -> None:
    """Raise TrainingStoppedError where the share of scores without a value, for whatever reason, reaches `max_unscored`.

    Args:
        what: the scores are of, for the message: "the rollouts of a step".
    """
    reasons = Counter(score.reason for score in scores if score.value is None)
    if scores and reasons.total() >= max_unscored * len(scores) and reasons:
        shown = "; ".join(f"{reason} ({count / len(scores):.0%})" for reason, count in reasons.most_common(3))
        raise TrainingStoppedError(
            f"{reasons.total() / len(scores):.0%} of {what} have no score (limit {max_unscored:.0%}, setting max_unscored): {shown}; a "
            "reward that returns None for tasks that are not its own needs the rubric's `on_none: skip`, or a mixture in which each "
            "environment has its own rubric"
        )
