"""What this distribution provides. Imports nothing heavy: every target is an import string."""

from __future__ import annotations

from r1env.hooks import (
    AdvantageSpec,
    EngineSpec,
    KLEstimatorSpec,
    LossAggregationSpec,
    LossSpec,
    PolicyRatioSpec,
    RecipeSpec,
    ReportSpec,
    TrainerSpec,
    hookimpl,
)

LOSSES = "r1env_trainers.rl.losses"


@hookimpl
def r1env_trainers() -> list[TrainerSpec]:
    return [
        TrainerSpec(
            name="grpo",
            config="r1env_trainers.rl.config:GRPOConfig",
            target="r1env_trainers.rl.trainer:GRPOTrainer",
            summary="group relative policy optimisation from the rewards of an environment",
            presets=("tiny-cpu", "smol-135m", "r1-zero", "r1-stage1", "r1-stage2", "deepseekmath", "dapo", "gspo", "drgrpo"),
            estimate="r1env_trainers.cost:estimate_grpo",
        ),
        TrainerSpec(
            name="ppo",
            config="r1env_trainers.rl.config:PPOConfig",
            target="r1env_trainers.rl.trainer:GRPOTrainer",
            summary="grpo with advantage=gae: proximal policy optimisation with a critic",
            presets=("tiny-cpu",),
        ),
        TrainerSpec(
            name="sft",
            config="r1env_trainers.sft.config:SFTConfig",
            target="r1env_trainers.sft.loop:SFTTrainer",
            summary="supervised fine-tuning on demonstrations, loss on the response only",
            presets=("tiny-cpu", "r1", *(f"distill-{size}" for size in ("1.5b", "7b", "8b", "14b", "32b", "70b"))),
            estimate="r1env_trainers.cost:estimate_sft",
        ),
        TrainerSpec(
            name="reward_model",
            config="r1env_trainers.reward_model.config:RewardModelConfig",
            target="r1env_trainers.reward_model.loop:RewardModelTrainer",
            summary="a scalar head on a language model, from preference pairs or safety labels",
            presets=("tiny-cpu", "r1-helpful", "r1-safety"),
        ),
        TrainerSpec(
            name="dpo",
            config="r1env_trainers.dpo.config:DPOConfig",
            target="r1env_trainers.dpo.loop:DPOTrainer",
            summary="direct preference optimization: a policy learns preference pairs without a reward model",
            presets=("tiny-cpu",),
        ),
        TrainerSpec(
            name="dataset",
            config="r1env_trainers.dataset:DatasetConfig",
            target="r1env_trainers.dataset:DatasetTrainer",
            summary="writes what a function makes of tasks as JSON lines: demonstrations or preferences for later stages",
            leaves_model=False,
        ),
        TrainerSpec(
            name="rejection",
            config="r1env_trainers.rejection.config:RejectionConfig",
            target="r1env_trainers.rejection.draw:RejectionTrainer",
            summary="rejection sampling: the right and readable ones of several completions become data for sft",
            presets=("tiny-cpu", "r1"),
            leaves_model=False,
        ),
        TrainerSpec(
            name="distill",
            config="r1env_trainers.distill.config:DistillConfig",
            target="r1env_trainers.distill.loop:DistillTrainer",
            summary="a student learns from a teacher's right samples, or from the teacher's distribution on its own",
            presets=("tiny-cpu", "tiny-cpu-on-policy"),
        ),
        TrainerSpec(
            name="evaluate",
            config="r1env_trainers.evaluate:EvaluateConfig",
            target="r1env_trainers.evaluate:EvaluateTrainer",
            summary="no training: models side by side on held-out tasks, as a table",
            presets=("r1",),
            leaves_model=False,
        ),
    ]


@hookimpl
def r1env_engines() -> list[EngineSpec]:
    return [
        EngineSpec(
            "transformers", "r1env_trainers.generate.engine:make_transformers", "a local model, batched decoding with torch"
        ),
        EngineSpec("vllm", "r1env_trainers.generate.vllm:make_vllm", "a local model, decoded by vLLM in this process"),
    ]


@hookimpl
def r1env_advantages() -> list[AdvantageSpec]:
    module = "r1env_trainers.rl.advantages"
    return [
        AdvantageSpec("dr_grpo", f"{module}:group_mean", "the reward minus the group's mean (Dr. GRPO)"),
        AdvantageSpec("grpo", f"{module}:group_std", "the same, divided by the group's deviation (GRPO)"),
        AdvantageSpec("rloo", f"{module}:leave_one_out", "the reward minus the mean of the others in the group (RLOO)"),
        AdvantageSpec("maxrl", f"{module}:maxrl", "the reward minus the group's mean, divided by it (MaxRL)"),
        AdvantageSpec("gdpo", f"{module}:gdpo", "each reward of the rubric normalised in its group, then summed (GDPO)"),
        AdvantageSpec("reinforce_pp", f"{module}:baseline_free", "the reward, normalised over the batch (REINFORCE++)"),
        AdvantageSpec("gae", f"{module}:gae", "generalised advantage estimation with a critic (PPO)"),
    ]


