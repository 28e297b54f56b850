"""`r1env score --ray`: chunks of lines are scored by the nodes of a Ray cluster, and come back in order.

Lines travel to the nodes and results back, so a node needs nothing but r1env and the plugins; no file system is shared. A chunk is a
task without side effects: what a lost node was scoring is scored again elsewhere, and each chunk is handed on once, by this process alone.
So every row is written exactly once. At most `AHEAD` chunks for each processor are under way, whatever the file's size.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import cloudpickle

from r1env.cli.chunks import Chunk, Scored, score_chunk
from r1env.errors import UsageError
from r1env.rewards import Reward
from r1env.rubrics import Rubric
from r1env.scoring import ScoringPool

AHEAD = 2
"""Chunks under way for each processor: one is scored, one waits."""
RETRIES = 5
"""A chunk that loses this many nodes may be what loses them."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """A connection to the cluster at `address`; None takes the one of RAY_ADDRESS, or starts one on this machine.

    Raises:
        UsageError: Ray is not installed, or no cluster is there.
    """
    ray = _ray()
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level="WARNING")
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"at {address!r}" if address else "here"
        raise UsageError(f"no Ray cluster could be reached {where}: {str(error).splitlines()[0]}") from error
    try:
        yield
    finally:
        ray.shutdown()


def score_on_cluster(chunks: Iterable[Chunk], scorer: Reward | Rubric) -> Iterator[Scored]:
    """Every chunk, scored, in the order given. Inside `connected`.

    Raises:
        UsageError: the reward cannot be loaded on the nodes, or a chunk lost `RETRIES` nodes.
    """
    ray = _ray()
    packed = ray.put(cloudpickle.dumps(scorer))
    task = ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(_score_here)
    under_way: deque[Any] = deque()
    try:
        for chunk in chunks:
            while len(under_way) >= AHEAD * _processors(ray):
                yield _result(ray, under_way.popleft())
            under_way.append(task.remote(chunk, packed))
        while under_way:
            yield _result(ray, under_way.popleft())
    finally:
        for left in under_way:  # after Ctrl-C: what nobody waits for
            ray.cancel(left, force=True)


def _score_here(chunk: Chunk, packed: bytes) -> Scored:
    """On a node. A processor of Ray's is a scoring worker."""
    return score_chunk(chunk, _unpacked(packed), _pool())


@functools.lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Reward | Rubric:
    return cast(Reward | Rubric, cloudpickle.loads(packed))


@functools.cache
def _pool() -> ScoringPool:
    return ScoringPool(workers=1)


def _result(ray: Any, reference: Any) -> Scored:
    try:
        return cast(Scored, ray.get(reference))
    except ray.exceptions.RayError as error:
        cause = str(getattr(error, "cause", None) or error).strip().splitlines()
        raise UsageError(f"the cluster cannot score: {cause[-1] if cause else type(error).__name__}") from error


def _processors(ray: Any) -> int:
    """Of the cluster as it is now; nodes may join and leave."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise UsageError("--ray needs Ray: pip install 'r1env[ray]'") from error
    return ray
