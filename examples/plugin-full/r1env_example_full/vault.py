"""The environment `vault`: a digit opens it, and a tool says whether the digit is higher or lower than a guess."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from r1env import Message, Task, TaskKind
from r1env.data.sources import GeneratedSource, Split
from r1env.envs.conversation import StepResult, ToolEnv


def vault_tasks(split: Split = "train") -> GeneratedSource:
    """Return vaults that a number from 0 to 99 opens. A hash of the number decides whether it is `train` or `test`."""

    def generate(rng: np.random.Generator) -> Task:
        number = int(rng.integers(100))
        question = "Open the vault: write the number from 0 to 99. You may call peek(guess)."
        return Task(id=f"vault-{number}", prompt=question, answer=str(number), kind=TaskKind.LOGIC)

    return GeneratedSource(generate, split)


class Vault(ToolEnv):
    """One episode: counts what the model has peeked, and pays for a vault that is opened with few looks."""

    def __init__(self) -> None:
        super().__init__([self.peek])
        self.looks = 0

    def reset(self, task: Task) -> Sequence[Message]:
        self._number = int(task.answer or 0)
        return task.prompt

    def peek(self, guess: int) -> str:
        """Say whether the number is higher or lower than a guess."""
        self.looks += 1
        return "equal" if guess == self._number else "higher" if guess < self._number else "lower"

    async def step(self, message: Message) -> StepResult:
        if message.get("tool_calls"):
            return await super().step(message)
        opened = message["content"].strip() == str(self._number)
        reward = 1.0 / (1 + self.looks) if opened else 0.0
        return StepResult(reward=reward, done=True, info={"looks": self.looks, "opened": opened})
