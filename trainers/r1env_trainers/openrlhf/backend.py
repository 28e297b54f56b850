"""The backend `openrlhf` of the trainer `grpo`: `check` and `train`, with the contracts of `r1env.trainer.Trainer`.

What a job reads and writes lies in the folder `openrlhf` among the stage's checkpoints:

    config.json, agent.py, prompts.jsonl, eval.jsonl, start/    read by the job
    job.json, log.txt                                           the command, and its output
    metrics.jsonl, samples/, checkpoints/                       written by the job; `follow` tells the run
    positions.json                                              for resuming
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from transformers import AutoTokenizer

from r1env.errors import TrainingStoppedError, UsageError
from r1env.runs.atomic import replace_text
from r1env.runs.run import Run
from r1env.stages import is_stage
from r1env_trainers import openrlhf
from r1env_trainers.checkpoints import save_model
from r1env_trainers.grpo.config import GRPOConfig
from r1env_trainers.grpo.environments import evaluation_suite, training_suite
from r1env_trainers.models.load import NAMED, check_model_name, load_model
from r1env_trainers.openrlhf.command import MODULE, Files, arguments_of, check_settings, is_cpu
from r1env_trainers.openrlhf.episodes import CONFIG, SAMPLES
from r1env_trainers.openrlhf.follow import Follower, forget_after, newest_checkpoint, read_positions
from r1env_trainers.openrlhf.installation import Installation, look
from r1env_trainers.openrlhf.job import Job, stopping_on_sigterm
from r1env_trainers.openrlhf.prompts import write_agent, write_prompts
from r1env_trainers.openrlhf.spec import JobSpec

HERE = Path(openrlhf.__file__).parent

POLL_SECONDS = 0.2
"""Between two looks at the job."""

CPU_ENVIRONMENT: Mapping[str, str] = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; vLLM would take half of the machine's memory
    "OMP_NUM_THREADS": "1",  # with models for which a CPU will do, one thread beats two
}

CPU_OBJECT_STORE_BYTES = 200 * 2**20
"""Ray would reserve a third of the machine's memory."""


def check(config: GRPOConfig) -> None:
    """Find every fault that can be found without starting Ray. Asks OpenRLHF's own parser about the command line.

    Raises:
        UsageError: with what to change.
    """
    options = config.openrlhf
    check_settings(config, options)
    if not is_stage(config.model):
        check_model_name(config.model)
    for suite in (training_suite(config), *([evaluation_suite(config)] if config.eval_every else [])):
        for environment in suite.environments:
            environment.task(0)
    folder = Path("openrlhf")
    arguments = arguments_of(config, options, _files(folder, config, config.model), max_length=2, resume=False)
    _check_installation(config, look(options.python, MODULE, arguments))


def train(config: GRPOConfig, run: Run) -> None:
    """Run OpenRLHF, or go on from its newest checkpoint, and leave the model in `run.model_dir()`.

    Raises:
        UsageError: OpenRLHF is not there, or the model cannot be used.
        TrainingStoppedError: the job ended before its last step; its newest checkpoint is whole.
    """
    options = config.openrlhf
    installation = look(options.python)
    run.note(openrlhf={"python": installation.python, "versions": dict(installation.versions)})
    folder = (run.checkpoint_dir / "openrlhf").absolute()
    (folder / SAMPLES).mkdir(parents=True, exist_ok=True)
    files = _files(folder, config, _start_model(folder, config))
    done = newest_checkpoint(files.checkpoints)
    first = _rewind(run, folder, done)
    written = write_prompts(files.prompts, files.evaluation, config, AutoTokenizer.from_pretrained(files.model))
    max_length = (
        options.max_length
        or written.longest + written.turns * config.max_new_tokens + (written.turns - 1) * options.reply_tokens
    )
    write_agent(files.agent, folder)
    replace_text(folder / CONFIG, config.model_dump_json(indent=2) + "\n")
    spec = JobSpec(
        module=MODULE,
        arguments=tuple(arguments_of(config, options, files, max_length=max_length, resume=done > 0)),
        environment=_environment(config, installation),
        ray_address=options.ray_address,
        logical_gpus=_logical_gpus(config),
        logical_cpus=2 * _processes(config),
        object_store_bytes=CPU_OBJECT_STORE_BYTES if is_cpu(config) else None,
    )
    follower = Follower(run, config, folder, first)
    with stopping_on_sigterm(), Job(installation.interpreter, spec, folder) as job:
        _follow(job, follower, options.start_seconds)
    _keep_model(files.result, run.model_dir())


