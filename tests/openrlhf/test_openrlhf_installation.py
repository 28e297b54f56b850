"""What the backend finds out about the environment that is to run OpenRLHF, and what it puts in place of missing parts."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import r1env_openrlhf as openrlhf
from r1env.errors import UsageError
from r1env.rewards import Isolation, reward
from r1env.rubrics import Rubric, WeightedReward
from r1env_openrlhf.cpu import CpuAsDevice
from r1env_openrlhf.episodes import isolated
from r1env_openrlhf.follow import evaluation_metrics, step_metrics
from r1env_openrlhf.hooks import after_import
from r1env_openrlhf.installation import INTERPRETER, Installation, find_support, look

VERSIONS = {
    **{"openrlhf": "0.11.2", "vllm": "0.29.0", "ray": "2.55.0", "deepspeed": "0.19.6", "torch": "2.13.0+cpu"},
    **{"transformers": "5.15.0", "r1env": "0.1.0", "r1env_trainers": "0.1.0", "r1env_openrlhf": "0.1.0"},
}


@pytest.mark.parametrize("vllm", ["0.29.0", "0.26.0"])
def test_releases_that_were_run_together_are_supported(vllm):
    assert find_support({**VERSIONS, "vllm": vllm}).seen


@pytest.mark.parametrize("changed", [{"openrlhf": "0.10.4"}, {"vllm": "0.28.0"}, {"openrlhf": "0.12.0", "vllm": "0.33.0"}])
def test_other_releases_are_refused_with_those_that_go_together(changed):
    with pytest.raises(UsageError, match=r"is not supported; supported: openrlhf 0\.11\.x with vllm 0\.29\.x"):
        find_support({**VERSIONS, **changed})


def test_what_is_missing_is_named_all_at_once():
    with pytest.raises(UsageError, match="missing there: vllm, r1env"):
        find_support({**VERSIONS, "vllm": None, "r1env": None})


def test_the_interpreter_is_named_when_its_environment_will_not_do():
    with pytest.raises(UsageError, match="the environment of /opt/python cannot run OpenRLHF: missing there: vllm"):
        _ = Installation(interpreter="/opt/python", python="3.11.0", versions={**VERSIONS, "vllm": None}).support


def test_this_interpreter_can_be_asked(monkeypatch):
    monkeypatch.delenv(INTERPRETER, raising=False)
    found = look(None)
    assert found.interpreter == sys.executable
    assert found.versions["r1env_trainers"] is not None
    assert found.complaint is None


def test_an_interpreter_that_is_none_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"openrlhf\.python is '/no/such/python'"):
        look("/no/such/python")
    talker = tmp_path / "talker"
    talker.write_text("#!/bin/sh\necho hello\n")
    talker.chmod(0o755)
    with pytest.raises(UsageError, match="talker"):
        look(str(talker))


def test_the_doctor_says_what_is_missing_and_where(monkeypatch):
    from r1env.cli.doctor import State, diagnose
    from r1env.plugins import installed

    monkeypatch.setenv(INTERPRETER, "/no/such/python")
    (check,) = [check for check in diagnose(installed()) if check.name == "openrlhf"]
    assert check.state is State.ABSENT
    assert "/no/such/python" in check.detail


def test_an_inline_reward_leaves_the_process_and_the_others_stay_as_they_are():
    @reward(name="here")
    def here(completion: str) -> float:
        return 1.0

    @reward(name="waits", isolation="async")
    async def waits(completion: str) -> float:
        return 1.0

    before = Rubric("r", [WeightedReward(here, 0.5), WeightedReward(waits)])
    after = isolated(before)
    assert [item.reward.isolation for item in after.rewards] == [Isolation.PROCESS, Isolation.ASYNC]
    assert [item.weight for item in after.rewards] == [0.5, 1.0]
    assert before.rewards[0].reward.isolation is Isolation.INLINE


def test_parts_are_means_over_the_rollouts_that_have_them():
    found = step_metrics(
        {
            "parts/a": 0.2,
            "scored/parts/a": 0.4,
            "parts/b": 0.0,
            "scored/parts/b": 0.0,
            "error": 0.25,
            "rollout/num_samples": 8.0,
        }
    )
    assert found["parts/a"] == 0.5
    assert "parts/b" not in found
    assert found["unscored"] == 2.0


def test_the_reward_is_the_mean_over_what_has_a_score():
    assert step_metrics({"rollout/reward_mean": 0.3, "value": 0.4, "scored/value": 0.8})["reward"] == 0.5


def test_accuracies_of_several_environments_are_told_apart():
    found = evaluation_metrics({"eval_one_pass1": 1.0, "eval_two_pass1": 0.0, "eval_response_length_mean": 7.0})
    assert found == {"eval/accuracy": 0.5, "eval/length": 7.0, "eval/one/accuracy": 1.0, "eval/two/accuracy": 0.0}


def test_a_module_is_changed_right_after_its_import(tmp_path, monkeypatch):
    (tmp_path / "openrlhf_hooked.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    after_import({"openrlhf_hooked": lambda module: setattr(module, "value", module.value + 1)})
    assert "openrlhf_hooked" not in sys.modules
    assert importlib.import_module("openrlhf_hooked").value == 2
    seen = []
    after_import({"openrlhf_hooked": seen.append})
    assert seen == [sys.modules.pop("openrlhf_hooked")]


def test_the_cpu_passes_for_a_device_and_for_a_number():
    device = CpuAsDevice()
    assert torch.ones(1).to(device).device.type == "cpu"
    assert str(torch.device(f"cuda:{device}")) == "cuda:0"


@pytest.fixture
def padding(monkeypatch):
    """The stand-in's module, as a job imports it."""
    einops = ModuleType("einops")
    einops.rearrange = None
    monkeypatch.setitem(sys.modules, "einops", einops)
    monkeypatch.syspath_prepend(str(Path(openrlhf.__file__).parent / "stand_in"))
    yield importlib.import_module("flash_attn.bert_padding")
    for name in [name for name in sys.modules if name.partition(".")[0] == "flash_attn"]:
        del sys.modules[name]


def test_the_stand_in_takes_padding_off_and_puts_it_back(padding):
    values = torch.arange(24.0).view(2, 4, 3)
    mask = torch.tensor([[0, 1, 1, 1], [0, 0, 0, 1]])
    tokens, places, cumulative, longest, lengths = padding.unpad_input(values, mask)
    assert (tokens.shape, longest) == ((4, 3), 3)
    assert cumulative.tolist() == [0, 3, 4]
    assert lengths.tolist() == [3, 1]
    assert torch.equal(padding.pad_input(tokens, places, 2, 4), values * mask[..., None])
    assert torch.equal(padding.index_first_axis(values.flatten(0, 1), places), tokens)


def test_the_stand_in_says_that_ring_attention_needs_the_real_one(padding):
    with pytest.raises(ImportError, match="needs flash-attn"):
        importlib.import_module("flash_attn.utils.distributed").all_gather(None)
