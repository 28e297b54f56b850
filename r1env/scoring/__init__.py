"""Scoring: runs rewards where they belong (inline, in killable workers, on an event loop) and combines them.

    scores = r1env.score(rollouts, rubric)            # from any thread, inside a running event loop too
    scores = await r1env.ascore(rollouts, rubric)     # the same, without blocking the loop

How the files hang together, from the call down to the child process:
`dispatch` (what runs where) → `pool` (which job next) → `slot` (one chunk on one worker) → `process` (the parent's handle of a
worker) → `protocol` (the wire) → `worker` (the child) → `limits` (what an item may cost). Beside them `event_loop` runs
asynchronous rewards, `distinct` finds equal rollouts, `jobs` keeps what is still to do.

The names are loaded when first used: a worker imports this package too, and starts sooner without the caller's half.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r1env.scoring.dispatch import Scoring, ascore, score
    from r1env.scoring.pool import ScoringPool

__all__ = ["Scoring", "ScoringPool", "ascore", "score"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'r1env.scoring' has no attribute {name!r}")
    from r1env.scoring import dispatch  # which holds all of them

    return getattr(dispatch, name)
