"""A model that computes in bfloat16 is to learn from small updates, and to start as what its checkpoint says."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, nn

from r1env.runs.run import Run
from r1env_trainers.model import session as local
from r1env_trainers.model.checkpoint import save_checkpoint, save_model
from r1env_trainers.model.dither import dither_matrices, dithered, is_coarse
from r1env_trainers.model.llama import all_weights
from r1env_trainers.model.load import load_model
from r1env_trainers.model.lora import merged_weight, plain_layer
from r1env_trainers.model.session import begin
from r1env_trainers.rl.config import PPOConfig
from r1env_trainers.rl.critic import Critic
from r1env_trainers.settings import LocalConfig

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(floats, min_size=1, max_size=20), st.integers(0, 1000))
def test_the_model_in_bfloat16_is_the_same_to_the_last_bit(values, seed):
    weights = torch.tensor(values)
    assert torch.equal(dithered(weights, Generator().manual_seed(seed)).bfloat16(), weights.bfloat16())


def test_zeros_infinities_and_nans_come_back():
    weights = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan])
    assert torch.equal(dithered(weights, Generator().manual_seed(0)).view(torch.int32), weights.view(torch.int32))


def moved(masters: torch.Tensor, update: float) -> float:
    """By how much the roundings of the weights move on average."""
    return float(((masters + update).bfloat16().double() - masters.bfloat16().double()).mean())


@pytest.mark.parametrize("update", [1e-6, -1e-5, 1e-4])
def test_an_update_far_smaller_than_a_step_of_bfloat16_arrives_on_average(update):
    stored = torch.empty(1_000_000).uniform_(0.0625, 0.125, generator=Generator().manual_seed(0)).bfloat16().float()
    assert moved(stored, update) == 0.0
    # A step is 2^-11 here; of n weights k = n·|update|·2^11 move by one, give or take √k.
    expected = abs(update) * 2**11 * len(stored)
    assert moved(dithered(stored, Generator().manual_seed(1)), update) == pytest.approx(update, rel=5 / expected**0.5)


def test_weights_of_full_precision_are_left_alone_and_those_stored_in_few_bits_are_not():
    drawn = torch.randn(10_000, generator=Generator().manual_seed(0)) * 0.02
    quantised = torch.randint(-127, 128, (10_000,), generator=Generator().manual_seed(0)) * torch.tensor(0.00037).half().float()
    assert not is_coarse(drawn)
    for stored in (drawn.bfloat16().float(), drawn.half().float(), quantised):
        assert is_coarse(stored)
    assert not is_coarse(torch.zeros(10))


def test_of_a_model_only_matrices_stored_in_few_bits_change_and_no_table_that_is_looked_up():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(8, 16), nn.LayerNorm(16), nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 8))
    model[4].weight = model[0].weight  # as head and embedding of many models
    for index in (0, 1, 2):
        model[index].weight.data = model[index].weight.data.bfloat16().float()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    dither_matrices(model, seed=3)
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == {"2.weight"}
    assert model[4].weight is model[0].weight
    assert all(torch.equal(parameter.bfloat16(), before[name].bfloat16()) for name, parameter in model.named_parameters())


def test_the_same_seed_spreads_the_same_way():
    weights = torch.randn(100).bfloat16().float()
    first, again, other = (dithered(weights, Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.fixture
def in_bfloat16(tmp_path):
    """A tiny model's folder as a hub would hold it."""
    loaded = load_model("tiny", seed=0)
    for parameter in loaded.model.parameters():
        parameter.data = parameter.data.bfloat16().float()
    save_model(tmp_path / "stored", loaded)
    return str(tmp_path / "stored")


def weights_of(config: LocalConfig, run: Run) -> dict[str, torch.Tensor]:
    return {name: weights.clone() for name, weights in begin(config, run).loaded.model.state_dict().items()}


def is_as_stored(weights: dict[str, torch.Tensor], folder: str) -> bool:
    return all(torch.equal(weights[name], other) for name, other in load_model(folder).model.state_dict().items())


