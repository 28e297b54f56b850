"""`check` and `train` of the trainer `sft` on the backend `openrlhf`, with the contracts of `r1env.trainer.Trainer`.

What a job reads and writes lies in the folder `openrlhf` among the stage's checkpoints:

    data.jsonl, start/              read by the job
    job.json, log.txt               the command, and its output
    metrics.jsonl, checkpoints/     written by the job; `follow` tells the run
    positions.json                  for resuming
"""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer

from r1env.runs.run import Run
from r1env.trainer import is_stage
from r1env_trainers.model.load import check_model_name
from r1env_trainers.openrlhf.follow import TuningFollower, newest_checkpoint
from r1env_trainers.openrlhf.installation import Installation, look
from r1env_trainers.openrlhf.job import Job
from r1env_trainers.openrlhf.sft.command import MODULE, Files, arguments_of, check_settings
from r1env_trainers.openrlhf.sft.rows import write_rows
from r1env_trainers.openrlhf.spec import JobSpec
from r1env_trainers.openrlhf.stage import check_installation, environment_of, follow, keep_model, rewind, start_model
from r1env_trainers.sft.config import SFTConfig
from r1env_trainers.sft.data import open_demonstrations, steps_of, waits_for_a_stage


def check(config: SFTConfig) -> None:
    """Find every fault that can be found without training. Asks OpenRLHF's own parser about the command line.

    Raises:
        UsageError: with what to change.
    """
    options = config.openrlhf
    check_settings(config, options)
    if not is_stage(config.model):
        check_model_name(config.model)
    if not waits_for_a_stage(config):
        open_demonstrations(config).at(0)
    files = _files(Path("openrlhf"), config.model)
    arguments = arguments_of(config, options, files, steps=config.steps, longest=2, resume=False)
    check_installation(options, look(options.python, MODULE, arguments))


def train(config: SFTConfig, run: Run) -> None:
    """Run OpenRLHF, or go on from its newest checkpoint, and leave the model in `run.model_dir()`.

    Raises:
        UsageError: OpenRLHF is not there, or model or data cannot be used.
        TrainingStoppedError: the job ended before its last step; its newest checkpoint is whole.
    """
    options = config.openrlhf
    installation = look(options.python)
    run.note(openrlhf={"python": installation.python, "versions": dict(installation.versions)})
    folder = (run.checkpoint_dir / "openrlhf").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    files = _files(folder, start_model(folder, config.model, config.seed))
    done = newest_checkpoint(files.checkpoints)
    first = rewind(run, folder, done)
    demonstrations = open_demonstrations(config)
    steps = steps_of(config, demonstrations)
    longest = write_rows(files.data, config, demonstrations, steps, AutoTokenizer.from_pretrained(files.model))
    arguments = arguments_of(config, options, files, steps=steps, longest=longest, resume=done > 0)
    follower = TuningFollower(run, config.checkpoint.every, folder, first)
    with Job(installation.interpreter, job_spec(config, installation, arguments), folder) as job:
        follow(job, follower, options.start_seconds)
    keep_model(files.result, run.model_dir())


def job_spec(config: SFTConfig, installation: Installation, arguments: list[str]) -> JobSpec:
    """The command, and in how many processes it runs."""
    return JobSpec(
        module=MODULE,
        arguments=tuple(arguments),
        environment=environment_of(installation, config),
        ranks=config.openrlhf.gpus,
    )


def _files(folder: Path, model: str) -> Files:
    return Files(model=model, data=folder / "data.jsonl", checkpoints=folder / "checkpoints", result=folder / ".result")
