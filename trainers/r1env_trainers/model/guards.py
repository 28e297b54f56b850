"""Numerical guards: a loss, a gradient or a weight that is not finite is never stepped on, saved or loaded; it is counted and shown.

One step on a gradient of NaN makes every weight NaN. A sampler then draws the same token for ever, all rewards are alike, and
training goes on with a loss of 0 and overwrites its checkpoints. So every optimizer step asks first whether its loss and its
gradient norm are finite (both are on the host anyway), and every model is looked at when it is loaded and when it is saved.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from r1env.errors import TrainingStoppedError, UsageError
from r1env.runs.run import Run

logger = logging.getLogger(__name__)

SKIPPED = "skipped_updates"
"""Metric: optimizer steps of a training step that were not taken because a loss or a gradient was not finite."""
UPDATES = "updates"
"""Metric: optimizer steps that were taken, in trainers that may take several in a training step."""
MOST_ROWS = 8  # that are named in an event
SHOWN = 200  # characters of a text in an event
TO_TRY = (
    "lower optim.lr or lengthen optim.warmup_steps; look at the rows that the run's events.jsonl names; "
    "and on a GPU compare with --device cpu, which computes in float32"
)


class Guard:
    """Watches the steps of a run, and ends it when too many in a row could not be learned from.

    Args:
        limit: training steps in a row without any optimizer step, see `optim.max_bad_steps`.

    Attributes:
        bad: how many there have been in a row by now.
        steps, taken, skipped: training steps of this process, optimizer steps that were taken in them, and those that were skipped.

    Example:
        >>> Guard(run, limit=3).after(7, {"skipped_updates": 1.0}, at_fault=lambda: [{"row": 5}])
    """

    def __init__(self, run: Run, limit: int) -> None:
        self._run = run
        self._limit = limit
        self.bad = self.steps = self.taken = self.skipped = 0

    def after(self, step: int, metrics: Mapping[str, float], *, at_fault: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
        """Record skipped optimizer steps of a training step, with the rows that caused it.

        Args:
            step: from 1, as it is logged.
            metrics: of the step; `SKIPPED` and `UPDATES` of them count.
            at_fault: finds and describes these rows; called only where something was skipped.

        Raises:
            TrainingStoppedError: `limit` steps in a row took no optimizer step.
        """
        skipped = int(metrics[SKIPPED])
        taken = int(metrics.get(UPDATES, 0 if skipped else 1))  # trainers without the metric take one in a step
        self.steps, self.taken, self.skipped = self.steps + 1, self.taken + taken, self.skipped + skipped
        if not skipped:
            self.bad = 0
            return
        self.bad = 0 if taken else self.bad + 1
        rows = at_fault()
        shown = {name: metrics[name] for name in ("loss", "grad_norm", "value/loss", "value/grad_norm") if name in metrics}
        event = {"kind": "skipped", "updates": skipped, **shown, "rows_at_fault": len(rows), "rows": list(rows[:MOST_ROWS])}
        self._run.log_event(step, event)
        logger.warning(
            "step %d: %d of %d optimizer steps skipped, since the loss or its gradient is not finite; rows at fault: %s",
            step,
            skipped,
            skipped + taken,
            "; ".join(_line(row) for row in rows[:3]) + (f"; and {len(rows) - 3} more" if len(rows) > 3 else ""),
        )
        if self.bad >= self._limit:
            folder = self._run.checkpoint_dir
            _set_aside(folder, since=step - self.bad)
            raise TrainingStoppedError(
                f"step {step}: no finite loss and gradient for {self.bad} steps in a row; {last_good(folder)}; try this: {TO_TRY}"
            )

    def at_the_end(self) -> None:
        """Say so where training is over and nothing was learned: the model is the one that these steps began with.

        Raises:
            TrainingStoppedError: because no loss and gradient was finite, in fewer steps than `limit`.
        """
        if self.taken or not self.steps:
            return
        if self.skipped:
            raise TrainingStoppedError(f"no finite loss and gradient in any of the {self.steps} steps; try this: {TO_TRY}")
        logger.warning(
            "no optimizer step was taken in any of the %d steps, since no group had rewards that differ: the model is the one that they "
            "began with",
            self.steps,
        )


def _line(row: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value!r}" if name != "prompt" else f"prompt=…{str(value)[-40:]!r}" for name, value in row.items())


def _set_aside(folder: Path, since: int) -> None:
    """Hide the checkpoints of step `since` and later: they hold the very weights that computed nothing finite from then on."""
    for path in folder.glob("step-*"):
        if int(path.name.removeprefix("step-")) >= since:
            hidden = path.with_name(f".diverged-{path.name}")
            path.rename(hidden)
            logger.warning("%s is set aside as %s: nothing finite came out of it", path, hidden.name)


def last_good(folder: Path) -> str:
    """Say which checkpoint of a stage is the result of a run that had to stop."""
    found = sorted(path for path in folder.glob("step-*") if path.is_dir())
    return f"the last good checkpoint is {found[-1]}" if found else "there is no checkpoint yet (see checkpoint.every)"


# Which rows are at fault.


def rows_at_fault(
    micro_batches: Iterable[Sequence[int]], loss_of: Callable[[Sequence[int]], Tensor], parameters: Iterable[nn.Parameter]
) -> list[int]:
    """Return the rows whose loss or gradient is not finite, found by bisection: k of n rows take about k log2(n) passes.

    Args:
        micro_batches: the rows of each forward pass of the update that was skipped.
        loss_of: computes the loss of some of them, with gradient.
        parameters: whose gradients are looked at; left without any.

    Returns:
        the rows; all of a micro-batch where together they are not finite and none of them is by itself.
    """
    weights = [parameter for parameter in parameters if parameter.requires_grad]

    def faulty(some: Sequence[int]) -> bool:
        loss = loss_of(some)
        loss.backward()
        finite = bool(loss.isfinite()) and all(w.grad is None or bool(w.grad.isfinite().all()) for w in weights)
        for weight in weights:
            weight.grad = None
        return not finite

    def search(some: Sequence[int]) -> list[int]:
        if len(some) == 1:
            return list(some)
        halves = (some[: len(some) // 2], some[len(some) // 2 :])
        return [row for half in halves if faulty(half) for row in search(half)] or list(some)

    return [row for batch in micro_batches if faulty(batch) for row in search(batch)]


def shown(text: str) -> str:
    """Return a text cut to what an event stores of it: its end, where prompts differ."""
    return text if len(text) <= SHOWN else "…" + text[-SHOWN:]


def shown_ids(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int] | Tensor) -> str:
    """Return `shown` of the text of token ids."""
    return shown(str(tokenizer.decode(ids)))  # type: ignore[arg-type]  # it takes tensors too


# Weights.


@torch.no_grad()
def first_not_finite(named: Iterable[tuple[str, Tensor]]) -> str | None:
    """Return the name of the first floating-point tensor with a NaN or an infinity; None where all are finite.

    One pass over memory without a copy, and one wait for the device.
    """
    tensors = [(name, tensor) for name, tensor in named if tensor.is_floating_point() and tensor.numel()]
    if not tensors:
        return None
    largest = torch.stack([torch.linalg.vector_norm(tensor.detach(), math.inf).float() for _, tensor in tensors])
    bad = (~largest.isfinite()).nonzero().flatten().tolist()
    return tensors[bad[0]][0] if bad else None


def check_loaded(model: PreTrainedModel, name: str) -> None:
    """Refuse a model whose weights are not finite.

    Raises:
        UsageError: naming the first such tensor.
    """
    found = first_not_finite(model.named_parameters())
    if found is not None:
        raise UsageError(
            f"the model {name!r} has weights that are not finite, first in {found}: whatever it computes would be NaN; it was "
            "saved after its training broke, so take an earlier checkpoint or load it again from where it came"
        )


def why_unusable(model: PreTrainedModel) -> str | None:
    """Return what keeps a trained model from being worth saving; None where its weights are finite and what it computes is too.

    Finite weights are not enough: those of a diverged run are, and no forward pass survives them.
    """
    found = first_not_finite(model.named_parameters())
    if found is not None:
        return f"weights are not finite, first in {found}"
    ids = torch.arange(8, device=model.device)[None] % model.config.get_text_config().vocab_size
    with torch.no_grad():
        logits: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    return None if bool(logits.isfinite().all()) else "its outputs are not finite, though its weights are"
