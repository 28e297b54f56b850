"""What is measured on the way: the loss on held-out demonstrations, and the accuracy in an environment."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from r1env.engines import Sampling
from r1env.envs.suite import Suite, make_suite
from r1env.runs.run import Run
from r1env_trainers.engine import TransformersEngine
from r1env_trainers.evaluate.during import log_accuracy
from r1env_trainers.models.load import LoadedModel
from r1env_trainers.sft.config import TuningSettings
from r1env_trainers.sft.loss import Pair, forward_passes, make_batch, response_loss
from r1env_trainers.suites import open_suite


class Measurements:
    """Measures a model every `eval_every` steps, and at the end."""

    def __init__(self, config: TuningSettings, loaded: LoadedModel, held_out: Sequence[Pair] = ()) -> None:
        self._config = config
        self._loaded = loaded
        self._held_out = held_out
        self._suite = evaluation_suite(config)
        self._engine = TransformersEngine(loaded)

    def due(self, step: int) -> bool:
        """Whether the model is to be measured after `step` steps."""
        return bool(self._config.eval_every) and step % self._config.eval_every == 0

    def take(self, run: Run, step: int) -> bool:
        """Measure and log; True where the accuracy is reached that the stage shall stop at."""
        if self._held_out:
            run.log(step, {"eval/loss": held_out_loss(self._loaded, self._held_out, self._config)})
        if self._suite is None:
            return False
        sampling = Sampling(
            temperature=self._config.eval_temperature,
            top_p=1.0,
            max_new_tokens=self._config.eval_max_new_tokens,
            seed=self._config.seed,
        )
        limit, shown = self._config.eval_limit, self._config.eval_shown
        accuracy = log_accuracy(self._suite, self._engine, sampling, run, step, limit=limit, shown=shown)
        goal = self._config.stop_accuracy
        return goal is not None and accuracy is not None and accuracy >= goal


@torch.no_grad()
def held_out_loss(loaded: LoadedModel, pairs: Sequence[Pair], config: TuningSettings) -> float:
    """The mean of -log p over all response tokens of the pairs."""
    tokens = float(sum(len(response) for _, response in pairs))
    passes = forward_passes(pairs, loaded.model, config)
    return sum(float(response_loss(loaded.model, make_batch(one, loaded.pad, loaded.device), tokens)) for one in passes)


def evaluation_suite(config: TuningSettings) -> Suite | None:
    """The environments whose accuracy is measured; None where there are none.

    Raises:
        UsageError: an unknown environment, or options that its source refuses.
    """
    if not config.eval_every:
        return None
    if config.eval_env is not None and config.eval_env != config.env:
        return make_suite(config.eval_env, template=config.eval_template, **config.eval_options)
    if config.env is None and not config.mixture:
        return None
    same_tasks = config.model_copy(
        update={
            "template": config.eval_template or config.template,
            "mixture": tuple(share.model_copy(update={"rubric": None}) for share in config.mixture),
        }
    )
    return open_suite(same_tasks, "accuracy", **config.eval_options)
