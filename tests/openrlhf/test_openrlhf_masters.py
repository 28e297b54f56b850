"""The float32 weights behind OpenRLHF's model in bfloat16, in a real DeepSpeed engine.

R1ENV_OPENRLHF_PYTHON is the interpreter of the environment that `tools/openrlhf-cpu-env.sh` makes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from r1env_openrlhf import hooks as masters
from r1env_openrlhf.installation import Installation
from r1env_openrlhf.stage import environment_of
from r1env_trainers.rl.config import GRPOConfig

INTERPRETER = os.environ.get("R1ENV_OPENRLHF_PYTHON")

ENGINE = """
import os, sys, torch, deepspeed
from deepspeed.utils import safe_get_full_fp32_param
from r1env_openrlhf.hooks import dither_masters

deepspeed.init_distributed("gloo")
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.LayerNorm(64), torch.nn.Linear(64, 8)).bfloat16()
engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config={
    "train_batch_size": 4, "bf16": {"enabled": True}, "zero_optimization": {"stage": int(sys.argv[1])},
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-6, "torch_adam": True}}})
def masters(): return torch.cat([safe_get_full_fp32_param(parameter).flatten() for parameter in engine.module.parameters()])
def output(): return engine(torch.ones(4, 32, dtype=torch.bfloat16)).detach()
stored, first = masters().clone(), output()
dither_masters(engine, seed=0)
spread = masters().clone()
assert torch.equal(output(), first)
assert torch.equal(spread.bfloat16(), stored.bfloat16())
assert (spread != stored).float().mean() > 0.8, "most of them are between two numbers of bfloat16 now"
for _ in range(3):
    engine.backward(engine(torch.ones(4, 32, dtype=torch.bfloat16)).float().square().sum())
    engine.step()
moved = (masters() - spread).abs()
assert 1e-6 < moved.median() < 1e-5, "the optimizer goes on from them"
flipped = (masters().bfloat16() != stored.bfloat16()).sum()
assert flipped > 0, "and some of the model's weights have moved"
"""


@pytest.mark.nightly
@pytest.mark.skipif(not INTERPRETER, reason="R1ENV_OPENRLHF_PYTHON is not set: `make openrlhf-cpu` makes the environment")
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_small_update_arrives_in_a_model_of_deepspeed(stage, tmp_path):
    site = Path(masters.__file__).parent / "cpu_site"
    environment = {
        **os.environ,
        **{"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(29600 + stage)},
        **{"PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]), "OMP_NUM_THREADS": "1"},
        **{"TORCH_EXTENSIONS_DIR": str(Path(INTERPRETER).parents[1] / "torch_extensions")},
        "PATH": os.pathsep.join([str(Path(INTERPRETER).parent), os.environ["PATH"]]),
    }
    ended = subprocess.run(
        [INTERPRETER, "-c", ENGINE, str(stage)], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr[-2000:]


class Strategy:
    param_dtype = "bf16"

    def _ds_init_train_model(self, model, cfg):
        return f"engine of {model}", "optimizer", "scheduler"


def hooked(monkeypatch, **environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    seen = []
    monkeypatch.setattr(masters, "dither_masters", lambda engine, seed: seen.append((engine, seed)))
    module = SimpleNamespace(DeepspeedStrategy=type("DeepspeedStrategy", (Strategy,), {}), Actor=SimpleNamespace)
    for action in masters.dither_actions().values():
        action(module)
    prepared = module.DeepspeedStrategy()._ds_init_train_model("model", {})
    assert prepared == ("engine of model", "optimizer", "scheduler")
    return seen


def environment_for(**settings) -> dict[str, str]:
    config = GRPOConfig(model="tiny", env="sort-4", backend="openrlhf", seed=7, **settings)
    found = Installation(interpreter=sys.executable, python="3.11", versions={"flash_attn": None})
    return environment_of(found, config)


def test_the_seed_reaches_every_model_that_is_prepared_for_training(monkeypatch):
    assert hooked(monkeypatch, **{masters.SEED: environment_for()[masters.SEED]}) == [("engine of model", 7)]


def test_dither_can_be_left_out(monkeypatch):
    monkeypatch.delenv(masters.SEED, raising=False)
    assert masters.SEED not in environment_for(optim={"dither": False})
    assert hooked(monkeypatch) == []
