"""`Environment`: a resolved environment: where its tasks come from, how they are put, and how they are scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from r1env.data.sources import TaskSource
from r1env.errors import PluginError, UsageError
from r1env.hooks import EnvironmentSpec
from r1env.importing import import_target
from r1env.plugins import Plugins, installed
from r1env.prompts import PromptTemplate
from r1env.rubrics import Rubric, RubricSpec, find_rubric, resolve_rubric
from r1env.types import Completion, Conversation, Message, Rollout, Task, Turn

# `Episode`: one task being worked on, turn by turn. Knows nothing of Gymnasium, models or rewards.


class Dialogue(Protocol):
    """The other side of a multi-turn environment."""

    def reply(self, task: Task, messages: Conversation) -> str | None:
        """What the environment says to the model's last message, or None when the episode is over.

        Must be deterministic in its arguments and must not raise on anything the model wrote.
        """


class Episode:
    """One task from its prompt to its `Rollout`."""

    def __init__(self, task: Task, prompt: Conversation, *, max_turns: int = 1, dialogue: Dialogue | None = None) -> None:
        self.task = task
        self.turns = 0
        self.done = False
        self._messages: list[Message] = list(prompt)
        self._max_turns = max_turns
        self._dialogue = dialogue
        self._last: Completion | None = None
        self._turns: list[Turn] = []

    @property
    def messages(self) -> Conversation:
        """The conversation so far; fresh copies, so that a caller may keep or change them."""
        return tuple(Message(role=message["role"], content=message["content"]) for message in self._messages)

    def submit(self, completion: Completion) -> None:
        """Take the model's turn; afterwards the episode is done, or the environment's reply stands in `messages`."""
        if self.done:
            raise RuntimeError("the episode is over; start another")
        message: Message = {"role": "assistant", "content": completion.text}
        self._messages.append(message)
        self.turns += 1
        self._last = completion
        reply = None
        if self._dialogue is not None and self.turns < self._max_turns:
            reply = self._dialogue.reply(self.task, self.messages)
        replies: Conversation = () if reply is None else ({"role": "user", "content": reply},)
        self.done = not replies
        self._messages += replies
        self._turns.append(
            Turn(
                message=message,
                replies=replies,
                token_ids=completion.token_ids,
                logprobs=completion.logprobs,
                finish_reason=completion.finish_reason,
            )
        )

    def rollout(self) -> Rollout:
        """The finished episode, for scoring."""
        if not self.done or self._last is None:
            raise RuntimeError("the episode is not over yet")
        return Rollout(
            task=self.task,
            completion=self._last.text,
            messages=self.messages,
            finish_reason=self._last.finish_reason,
            turns=tuple(self._turns) if self.turns > 1 else (),  # a single turn is all in the other fields
            token_ids=self._last.token_ids,
            logprobs=self._last.logprobs,
        )


@dataclass(frozen=True)
class Environment:
    """Everything about an environment that does not change between episodes.

    `accuracy` is the name of its own checker; where the rubric uses it, that is also the key of its part.
    """

    name: str
    source: TaskSource
    rubric: Rubric
    accuracy: str
    template: PromptTemplate
    max_turns: int = 1
    dialogue: Dialogue | None = None

    def open(self, task: Task) -> Episode:
        """Start an episode of a task."""
        return Episode(task, self.template.render(task), max_turns=self.max_turns, dialogue=self.dialogue)

    def task(self, index: int, seed: int = 0) -> Task:
        """Task `index`; a finite source starts over after its last task."""
        return self.source.task(index if self.source.size is None else index % self.source.size, seed)


def make_environment(
    name: str,
    *,
    rubric: str | RubricSpec | Rubric = "accuracy",
    template: str | None = None,
    max_turns: int | None = None,
    plugins: Plugins | None = None,
    **options: Any,
) -> Environment:
    """Return the environment called `name` (with or without the prefix `r1env/`), or the one at `module:attribute`.

    Args:
        rubric: its name (see `find_rubric`), a `RubricSpec` or a `Rubric`; the name `accuracy` in it is the environment's own checker.
        template: name of another prompt template than the environment's own, see `Plugins.template`.
        max_turns: fewer turns than the environment's own.
        options: passed to the task source.

    Raises:
        UnknownNameError: no such environment, reward, rubric or template.
        UsageError: the source refuses the options, or the data it was given.
    """
    plugins = plugins or installed()
    spec = plugins.environment(name)
    accuracy = plugins.reward(spec.reward, **spec.reward_options)
    rubric_spec = find_rubric(rubric, plugins) if isinstance(rubric, str) else rubric
    return Environment(
        name=spec.name,
        source=_make_source(spec, options),
        rubric=resolve_rubric(rubric_spec, plugins.reward, accuracy),
        accuracy=accuracy.name,
        template=plugins.template(template or spec.template),
        max_turns=spec.max_turns if max_turns is None else max_turns,
        dialogue=cast(Dialogue, import_target(spec.dialogue)()) if spec.dialogue else None,
    )


def _make_source(spec: EnvironmentSpec, options: Mapping[str, Any]) -> TaskSource:
    make = import_target(spec.source)
    try:
        source = make(**{**spec.options, **options})
    except TypeError as error:
        raise UsageError(f"environment {spec.name!r} does not take these options: {error}") from error
    if not isinstance(source, TaskSource):
        raise PluginError(
            f"{spec.source} returned a {type(source).__name__}, which is no TaskSource (it needs `size` and `task`)"
        )
    return source
