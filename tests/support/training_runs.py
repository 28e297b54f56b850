"""Runs of plans, interrupted ones, and what must be the same in two of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from r1env.recipes import Plan, execute
from r1env.rewards import reward
from r1env.runs.run import Run, StepEvent
from r1env_trainers.model.load import load_model


@reward(name="digits")
def digits(completion: str) -> float:
    """A reward that untrained models earn now and then, so that groups are mixed. Its place is `training_runs:digits`."""
    return sum(character.isdigit() for character in completion) / 12


OF_THE_MACHINE = ("time", "tokens_per_second", "seconds", "memory/")


def start(plan: Plan, path: Path) -> Run:
    return Run.create(path, plan.model_dump(mode="json"), seed=0)


def trained(plan: Plan, path: Path) -> Run:
    run = start(plan, path)
    execute(plan, run)
    return run


def interrupted(plan: Plan, path: Path, when: Callable[[StepEvent], bool]) -> Run:
    """A run that Ctrl-C ended at the first event of which `when` holds, opened again."""
    run = start(plan, path)

    def listen(event: StepEvent) -> None:
        if when(event):
            raise KeyboardInterrupt

    run.subscribe(listen)
    with pytest.raises(KeyboardInterrupt):
        execute(plan, run)
    return Run.open(path)


def at_step(step: int) -> Callable[[StepEvent], bool]:
    return lambda event: event.step == step


def told(run: Run, stage: str | None = None) -> list[dict[str, Any]]:
    """The metrics without what the clock and the machine say."""
    return [{k: v for k, v in row.items() if not k.startswith(OF_THE_MACHINE)} for row in run.metrics(stage)]


def kept(run: Run) -> list[dict[str, Any]]:
    """The stored rollouts without what the clock says."""
    return [{k: v for k, v in row.items() if k not in ("time", "seconds")} for row in run.rollouts()]


def assert_bit_for_bit(resumed: Run, whole: Run, stage: str) -> None:
    """Both runs told the same, and left the same weights."""
    assert told(resumed) == told(whole)
    assert kept(resumed) == kept(whole)
    assert_same_weights(*(load_model(str(run.model_dir(stage))).model.state_dict() for run in (resumed, whole)))


def assert_same_weights(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in other)
