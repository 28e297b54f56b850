"""GRPO settings as OpenRLHF's arguments: taken by the parser of the installed release, complete, and refused where it has no counterpart."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from r1env.config import list_settings
from r1env.errors import UsageError
from r1env_openrlhf.command import MODULE, Files, arguments_of, check_settings, micro_batch
from r1env_openrlhf.config import options_of
from r1env_openrlhf.installation import Installation
from r1env_openrlhf.probe import complaint_of, installed_parser
from r1env_openrlhf.rl import check, job_spec
from r1env_trainers.rl.config import CriticSettings, GRPOConfig

needs_openrlhf = pytest.mark.skipif(importlib.util.find_spec("openrlhf") is None, reason="OpenRLHF is not installed")

NEED = {"env": "sort-4", "model": "tiny", "steps": 20, "sampling.prompts_per_step": 4, "sampling.group_size": 4}


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
    return arguments_of(config, options_of(config), files(evaluation=config.eval.every > 0), max_length=64, resume=resume)


def value_after(arguments: list[str], flag: str) -> str:
    return arguments[arguments.index(f"--{flag}") + 1]


SETTINGS = [
    {},
    {"device": "cpu", "algo.track_kl": True},
    {
        "algo.advantage": "grpo",
        "algo.kl_coef": 1e-3,
        "algo.kl_in": "reward",
        "algo.dual_clip": 3.0,
        "algo.entropy_coef": 0.01,
    },
    {
        "algo.advantage": "rloo",
        "algo.loss_aggregation": "seq-mean-token-mean",
        "algo.policy_ratio": "sequence",
        "optim.lr_schedule": "cosine",
        "optim.min_lr_ratio": 0.1,
    },
    {
        "algo.advantage": "reinforce_pp",
        "optim.lr_schedule": "linear",
        "filter.dynamic_sampling": True,
        "algo.importance_sampling_correction": "token",
    },
    {"algo.advantage": "dr_grpo", "algo.normalize_advantages": True, "eval.every": 5, "optim.mini_batches": 2},
    {
        "backend_options": {
            **{"nodes": 2, "gpus": 8, "ray_address": "auto", "engines": 8, "tensor_parallel": 2},
            **{"zero_stage": 3, "adam_offload": True},
        },
        "sampling.group_size": 32,
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
    *("env", "env_options", "hold_out", "mixture", "rubric", "template", "model", "eval.limit", "eval.env_options"),
    *("filter.pass_rates", "filter.min_pass_rate", "filter.max_pass_rate", "filter.max_prompt_length"),
    *("preflight.mode", "preflight.max_faulty", "preflight.tasks"),
    # following the job
    *("eval.samples", "max_failed", "max_unscored", "log.samples_every"),
    # the job's environment
    *("optim.dither", "optim.max_bad_steps"),
    # OpenRLHF has one way: flat groups count, and its dynamic filtering compares the checker's verdicts
    *("algo.count_flat_groups", "filter.dynamic_sampling_metric"),
    # refused wherever log-probs are learned from
    "sampling.repetition_penalty",
    # the process that trains here, which there is none of
    *("threads", "backend", "backend_options", "device", "engine.max_num_seqs"),
    # of the critic, which advantage=gae asks for, and that is refused
    *("algo.gamma", "algo.gae_lambda", *(f"critic.{name}" for name in CriticSettings.model_fields)),
    # only with another setting, and changed together with it above
    *("filter.max_extra_batches", "algo.importance_sampling_cap", "final_phase.rubric", "final_phase.mixture"),
    *("algo.kl_in", "algo.normalize_advantages"),
}
CHANGED = {
    "memory_gb": 3.0,
    "gradient_checkpointing": True,
    "optim.name": "adamw8bit",
    **{
        "seed": 3,
        "steps": 21,
        "optim.micro_batch_size": 2,
        "optim.lr": 1e-3,
        "optim.lr_schedule": "cosine",
        "optim.min_lr_ratio": 0.5,
        "optim.warmup_steps": 3,
    },
    **{
        "optim.betas": (0.8, 0.9),
        "optim.weight_decay": 0.1,
        "optim.max_grad_norm": 2.0,
        "checkpoint.every": 7,
        "checkpoint.dtype": "float32",
        **{"lora.rank": 8, "lora.alpha": 8, "lora.target_modules": "q_proj", "lora.merge": False},
        "sampling.prompts_per_step": 8,
        "sampling.group_size": 8,
    },
    **{
        "sampling.max_new_tokens": 9,
        "sampling.temperature": 0.5,
        "sampling.top_p": 0.5,
        "sampling.top_k": 20,
        "sampling.min_p": 0.1,
        "sampling.stop": ("</answer>",),
        "sampling.ignore_eos": True,
        "eval.every": 3,
        "filter.dynamic_sampling": True,
        "optim.epochs": 2,
        "optim.mini_batches": 2,
    },
    **{
        "algo.advantage": "grpo",
        "algo.policy_ratio": "sequence",
        "algo.clip_ratio_low": 0.1,
        "algo.clip_ratio_high": 0.1,
        "algo.dual_clip": 3.0,
        "algo.loss_aggregation": "seq-mean-token-mean",
    },
    **{
        "algo.kl_coef": 0.1,
        "algo.kl_estimator": "k1",
        "algo.track_kl": True,
        "algo.entropy_coef": 0.1,
        "algo.importance_sampling_correction": "token",
        "algo.mask_truncated_completions": True,
    },
    **{
        "algo.loss": "r1env_trainers.rl.losses:cispo_loss",
        "engine.name": "vllm",
        "engine.options": {"a": 1},
        "engine.vllm.gpu_memory_utilization": 0.5,
        "engine.vllm.max_num_seqs": 8,
        "engine.vllm.max_model_len": 99,
        "engine.vllm.enforce_eager": True,
        "engine.vllm.sleep": True,
        "engine.vllm.further": {"a": 1},
    },
    **{
        "sampling.length_schedule": {3: 5},
        "sampling.temperature_schedule": {3: 0.5},
        "final_phase.steps": 2,
        "log.tokens_every": 1,
        "algo.ref_model_sync_steps": 5,
    },
    "algo.loss": "r1env_trainers.rl.losses:cispo_loss",
    "engine.options": {"a": 1},
}


@pytest.mark.parametrize("name", [one.path for one in list_settings(GRPOConfig) if one.path not in ELSEWHERE])
def test_every_setting_reaches_openrlhf_or_is_refused(name):
    also = {
        "final_phase.steps": {"final_phase.rubric": "accuracy"},
        "algo.ref_model_sync_steps": {"algo.kl_coef": 0.1},
        "optim.min_lr_ratio": {"optim.lr_schedule": "cosine"},
    }
    before = compiled(
        config_of(
            device="cpu", optim={"min_lr_ratio": 0.0}, **{"optim.lr_schedule": "cosine"} if name == "optim.min_lr_ratio" else {}
        )
    )
    try:
        after = compiled(config_of(**{"device": "cpu", **also.get(name, {}), name: CHANGED[name]}))
    except UsageError as error:
        assert name in str(error) or "final_phase" in str(error)  # noqa: PT017 - either is fine, silence is not
    else:
        assert after != before


def test_ppo_is_refused():
    with pytest.raises(UsageError, match="advantage"):
        compiled(config_of(device="cpu", algo={"advantage": "gae"}, critic={"lr": 1e-3}))


def test_settings_that_were_stored_with_a_run_are_taken_again():
    stored = config_of(device="cpu")
    assert compiled(GRPOConfig.model_validate(stored.model_dump(mode="json"))) == compiled(stored)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"algo.advantage": "maxrl"}, "advantage"),
        ({"algo.advantage": "grpo", "algo.normalize_advantages": True}, "normalize_advantages"),
        ({"algo.loss_aggregation": "seq-mean-token-sum-norm"}, "loss_aggregation=seq-mean-token-sum-norm"),
        ({"algo.loss": "cispo"}, "no counterpart of algo.loss"),
        ({"algo.kl_estimator": "r1env_trainers.rl.losses:k2", "algo.kl_coef": 0.1}, "algo.kl_estimator"),
        ({"algo.importance_sampling_correction": "sequence"}, "importance_sampling_correction=token"),
        ({"algo.mask_truncated_completions": True}, "mask_truncated_completions"),
        ({"optim.lr_schedule": "linear", "optim.min_lr_ratio": 0.1}, "min_lr_ratio=0"),
        ({"backend_options": {"extra": ("--ds.lora.rank", "8")}}, "1349"),
        ({"backend_options": {"packing": True}}, "flash_attention_2"),
        ({"backend_options": {"gpus": 2, "engines": 1}}, "engines x tensor_parallel = 1"),
        ({"backend_options": {"nodes": 2}}, "--ray-address"),
        ({"backend_options": {"gpus": 3}}, "16 rollouts an update do not divide"),
        ({"device": "cpu", "backend_options": {"gpus": 2}}, "on a CPU"),
        ({"optim.micro_batch_size": 3}, "micro_batch_size"),
    ],
)
def test_what_openrlhf_cannot_do_is_refused_with_the_setting_to_change(settings, named):
    config = config_of(**settings)
    with pytest.raises(UsageError, match=named):
        check_settings(config, options_of(config))


def test_a_curriculum_is_refused_since_all_tasks_are_drawn_beforehand():
    with pytest.raises(UsageError, match="'dates' has a curriculum; set env_options"):
        check(config_of(env="dates", env_options={"level": "auto"}))


def test_the_kl_is_measured_without_weighing_anything_where_that_is_asked_for():
    arguments = compiled(config_of(algo={"track_kl": True}))
    assert 0 < float(value_after(arguments, "algo.kl.init_coef")) < 1e-9
    assert "--algo.kl.use_loss" in arguments
    assert value_after(compiled(config_of()), "algo.kl.init_coef") == "0.0"


def test_the_warm_up_counts_updates():
    arguments = compiled(config_of(steps=20, optim={"mini_batches": 2, "warmup_steps": 10}))
    assert float(value_after(arguments, "actor.lr_warmup_ratio")) * 40 == pytest.approx(10)


def test_an_open_micro_batch_divides_what_there_is():
    config = config_of(sampling={"prompts_per_step": 3, "group_size": 10})
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
    arguments = compiled(config_of(sampling={"group_size": 32}, backend_options=options))
    for role in ("actor", "ref"):
        assert value_after(arguments, f"{role}.num_nodes") == str(options.get("nodes", 1))
        assert value_after(arguments, f"{role}.num_gpus_per_node") == str(options.get("gpus", 1))
    assert value_after(arguments, "vllm.num_engines") == str(engines)
    assert ("--train.colocate_all" in arguments) == options.get("colocate", True)


def test_an_open_micro_batch_divides_what_a_gpu_gets():
    assert micro_batch(config_of(sampling={"prompts_per_step": 8, "group_size": 4}, backend_options={"gpus": 8})) == 4


@pytest.mark.parametrize(
    ("address", "device", "logical"), [(None, "cpu", 2), (None, "cuda", None), ("auto", "cpu", None), ("auto", "cuda", None)]
)
def test_a_running_cluster_is_joined_as_it_is_and_gpus_are_made_up_only_without_any(address, device, logical):
    installation = Installation(interpreter="/opt/python", python="3.11.0", versions={"flash_attn": None})
    config = config_of(device=device, backend_options={"ray_address": address})
    spec = job_spec(config, installation, [])
    assert (spec.ray_address, spec.logical_gpus, spec.ranks) == (address, logical, None)
