"""Scoring: run each reward where it belongs (inline, in killable workers, on an event loop) and combine the scores.

    scores = r1env.score(rollouts, rubric)            # from any thread, inside a running event loop too
    scores = await r1env.ascore(rollouts, rubric)     # the same, without blocking the loop

The files, from the call down to the child process: `dispatch` decides what runs where, finds equal rollouts, and has the event loop
of asynchronous rewards; `pool` divides jobs into chunks and gives them to workers; `process` is the parent's handle of one worker;
`protocol` is what the two say to each other; `worker` has the child processes; `limits` bounds what a rollout may cost, `state` proves
that it has left the worker as it was; `system` is what all this asks of Linux.

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
