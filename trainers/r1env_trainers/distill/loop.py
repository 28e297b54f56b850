"""The trainer `distill`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from r1env.engines import derive_seed
from r1env.envs.suite import Suite
from r1env.errors import UsageError
from r1env.preflight import check_suites
from r1env.rollout import play
from r1env.runs.run import Run
from r1env.runs.stages import is_stage
from r1env_trainers.distill.config import DistillConfig
from r1env_trainers.distill.divergence import chunked_reverse_kl, policy_gradient
from r1env_trainers.evaluate import SAMPLED_TOKENS
from r1env_trainers.generate.engine import LocalEngine, Sampler
from r1env_trainers.model.batching import within_memory
from r1env_trainers.model.guards import rows_at_fault, shown_ids
from r1env_trainers.model.load import LoadedModel, check_model_name, load_model
from r1env_trainers.model.logprobs import TokenBatch, completion_logprobs, micro_batches_of, predicted
from r1env_trainers.model.session import Checkpoints, Session, begin, check_local, fingerprint, optimizer_step, save_result
from r1env_trainers.rejection.data import DATA, by_domain, check_extra, extra_rows, write_data
from r1env_trainers.rejection.draw import check_draw, demonstrations, draw_samples
from r1env_trainers.rejection.statistics import make_table, merged
from r1env_trainers.rl.rollouts import draw_tasks, tasks_of, to_tokens
from r1env_trainers.settings import open_suite
from r1env_trainers.sft.data import FileDemonstrations
from r1env_trainers.sft.loop import Measurements, evaluation_suite, tune
from r1env_trainers.sft.rows import read_demonstrations


class DistillTrainer:
    """The trainer plugin `distill`."""

    def check(self, config: DistillConfig) -> None:
        check_local(config)
        if config.engine.name == "transformers" and not is_stage(config.teacher):
            check_model_name(config.teacher)
        check_draw(config)
        check_extra(config.extra)
        evaluation_suite(config)

    def train(self, config: DistillConfig, run: Run) -> None:
        if config.method == "sft":
            distill_from_samples(config, run)
        else:
            distill_on_policy(config, run)


# Method `sft`: the teacher answers, the student learns the correct and readable answers.


def distill_from_samples(config: DistillConfig, run: Run) -> None:
    """Sample, select, tune. Finished batches and checkpoints survive a crash at any moment."""
    data = run.stage_file(DATA)
    # Metrics of all batches are logged under step 0: the steps of this stage are the student's.
    shards = draw_samples(config, config.teacher, config.device, config.seed, run, step=0)
    rows = demonstrations(shards)
    extra = extra_rows(config.extra, len(rows), config.seed)
    write_data(data, [*rows, *extra])
    run.note(samples=make_table(merged(shard.counts for shard in shards), by_domain(extra)).model_dump()["data"])
    tune(config, FileDemonstrations(read_demonstrations(str(data)), config.seed), [], run)


# Method `on_policy`: the student answers, and learns the teacher's distribution on its own tokens (GKD, arXiv 2306.13649).


def distill_on_policy(config: DistillConfig, run: Run) -> None:
    """Train the student, from the newest checkpoint where there is one."""
    session = begin(config, run)
    student = session.loaded
    teacher = load_model(config.teacher, device=student.device, seed=config.seed)
    check_one_tokenizer(student, teacher)
    suite, engine = open_suite(config, config.rubric), LocalEngine(Sampler(student))
    check_suites([suite], config.preflight, engine, seed=config.seed)
    measurements = Measurements(config, student)
    with Checkpoints(session, config, run, fingerprint(tasks_of([suite]))) as checkpoints:
        for step in range(session.first_step, config.steps):
            if measurements.due(step) and measurements.take(run, step):
                break
            start = time.perf_counter()
            answers = _answers(suite, student, engine, config, step)
            generated = time.perf_counter()
            metrics = _update(session, teacher, answers, config, step, checkpoints.hold)
            seconds = {"seconds/generate": generated - start, "seconds/update": time.perf_counter() - generated}
            run.log(step + 1, metrics | _lengths(answers) | seconds)
            session.guard.after(step + 1, metrics, at_fault=partial(_rows_at_fault, student, teacher, answers, config))
            checkpoints.step_done(step + 1)
        else:
            if config.eval.every:
                measurements.take(run, config.steps)
    save_result(session, config, run)


def check_one_tokenizer(student: LoadedModel, teacher: LoadedModel) -> None:
    """Refuse models with different tokenizers.

    Raises:
        UsageError: their token ids do not mean the same.
    """
    ours, theirs = student.tokenizer.get_vocab(), teacher.tokenizer.get_vocab()
    if ours != theirs or student.tokenizer.eos_token_id != teacher.tokenizer.eos_token_id:
        differing = len(set(ours.items()) ^ set(theirs.items()))
        raise UsageError(
            f"on-policy distillation compares the models token by token, and their tokenizers differ in {differing} entries; "
            "use method=sft, which needs text only, or a teacher with the student's tokenizer"
        )


def _answers(suite: Suite, student: LoadedModel, engine: LocalEngine, config: DistillConfig, step: int) -> TokenBatch:
    """Return the student's answers to the tasks of a step; the environment's tokens in between do not count."""
    prompts = config.optim.batch_size // config.sampling.n
    params = config.sampling.params(n=config.sampling.n, seed=derive_seed(config.seed, step))
    tasks = draw_tasks(suite, step * prompts, prompts, config.seed).tasks
    return to_tokens(play(tasks, engine, params), student)[0]


def _update(
    session: Session, teacher: LoadedModel, answers: TokenBatch, config: DistillConfig, step: int, hold: Callable[[], object]
) -> dict[str, float]:
    """Take one optimizer step on sampled answers; the loss is the mean over their tokens. `hold` is called before weights change."""
    student = session.loaded
    tokens = float(answers.completion_mask.sum())

    def gradients(passes: list[list[int]]) -> tuple[Tensor, Tensor]:
        loss_sum, divergence = torch.zeros((), device=student.device), torch.zeros((), device=student.device)
        for places in passes:
            losses, gap = _divergence(student, teacher, answers, places, config)
            loss = losses.sum() / tokens
            loss.backward()
            loss_sum += loss.detach()
            divergence += gap
        return loss_sum, divergence

    batches = micro_batches_of(answers, student.model, config.optim.micro_batch_size)
    loss_sum, divergence = within_memory(student.model, batches, gradients)
    hold()
    taken = optimizer_step(student, session.optimizer, config, step, total=config.steps, loss=float(loss_sum))
    return {"loss": float(loss_sum), "kl": float(divergence) / tokens} | taken


def _divergence(
    student: LoadedModel, teacher: LoadedModel, answers: TokenBatch, rows: Sequence[int], config: DistillConfig
) -> tuple[Tensor, Tensor]:
    """Return the losses of the tokens of some rows, with gradient, and the sum of their divergences, without."""
    batch = answers.select(torch.tensor(rows, device=student.device))
    if config.divergence == "exact":
        with torch.no_grad():
            theirs = predicted(teacher.model, batch)
        losses = chunked_reverse_kl(predicted(student.model, batch), theirs, config.sampling.temperature)
        return losses, losses.detach().sum()
    with torch.no_grad():
        wanted = completion_logprobs(teacher.model, batch, config.sampling.temperature, student.never_drawn)
    logprobs = completion_logprobs(student.model, batch, config.sampling.temperature, student.never_drawn)
    return policy_gradient(logprobs, wanted) * batch.completion_mask, (logprobs - wanted).detach().sum()


def _rows_at_fault(
    student: LoadedModel, teacher: LoadedModel, answers: TokenBatch, config: DistillConfig
) -> list[dict[str, Any]]:
    """Describe the answers of a step whose loss or gradient is not finite."""
    batches = micro_batches_of(answers, student.model, config.optim.micro_batch_size)
    found = rows_at_fault(
        batches, lambda rows: _divergence(student, teacher, answers, rows, config)[0].sum(), student.model.parameters()
    )
    return [
        {
            "row": row,
            "prompt": shown_ids(student.tokenizer, answers.prompt_ids[row][answers.prompt_mask[row] > 0]),
            "completion": shown_ids(student.tokenizer, answers.completion_ids[row][answers.present[row]]),
        }
        for row in found
    ]


def _lengths(answers: TokenBatch) -> dict[str, float]:
    tokens = float(answers.completion_mask.sum())
    return {"length/mean": tokens / len(answers), SAMPLED_TOKENS: tokens}
