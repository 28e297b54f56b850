"""The verdicts of our rewards on fixed completions. They change only together with the version of the reward's distribution.

After a change that is meant: raise the version in the package's `__init__.py`, and run `python tests/audit/test_frozen_verdicts.py`.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import r1env
from r1env.audit import SAMPLE_TASKS

FILE = Path(__file__).with_suffix(".json")
REWARDS = {
    "math": "r1env-math",
    "choice": "r1env-math",
    "short_answer": "r1env-logic",
    "exact": "r1env-logic",
    "format": "r1env-format",
    "format_partial": "r1env-format",
    "repetition": "r1env-format",
    "language": "r1env-language",
}
FORMS = (
    "{0}",
    "The answer is {0}.",
    "\\boxed{{{0}}}",
    "$\\boxed{{{0}}}$ is what we get.",
    "<think>I think.</think><answer>{0}</answer>",
    "<think>{0}</think>",
    "<think>I think.</think> So it is **{0}**",
    "#### {0}",
    "It is not {0}.",
    "{0} or 5",
    "Answer: {0} ",
    "最终答案是 {0}。",
)


def completions() -> Iterator[r1env.Rollout]:
    for task in SAMPLE_TASKS:
        for answer in (task.answer, *task.metadata.get("wrong", ("43",))[:2]):
            for form in FORMS:
                yield r1env.Rollout(task=task, completion=form.format(answer))


def verdicts(name: str) -> str:
    """Return a character for each completion: the value as a digit of tenths (T for 1), or `-` for none."""
    reward = r1env.get_reward(name)
    values = (reward.score(rollout).value for rollout in completions())
    return "".join("-" if value is None else "T" if value >= 1 else str(max(0, int(10 * value))) for value in values)


@pytest.mark.parametrize("name", REWARDS)
def test_verdicts_change_only_with_the_version(name):
    frozen = json.loads(FILE.read_text("utf-8"))[name]
    found = verdicts(name)
    version = importlib.metadata.version(REWARDS[name])
    if found != frozen["verdicts"]:
        place = next(n for n, (old, new) in enumerate(zip(frozen["verdicts"], found, strict=True)) if old != new)
        rollout = list(completions())[place]
        raise AssertionError(
            f"{name} {version} judges {rollout.completion!r} for {rollout.task.answer!r} otherwise than {frozen['version']} did "
            f"({frozen['verdicts'][place]} → {found[place]}): raise the version of {REWARDS[name]}, and run this file"
        )
    assert version == frozen["version"], "the version is new and its verdicts are the old ones: run this file"


if __name__ == "__main__":
    table = {name: {"version": importlib.metadata.version(REWARDS[name]), "verdicts": verdicts(name)} for name in REWARDS}
    FILE.write_text(json.dumps(table, indent=2) + "\n", "utf-8")
