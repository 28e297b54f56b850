"""Our formulas against those of TRL and OpenRLHF, by running their released code on the same random tensors."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections import defaultdict
from functools import partial
from pathlib import Path

import pytest
import torch

from r1env_trainers.rl import losses as kl
from r1env_trainers.rl.advantages import gdpo, group_mean, group_std, leave_one_out, maxrl, whiten, with_kl_reward
from r1env_trainers.rl.losses import aggregate, cispo_loss, loss_denominator, policy_loss, sampler_correction

EXACT = 1e-6
BATCH, LENGTH = 8, 11


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(7)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    old = -draw(BATCH, LENGTH).abs()
    lengths = torch.randint(1, LENGTH + 1, (BATCH,), generator=generator)
    return {
        "logprobs": old + 0.4 * draw(BATCH, LENGTH),
        "old": old,
        "reference": old + 0.2 * draw(BATCH, LENGTH),
        "sampled": old + 0.3 * draw(BATCH, LENGTH),
        "entropies": draw(BATCH, LENGTH).abs(),
        "mask": (torch.arange(LENGTH)[None] < lengths[:, None]).float(),
        "advantages": draw(BATCH),
    }


def ours(
    tensors, aggregation, *, beta=0.0, max_new_tokens=LENGTH, correction=None, entropy_coef=0.0, loss="clipped", **options
):
    mask = tensors["mask"]
    clip = {"clip_low": 0.2, "clip_high": 0.28, **options}
    function = {"clipped": partial(policy_loss, mask=mask), "cispo": cispo_loss}[loss]
    per_token = function(tensors["logprobs"], tensors["old"], tensors["advantages"], **clip)
    if correction is not None:
        per_token = per_token * sampler_correction(tensors["old"], tensors["sampled"], mask, form=correction, cap=1.1)
    per_token = per_token + beta * kl.k3(tensors["logprobs"], tensors["reference"])
    loss = aggregate(per_token, mask, aggregation, loss_denominator(mask, aggregation, max_new_tokens))
    counted = loss_denominator(mask, "token-mean", max_new_tokens)
    return float(loss - entropy_coef * aggregate(tensors["entropies"], mask, "token-mean", counted))


def trl_loss(tensors, **settings):
    """The loss of TRL's trainer: its own method, without its model, data and accelerator."""
    trl = pytest.importorskip("trl", reason="TRL is not installed (requirements/peers.txt)")
    trainer = object.__new__(trl.GRPOTrainer)
    logprobs = tensors["logprobs"]
    trainer._get_per_token_logps_and_entropies = lambda *args, **kwargs: (logprobs, tensors["entropies"], None)
    trainer.loss_type, trainer.beta, trainer.epsilon_low, trainer.epsilon_high = "dapo", 0.0, 0.2, 0.28
    trainer.importance_sampling_level, trainer.top_entropy_quantile = "token", 1.0
    trainer.off_policy_mask_threshold, trainer.use_vllm, trainer._entropy_bonus_enabled = None, False, False
    trainer.use_adaptive_entropy, trainer.entropy_coef, trainer.vllm_importance_sampling_correction = False, 0.0, True
    trainer.aux_loss_enabled, trainer.max_completion_length, trainer.current_gradient_accumulation_steps = False, LENGTH, 1
    trainer.args = types.SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1)
    trainer.model = types.SimpleNamespace(training=True)
    trainer.accelerator = types.SimpleNamespace(
        num_processes=1, sync_gradients=True, gather=lambda tensor: tensor, reduce=lambda tensor, reduction: tensor
    )
    trainer._metrics = {"train": defaultdict(list)}
    weights = settings.pop("importance_sampling_ratio", None)
    for name, value in settings.items():
        assert hasattr(trainer, name)
        setattr(trainer, name, value)
    trainer.use_vllm = weights is not None
    inputs = {
        "prompt_ids": torch.zeros(BATCH, 1, dtype=torch.long),
        "prompt_mask": torch.ones(BATCH, 1, dtype=torch.long),
        "completion_ids": torch.zeros(BATCH, LENGTH, dtype=torch.long),
        "completion_mask": tensors["mask"],
        "advantages": tensors["advantages"],
        "old_per_token_logps": tensors["old"],
        "ref_per_token_logps": tensors["reference"],
        "num_items_in_batch": tensors["mask"].sum(),
        "importance_sampling_ratio": weights,
    }
    return float(trainer._compute_loss(None, inputs))


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize(
    ("loss_type", "aggregation"),
    [("dapo", "token-mean"), ("grpo", "seq-mean-token-mean"), ("dr_grpo", "seq-mean-token-sum-norm")],
)
def test_the_loss_is_that_of_trl(tensors, loss_type, aggregation, beta):
    theirs = trl_loss(tensors, loss_type=loss_type, beta=beta)
    assert ours(tensors, aggregation, beta=beta) == pytest.approx(theirs, abs=EXACT)


