"""The rewards that r1env-format provides."""

from __future__ import annotations

from r1env import RewardSpec, RubricPresetSpec, hookimpl


@hookimpl
def r1env_rewards() -> list[RewardSpec]:
    return [
        RewardSpec("format", "r1env_format.reward:Format", "1 if thinking and answer are where the template wants them"),
        RewardSpec(
            "format_partial", "r1env_format.partial:FormatPartial", "a share of 1 for each rule of `format` that is kept"
        ),
        RewardSpec(
            "json_schema", "r1env_format.json_schema:JsonSchema", "1 if the answer is JSON that is valid under a schema"
        ),
        RewardSpec("repetition", "r1env_format.repetition:Repetition", "a penalty for repeated n-grams"),
        RewardSpec("length", "r1env_format.length:Length", "1 for short completions, falling to 0 along a cosine"),
        RewardSpec("overlong", "r1env_format.length:Overlong", "DAPO's soft punishment of completions near the length limit"),
        RewardSpec(
            "reflection", "r1env_format.reflective_words:reflection", "the share of reflective words; a metric, weight 0"
        ),
    ]


@hookimpl
def r1env_rubrics() -> list[RubricPresetSpec]:
    # R1 adds accuracy and format with equal weight. At small scale an equal format term is an attractor: models learn the tags and
    # nothing else. So `zero` weighs format 0.1, which is our choice.
    return [
        RubricPresetSpec("zero", {"accuracy": 1.0, "format": 0.1}, "R1-Zero's rewards, with a small weight on the format"),
        RubricPresetSpec("r1-zero", {"accuracy": 1.0, "format": 1.0}, "R1-Zero's rewards as published (Nature, eq. 4)"),
    ]
