"""GRPO settings as OpenRLHF's arguments: taken by the parser of the installed release, complete, and refused where it has no counterpart."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from r1env.errors import UsageError
from r1env_openrlhf.command import MODULE, Files, arguments_of, check_settings, micro_batch
from r1env_openrlhf.config import options_of
from r1env_openrlhf.installation import Installation
from r1env_openrlhf.probe import complaint_of, installed_parser
from r1env_openrlhf.rl import job_spec
from r1env_trainers.rl.config import GRPOConfig

needs_openrlhf = pytest.mark.skipif(importlib.util.find_spec("openrlhf") is None, reason="OpenRLHF is not installed")

NEED = {"env": "sort-4", "model": "tiny", "steps": 20, "prompts_per_step": 4, "group_size": 4}


def config_of(**settings) -> GRPOConfig:
    options = settings.pop("backend_options", {})
    return GRPOConfig(**{**NEED, "backend": "openrlhf", "backend_options": options, **settings})


def files(*, evaluation: bool = False) -> Files:
    folder = Path("job")
    return Files(
        model="start",
        prompts=folder / "prompts.jsonl",
        evaluation=folder / "eval.jsonl" if evaluation else None,
        agent=folder / "agent.py",
        checkpoints=folder / "checkpoints",
        metrics=folder,
        result=folder / "result",
    )


def compiled(config: GRPOConfig, *, resume: bool = False) -> list[str]:
    check_settings(config, options_of(config))
    return arguments_of(config, options_of(config), files(evaluation=config.eval_every > 0), max_length=64, resume=resume)


def value_after(arguments: list[str], flag: str) -> str:
    return arguments[arguments.index(f"--{flag}") + 1]


SETTINGS = [
    {},
    {"device": "cpu", "track_kl": True},
    {"advantage": "group_std", "kl_coef": 1e-3, "kl_in": "reward", "dual_clip": 3.0, "entropy_coef": 0.01},
    {"advantage": "loo", "aggregation": "sequence", "ratio": "sequence", "lr_schedule": "cosine", "lr_floor": 0.1},
    {"advantage": "reinforce_pp", "lr_schedule": "linear", "refill": True, "correction": "token"},
    {"advantage": "group_mean", "whiten": True, "eval_every": 5, "mini_batches": 2},
    {
        "backend_options": {
            **{"nodes": 2, "gpus": 8, "ray_address": "auto", "engines": 8, "tensor_parallel": 2},
            **{"zero_stage": 3, "adam_offload": True},
        },
        "group_size": 32,
    },
    {
        "backend_options": {
            "attention": "flash_attention_2",
            "packing": True,
            "gradient_checkpointing": True,
            "extra": ("--train.enable_ema",),
        }
    },
]


@needs_openrlhf
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("resume", [False, True])
def test_the_installed_release_takes_the_arguments(settings, resume):
    assert complaint_of(installed_parser(MODULE), compiled(config_of(**settings), resume=resume)) is None


@needs_openrlhf
@pytest.mark.parametrize(
    ("extra", "complaint"),
    [
        (("--algo.advantage.is_correction_enable",), "unrecognized arguments: --algo.advantage.is_correction_enable"),
        (("--ds.zero_stag", "3"), "unrecognized arguments: --ds.zero_stag 3"),
        (("--ds.param_dtype", "fp64"), "invalid choice: 'fp64'"),
    ],
)
def test_what_the_installed_release_does_not_know_is_named(extra, complaint):
    said = complaint_of(installed_parser(MODULE), compiled(config_of(backend_options={"extra": extra})))
    assert said is not None
    assert complaint in said


ELSEWHERE = {
    # the prompt files and the agent
    *("env", "env_options", "mixture", "rubric", "template", "difficulty", "difficulty_low", "difficulty_high"),
    *("eval_limit", "eval_options", "model"),
    # following the job
    *("eval_shown", "max_failed", "samples_every"),
    # the job's environment
    "dither",
    # the process that trains here, which there is none of
    *("threads", "backend", "backend_options", "device", "max_rows"),
    # of the critic, which advantage=gae asks for, and that is refused
    *("gamma", "gae_lambda", "value_clip", "critic", "critic_model", "critic_lr", "critic_warmup", "value_coef"),
    # only with another setting, and changed together with it above
    *("max_refills", "correction_cap", "late_rubric", "late_mixture", "kl_in", "whiten"),
}
CHANGED = {
    **{"seed": 3, "steps": 21, "micro_batch_size": 2, "lr": 1e-3, "lr_schedule": "cosine", "lr_floor": 0.5, "warmup_steps": 3},
    **{
        "betas": (0.8, 0.9),
        "weight_decay": 0.1,
        "grad_clip": 2.0,
        "checkpoint_every": 7,
        "prompts_per_step": 8,
        "group_size": 8,
    },
    **{"max_new_tokens": 9, "temperature": 0.5, "top_p": 0.5, "eval_every": 3, "refill": True, "epochs": 2, "mini_batches": 2},
    **{
        "advantage": "group_std",
        "ratio": "sequence",
        "clip_low": 0.1,
        "clip_high": 0.1,
        "dual_clip": 3.0,
        "aggregation": "sequence",
    },
    **{
        "kl_coef": 0.1,
        "kl_estimator": "k1",
        "track_kl": True,
        "entropy_coef": 0.1,
        "correction": "token",
        "mask_truncated": True,
    },
    **{"engine": "vllm", "vllm": {"max_num_seqs": 8}},
    **{"length_schedule": {3: 5}, "temperature_schedule": {3: 0.5}, "late_steps": 2, "reference_every": 5},
}


@pytest.mark.parametrize("name", [name for name in GRPOConfig.model_fields if name not in ELSEWHERE])
def test_every_setting_reaches_openrlhf_or_is_refused(name):
    also = {
        "late_steps": {"late_rubric": "accuracy"},
        "reference_every": {"kl_coef": 0.1},
        "lr_floor": {"lr_schedule": "cosine"},
    }
    before = compiled(config_of(device="cpu", lr_floor=0.0, **({"lr_schedule": "cosine"} if name == "lr_floor" else {})))
    try:
        after = compiled(config_of(**{"device": "cpu", **also.get(name, {}), name: CHANGED[name]}))
    except UsageError as error:
        assert name in str(error) or "late_" in str(error)  # noqa: PT017 - either is fine, silence is not
    else:
        assert after != before


def test_ppo_is_refused():
    with pytest.raises(UsageError, match="advantage"):
        compiled(config_of(device="cpu", advantage="gae", critic_lr=1e-3))


def test_settings_that_were_stored_with_a_run_are_taken_again():
    stored = config_of(device="cpu")
    assert compiled(GRPOConfig.model_validate(stored.model_dump(mode="json"))) == compiled(stored)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"advantage": "maxrl"}, "advantage"),
        ({"advantage": "group_std", "whiten": True}, "whiten"),
        ({"aggregation": "constant"}, "aggregation=constant"),
        ({"ratio": "cispo"}, "ratio=cispo"),
        ({"correction": "sequence"}, "correction=token"),
        ({"mask_truncated": True}, "mask_truncated"),
        ({"lr_schedule": "linear", "lr_floor": 0.1}, "lr_floor=0"),
        ({"backend_options": {"extra": ("--ds.lora.rank", "8")}}, "1349"),
        ({"backend_options": {"packing": True}}, "flash_attention_2"),
        ({"backend_options": {"gpus": 2, "engines": 1}}, "engines x tensor_parallel = 1"),
        ({"backend_options": {"nodes": 2}}, "--ray-address"),
        ({"backend_options": {"gpus": 3}}, "16 rollouts an update do not divide"),
        ({"device": "cpu", "backend_options": {"gpus": 2}}, "on a CPU"),
        ({"micro_batch_size": 3}, "micro_batch_size"),
    ],
)
def test_what_openrlhf_cannot_do_is_refused_with_the_setting_to_change(settings, named):
    config = config_of(**settings)
    with pytest.raises(UsageError, match=named):
        check_settings(config, options_of(config))


def test_the_kl_is_measured_without_weighing_anything_where_that_is_asked_for():
    arguments = compiled(config_of(track_kl=True))
    assert 0 < float(value_after(arguments, "algo.kl.init_coef")) < 1e-9
    assert "--algo.kl.use_loss" in arguments
    assert value_after(compiled(config_of()), "algo.kl.init_coef") == "0.0"


def test_the_warm_up_counts_updates():
    arguments = compiled(config_of(steps=20, mini_batches=2, warmup_steps=10))
    assert float(value_after(arguments, "actor.lr_warmup_ratio")) * 40 == pytest.approx(10)


def test_an_open_micro_batch_divides_what_there_is():
    config = config_of(prompts_per_step=3, group_size=10)
    assert micro_batch(config) == 6
    check_settings(config, options_of(config))


@pytest.mark.parametrize(
    ("options", "engines"),
    [
        ({}, 1),
        ({"gpus": 8}, 8),
        ({"nodes": 2, "gpus": 8, "ray_address": "auto", "tensor_parallel": 4}, 4),
        ({"nodes": 2, "gpus": 8, "ray_address": "auto", "colocate": False}, 1),
        ({"gpus": 8, "engines": 4, "tensor_parallel": 2}, 4),
    ],
)
def test_nodes_and_gpus_are_enough_where_policy_and_engines_share_them(options, engines):
    arguments = compiled(config_of(group_size=32, backend_options=options))
    for role in ("actor", "ref"):
        assert value_after(arguments, f"{role}.num_nodes") == str(options.get("nodes", 1))
        assert value_after(arguments, f"{role}.num_gpus_per_node") == str(options.get("gpus", 1))
    assert value_after(arguments, "vllm.num_engines") == str(engines)
    assert ("--train.colocate_all" in arguments) == options.get("colocate", True)


def test_an_open_micro_batch_divides_what_a_gpu_gets():
    assert micro_batch(config_of(prompts_per_step=8, group_size=4, backend_options={"gpus": 8})) == 4


@pytest.mark.parametrize(
    ("address", "device", "logical"), [(None, "cpu", 2), (None, "cuda", None), ("auto", "cpu", None), ("auto", "cuda", None)]
)
def test_a_running_cluster_is_joined_as_it_is_and_gpus_are_made_up_only_without_any(address, device, logical):
    installation = Installation(interpreter="/opt/python", python="3.11.0", versions={"flash_attn": None})
    config = config_of(device=device, backend_options={"ray_address": address})
    spec = job_spec(config, installation, [])
    assert (spec.ray_address, spec.logical_gpus, spec.ranks) == (address, logical, None)
