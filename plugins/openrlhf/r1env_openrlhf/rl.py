"""GRPO on OpenRLHF's Ray trainer: `check` and `train`, with the contracts of `r1env.trainer.Trainer`.

What a job reads and writes lies in the folder `openrlhf` among the stage's checkpoints:

    config.json, agent.py, prompts.jsonl, eval.jsonl, start/    read by the job
    job.json, log.txt                                           the command, and its output
    metrics.jsonl, samples/, checkpoints/                       written by the job; `follow` tells the run
    positions.json                                              for resuming
"""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer

from r1env.errors import UsageError
from r1env.preflight import Limits, check_suites
from r1env.rubrics import refuse_group_rewards
from r1env.runs.files import replace_text
from r1env.runs.run import Run
from r1env.runs.stages import is_stage
from r1env_openrlhf.command import MODULE, Files, arguments_of, check_settings, is_cpu, write_agent, write_prompts
from r1env_openrlhf.config import JobSpec, options_of
from r1env_openrlhf.episodes import CONFIG, SAMPLES
from r1env_openrlhf.follow import RolloutFollower, newest_checkpoint
from r1env_openrlhf.installation import Installation, look
from r1env_openrlhf.job import Job
from r1env_openrlhf.stage import check_installation, environment_of, follow, keep_model, rewind, start_model
from r1env_trainers.model.load import check_model_name
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.rollouts import evaluation_suite, training_suite

ACTOR = "_actor"
"""Where OpenRLHF puts the policy's checkpoints, below the folder that it is given."""

CPU_OBJECT_STORE_BYTES = 200 * 2**20
"""Ray would reserve a third of the machine's memory."""


def check(config: GRPOConfig) -> None:
    """Find every fault that can be found without starting Ray. Asks OpenRLHF's own parser about the command line.

    Raises:
        UsageError: with what to change.
    """
    options = options_of(config)
    check_settings(config, options)
    if not is_stage(config.model):
        check_model_name(config.model)
    for suite in (training_suite(config), *([evaluation_suite(config)] if config.eval.every else [])):
        if suite.adapts:
            raise UsageError(
                f"the backend openrlhf draws all tasks beforehand, and {suite.name!r} has a curriculum; set env_options.level to a level or "
                "a range"
            )
        for environment in suite.environments:
            refuse_group_rewards(environment.rubric, "the backend openrlhf")
            environment.task(0)
    folder = Path("openrlhf")
    arguments = arguments_of(config, options, _files(folder, config, config.model), max_length=2, resume=False)
    check_installation(options, look(options.python, MODULE, arguments))


def train(config: GRPOConfig, run: Run) -> None:
    """Run OpenRLHF, or go on from its newest checkpoint, and leave the model in `run.model_dir()`.

    Raises:
        UsageError: OpenRLHF is not there, or the model cannot be used.
        TrainingStoppedError: the job ended before its last step; its newest checkpoint is whole.
    """
    options = options_of(config)
    installation = look(options.python)
    run.note(openrlhf={"python": installation.python, "versions": dict(installation.versions)})
    folder = (run.checkpoint_dir / "openrlhf").absolute()
    (folder / SAMPLES).mkdir(parents=True, exist_ok=True)
    files = _files(folder, config, start_model(folder, config.model, config.seed))
    done = newest_checkpoint(files.checkpoints / ACTOR)
    first = rewind(run, folder, done)
    tokenizer = AutoTokenizer.from_pretrained(files.model)
    limits = Limits(tokenizer, config.filter.max_prompt_length, options.max_length)
    check_suites([training_suite(config)], config.preflight, limits, seed=config.seed)
    written = write_prompts(files.prompts, files.evaluation, config, tokenizer)
    max_length = (
        options.max_length
        or written.longest + written.turns * config.sampling.max_new_tokens + (written.turns - 1) * options.reply_tokens
    )
    write_agent(files.agent, folder)
    replace_text(folder / CONFIG, config.model_dump_json(indent=2) + "\n")
    arguments = arguments_of(config, options, files, max_length=max_length, resume=done > 0)
    follower = RolloutFollower(run, config, folder, first)
    with Job(installation.interpreter, job_spec(config, installation, arguments), folder) as job:
        follow(job, follower, options.start_seconds)
    keep_model(files.result, run.model_dir())


def job_spec(config: GRPOConfig, installation: Installation, arguments: list[str]) -> JobSpec:
    """Return the command and the Ray cluster that it runs on."""
    address, processes = options_of(config).ray_address, _processes(config)
    return JobSpec(
        module=MODULE,
        arguments=tuple(arguments),
        environment=environment_of(installation, config),
        ray_address=address,
        # On a CPU every process counts as a GPU; where there are GPUs, Ray looks by itself.
        logical_gpus=processes if is_cpu(config) and address is None else None,
        logical_cpus=2 * processes,
        object_store_bytes=CPU_OBJECT_STORE_BYTES if is_cpu(config) else None,
    )


def _processes(config: GRPOConfig) -> int:
    """Return the GPUs of policies, references and engines."""
    options = options_of(config)
    policies = options.nodes * options.gpus
    return policies * (2 if config.algo.needs_reference else 1) + options.engine_count * options.tensor_parallel


def _files(folder: Path, config: GRPOConfig, model: str) -> Files:
    return Files(
        model=model,
        prompts=folder / "prompts.jsonl",
        evaluation=folder / "eval.jsonl" if config.eval.every else None,
        agent=folder / "agent.py",
        checkpoints=folder / "checkpoints",
        metrics=folder,
        result=folder / ".result",
    )
