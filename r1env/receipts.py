"""Score receipts: which code gave a run its scores, and whether today's code would give them again.

A run's manifest has a receipt for each reward (`receipt`); its rollouts have what scoring them again takes (`RolloutRow`). `verify` scores
a sample again and names every part that no longer agrees.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import math
import random
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r1env.errors import UsageError
from r1env.importing import is_file_module
from r1env.plugins import Plugins
from r1env.rewards import Reward
from r1env.rubrics import Rubric, WeightedReward
from r1env.runs.run import Run
from r1env.scoring import score
from r1env.types import Message, Rollout, Score, Task, TaskKind, Turn

TOLERANCE = 1e-9  # of values: sums in another order may differ in the last bits


def receipt(reward: Reward) -> dict[str, str | None]:
    """Return which code a reward is.

    Returns:
        `function` and `sha256` (see `Reward.identity`), `distribution` and `version` of the package that it is from, and `sources`, the SHA-256
        over all Python files of that package. The last three are None for a reward in a file or a notebook.
    """
    module = getattr(reward.function, "__module__", None) or type(reward.function).__module__
    package = module.partition(".")[0]
    found: dict[str, str | None] = {"distribution": None, "version": None, "sources": None}
    if not is_file_module(module) and package != "__main__":
        found = {**_distribution(package), "sources": _sources_digest(package)}
    return {**reward.identity, **found}


def receipts(rubrics: Sequence[Rubric]) -> dict[str, dict[str, str | None]]:
    """Return the receipt of each reward of some rubrics, by the reward's name."""
    return {item.reward.name: receipt(item.reward) for rubric in rubrics for item in rubric.rewards}


@functools.cache
def _distribution(package: str) -> dict[str, str | None]:
    """Return name and version of the distribution that a package is from."""
    # By its name first: to ask which distribution has a package reads the list of files of all that are installed, a second's work.
    name = package.replace("_", "-")
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return {"distribution": name, "version": importlib.metadata.version(name)}
    owners = importlib.metadata.packages_distributions().get(package, [])
    return (
        {"distribution": owners[0], "version": importlib.metadata.version(owners[0])}
        if owners
        else dict.fromkeys(("distribution", "version"))
    )


@functools.cache
def _sources_digest(package: str) -> str | None:
    file = getattr(sys.modules.get(package), "__file__", None)
    if file is None:
        return None
    root = Path(file).parent if Path(file).name == "__init__.py" else None
    files = sorted(root.rglob("*.py")) if root else [Path(file)]
    digest = hashlib.sha256()
    for path in files:
        name = path.relative_to(root or path.parent).as_posix()
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


# Verifying.


@dataclass(frozen=True, slots=True)
class Change:
    """A rollout whose score is another today.

    Attributes:
        row: the rollout's number in the run.
        what: `reward`, `status`, or the name of the part that differs.
        before, now: the values, None where there was none.
    """

    row: int
    stage: str
    step: int
    task_id: str
    what: str
    before: float | str | None
    now: float | str | None
    reason: str = ""


