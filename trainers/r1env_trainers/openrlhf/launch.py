"""Runs an unmodified OpenRLHF command in the interpreter that has OpenRLHF: `python -m r1env_trainers.openrlhf.launch JOB.json`.

Starts Ray, or joins a cluster, with our set-up in every worker; then the command's module as `python -m` would. It stops, and Ray
with it, when the command ends, on SIGTERM and SIGINT, and when whoever holds the other end of its standard input is gone.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from r1env_trainers.openrlhf.marked import MARK, stop_marked
from r1env_trainers.openrlhf.spec import JobSpec

WORKER_SET_UP = "r1env_trainers.openrlhf.worker.set_up"

START_ATTEMPTS = 4
"""Ray gives its own processes 30 seconds, which a busy machine may not keep; the next attempt finds their files in memory."""


def main() -> None:
    """Run the job that the file in the arguments describes. Exits with 0, or the status of what went wrong."""
    spec = JobSpec.model_validate_json(Path(sys.argv[1]).read_text("utf-8"))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    import ray  # here, because it takes seconds

    sys.argv = [spec.module, *spec.arguments]
    try:
        start_ray(ray, spec)
        runpy.run_module(spec.module, run_name="__main__", alter_sys=True)
    finally:
        ray.shutdown()
        stop_marked(spec.environment[MARK])  # vLLM's own processes may outlive the actors that started them


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


def _stop(number: int, _: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # once is enough: what follows is the way out
    raise SystemExit(128 + number)


def _stop_with_parent() -> None:
    while os.read(
        sys.stdin.fileno(), 1
    ):  # nothing is ever sent: it ends when the other end is closed, be it by its process's death
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
