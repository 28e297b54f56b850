"""`Environment`: a resolved environment: where its tasks come from, how they are put, and how they are scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from r1env.data.sources import TaskSource
from r1env.errors import PluginError, UsageError
from r1env.hooks import EnvironmentSpec
from r1env.plugins import Plugins, import_target, installed
from r1env.prompts import PromptTemplate, get_template
from r1env.rubrics import Rubric, RubricSpec, load_rubric_spec, resolve_rubric
from r1env.types import Completion, Conversation, EndedBy, FinishReason, Message, Rollout, Task

# `Episode`: one task being worked on, turn by turn. Knows nothing of Gymnasium, models or rewards.


class Dialogue(Protocol):
    """The other side of a multi-turn environment."""

    def reply(self, task: Task, messages: Conversation) -> str | None:
        """What the environment says to the model's last message, or None when the episode is over.

        Must be deterministic in its arguments and must not raise on anything the model wrote.
        """


class Episode:
    """One task from its prompt to its `Rollout`.

    Attributes:
        turns: of the model, so far.
        ended_by: who ended the episode; None while it goes on.
    """

    def __init__(self, task: Task, prompt: Conversation, *, max_turns: int = 1, dialogue: Dialogue | None = None) -> None:
        self.task = task
        self.turns = 0
        self.ended_by: EndedBy | None = None
        self._messages: list[Message] = list(prompt)
        self._max_turns = max_turns
        self._dialogue = dialogue
        self._last: Completion | None = None

    @property
    def done(self) -> bool:
        return self.ended_by is not None

    @property
    def messages(self) -> Conversation:
        """The conversation so far; fresh copies, so that a caller may keep or change them."""
        return tuple(Message(role=message["role"], content=message["content"]) for message in self._messages)

    def submit(self, completion: Completion) -> None:
        """Take the model's turn; afterwards the episode is done, or the environment's reply is the last of `messages`."""
        if self.done:
            raise RuntimeError("the episode is over; start another")
        self._messages.append({"role": "assistant", "content": completion.text})
        self.turns += 1
        self._last = completion
        reply = None if self._dialogue is None else self._dialogue.reply(self.task, self.messages)
        if reply is None:
            self.ended_by = self._end_of(completion)
        elif self.turns >= self._max_turns:
            self.ended_by = EndedBy.LIMIT
        else:
            self._messages.append({"role": "user", "content": reply})

    def stop(self) -> None:
        """End the episode by a limit, because there is no room for another turn. A reply that nobody will read is taken back."""
        if self.done or self._last is None:
            raise RuntimeError("only an episode that has begun and goes on can be stopped")
        del self._messages[-1]
        self.ended_by = EndedBy.LIMIT

    def rollout(self) -> Rollout:
        """Return the finished episode, for scoring."""
        if not self.done or self._last is None:
            raise RuntimeError("the episode is not over yet")
        return Rollout(
            task=self.task,
            completion=self._last.text,
            messages=self.messages,
            finish_reason=self._last.finish_reason,
            turns=self.turns,
            token_ids=self._last.token_ids,
            logprobs=self._last.logprobs,
            ended_by=self.ended_by,
        )

    def _end_of(self, completion: Completion) -> EndedBy:
        """Who ended an episode whose environment has nothing to say to its last turn."""
        if completion.finish_reason is FinishReason.ERROR:
            return EndedBy.ERROR
        if self._dialogue is not None:
            return EndedBy.ENVIRONMENT
        return EndedBy.LIMIT if completion.finish_reason is FinishReason.LENGTH else EndedBy.MODEL


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
    rubric: str | RubricSpec = "accuracy",
    template: str | None = None,
    max_turns: int | None = None,
    plugins: Plugins | None = None,
    **options: Any,
) -> Environment:
    """Resolve the environment called `name` (with or without the prefix `r1env/`).

    Args:
        rubric: a preset, a YAML file, or a `RubricSpec`; its name `accuracy` becomes the environment's own checker.
        template: another prompt template than the environment's own.
        max_turns: fewer turns than the environment's own.
        options: passed to the task source.

    Raises:
        UnknownNameError: no such environment, reward, rubric or template.
        UsageError: the source refuses the options, or the data it was given.
    """
    plugins = plugins or installed()
    spec = plugins.environment(name)
    accuracy = plugins.reward(spec.reward, **spec.reward_options)
    rubric_spec = load_rubric_spec(rubric) if isinstance(rubric, str) else rubric
    return Environment(
        name=spec.name,
        source=_make_source(spec, options),
        rubric=resolve_rubric(rubric_spec, plugins.reward, accuracy),
        accuracy=accuracy.name,
        template=get_template(template or spec.template),
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
