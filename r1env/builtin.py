"""What the core itself provides, through the same hooks as any plugin."""

from __future__ import annotations

from r1env.hooks import (
    EngineSpec,
    EnvironmentSpec,
    ReportSpec,
    RewardSpec,
    RubricPresetSpec,
    SuiteSpec,
    TemplateSpec,
    ToolParserSpec,
    TrackerSpec,
    hookimpl,
)


@hookimpl
def r1env_templates() -> list[TemplateSpec]:
    return [
        TemplateSpec("plain", "r1env.prompts:PLAIN_TEMPLATE", "the task's own prompt"),
        TemplateSpec("r1-zero", "r1env.prompts:R1_ZERO_TEMPLATE", "the completion prompt of R1-Zero (DeepSeek-R1, table 1)"),
        TemplateSpec("boxed", "r1env.prompts:BOXED_TEMPLATE", "asks for the answer in a box, as R1's authors recommend"),
        TemplateSpec("tagged", "r1env.prompts:TAGGED_TEMPLATE", "asks for a thinking block and an answer block"),
    ]


@hookimpl
def r1env_environments() -> list[EnvironmentSpec]:
    return [
        EnvironmentSpec(
            "data",
            "r1env.data.tasks:file_tasks",
            reward="",
            summary="your own rows: files, folders, or a data set of the hub",
            template="",
            kind="any",
            requires="data=FILE (JSON Lines, JSON, CSV, Parquet), a folder, or hub:owner/name; map=… where the layout is not known",
        ),
        EnvironmentSpec(
            "nemo-gym",
            "r1env.adapters.nemo_gym:RowTasks",
            reward="",
            summary="rows of NeMo Gym without tools: --env nemo-gym:FILE",
            kind="any",
            requires="nemo-gym:FILE",
            argument="data",
        ),
        EnvironmentSpec(
            "simulated-user",
            "r1env.envs.simulated_user:UserTasks",
            reward="",
            summary="conversations whose user is played by a second engine, such as engine=openai",
            max_turns=16,
            other="r1env.envs.simulated_user:SimulatedUser",
            kind="chat",
            requires="data=FILE with the columns user and opening, and the model that plays the user: model=NAME",
        ),
        EnvironmentSpec(
            "openenv",
            "r1env.adapters.openenv:OpenEnvTasks",
            reward="environment",
            summary="an environment behind an OpenEnv server: --env openenv:URL",
            max_turns=64,
            other="r1env.adapters.openenv:OpenEnvEpisode",
            kind="chat",
            requires="openenv:URL, and r1env[openenv]",
            argument="url",
        ),
    ]


@hookimpl
def r1env_suites() -> list[SuiteSpec]:
    return [SuiteSpec("smoke", "r1env.envs.suite:with_fixtures", "a few tasks of every environment that comes with some")]


@hookimpl
def r1env_rewards() -> list[RewardSpec]:
    return [RewardSpec("environment", "r1env.rewards:environment", "what the environment itself paid, summed over the turns")]


@hookimpl
def r1env_tool_parsers() -> list[ToolParserSpec]:
    return [
        ToolParserSpec("hermes", "r1env.envs.conversation:parse_tool_calls", "JSON between <tool_call> tags (Hermes, Qwen)"),
        ToolParserSpec("llama", "r1env.envs.conversation:parse_llama_calls", "messages that are JSON objects (Llama 3)"),
    ]


@hookimpl
def r1env_rubrics() -> list[RubricPresetSpec]:
    return [RubricPresetSpec("accuracy", {"accuracy": 1.0}, "the environment's own checker alone")]


@hookimpl
def r1env_engines() -> list[EngineSpec]:
    return [EngineSpec("scripted", "r1env.engines:make_scripted", "answers one fixed text; needs no model")]


@hookimpl
def r1env_reports() -> list[ReportSpec]:
    return [ReportSpec("stages", "r1env.runs.stages:stages_section", "a row for each stage: where it started, what it cost")]


@hookimpl
def r1env_trackers() -> list[TrackerSpec]:
    return [
        TrackerSpec(
            "tensorboard",
            "r1env.trackers:TensorBoard",
            "event files in the run's folder",
            module="tensorboard",
            install="r1env[tensorboard]",
        ),
        TrackerSpec("wandb", "r1env.trackers:WandB", "Weights & Biases", module="wandb", install="r1env[wandb]"),
        TrackerSpec("trackio", "r1env.trackers:Trackio", "a local dashboard", module="trackio", install="r1env[trackio]"),
    ]
