"""Whether this process is a scoring worker. If a reward in a worker scores something itself, that runs inline, in the worker:
under the limits of the outer rollout, and without workers of workers."""

from __future__ import annotations

_inside_worker = False


def become_worker() -> None:
    """Said once, by a worker's main."""
    global _inside_worker
    _inside_worker = True


def inside_worker() -> bool:
    """True in a scoring worker, and in what it forks."""
    return _inside_worker
