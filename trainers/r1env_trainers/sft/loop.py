"""The SFT loop: demonstrations, one cross-entropy loss, evaluation on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from r1env.engines import SamplingParams
from r1env.envs.suite import Suite
from r1env.preflight import check_suites
from r1env.runs.run import Run
from r1env.runs.stages import is_stage
from r1env_trainers.evaluate import log_accuracy
from r1env_trainers.generate.engine import TransformersEngine, context_length
from r1env_trainers.model.batching import left_pad, micro_batches, within_memory
from r1env_trainers.model.guards import rows_at_fault, shown_ids
from r1env_trainers.model.llama import is_llama
from r1env_trainers.model.load import LoadedModel, check_vocabulary, end_of_turn
from r1env_trainers.model.logprobs import TokenBatch, completion_logprobs
from r1env_trainers.model.session import Checkpoints, Session, begin, check_local, fingerprint, optimizer_step, save_result
from r1env_trainers.settings import SuiteSettings, open_evaluation, open_suite
from r1env_trainers.sft.config import SFTConfig, TuningSettings
from r1env_trainers.sft.data import (
    Demonstrations,
    FileDemonstrations,
    best_fit,
    encode_within,
    open_demonstrations,
    padded_batches,
    prepare,
    prepare_file,
    rows_of,
    steps_of,
    waits_for_a_stage,
)
from r1env_trainers.sft.render import Demonstration, Encoded
from r1env_trainers.sft.rows import read_demonstrations

logger = logging.getLogger(__name__)


class SFTTrainer:
    """The trainer plugin `sft`: supervised fine-tuning in this process, on a CPU or one GPU."""

    def check(self, config: SFTConfig) -> None:
        check_local(config)
        evaluation_suite(config)
        if not waits_for_a_stage(config):
            open_demonstrations(config).at(0)
        if config.eval.data is not None and not is_stage(config.eval.data):
            read_demonstrations(config.eval.data, config.train_on)

    def train(self, config: SFTConfig, run: Run) -> None:
        held_out = [] if config.eval.data is None else read_demonstrations(config.eval.data, config.train_on)
        tune(config, open_demonstrations(config), held_out, run)


def tune(config: TuningSettings, demonstrations: Demonstrations, held_out: Sequence[Demonstration], run: Run) -> None:
    """Check the demonstrations, learn them, from the newest checkpoint where there is one, and leave the model."""
    session = begin(config, run)
    tokenizer = session.loaded.tokenizer
    if (context := context_length(session.loaded.model.config)) is not None:
        config = config.model_copy(update={"max_length": min(config.max_length, context)})
    demonstrations = prepare(demonstrations, tokenizer, config)
    config = config.model_copy(update={"steps": steps_of(config, demonstrations)})
    learn_to_stop(session.loaded)
    measured: list[Pair] = []
    if held_out:
        held_out = prepare_file(FileDemonstrations(held_out, config.seed, "eval.data"), tokenizer, config).rows
        measured = [_pair(encode_within(one, tokenizer, config)) for one in held_out]
    measurements = Measurements(config, session.loaded, measured)
    with Checkpoints(session, config, run, fingerprint(rows_of(demonstrations))) as checkpoints:
        for step in range(session.first_step, config.steps):
            if measurements.due(step) and measurements.take(run, step):
                break
            start = time.perf_counter()
            positions = range(step * config.optim.batch_size, (step + 1) * config.optim.batch_size)
            pairs = [_pair(encode_within(demonstrations.at(i), tokenizer, config)) for i in positions]
            metrics = _update(session, pairs, config, step, checkpoints.hold)
            run.log(step + 1, metrics | {"seconds/update": time.perf_counter() - start})
            session.guard.after(step + 1, metrics, at_fault=partial(_rows_at_fault, session.loaded, pairs, positions, config))
            checkpoints.step_done(step + 1)
        else:
            if config.eval.every:
                measurements.take(run, config.steps)
    save_result(session, config, run)


def learn_to_stop(loaded: LoadedModel) -> None:
    """Add what the model learns to end with to the tokens at which generation ends: the chat template's end of turn, and the tokenizer's end.

    A base model often has another end of sequence in its settings, and would go on past the end of its turn.
    """
    settings = loaded.model.generation_config
    if settings is None:
        return
    named = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
    learned = (end_of_turn(loaded.tokenizer), loaded.tokenizer.eos_token_id)
    ends = sorted({end for end in (*named, *learned) if isinstance(end, int)})
    if ends == sorted(end for end in named if end is not None):
        return
    settings.eos_token_id = ends
    try:
        settings.validate(strict=True)
    except ValueError:  # often a temperature with do_sample=false, which transformers saves only where nothing has changed
        settings.do_sample = True
        logger.warning(
            "generation_config.json of the model has sampling settings and do_sample=false; it is saved with do_sample=true"
        )


def _update(
    session: Session, pairs: Sequence[Pair], config: TuningSettings, step: int, hold: Callable[[], object]
) -> dict[str, float]:
    """Take one optimizer step on a batch of (prompt, response) ids; `hold` is called before weights change."""
    loaded = session.loaded
    check_vocabulary(loaded, (ids for pair in pairs for ids in pair), "a demonstration")
    tokens = float(sum(len(response) for _, response in pairs))

    def gradients(passes: list[list[int]]) -> Tensor:
        total = torch.zeros((), device=loaded.device)
        for places in passes:
            batch = make_batch([pairs[place] for place in places], loaded.pad, loaded.device)
            loss = response_loss(loaded.model, batch, tokens)
            loss.backward()
            total += loss.detach()
        return total

    total = within_memory(loaded.model, _forward_passes(pairs, loaded.model, config), gradients)
    hold()
    taken = optimizer_step(loaded, session.optimizer, config, step, total=config.steps, loss=float(total))
    return {"loss": float(total), "tokens": tokens} | taken


def _rows_at_fault(
    loaded: LoadedModel, pairs: Sequence[Pair], positions: Sequence[int], config: TuningSettings
) -> list[dict[str, Any]]:
    """Describe the demonstrations of a step whose loss or gradient is not finite."""

    def loss(places: Sequence[int]) -> Tensor:
        chosen = [pairs[place] for place in places]
        return response_loss(loaded.model, make_batch(chosen, loaded.pad, loaded.device), len(chosen))

    return [
        {
            "position": positions[place],
            "tokens": len(pairs[place][0]) + len(pairs[place][1]),
            "prompt": shown_ids(loaded.tokenizer, pairs[place][0]),
            "completion": shown_ids(loaded.tokenizer, pairs[place][1]),
        }
        for place in rows_at_fault(_forward_passes(pairs, loaded.model, config), loss, loaded.model.parameters())
    ]


# The loss: cross-entropy of the response's tokens, and of nothing else.

Pair = tuple[list[int], list[int]]
"""Token ids of a prompt and of its response."""


def _pair(encoded: Encoded) -> Pair:
    return encoded.prompt, encoded.response


def make_batch(pairs: Sequence[Pair], pad: int, device: torch.device) -> TokenBatch:
    """Stack (prompt, response) token ids: prompts padded on the left, responses on the right."""
    prompt_ids, prompt_mask = left_pad([prompt for prompt, _ in pairs], pad, device)
    length = max(len(response) for _, response in pairs)
    ids = torch.full((len(pairs), length), pad, dtype=torch.long)
    mask = torch.zeros((len(pairs), length))
    for row, (_, response) in enumerate(pairs):
        ids[row, : len(response)] = torch.tensor(response)
        mask[row, : len(response)] = 1
    return TokenBatch(prompt_ids, prompt_mask, ids.to(device), mask.to(device))


def response_loss(model: PreTrainedModel, batch: TokenBatch, tokens: float) -> Tensor:
    """Return -Σ log p(response token) / `tokens`, where `tokens` counts the response tokens of the whole step."""
    return -(completion_logprobs(model, batch) * batch.completion_mask).sum() / tokens


def forward_passes(pairs: Sequence[Pair], model: PreTrainedModel, config: TuningSettings) -> list[list[Pair]]:
    """Split the pairs of an optimizer step into micro-batches; the loss is unchanged."""
    return [[pairs[place] for place in batch] for batch in _forward_passes(pairs, model, config)]


def _forward_passes(pairs: Sequence[Pair], model: PreTrainedModel, config: TuningSettings) -> list[list[int]]:
    """Return the places of the pairs of each micro-batch."""
    lengths = [len(prompt) + len(response) for prompt, response in pairs]
    if config.optim.micro_batch_tokens is None:
        return micro_batches(lengths, model, config.optim.micro_batch_size)
    # Padding costs nothing only where Llama-shaped models run packed.
    return (best_fit if is_llama(model) else padded_batches)(lengths, config.optim.micro_batch_tokens)


# Evaluation during training: the loss on held-out demonstrations, and the accuracy in an environment.


class Measurements:
    """Measures a model every `eval_every` steps, and at the end."""

    def __init__(self, config: TuningSettings, loaded: LoadedModel, held_out: Sequence[Pair] = ()) -> None:
        self._config = config
        self._loaded = loaded
        self._held_out = held_out
        self._suite = evaluation_suite(config)
        self._engine = TransformersEngine(loaded)
        if self._suite is not None:
            check_suites([self._suite], config.preflight, self._engine, count=config.eval.limit)

    def due(self, step: int) -> bool:
        """Return whether to measure after `step` steps."""
        return bool(self._config.eval.every) and step % self._config.eval.every == 0

    def take(self, run: Run, step: int) -> bool:
        """Measure and log; return whether the accuracy has reached `stop_accuracy`."""
        if self._held_out:
            run.log(step, {"eval/loss": held_out_loss(self._loaded, self._held_out, self._config)})
        if self._suite is None:
            return False
        params = SamplingParams(
            temperature=self._config.eval.temperature,
            top_p=1.0,
            max_new_tokens=self._config.eval.max_new_tokens,
            seed=self._config.seed,
        )
        limit, shown = self._config.eval.limit, self._config.eval.samples
        accuracy = log_accuracy(self._suite, self._engine, params, run, step, limit=limit, shown=shown)
        goal = self._config.eval.stop_accuracy
        return goal is not None and accuracy is not None and accuracy >= goal


@torch.no_grad()
def held_out_loss(loaded: LoadedModel, pairs: Sequence[Pair], config: TuningSettings) -> float:
    """Return the mean of -log p over all response tokens of the pairs."""
    tokens = float(sum(len(response) for _, response in pairs))
    passes = forward_passes(pairs, loaded.model, config)
    return sum(float(response_loss(loaded.model, make_batch(one, loaded.pad, loaded.device), tokens)) for one in passes)


def evaluation_suite(config: TuningSettings) -> Suite | None:
    """Return the environments whose accuracy is measured; None where there are none.

    Raises:
        UsageError: an unknown environment, or options that its source refuses.
    """
    if not config.eval.every:
        return None
    if config.eval.env is not None and config.eval.env != config.env:
        elsewhere = SuiteSettings(env=config.eval.env, env_options=config.eval.env_options, template=config.eval.template)
        return open_evaluation(elsewhere, "accuracy")
    if config.env is None and not config.mixture:
        return None
    same_tasks = config.model_copy(
        update={
            "template": config.eval.template or config.template,
            "mixture": tuple(share.model_copy(update={"rubric": None}) for share in config.mixture),
        }
    )
    return open_evaluation(same_tasks, "accuracy", [open_suite(config, "accuracy")], **config.eval.env_options)