def test_the_ratio_of_sequences_is_that_of_trl(tensors):
    theirs = trl_loss(tensors, loss_type="grpo", importance_sampling_level="sequence")
    assert ours(tensors, "seq-mean-token-mean", ratio="sequence") == pytest.approx(theirs, abs=EXACT)


def test_cispo_is_that_of_trl(tensors):
    # TRL's epsilon_high is the largest weight itself, and it has no smallest one.
    theirs = trl_loss(tensors, loss_type="cispo", epsilon_high=1.28)
    assert ours(tensors, "token-mean", loss="cispo", clip_low=1.0) == pytest.approx(theirs, abs=EXACT)


def test_the_entropy_bonus_is_that_of_trl(tensors):
    theirs = trl_loss(tensors, _entropy_bonus_enabled=True, entropy_coef=0.1)
    assert ours(tensors, "token-mean", entropy_coef=0.1) == pytest.approx(theirs, abs=EXACT)


@pytest.mark.parametrize("form", ["token", "sequence"])
def test_the_correction_of_the_sampler_is_that_of_trl(tensors, form):
    # TRL 1.16 computes the weights inside a method that samples, so its expression (`*_truncate`) is restated; the loss is its own.
    gap = (tensors["old"] - tensors["sampled"]) * tensors["mask"]
    weights = (gap if form == "token" else gap.sum(dim=-1, keepdim=True)).exp().clamp(max=1.1)
    theirs = trl_loss(tensors, importance_sampling_ratio=weights)
    assert ours(tensors, "token-mean", correction=form) == pytest.approx(theirs, abs=EXACT)


@pytest.fixture(scope="module")
def openrlhf():
    """OpenRLHF's loss and KL modules, loaded from their files: the package itself wants Ray, vLLM and flash-attn."""
    spec = importlib.util.find_spec("openrlhf")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("OpenRLHF is not installed (requirements/peers.txt)")
    folder = Path(next(iter(spec.submodule_search_locations))) / "models"
    package = types.ModuleType("openrlhf_models")
    package.__path__ = [str(folder)]
    stand_ins = {"openrlhf_models": package}
    if importlib.util.find_spec("deepspeed") is None:
        stand_ins["deepspeed"] = types.ModuleType("deepspeed")  # imported by its utils, used by nothing here
    with pytest.MonkeyPatch.context() as patch:
        for name, module in stand_ins.items():
            patch.setitem(sys.modules, name, module)
        modules = types.SimpleNamespace()
        for name in ("utils", "loss"):
            module_spec = importlib.util.spec_from_file_location(f"openrlhf_models.{name}", folder / f"{name}.py")
            assert module_spec is not None
            assert module_spec.loader is not None
            module = importlib.util.module_from_spec(module_spec)
            patch.setitem(sys.modules, f"openrlhf_models.{name}", module)
            module_spec.loader.exec_module(module)
            setattr(modules, name, module)
        yield modules


@pytest.mark.parametrize(("token_level", "aggregation"), [(True, "token-mean"), (False, "seq-mean-token-mean")])
def test_the_loss_is_that_of_openrlhf(openrlhf, tensors, token_level, aggregation):
    peer = openrlhf.loss.PolicyLoss(clip_eps_low=0.2, clip_eps_high=0.28, token_level_loss=token_level)
    advantages = tensors["advantages"][:, None].expand(-1, LENGTH)
    result = peer(tensors["logprobs"], tensors["old"], advantages, action_mask=tensors["mask"])
    loss = result[0] if isinstance(result, tuple) else result
    assert ours(tensors, aggregation) == pytest.approx(float(loss), abs=EXACT)


def openrlhf_loss(openrlhf, tensors, **settings):
    peer = openrlhf.loss.PolicyLoss(clip_eps_low=0.2, clip_eps_high=0.28, **settings)
    advantages = tensors["advantages"][:, None].expand(-1, LENGTH)
    mask, sampled = tensors["mask"], tensors["sampled"]
    return float(peer(tensors["logprobs"], tensors["old"], advantages, action_mask=mask, rollout_log_probs=sampled)[0])


