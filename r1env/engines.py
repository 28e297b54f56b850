"""Engines turn prompts into completions: how to sample, the two interfaces, and a scripted engine for tests."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from r1env.types import Completion, Conversation

__path__: list[str] = []  # for one version: the old path `r1env.engines.base` is found by `r1env.moved`


StopText = Annotated[str, Field(min_length=1)]
"""A text that ends a completion."""


class SamplingParams(BaseModel):
    """How to sample completions. The defaults are R1's evaluation protocol (temperature 0.6, top-p 0.95).

    Attributes:
        temperature: 0 is greedy.
        top_k: sample from the k most probable tokens only; 0 keeps all.
        top_p: sample from the smallest set of tokens whose total probability reaches this value (nucleus sampling); 1 keeps all.
            Applied after `top_k`.
        min_p: sample from tokens whose probability is at least this fraction of that of the most probable token; 0 keeps all.
            Applied after `top_p`.
        repetition_penalty: divide the positive logits of tokens that already occur in the prompt or the completion by this value, and
            multiply negative ones by it (CTRL, arXiv 1909.05858); 1 changes nothing.
        max_new_tokens: maximum length of a completion in tokens.
        n: number of completions per prompt.
        first: index of the first of the `n` completions. An engine that gives each completion its own seed generates the completions
            `first` to `first + n - 1` of each prompt, so that an interrupted evaluation can be completed with the same completions.
        stop: strings that end a completion. They remain part of its text.
        ignore_eos: continue after an end-of-sequence token. Stop strings still end a completion.
        seed: the same seed, prompts and engine give the same completions, if the engine is deterministic.
        chat: wrap the messages in the model's chat template; False concatenates their contents. Used by `Engine.generate` only.

    Not every engine supports every parameter. An engine raises UsageError for a parameter that it does not support; `changed` tells it
    which parameters were set.

    >>> SamplingParams(temperature=0, max_new_tokens=16).n
    1
    >>> SamplingParams(top_k=20, min_p=0.05).changed("top_k", "min_p", "ignore_eos")
    ['top_k=20', 'min_p=0.05']
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.6, ge=0)
    top_k: int = Field(default=0, ge=0)
    top_p: float = Field(default=0.95, gt=0, le=1)
    min_p: float = Field(default=0.0, ge=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0)
    max_new_tokens: int = Field(default=512, ge=1)
    n: int = Field(default=1, ge=1)
    first: int = Field(default=0, ge=0)
    stop: tuple[StopText, ...] = ()
    ignore_eos: bool = False
    seed: int = 0
    chat: bool = True

    def changed(self, *names: str) -> list[str]:
        """Return the given parameters that differ from their defaults, as `name=value`."""
        fields = type(self).model_fields
        return [f"{name}={getattr(self, name)}" for name in names if getattr(self, name) != fields[name].default]


class Engine(Protocol):
    """Generate completions of conversations. `generate` may be called from one thread at a time."""

    def generate(self, prompts: Sequence[Conversation], params: SamplingParams) -> list[list[Completion]]:
        """Return `params.n` completions for each prompt, in the order of the prompts.

        Raises:
            EngineError: the engine cannot answer at all (no server, no memory). A single completion that fails is returned with
                `finish_reason='error'` instead.
        """

    def close(self) -> None:
        """Release the engine's resources. It may be called more than once."""


OnFinished = Callable[[Sequence[int], Sequence[Completion]], None]
"""Receives some rows that are complete, by their places in the result, and their completions."""

ToolSchema = Mapping[str, Any]
"""A tool as chat templates and OpenAI-compatible servers take it: `{"type": "function", "function": {"name": …, "parameters": …}}`."""


@runtime_checkable
class ChatEngine(Engine, Protocol):
    """An engine that takes messages and tools, and reports each completion as soon as it is complete."""

    def generate_chat(
        self,
        prompts: Sequence[Conversation],
        params: SamplingParams,
        tools: Sequence[Sequence[ToolSchema]],
        on_finished: OnFinished | None = None,
    ) -> list[Completion]:
        """Return `params.n` completions for each prompt, in prompt-major order. Tool calls are part of the text, as in `parse_tool_calls`.

        Args:
            tools: for each prompt, the tools that the model may call.
            on_finished: called once for every row, as soon as it is complete, in the calling thread.

        Raises:
            EngineError: as `generate`.
        """


@runtime_checkable
class TokenEngine(Engine, Protocol):
    """An engine that also takes and returns token ids, so that episodes can be played without tokenizing any turn twice."""

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer, with the interface of a transformers tokenizer."""

    @property
    def max_length(self) -> int | None:
        """The model's context length: maximum number of tokens of prompt and completion together, or None for no limit."""

    def generate_tokens(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, on_finished: OnFinished | None = None
    ) -> list[Completion]:
        """Return `params.n` completions for each prompt with their tokens and log-probs, in prompt-major order.

        A completion has at most `params.max_new_tokens` tokens, and prompt and completion together have at most `max_length`. A
        completion that either limit cuts off has `finish_reason='length'`.

        Args:
            prompts: token ids, none empty, each shorter than `max_length`.
            on_finished: called once for every row, as soon as it is complete, possibly while others are still being generated.

        Raises:
            EngineError: as `generate`.
        """


def derive_seed(*parts: int) -> int:
    """Return a seed derived from several numbers, such as a run's seed, a step and a batch. Trailing zeros are ignored.

    The same numbers give the same seed; other numbers, or the same numbers in another order, give an unrelated one. The seed fits into
    a signed 64-bit integer.

    >>> derive_seed(0, 1) == derive_seed(0, 1, 0), derive_seed(0, 1) == derive_seed(1, 0)
    (True, False)
    """
    import numpy as np  # here, since importing r1env must not cost what NumPy costs

    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


class ScriptedEngine:
    """Answer with a function of the conversation, a table of answers by last message, or one fixed text. No model is needed."""

    def __init__(self, script: Callable[[Conversation], str] | Mapping[str, str] | str) -> None:
        self._script = script

    def generate(self, prompts: Sequence[Conversation], params: SamplingParams) -> list[list[Completion]]:
        return [[Completion(text=self._answer(prompt))] * params.n for prompt in prompts]

    def close(self) -> None:
        """Do nothing: there are no resources to release."""

    def _answer(self, prompt: Conversation) -> str:
        if isinstance(self._script, str):
            return self._script
        if isinstance(self._script, Mapping):
            return self._script.get(prompt[-1]["content"], "")
        return self._script(prompt)


def make_scripted(model: str, *, text: Any = None) -> ScriptedEngine:
    """Return a `ScriptedEngine` that always answers with `text`, or with `model` if `text` is empty."""
    return ScriptedEngine(model if text is None else text if callable(text) or isinstance(text, Mapping) else str(text))


def __getattr__(name: str) -> Any:
    if name == "Sampling":
        warnings.warn("r1env.engines.Sampling is now called SamplingParams", DeprecationWarning, stacklevel=2)
        return SamplingParams
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
