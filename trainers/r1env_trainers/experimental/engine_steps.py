"""The steps of a search from an engine: next steps are drawn from a model, and a partial solution is worth what it plays out to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from r1env.engines import Engine, SamplingParams
from r1env.types import Message
from r1env_trainers.experimental.mcts import Proposal, Steps
from r1env_trainers.experimental.steps import split_steps


@dataclass(frozen=True, slots=True)
class EngineSteps:
    """A `Problem` of one prompt.

    Attributes:
        engine: continues a text; the prompt does not go through a chat template, for a template would close the turn.
        prompt: as the model reads it.
        judge: the reward in [0, 1] of a finished completion.
        is_finished: whether a text is a whole completion.
        sampling: of steps and playouts; its seed and n are the search's.
        playouts: completions that a value is the mean of.
    """

    engine: Engine
    prompt: str
    judge: Callable[[str], float]
    is_finished: Callable[[str], bool]
    sampling: SamplingParams
    playouts: int = 1
    delimiter: str = "\n"

    def reward(self, steps: Steps) -> float | None:
        text = "".join(steps)
        return self.judge(text) if self.is_finished(text) else None

    def propose(self, steps: Steps, count: int, seed: int) -> list[Proposal]:
        """Drawn steps; one that is drawn twice counts twice, so the priors are the policy's own."""
        drawn = self._continue(steps, count, seed, stop=(*self.sampling.stop, self.delimiter))
        firsts = (split_steps(text, self.delimiter)[:1] for text in drawn)
        return [Proposal(first[0], 1.0) for first in firsts if first]

    def value(self, steps: Steps, seed: int) -> float:
        """The mean reward of completions; an unfinished one earns nothing."""
        texts = ("".join(steps) + text for text in self._continue(steps, self.playouts, seed, stop=self.sampling.stop))
        return sum(self.judge(text) if self.is_finished(text) else 0.0 for text in texts) / self.playouts

    def _continue(self, steps: Steps, n: int, seed: int, stop: tuple[str, ...]) -> list[str]:
        sampling = self.sampling.model_copy(update={"n": n, "seed": seed, "stop": stop, "chat": False})
        message: Message = {"role": "user", "content": self.prompt + "".join(steps)}
        return [completion.text for completion in self.engine.generate([(message,)], sampling)[0]]
