"""Our formulas against those of TRL and OpenRLHF, by running their released code on the same random tensors."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections import defaultdict
from pathlib import Path

import pytest
import torch

from r1env_trainers.grpo import kl
from r1env_trainers.grpo.advantages import group_mean, group_std
from r1env_trainers.grpo.losses import aggregate, loss_denominator, policy_loss

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
        "mask": (torch.arange(LENGTH)[None] < lengths[:, None]).float(),
        "advantages": draw(BATCH),
    }


def ours(tensors, aggregation, *, beta=0.0, max_new_tokens=LENGTH):
    per_token = policy_loss(tensors["logprobs"], tensors["old"], tensors["advantages"], clip_low=0.2, clip_high=0.28)
    per_token = per_token + beta * kl.k3(tensors["logprobs"], tensors["reference"])
    mask = tensors["mask"]
    return float(aggregate(per_token, mask, aggregation, loss_denominator(mask, aggregation, max_new_tokens)))


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize(("loss_type", "aggregation"), [("dapo", "token"), ("grpo", "sequence"), ("dr_grpo", "constant")])
def test_the_loss_is_that_of_trl(tensors, loss_type, aggregation, beta):
    trl = pytest.importorskip("trl", reason="TRL is not installed (requirements/peers.txt)")
    trainer = object.__new__(trl.GRPOTrainer)  # its loss, without its model, data and accelerator
    logprobs = tensors["logprobs"]
    trainer._get_per_token_logps_and_entropies = lambda *args, **kwargs: (logprobs, torch.zeros_like(logprobs), None)
    trainer.loss_type, trainer.beta, trainer.epsilon_low, trainer.epsilon_high = loss_type, beta, 0.2, 0.28
    trainer.importance_sampling_level, trainer.top_entropy_quantile = "token", 1.0
    trainer.off_policy_mask_threshold, trainer.use_vllm, trainer._entropy_bonus_enabled = None, False, False
    trainer.aux_loss_enabled, trainer.max_completion_length, trainer.current_gradient_accumulation_steps = False, LENGTH, 1
    trainer.args = types.SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1)
    trainer.model = types.SimpleNamespace(training=True)
    trainer.accelerator = types.SimpleNamespace(
        num_processes=1, gather=lambda tensor: tensor, reduce=lambda tensor, reduction: tensor
    )
    trainer._metrics = {"train": defaultdict(list)}
    loss = trainer._compute_loss(
        None,
        {
            "prompt_ids": torch.zeros(BATCH, 1, dtype=torch.long),
            "prompt_mask": torch.ones(BATCH, 1, dtype=torch.long),
            "completion_ids": torch.zeros(BATCH, LENGTH, dtype=torch.long),
            "completion_mask": tensors["mask"],
            "advantages": tensors["advantages"],
            "old_per_token_logps": tensors["old"],
            "ref_per_token_logps": tensors["reference"],
            "num_items_in_batch": tensors["mask"].sum(),
        },
    )
    assert ours(tensors, aggregation, beta=beta) == pytest.approx(float(loss), abs=EXACT)


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


@pytest.mark.parametrize(("token_level", "aggregation"), [(True, "token"), (False, "sequence")])
def test_the_loss_is_that_of_openrlhf(openrlhf, tensors, token_level, aggregation):
    peer = openrlhf.loss.PolicyLoss(clip_eps_low=0.2, clip_eps_high=0.28, token_level_loss=token_level)
    advantages = tensors["advantages"][:, None].expand(-1, LENGTH)
    result = peer(tensors["logprobs"], tensors["old"], advantages, action_mask=tensors["mask"])
    loss = result[0] if isinstance(result, tuple) else result
    assert ours(tensors, aggregation) == pytest.approx(float(loss), abs=EXACT)


@pytest.mark.parametrize("name", ["k1", "k2", "k3"])
def test_the_kl_estimators_are_those_of_openrlhf(openrlhf, tensors, name):
    theirs = openrlhf.utils.compute_approx_kl(tensors["logprobs"], tensors["reference"], kl_estimator=name)
    assert torch.allclose(kl.ESTIMATORS[name](tensors["logprobs"], tensors["reference"]), theirs, atol=EXACT)


def test_the_advantages_are_the_published_formulas_of_both():
    # Both compute advantages inside methods that need a whole trainer, so their expressions are restated here:
    # TRL 1.16 (rewards - mean) / (std + 1e-4), OpenRLHF 0.11 (rewards - mean) / (std + 1e-9), `dr_grpo` without the division.
    rewards = torch.randn(5, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    centred = rewards - rewards.mean(-1, keepdim=True)
    deviation = rewards.std(-1, keepdim=True)
    assert torch.allclose(group_mean(rewards), centred, atol=EXACT)
    assert torch.allclose(group_std(rewards), centred / (deviation + 1e-9), atol=EXACT)
    assert torch.allclose(group_std(rewards) * deviation / (deviation + 1e-4), centred / (deviation + 1e-4), atol=EXACT)
