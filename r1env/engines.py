"""What an engine is: conversations in, completions out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from r1env.types import Completion, Conversation

__path__: list[str] = []  # for one version: the old path `r1env.engines.base` is found by `r1env.moved`


class Sampling(BaseModel):
    """How to draw completions. The defaults are R1's evaluation protocol (temperature 0.6, top-p 0.95).

    Attributes:
        temperature: 0 is greedy.
        top_p: nucleus; 1 keeps the whole distribution.
        max_new_tokens: the longest completion, in tokens.
        n: completions a prompt.
        stop: texts that end a completion; kept in its text.
        seed: same seed, same prompts, same engine: same completions, where the engine can promise it.
        chat: wrap the messages in the model's chat template; False concatenates their contents.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.6, ge=0)
    top_p: float = Field(default=0.95, gt=0, le=1)
    max_new_tokens: int = Field(default=512, ge=1)
    n: int = Field(default=1, ge=1)
    stop: tuple[str, ...] = ()
    seed: int = 0
    chat: bool = True


class Engine(Protocol):
    """Makes completions. `generate` may be called from one thread at a time."""

    def generate(self, prompts: Sequence[Conversation], sampling: Sampling) -> list[list[Completion]]:
        """`sampling.n` completions for each prompt, in the order of the prompts.

        Raises:
            EngineError: the engine cannot answer at all (no server, no memory). A single completion that failed is
                returned with `finish_reason='error'` instead.
        """

    def close(self) -> None:
        """Free what the engine holds. Calling it twice is fine."""


def derive_seed(*parts: int) -> int:
    """Return a seed made of several numbers, say a run's seed, a step and a batch.

    The same numbers give the same seed; other numbers, or the same in another order, an unrelated one. It fits into a signed 64-bit
    integer.

    >>> derive_seed(0, 1) == derive_seed(0, 1), derive_seed(0, 1) == derive_seed(1, 0)
    (True, False)
    """
    import numpy as np  # here, since importing r1env must not cost what NumPy costs

    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


# An engine without a model: it answers from a script. For tests, demonstrations and dry runs.


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


# Engines make completions. The interface is in `base`; `scripted` needs no model; plugins bring the others.


__all__ = ["Engine", "Sampling"]