def _follow(job: Job, follower: Follower, start_seconds: float) -> None:
    """Until the job has ended well.

    Raises:
        TrainingStoppedError: it ended otherwise, or has not done a step in time.
    """
    first, deadline = follower.step, time.monotonic() + start_seconds
    while (status := job.poll()) is None:
        follower.read()
        if follower.step == first and time.monotonic() > deadline:
            raise TrainingStoppedError(
                f"OpenRLHF did no step within {start_seconds:g} s (openrlhf.start_seconds); its log is {job.log}"
            )
        time.sleep(POLL_SECONDS)
    follower.read()
    if status != 0:
        raise TrainingStoppedError(f"OpenRLHF ended after step {follower.step} ({job.complaint()}); its log is {job.log}")


def _files(folder: Path, config: GRPOConfig, model: str) -> Files:
    return Files(
        model=model,
        prompts=folder / "prompts.jsonl",
        evaluation=folder / "eval.jsonl" if config.eval_every else None,
        agent=folder / "agent.py",
        checkpoints=folder / "checkpoints",
        metrics=folder,
        result=folder / ".result",
    )


def _check_installation(config: GRPOConfig, found: Installation) -> None:
    """
    Raises:
        UsageError: OpenRLHF is not there in a release that will do, or does not take our arguments.
    """
    support = found.support
    if found.complaint is not None:
        raise UsageError(
            f"openrlhf {found.versions['openrlhf']} refuses its arguments: {found.complaint} (run here: {support.seen})"
        )
    if config.openrlhf.attention == "flash_attention_2" and not found.has_flash_attention:
        raise UsageError(f"{found.interpreter} has no flash-attn: use openrlhf.attention=sdpa, or install it there")


def _start_model(folder: Path, config: GRPOConfig) -> str:
    """What OpenRLHF can load: a folder or a hub name; our own small models are written to a folder first."""
    if config.model not in NAMED:
        return str(Path(config.model).absolute()) if Path(config.model).is_dir() else config.model
    start = folder / "start"
    if not start.exists():
        save_model(start, load_model(config.model, seed=config.seed))
    return str(start)


def _rewind(run: Run, folder: Path, done: int) -> int:
    """Cut the run's logs back to what the checkpoint of step `done` knows; returns the step up to which they tell."""
    positions = read_positions(folder)
    if not positions:
        return 0
    step = max(known for known in positions if known <= done)
    run.rewind(positions[step])
    forget_after(folder, done)
    return step


def _environment(config: GRPOConfig, installation: Installation) -> dict[str, str]:
    """Variables of the job. Our folders come first on its path: hooks for the CPU, a stand-in where flash-attn is missing."""
    folders = [] if installation.has_flash_attention else [str(HERE / "stand_in")]
    if is_cpu(config):
        folders.append(str(HERE / "cpu" / "site"))
    path = os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])
    binaries = Path(installation.interpreter).parent
    # Compiled extensions of torch and DeepSpeed belong to the environment that they were compiled for, and to its ninja.
    extensions = os.environ.get("TORCH_EXTENSIONS_DIR", str(binaries.parent / "torch_extensions"))
    return {
        "PATH": os.pathsep.join(filter(None, [str(binaries), os.environ.get("PATH")])),
        "PYTHONPATH": path,
        "TORCH_EXTENSIONS_DIR": extensions,
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_worker_niceness": "0",  # Ray's 15 starves the workers wherever anything else runs
        **(CPU_ENVIRONMENT if is_cpu(config) else {}),
    }


def _processes(config: GRPOConfig) -> int:
    """Policies, references and engines."""
    options = config.openrlhf
    policies = options.nodes * options.gpus
    return policies * (2 if config.needs_reference else 1) + options.engines * options.tensor_parallel


def _logical_gpus(config: GRPOConfig) -> int | None:
    """What Ray is told: on a CPU every process counts as a GPU; on GPUs it looks by itself."""
    return _processes(config) if is_cpu(config) and config.openrlhf.ray_address is None else None


def _keep_model(result: Path, model: Path) -> None:
    shutil.rmtree(model, ignore_errors=True)
    result.rename(model)