@pytest.mark.parametrize(
    ("dtype", "dither", "same"), [(torch.bfloat16, True, False), (torch.bfloat16, False, True), (torch.float32, True, True)]
)
def test_training_dithers_its_start_where_it_computes_in_bfloat16_unless_told_not_to(
    in_bfloat16, tmp_path, monkeypatch, dtype, dither, same
):
    monkeypatch.setattr(local, "compute_dtype", lambda device: dtype)
    run = Run.create(tmp_path / "run", {}, seed=0)
    run.start_stage("train")
    assert is_as_stored(weights_of(LocalConfig(model=in_bfloat16, optim={"dither": dither}), run), in_bfloat16) is same


def test_a_resumed_training_goes_on_with_the_weights_it_had(in_bfloat16, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "compute_dtype", lambda device: torch.bfloat16)
    run = Run.create(tmp_path / "run", {}, seed=0)
    run.start_stage("train")
    session = begin(LocalConfig(model=in_bfloat16), run)
    save_checkpoint(run.checkpoint_dir, 1, session.loaded, session.optimizer, run.position(), extra=None)
    resumed = weights_of(LocalConfig(model=in_bfloat16, seed=9), run)
    assert all(torch.equal(resumed[name], weights) for name, weights in session.loaded.model.state_dict().items())


def test_the_frozen_weights_under_adapters_start_dithered_in_a_resumed_run_too(in_bfloat16, tmp_path, monkeypatch):
    pytest.importorskip("peft")
    monkeypatch.setattr(local, "compute_dtype", lambda device: torch.bfloat16)
    run = Run.create(tmp_path / "run", {}, seed=0)
    run.start_stage("train")
    config = LocalConfig(model=in_bfloat16, lora={"rank": 2, "target_modules": ["up_proj"]})
    session = begin(config, run)
    save_checkpoint(run.checkpoint_dir, 1, session.loaded, session.optimizer, run.position(), extra=None)
    weights = dict(session.loaded.model.named_parameters())
    assert all(torch.equal(weights[name], other) for name, other in begin(config, run).loaded.model.named_parameters())
    stored = dict(load_model(in_bfloat16).model.named_parameters())
    plain = {name.replace(".base_layer", ""): weight for name, weight in weights.items() if "lora" not in name}
    assert {name for name in stored if not torch.equal(stored[name], plain[name])} == {
        name for name in stored if "up_proj" in name
    }
    assert all(torch.equal(stored[name].bfloat16(), plain[name].bfloat16()) for name in stored)


def test_a_small_update_of_adapters_reaches_the_rounded_weights_that_are_sampled_from(in_bfloat16, tmp_path, monkeypatch):
    pytest.importorskip("peft")
    monkeypatch.setattr(local, "compute_dtype", lambda device: torch.bfloat16)
    run = Run.create(tmp_path / "run", {}, seed=0)
    run.start_stage("train")
    loaded = begin(LocalConfig(model=in_bfloat16, lora={"rank": 2}), run).loaded
    for name, weight in loaded.model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(std=1e-5)
    before = all_weights(load_model(in_bfloat16).model, torch.bfloat16).layers[0].down.float()
    asked = (
        merged_weight(loaded.model.model.layers[0].mlp.down_proj)
        - plain_layer(loaded.model.model.layers[0].mlp.down_proj).weight
    )
    arrived = all_weights(loaded.model, torch.bfloat16).layers[0].down.float() - before
    assert asked.abs().max() < before.abs().mean() / 256  # less than a step of most weights
    assert 0.5 < float(((arrived * asked).sum() / asked.square().sum()).detach()) < 2


def test_a_critic_of_its_own_starts_dithered_too(in_bfloat16, monkeypatch):
    monkeypatch.setattr(local, "compute_dtype", lambda device: torch.bfloat16)
    config = PPOConfig(model=in_bfloat16, env="sort-4", critic={"kind": "separate"})
    critic = Critic.start(config, load_model(in_bfloat16), {})
    stored = load_model(in_bfloat16).model.get_parameter("model.layers.0.mlp.up_proj.weight")
    weights = critic.own.get_parameter("model.layers.0.mlp.up_proj.weight")
    assert not torch.equal(weights, stored)
    assert torch.equal(weights.bfloat16(), stored.bfloat16())
