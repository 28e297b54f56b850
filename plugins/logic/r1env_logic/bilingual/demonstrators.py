"""Writers of solutions and replies for the two-language tasks, each with habits that a model learns.

They are small models of the data of R1's stages: a `web` page is careless, mixes languages and forgets the tags; a `cold_start`
example has the format and is still careless; `careful` has no faults. `<think>` holds the work, and the response sums up in the
task's language.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from r1env import Task
from r1env_logic.bilingual.phrases import PHRASES, Phrases, language_in, other
from r1env_logic.bilingual.small_talk import FAMILIES, content_of
from r1env_logic.bilingual.tasks import random_expression
from r1env_logic.countdown import evaluate

ATTEMPTS = 4  # at a countdown, before the last one becomes the answer
KNOWING = 0.4  # probability that an attempt is the known solution, so that the search is better than blind, as a person's is


@dataclass(frozen=True, slots=True)
class Writer:
    """A demonstrator `(task, rng) -> response`. All habits are probabilities.

    Attributes:
        mixes: of writing a line in the other language.
        careless: of each mistake: a wrong digit when sorting, a dropped carry, a wrong attempt taken for a solution.
        untagged: of writing no tags.
        rude: of omitting the courtesy of small talk.
        confused: of answering something else in small talk.
    """

    mixes: float = 0.0
    careless: float = 0.0
    untagged: float = 0.0
    rude: float = 0.0
    confused: float = 0.0

    def __call__(self, task: Task, rng: np.random.Generator) -> str:
        lines, answer = self._work(task, rng)
        summary = self._phrases(task, rng).therefore if lines else ""
        if rng.random() < self.untagged:
            return "\n".join([*lines, summary + answer])
        response = f"{summary}<answer>{answer}</answer>" if lines else answer
        return "<think>{}</think>{}".format("\n".join(lines), response)

    def _work(self, task: Task, rng: np.random.Generator) -> tuple[list[str], str]:
        """Return the lines of the thinking, and the answer."""
        family = task.metadata["family"]
        if family in FAMILIES:
            return [], self._reply(task, rng)
        solve = {"sort": self._sorting, "add": self._columns, "make": self._search}[family]
        return solve(task, rng)

    def _sorting(self, task: Task, rng: np.random.Generator) -> tuple[list[str], str]:
        """Take the smallest remaining digit repeatedly, two to a line."""
        left = sorted(task.metadata["digits"])
        order = [left.pop(int(rng.integers(len(left))) if rng.random() < self.careless else 0) for _ in range(len(left))]
        lines = []
        for start in range(0, len(order), 2):
            phrases = self._phrases(task, rng)
            lines.append(phrases.first + phrases.then.join(order[start : start + 2]))
        return lines, "".join(order)

    def _columns(self, task: Task, rng: np.random.Generator) -> tuple[list[str], str]:
        """Add from the right, one line a column: digit + digit + carry = sum, and the carry."""
        a, b = str(task.metadata["a"]), str(task.metadata["b"])
        lines, answer, carry = [], "", 0
        for left, right in zip(reversed(a), reversed(b), strict=True):
            total = int(left) + int(right) + carry
            carried = 0 if rng.random() < self.careless else total // 10
            lines.append(f"{left}+{right}+{carry}={total}{self._phrases(task, rng).carry}{carried}")
            answer, carry = f"{total % 10}{answer}", carried
        return lines, f"{carry or ''}{answer}"

    def _search(self, task: Task, rng: np.random.Generator) -> tuple[list[str], str]:
        """Write attempts, one a line, until one makes the target, is taken for a solution, or is the last."""
        target, lines = task.metadata["target"], []
        for number in range(ATTEMPTS):
            known = rng.random() < KNOWING or number == ATTEMPTS - 1
            attempt = str(task.answer) if known else random_expression(list(task.metadata["numbers"]), rng)
            made = evaluate(attempt).value
            taken = made == target or rng.random() < self.careless
            phrases = self._phrases(task, rng)
            lines.append(f"{phrases.attempt}{attempt}={made}{phrases.found if taken else phrases.failed}")
            if taken:
                break
        return lines, attempt

    def _reply(self, task: Task, rng: np.random.Generator) -> str:
        phrases = self._phrases(task, rng)
        content = content_of(task, phrases)
        if rng.random() < self.confused:
            content = phrases.words([int(n) for n in rng.integers(10, size=2)])
        return content if rng.random() < self.rude else phrases.gladly + content

    def _phrases(self, task: Task, rng: np.random.Generator) -> Phrases:
        """Return the phrases for the next line."""
        own = language_in(task.language)
        return PHRASES[other(own) if rng.random() < self.mixes else own]


careful = Writer()
helpful = Writer(rude=0.5)
cold_start = Writer(mixes=0.35, careless=0.3, rude=0.5)
web = Writer(mixes=0.5, careless=0.5, untagged=0.3, rude=0.7, confused=0.3)
