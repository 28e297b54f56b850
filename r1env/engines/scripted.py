"""An engine without a model: it answers from a script. For tests, demonstrations and dry runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from r1env.engines.base import Sampling
from r1env.rollouts import Completion
from r1env.tasks import Conversation


class ScriptedEngine:
    """Answers by a function of the conversation, by a table of last messages, or with one fixed text."""

    def __init__(self, script: Callable[[Conversation], str] | Mapping[str, str] | str) -> None:
        self._script = script

    def generate(self, prompts: Sequence[Conversation], sampling: Sampling) -> list[list[Completion]]:
        return [[Completion(text=self._answer(prompt))] * sampling.n for prompt in prompts]

    def close(self) -> None:
        """Nothing to free."""

    def _answer(self, prompt: Conversation) -> str:
        if isinstance(self._script, str):
            return self._script
        if isinstance(self._script, Mapping):
            return self._script.get(prompt[-1]["content"], "")
        return self._script(prompt)


def make_scripted(model: str, **options: str) -> ScriptedEngine:
    """The entry of the engine plugin: `model` is the text that is always answered."""
    return ScriptedEngine(options.get("text", model))
