"""Out of memory: the step is computed again from smaller micro-batches, with the same result, and later steps begin with those."""

import math

import pytest
import torch
from training_runs import assert_same_weights, trained

from r1env.recipes import plan_training
from r1env_trainers.model import batching
from r1env_trainers.model.load import load_model


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def sft(data):
    settings = {
        "model": "tiny",
        "data": data,
        "optim.lr": 1e-3,
        "optim.batch_size": 16,
        "optim.micro_batch_size": 16,
        "steps": 3,
    }
    return plan_training("sft", overrides={**settings, "checkpoint.every": 0})


GRPO = {
    "preset": "tiny-cpu",
    "steps": 2,
    "eval.every": 0,
    "algo.track_kl": True,
    "algo.advantage": "reinforce_pp",
    "optim.mini_batches": 2,
    "sampling.prompts_per_step": 4,
    "sampling.group_size": 4,
    "sampling.max_new_tokens": 4,
}


def allocator(limit, function, error=torch.OutOfMemoryError):
    """A forward pass that runs out of memory behind its gradients' first half, as a real one may: some are added up already."""
    sizes = []

    def compute(model, batch, *args):
        sizes.append(len(batch))
        if len(batch) > limit:
            loss = function(model, batch, *args).sum()
            loss.backward() if loss.requires_grad else None
            raise error("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes.")
        return function(model, batch, *args)

    return compute, sizes


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_sft_goes_on_with_halves_and_learns_the_same(data, tmp_path, monkeypatch, caplog, error):
    from r1env_trainers.sft import loop

    whole = trained(sft(data), tmp_path / "whole")
    compute, sizes = allocator(4, loop.completion_logprobs, error)
    monkeypatch.setattr(loop, "completion_logprobs", compute)
    run = trained(sft(data), tmp_path / "run")
    assert sizes == [16, 8, *[4] * 12]  # later steps begin with what fitted
    assert [row["loss"] for row in run.metrics()] == pytest.approx([row["loss"] for row in whole.metrics()], rel=1e-5)
    assert "out of memory with micro-batches of 16 sequences" in caplog.text
    assert "set optim.micro_batch_size=4" in caplog.text


@pytest.mark.parametrize("trainer", ["grpo", "ppo"])
def test_rl_goes_on_with_halves_and_counts_every_metric_once(trainer, tmp_path, monkeypatch):
    from r1env_trainers.rl import critic, update

    settings = dict(GRPO)
    if trainer == "ppo":
        settings |= {"algo.advantage": "gae"}
    plan = plan_training(trainer, overrides=settings)
    whole = trained(plan, tmp_path / "whole")
    for module in (update, critic):
        monkeypatch.setattr(module, "completion_logprobs", allocator(3, module.completion_logprobs)[0])
    run = trained(plan, tmp_path / "run")
    for ours, theirs in zip(run.metrics(), whole.metrics(), strict=True):
        for name in ("loss", "grad_norm", "clip_fraction", "logprob_gap", "kl", "value/loss"):
            if name in theirs:
                assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-6), name


def test_a_single_row_that_does_not_fit_is_an_error(data, tmp_path, monkeypatch):
    from r1env_trainers.sft import loop

    monkeypatch.setattr(loop, "completion_logprobs", allocator(0, loop.completion_logprobs)[0])
    with pytest.raises(torch.OutOfMemoryError):
        trained(sft(data), tmp_path / "run")


def test_other_errors_are_not_taken_for_a_lack_of_memory(data, tmp_path, monkeypatch):
    from r1env_trainers.sft import loop

    def broken(*_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(loop, "completion_logprobs", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        trained(sft(data), tmp_path / "run")


def test_pieces_hold_every_row_once():
    for rows in range(1, 20):
        for pieces in (1, 2, 4, 8):
            parts = batching._cut_into(list(range(rows)), pieces)
            assert [row for part in parts for row in part] == list(range(rows))
            assert max(map(len, parts)) == math.ceil(rows / pieces)


def test_nothing_is_retried_where_memory_suffices():
    model = load_model("tiny").model
    calls = []
    assert batching.within_memory(model, [[0, 1], [2]], lambda passes: calls.append(passes) or "done") == "done"
    assert calls == [[[0, 1], [2]]]
    assert_same_weights(model.state_dict(), load_model("tiny").model.state_dict())
