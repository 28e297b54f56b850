"""What this distribution provides. Imports nothing heavy: every target is an import string."""

from __future__ import annotations

from r1env.hookspecs import EngineSpec, RecipeSpec, TrainerSpec, hookimpl


@hookimpl
def r1env_trainers() -> list[TrainerSpec]:
    return [
        TrainerSpec(
            name="grpo",
            config="r1env_trainers.grpo.config:GRPOConfig",
            target="r1env_trainers.grpo.loop:GRPOTrainer",
            summary="group relative policy optimisation from the rewards of an environment",
            presets=("tiny-cpu", "smol-135m"),
        ),
        TrainerSpec(
            name="sft",
            config="r1env_trainers.sft.config:SFTConfig",
            target="r1env_trainers.sft.loop:SFTTrainer",
            summary="supervised fine-tuning on demonstrations, loss on the response only",
            presets=("tiny-cpu",),
        ),
    ]


@hookimpl
def r1env_engines() -> list[EngineSpec]:
    return [EngineSpec("transformers", "r1env_trainers.engine:make_transformers", "a local model, batched decoding with torch")]


@hookimpl
def r1env_recipes() -> list[RecipeSpec]:
    return [
        RecipeSpec(
            name="r1-zero",
            resource="r1env_trainers:recipes/r1-zero.yaml",
            summary="GRPO from rule rewards alone, on a base model that knows the format and nothing else",
            presets=("tiny-cpu",),
        ),
        RecipeSpec(
            name="arithmetic",
            resource="r1env_trainers:recipes/arithmetic.yaml",
            summary="SFT on careless column additions, then GRPO until the carries are right",
            presets=("smol-135m", "tiny-cpu"),
        ),
    ]
