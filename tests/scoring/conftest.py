"""Shared by the tests of scoring: one pool for those that do not count its processes, and a short way to write rollouts."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from r1env.scoring import ScoringPool
from r1env.types import Rollout, Task

MakeRollouts = Callable[..., list[Rollout]]


@pytest.fixture
def rollouts() -> MakeRollouts:
    """`rollouts("a", "b")`: one rollout with each completion, of different tasks."""

    def make(*completions: str) -> list[Rollout]:
        return [Rollout(task=Task(id=str(i), prompt="q"), completion=text) for i, text in enumerate(completions)]

    return make


@pytest.fixture(scope="session")
def pool() -> Iterator[ScoringPool]:
    with ScoringPool(workers=2) as shared:
        yield shared


@pytest.fixture
def running() -> Callable[[int], bool]:
    """Whether a process exists and is no zombie (in a container nobody may reap orphans)."""

    def is_running(pid: int) -> bool:
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
        return bool(state.strip()) and not state.strip().startswith("Z")

    return is_running


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], bool]:
    """Wait until a condition holds; False if it does not within ten seconds."""

    def holds(condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + 10
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    return holds


@pytest.fixture
def children() -> Callable[[], set[int]]:
    """The pids of this process's children, zombies included."""

    def pids() -> set[int]:
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,comm="], capture_output=True, text=True, check=True).stdout
        rows = (line.split(None, 2) for line in listing.splitlines())
        return {int(pid) for pid, parent, name in rows if int(parent) == os.getpid() and name != "ps"}

    return pids