def test_the_dual_clip_is_that_of_openrlhf(openrlhf, tensors):
    tensors["logprobs"] = tensors["old"] + 2 * (tensors["logprobs"] - tensors["old"])  # far enough for the bound to matter
    theirs = openrlhf_loss(openrlhf, tensors, dual_clip=1.5)
    assert theirs != pytest.approx(openrlhf_loss(openrlhf, tensors), abs=1e-3)
    assert ours(tensors, "token-mean", dual_clip=1.5) == pytest.approx(theirs, abs=EXACT)


def test_the_ratio_of_sequences_is_that_of_openrlhf(openrlhf, tensors):
    theirs = openrlhf_loss(openrlhf, tensors, policy_loss_type="gspo")
    assert ours(tensors, "seq-mean-token-mean", ratio="sequence") == pytest.approx(theirs, abs=EXACT)


def test_the_correction_of_the_sampler_is_that_of_openrlhf(openrlhf, tensors):
    settings = {"is_correction_level": "token", "is_correction_mode": "clip", "is_correction_threshold": [0.0, 1.1]}
    theirs = openrlhf_loss(openrlhf, tensors, **settings)
    assert ours(tensors, "token-mean", correction="token") == pytest.approx(theirs, abs=EXACT)


def test_the_kl_as_a_reward_is_that_of_openrlhf(openrlhf, tensors):
    mask = tensors["mask"]
    estimate = kl.k1(tensors["old"], tensors["reference"]) * mask
    rewards = openrlhf.utils.compute_reward(tensors["advantages"], 0.1, estimate, action_mask=mask)
    returns = (rewards * mask).flip(1).cumsum(dim=1).flip(1) * mask  # its get_cumulative_returns with gamma 1
    assert torch.allclose(with_kl_reward(tensors["advantages"], estimate, mask, 0.1), returns, atol=EXACT)


@pytest.mark.parametrize("name", ["k1", "k2", "k3"])
def test_the_kl_estimators_are_those_of_openrlhf(openrlhf, tensors, name):
    theirs = openrlhf.utils.compute_approx_kl(tensors["logprobs"], tensors["reference"], kl_estimator=name)
    assert torch.allclose(kl.estimate_kl(name, tensors["logprobs"], tensors["reference"]), theirs, atol=EXACT)


def test_the_advantages_are_the_published_formulas_of_both():
    # Both compute advantages inside methods that need a whole trainer, so their expressions are restated here:
    # TRL 1.16 (rewards - mean) / (std + 1e-4), OpenRLHF 0.11 (rewards - mean) / (std + 1e-9), `dr_grpo` without the division.
    rewards = torch.randn(5, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    centred = rewards - rewards.mean(-1, keepdim=True)
    deviation = rewards.std(-1, keepdim=True)
    assert torch.allclose(group_mean(rewards), centred, atol=EXACT)
    assert torch.allclose(group_std(rewards), centred / (deviation + 1e-9), atol=EXACT)
    assert torch.allclose(group_std(rewards) * deviation / (deviation + 1e-4), centred / (deviation + 1e-4), atol=EXACT)


def test_the_other_advantages_are_the_published_formulas():
    # Restated, as above: OpenRLHF 0.11 `rloo` and its whitening over tokens; SkyRL's and prime-rl's MaxRL; TRL's normalize_then_sum.
    generator = torch.Generator().manual_seed(4)
    rewards = torch.rand(5, 8, generator=generator, dtype=torch.float64)
    others = (rewards.sum(-1, keepdim=True) - rewards) / 7
    assert torch.allclose(leave_one_out(rewards), rewards - others, atol=EXACT)
    mean = rewards.mean(-1, keepdim=True)
    assert torch.allclose(maxrl(rewards), (rewards - mean) / mean, atol=EXACT)

    parts = torch.randn(5, 8, 3, generator=generator, dtype=torch.float64)
    weights = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    normalised = (parts - parts.mean(dim=1, keepdim=True)) / parts.std(dim=1, keepdim=True)
    summed = (normalised * weights).sum(dim=2)
    assert torch.allclose(gdpo(parts, weights.expand(5, 3)), (summed - summed.mean()) / summed.std(), atol=EXACT)

    advantages = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    mask = (torch.rand(6, 4, generator=generator) < 0.7).double()
    average = (advantages * mask).sum() / mask.sum()
    variance = ((advantages - average).square() * mask).sum() / mask.sum()
    expected = (advantages - average) * variance.clamp(min=1e-8).rsqrt() * mask
    assert torch.allclose(whiten(advantages, mask), expected, atol=EXACT)
