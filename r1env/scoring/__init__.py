"""Scoring: run each reward where it belongs (inline, in killable workers, on an event loop) and combine the scores.

    scores = r1env.score(rollouts, rubric)            # from any thread, inside a running event loop too
    scores = await r1env.ascore(rollouts, rubric)     # the same, without blocking the loop

The files, from the call down to the child process: `dispatch` decides what runs where, finds equal rollouts, and runs the event loop
of asynchronous rewards. `pool` divides jobs into chunks and gives them to workers. `process` is the parent's handle of one worker, and
`protocol` defines the messages between the two. `worker` is what runs in the child processes; there, `limits` bounds what a rollout may
cost, and `state` checks that it has left the worker unchanged. `system` holds the calls that only Linux has.

Names are loaded when they are first used: a worker imports this package too, and starts faster without the caller's half.
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
    from r1env.scoring import dispatch  # it has all of them

    return getattr(dispatch, name)
