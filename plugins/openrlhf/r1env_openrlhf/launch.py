"""Runs an unmodified OpenRLHF command in the interpreter that has OpenRLHF: `python -m r1env_openrlhf.launch JOB.json`.

Starts Ray, or joins a cluster, with our set-up in every worker, then the command's module as `python -m` would; or the module in several
processes of torch's launcher, where it knows nothing of Ray. It stops, and everything with it, when the command ends, on SIGTERM and
SIGINT, and when whoever holds the other end of its standard input is gone.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from r1env_openrlhf.config import JobSpec
from r1env_openrlhf.job import MARK, own_session, stop_marked

WORKER_SET_UP = "r1env_openrlhf.hooks.set_up"
RANK = "r1env_openrlhf.rank"

START_ATTEMPTS = 4
"""Ray gives its own processes 30 seconds, which a busy machine may not keep; the next attempt finds their files in memory."""

LEAVE_SECONDS = 30.0
"""For an orderly way out when nobody is left to end this process by force."""


def main() -> None:
    """Run the job that the file in the arguments describes. Exits with 0, or the status of what went wrong."""
    path = Path(sys.argv[1])
    spec = JobSpec.model_validate_json(path.read_text("utf-8"))
    mark = spec.environment[MARK]
    stop_on_signals()
    threading.Thread(target=_stop_with_parent, args=(mark,), daemon=True).start()
    try:
        if spec.ranks is None:
            run_on_ray(spec)
        else:
            run_ranks(path, spec.ranks)
    finally:
        stop_marked(mark, own_session())  # vLLM's own processes may outlive the actors that started them


def run_on_ray(spec: JobSpec) -> None:
    """Run the command's module in this process, connected to Ray."""
    import ray  # here, because it takes seconds

    sys.argv = [spec.module, *spec.arguments]
    try:
        start_ray(ray, spec)
        stop_on_signals()  # Ray has put handlers of its own in their place, which a second signal would interrupt
        runpy.run_module(spec.module, run_name="__main__", alter_sys=True)
    finally:
        ray.shutdown()


def run_ranks(path: Path, count: int) -> None:
    """Run the command's module in `count` processes that find each other.

    Raises:
        SystemExit: one of them failed.
    """
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    if status := subprocess.run([*torchrun, "--module", RANK, str(path)], check=False, stdin=subprocess.DEVNULL).returncode:
        raise SystemExit(abs(status))


def start_ray(ray: Any, spec: JobSpec) -> None:
    """Connect to the cluster at the job's address, or start one on this machine."""
    runtime_env = {"env_vars": dict(spec.environment), "worker_process_setup_hook": WORKER_SET_UP}
    if spec.ray_address is not None:
        ray.init(address=spec.ray_address, runtime_env=runtime_env)
        return
    for attempt in range(START_ATTEMPTS):
        try:
            ray.init(
                address="local",  # one of its own, never one that happens to run here
                num_cpus=max(os.cpu_count() or 1, spec.logical_cpus),
                num_gpus=spec.logical_gpus,
                include_dashboard=False,
                runtime_env=runtime_env,
                object_store_memory=spec.object_store_bytes,
            )
        except Exception as error:  # Ray raises no type of its own here
            ray.shutdown()
            if "timed out during startup" not in str(error) or attempt == START_ATTEMPTS - 1:
                raise
        else:
            return


def stop_on_signals() -> None:
    """Raise `SystemExit` at the first SIGTERM or SIGINT from now on, and ignore later ones."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)


def _stop(number: int, _: FrameType | None) -> NoReturn:
    for other in (signal.SIGTERM, signal.SIGINT):
        signal.signal(other, signal.SIG_IGN)  # once is enough: what follows is the way out
    raise SystemExit(128 + number)


def _stop_with_parent(mark: str) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass  # nothing is ever sent: it ends when the other end is closed, be it by its process's death
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LEAVE_SECONDS)
    stop_marked(mark, own_session())  # the exception was lost in somebody's `except`, or the way out hangs
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
