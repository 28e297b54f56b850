"""Rewards for the tests of jobs, most of which go wrong, in the calling process if they are let. Imported by name, here and by the
processes of a job.
"""

from __future__ import annotations

import os
import time

import r1env

LIMITS = r1env.Limits(wall_seconds=2.0)
FAULTS = {"2": "die", "3": "hang", "4": "raises"}
"""The greatest digit of a task's answer → what `treacherous` does: for about one task in 15."""


@r1env.reward(name="hang", isolation="inline", limits=LIMITS)
def hang(completion: str) -> float:
    while True:
        time.sleep(1)


@r1env.reward(name="raises", isolation="inline")
def raises(completion: str) -> float:
    raise RuntimeError("as it was told to")


@r1env.reward(name="die", isolation="inline")
def die(completion: str) -> float:
    os._exit(7)


@r1env.reward(name="treacherous", isolation="inline", limits=LIMITS)
def treacherous(task: r1env.Task) -> float:
    """1 for most tasks; hangs, raises or kills its process for the others."""
    fault = FAULTS.get((task.answer or "")[-1:])
    return {"hang": hang, "raises": raises, "die": die}[fault]("") if fault else 1.0


@r1env.reward(name="digits", isolation="inline")
def digits(completion: str) -> float:
    """The share of digits: what even an untrained model can learn in a few steps."""
    return sum(character.isdigit() for character in completion) / max(1, len(completion))