@hookimpl
def r1env_losses() -> list[LossSpec]:
    return [
        LossSpec("clipped", f"{LOSSES}:policy_loss", "the clipped loss of PPO, GRPO and GSPO"),
        LossSpec("cispo", f"{LOSSES}:cispo_loss", "REINFORCE, weighted by the clipped ratio (CISPO)"),
    ]


@hookimpl
def r1env_policy_ratios() -> list[PolicyRatioSpec]:
    return [
        PolicyRatioSpec("token", f"{LOSSES}:importance_ratio", "of each token (PPO, GRPO)"),
        PolicyRatioSpec("sequence", f"{LOSSES}:sequence_ratio", "of each sequence, the geometric mean over its tokens (GSPO)"),
    ]


@hookimpl
def r1env_loss_aggregations() -> list[LossAggregationSpec]:
    return [
        LossAggregationSpec("token-mean", f"{LOSSES}:token_mean", "the mean over all tokens (DAPO)"),
        LossAggregationSpec(
            "seq-mean-token-mean", f"{LOSSES}:seq_mean_token_mean", "the mean over sequences of their token means (GRPO)"
        ),
        LossAggregationSpec(
            "seq-mean-token-sum-norm",
            f"{LOSSES}:seq_mean_token_sum_norm",
            "the mean over sequences of sum / max_new_tokens (Dr. GRPO)",
        ),
    ]


@hookimpl
def r1env_kl_estimators() -> list[KLEstimatorSpec]:
    return [
        KLEstimatorSpec("k1", f"{LOSSES}:k1", "-log r: unbiased, may be negative"),
        KLEstimatorSpec("k2", f"{LOSSES}:k2", "(log r)² / 2: biased, never negative"),
        KLEstimatorSpec("k3", f"{LOSSES}:k3", "r - log r - 1: unbiased, never negative (GRPO)"),
    ]


@hookimpl
def r1env_reports() -> list[ReportSpec]:
    return [ReportSpec("tables", "r1env_trainers.evaluate:tables_section", "the tables that stages left")]


@hookimpl
def r1env_recipes() -> list[RecipeSpec]:
    return [
        RecipeSpec(
            name="r1-zero",
            resource="r1env_trainers:recipes/r1-zero.yaml",
            summary="GRPO from rule rewards alone, on a base model that knows the format and nothing else",
            presets=("tiny-cpu", "smol-135m", "paper"),
        ),
        RecipeSpec(
            name="r1",
            resource="r1env_trainers:recipes/r1.yaml",
            summary="the whole of R1: cold start, RL, rejection sampling, SFT from the base, RL for all scenarios, distillation",
            presets=("tiny-cpu", "smol-135m", "paper"),
        ),
        RecipeSpec(
            name="distill-vs-rl",
            resource="r1env_trainers:recipes/distill-vs-rl.yaml",
            summary="one small student from one start: reinforcement learning, and distillation from a larger model",
            presets=("tiny-cpu",),
        ),
        RecipeSpec(
            name="hacking",
            resource="r1env_trainers:recipes/hacking.yaml",
            summary="a small example of reward hacking, reported by the monitor, and its corrected version",
            presets=("tiny-cpu", "tiny-cpu-mended"),
        ),
        RecipeSpec(
            name="arithmetic",
            resource="r1env_trainers:recipes/arithmetic.yaml",
            summary="SFT on careless column additions, then GRPO until the carries are right",
            presets=("smol-135m", "tiny-cpu"),
        ),
        RecipeSpec(
            name="countdown",
            resource="r1env_trainers:recipes/countdown.yaml",
            summary="SFT on blind searches for a countdown, then GRPO until the tries are worth trying",
            presets=("smol-135m",),
        ),
        RecipeSpec(
            name="two-tools",
            resource="r1env_trainers:recipes/two-tools.yaml",
            summary="SFT on episodes that mostly guess, then GRPO over several turns until the model asks its two tools",
            presets=("tiny-cpu",),
        ),
        RecipeSpec(
            name="gsm8k",
            resource="r1env_trainers:recipes/gsm8k.yaml",
            summary="GSM8K with a small base model: SFT on two fifths of the solutions, then GRPO on the other questions",
            presets=("gemma3-270m", "smollm2-135m", "qwen2.5-0.5b"),
        ),
    ]
