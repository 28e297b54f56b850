"""What both trainers' jobs share: their environment, following them, resuming, keeping the model."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from r1env.errors import TrainingStoppedError, UsageError
from r1env.runs.run import Run
from r1env_openrlhf.command import is_cpu
from r1env_openrlhf.config import OpenRLHFOptions
from r1env_openrlhf.follow import Follower, forget_after, read_positions
from r1env_openrlhf.hooks import dither_environment
from r1env_openrlhf.installation import Installation
from r1env_openrlhf.job import Job
from r1env_trainers.model.checkpoint import save_model
from r1env_trainers.model.load import NAMED, load_model
from r1env_trainers.settings import LocalConfig

HERE = Path(__file__).parent

POLL_SECONDS = 0.2
"""Between two looks at the job."""

CPU_ENVIRONMENT: Mapping[str, str] = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; vLLM would take half of the machine's memory
    "OMP_NUM_THREADS": "1",  # with models for which a CPU will do, one thread beats two
}


def check_installation(options: OpenRLHFOptions, found: Installation) -> None:
    """
    Raises:
        UsageError: OpenRLHF is not there in a release that will do, or does not take our arguments.
    """
    support = found.support
    if found.complaint is not None:
        raise UsageError(
            f"openrlhf {found.versions['openrlhf']} refuses its arguments: {found.complaint} (run here: {support.seen})"
        )
    if options.attention == "flash_attention_2" and not found.has_flash_attention:
        raise UsageError(f"{found.interpreter} has no flash-attn: use openrlhf.attention=sdpa, or install it there")


def start_model(folder: Path, model: str, seed: int) -> str:
    """Return a model that OpenRLHF can load: a folder or a hub name. Built-in small models are written to a folder first."""
    if model not in NAMED:
        return str(Path(model).absolute()) if Path(model).is_dir() else model
    start = folder / "start"
    if not start.exists():
        save_model(start, load_model(model, seed=seed))
    return str(start)


def rewind(run: Run, folder: Path, done: int) -> int:
    """Cut the run's logs back to the checkpoint of step `done`; return the last step that they hold."""
    positions = read_positions(folder)
    if not positions:
        return 0
    step = max(known for known in positions if known <= done)
    run.rewind(positions[step])
    forget_after(folder, done)
    return step


def environment_of(installation: Installation, config: LocalConfig) -> dict[str, str]:
    """Return the job's environment variables. Our folders come first on its path: hooks for the CPU, a stand-in where flash-attn is missing."""
    folders = [] if installation.has_flash_attention else [str(HERE / "stand_in")]
    if is_cpu(config):
        folders.append(str(HERE / "cpu_site"))
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
        **dither_environment(config.seed if config.optim.dither else None),
    }


def follow(job: Job, follower: Follower, start_seconds: float) -> None:
    """Follow the job until it has ended; raise RunError if it fails.

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


def keep_model(result: Path, model: Path) -> None:
    """Make the folder that OpenRLHF wrote the stage's result."""
    shutil.rmtree(model, ignore_errors=True)
    result.rename(model)