@dataclass(slots=True)
class Verification:
    """What came of scoring a sample of a run's rollouts again.

    Attributes:
        verified, agreeing: number of rollouts that were scored again, and of those whose score is the same.
        left_out: why rollouts could not be scored again → how many.
        changes: one for each value that differs.
        code: rewards whose code is not that of the run: name → (field, before, now) of what differs in the receipt.
    """

    verified: int = 0
    agreeing: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    changes: list[Change] = field(default_factory=list)
    code: dict[str, list[tuple[str, str | None, str | None]]] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether something was scored again and all of it agrees. Other code that gives the same scores is no fault."""
        return self.verified > 0 and not self.changes


def verify(run: Run, plugins: Plugins, *, count: int = 256, seed: int = 0) -> Verification:
    """Score about `count` of the run's training rollouts again, in whole groups, with the rewards that are installed now.

    Args:
        count: rollouts of each stage; 0 is all of them.
        seed: decides which groups are drawn.

    Raises:
        UsageError: the run has no stage with a rubric, or no rollouts.
    """
    found, stages = Verification(), run.manifest.get("stages", {})
    rubrics = {name: list(_rubrics_of(facts)) for name, facts in stages.items() if "rubric" in facts or "rubrics" in facts}
    if not rubrics:
        raise UsageError(
            f"{run.path} has no stage whose rollouts were scored by a rubric; `r1env rescore` scores evaluations again"
        )
    for stage, described in rubrics.items():
        made = {environment: _make(items, on_none, plugins) for environment, items, on_none in described}
        known = {**stages[stage].get("receipts", {}), **stages[stage].get("late", {}).get("receipts", {})}
        for name, now in receipts(list(made.values())).items():
            differing = [
                (key, known[name].get(key), now[key]) for key in now if name in known and known[name].get(key) != now[key]
            ]
            if differing:
                found.code[name] = differing
        _verify_stage(run, stage, made, found, _draw(run, stage, count, seed))
    if not found.verified and not found.left_out:
        raise UsageError(f"{run.path} has no rollouts of training to score again")
    return found


def _rubrics_of(facts: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]], Any]]:
    """Yield (environment, described rewards, on_none) as `run.note` keeps them; the environment is empty where there is one rubric."""
    if "rubric" in facts:
        yield "", facts["rubric"], facts.get("on_none", "unscored")
    for environment, items in facts.get("rubrics", {}).items():
        yield environment, items, facts.get("on_none", {}).get(environment, "unscored")


def _make(items: Sequence[Mapping[str, Any]], on_none: Any, plugins: Plugins) -> Rubric:
    """Return the rubric that a manifest describes, of the rewards that are installed now.

    Raises:
        UsageError: a reward is neither installed nor where its function was.
    """
    rewards = []
    for item in items:
        name = item["reward"] if item["reward"] in plugins.provided("rewards") else item["function"]
        rewards.append(WeightedReward(plugins.reward(name, **item["settings"]), item["weight"]))
    return Rubric("of the run", rewards, on_none)


def _draw(run: Run, stage: str, count: int, seed: int) -> frozenset[int]:
    """Return the numbers of the rollouts to score again: whole groups, drawn at random."""
    groups: dict[tuple[int, int | None, str], list[int]] = {}
    for row in run.rollouts(["row", "stage", "kind", "step", "group", "task_id"]):
        if row["stage"] == stage and row["kind"] == "train":
            groups.setdefault((row["step"], row["group"], row["task_id"]), []).append(row["row"])
    members = list(groups.values())
    random.Random(seed).shuffle(members)
    drawn: list[int] = []
    for group in members:
        if count and len(drawn) >= count:
            break
        drawn += group
    return frozenset(drawn)


def _verify_stage(run: Run, stage: str, rubrics: Mapping[str, Rubric], found: Verification, drawn: frozenset[int]) -> None:
    by_rubric: dict[str, list[dict[str, Any]]] = {}
    late = run.manifest["stages"][stage].get("late")
    for row in run.rollouts(rows=drawn):
        environment = row["environment"] if row["environment"] in rubrics else ""
        if row["error"]:
            found.left_out["the environment or the engine had failed"] += 1
        elif row.get("task") is None:
            found.left_out["the task is too large to be stored with each rollout"] += 1
        elif environment not in rubrics:
            found.left_out[f"the run has no rubric for the environment {row['environment']!r}"] += 1
        elif late is not None and not _has_parts(row, rubrics[environment]):
            found.left_out["the last steps had another rubric"] += 1
        else:
            by_rubric.setdefault(environment, []).append(row)
    for environment, rows in by_rubric.items():
        for row, now in zip(rows, score([rollout_of(row) for row in rows], rubrics[environment], notify=False), strict=True):
            changes = list(_changes(row, now))
            found.verified += 1
            found.agreeing += not changes
            found.changes += changes


def _has_parts(row: Mapping[str, Any], rubric: Rubric) -> bool:
    return {part["name"] for part in row["parts"]} == set(rubric.part_keys)


def _changes(row: Mapping[str, Any], now: Score) -> Iterator[Change]:
    place = {"row": row["row"], "stage": row["stage"], "step": row["step"], "task_id": row["task_id"], "reason": now.reason}
    before = {part["name"]: part["value"] for part in row["parts"]}
    pairs = [("reward", row["reward"], now.value), *((name, before.get(name), value) for name, value in now.parts.items())]
    for what, old, new in pairs:
        new = None if new is None or math.isnan(new) else new
        if (old is None) != (new is None) or (old is not None and new is not None and abs(old - new) > TOLERANCE):
            yield Change(**place, what=what, before=old, now=new)
    if row["status"] != now.status:
        yield Change(**place, what="status", before=row["status"], now=now.status.value)


def rollout_of(row: Mapping[str, Any]) -> Rollout:
    """Return a stored rollout as rewards see it. Its tokens have the right number and no ids; those of earlier turns are not known."""
    about = json.loads(row["task"])
    messages = tuple(_message(one) for one in row["prompt"])
    final: Message = {"role": "assistant", "content": row["completion"]}
    task = Task(
        id=row["task_id"],
        prompt=tuple(about["prompt"]) if about["prompt"] else row["question"],
        answer=row["answer"],
        tests=tuple(about["tests"]),
        kind=TaskKind(about["kind"]),
        language=about["language"],
        metadata=about["metadata"],
    )
    turns: tuple[Turn, ...] = ()
    if about["environment_reward"] is not None:
        turns = (Turn(message=final, reward=about["environment_reward"]),)
    return Rollout(
        task=task,
        completion=row["completion"],
        messages=(*messages, final, *(_message(one) for one in row["replies"])),
        finish_reason=row["finish_reason"],
        turns=turns,
        token_ids=(0,) * row["tokens"] if row["turns"] == 1 and row["tokens"] is not None else None,
        ended_by=row["ended_by"],
    )


def _message(stored: Mapping[str, Any]) -> Message:
    message = {key: value for key, value in stored.items() if value is not None}
    if "tool_calls" in message:
        message["tool_calls"] = json.loads(message["tool_calls"])
    return message  # type: ignore[return-value]  # the keys are those of `r1env.runs.rollouts.schema`
