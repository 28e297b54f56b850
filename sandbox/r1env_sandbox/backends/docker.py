"""Workers in Docker containers, through the Docker SDK. Every call to the engine has a time-out."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import struct
import threading
import time
from collections import deque
from collections.abc import Collection
from typing import Any

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException, NotFound
from docker.types import LogConfig, Ulimit

from r1env_sandbox.errors import SandboxUnavailable, WorkerLost
from r1env_sandbox.images import LANGUAGES_LABEL, require_image
from r1env_sandbox.languages import LANGUAGES
from r1env_sandbox.models import Limits
from r1env_sandbox.transport import (
    CAPABILITIES,
    MAX_INODES,
    MAX_PROCESSES,
    RUNNER_ENVIRONMENT,
    TEMPORARY_MB,
    WORK_MB,
    Backend,
    StreamTransport,
    is_orphan,
    owner,
)
from r1env_sandbox.worker import Report, Worker, run_command

log = logging.getLogger(__name__)

ENGINE_SECONDS = 60.0  # for one call; an engine that hangs (a runtime that does not start) must not hang its caller
REMOVE_SECONDS = 10.0
OWNER_LABEL = "r1env.sandbox.owner"
PYTHON = "/opt/r1env/python3"

MAX_PROCESSES_GVISOR = 4096  # gVisor's own threads count, and it panics without them

FIXED_MEMORY_MB = 4096  # of a worker whose runtime cannot raise its limit later, as gVisor's of 2022; a limit reserves nothing
_FRAME = struct.Struct(">BxxxL")  # of the engine's stream: 1 is stdout, 2 is stderr
_LOST = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError)


class DockerBackend:
    """Starts containers.

    Args:
        image: name or id; None for the one that `r1env-sandbox build` makes.
        runtime: `runsc` for gVisor; None for the engine's default. Another than that is tried here before it is used.
        memory_mb: that a worker has from the start; one that needs more is given more.
        cpus: processors' worth of time that a worker may use.

    Raises:
        SandboxUnavailable: no engine, no right to use it, no such image or runtime, or a runtime that fails its probe.
    """

    name = "docker"

    def __init__(
        self, *, image: str | None = None, runtime: str | None = None, memory_mb: int = 1280, cpus: float | None = 2.0
    ) -> None:
        self.client = connect()
        try:
            information = self.client.info()
            runtimes = sorted(information.get("Runtimes") or {})
            if runtime is not None and runtime not in runtimes:
                raise SandboxUnavailable(
                    f"the engine has no runtime {runtime!r}", f"It has {', '.join(runtimes)}; install {runtime} or take another"
                )
            self.image = str(self.client.images.get(image).id) if image else require_image(self.client)
            labelled = self.client.images.get(self.image).labels.get(LANGUAGES_LABEL)
        except NotFound as error:
            raise SandboxUnavailable(f"the engine has no image {image!r}", "Build or pull it") from error
        except _LOST as error:
            raise SandboxUnavailable(f"the Docker engine fails ({error})") from error
        self.languages: Collection[str] = (
            frozenset(labelled.split(",")) if labelled else frozenset(LANGUAGES)
        )  # a third-party image may have any
        self.runtime = runtime or str(information.get("DefaultRuntime") or "")
        self._memory_mb = memory_mb
        self._cpus = cpus if information.get("CpuCfsQuota") else None
        self._left: deque[Any] = deque()  # containers that an engine which was away could not remove
        reap_orphans(self.client)
        if runtime is not None and runtime != information.get("DefaultRuntime"):
            try:
                can_grow = prove_runtime(self)
            except SandboxUnavailable:
                self.close()
                raise
            if not can_grow:
                self._memory_mb = max(memory_mb, FIXED_MEMORY_MB)

    def start(self, command: list[str], work_mb: int = WORK_MB) -> DockerTransport:
        name = f"r1env-sandbox-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            container = self.client.containers.create(self.image, command, name=name, **self._options(work_mb))
        except _LOST as error:
            raise SandboxUnavailable(f"the Docker engine creates no container ({error})") from error
        try:
            stream = container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            container.start()
        except _LOST as error:
            _remove(container)
            raise SandboxUnavailable(f"the Docker engine starts no container ({error})") from error
        self._remove_left()
        return DockerTransport(container, stream, self._memory_mb, self._left)

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except _LOST:
            return False

    def describe(self) -> dict[str, str]:
        try:
            information = self.client.info()
        except _LOST as error:
            raise SandboxUnavailable(f"the Docker engine fails ({error})") from error
        security = [str(option) for option in information.get("SecurityOptions") or ()]
        return {
            "engine": f"Docker {information.get('ServerVersion')}, kernel {information.get('KernelVersion')}",
            "runtime": self.runtime,
            "cgroup version": str(information.get("CgroupVersion")),
            "user namespaces": "remapped" if any("userns" in option for option in security) else "not remapped",
            "memory limit with swap": "yes" if information.get("SwapLimit") else "memory only",
            "image": self.image,
        }

    def close(self) -> None:
        self._remove_left()
        self.client.close()

    def _remove_left(self) -> None:
        for _ in range(len(self._left)):
            with contextlib.suppress(IndexError):  # another thread was faster
                container = self._left.popleft()
                if not _remove(container):
                    self._left.append(container)

    def _options(self, work_mb: int) -> dict[str, Any]:
        gvisor = "runsc" in self.runtime
        return {
            "entrypoint": [PYTHON],
            "environment": dict(RUNNER_ENVIRONMENT),
            "working_dir": "/",
            "user": "0:0",
            "hostname": "sandbox",
            "stdin_open": True,
            "network_mode": "none",
            "read_only": True,
            "tmpfs": {
                "/judge": f"size={work_mb}m,nr_inodes={MAX_INODES},mode=711,nosuid,nodev,noatime,exec",
                "/tmp": f"size={TEMPORARY_MB}m,nr_inodes={MAX_INODES},mode=1777,nosuid,nodev,noatime,noexec",
            },
            "ipc_mode": "none",
            "cgroupns": "private",  # the default of version 1 shows the engine's paths
            "stop_signal": "SIGKILL",  # nothing in it has to be put in order, so that an engine that stops need not wait
            "cap_drop": ["ALL"],
            "cap_add": list(CAPABILITIES),
            "security_opt": ["no-new-privileges"],
            "pids_limit": MAX_PROCESSES_GVISOR if gvisor else MAX_PROCESSES,
            "mem_limit": f"{self._memory_mb}m",
            "memswap_limit": f"{self._memory_mb}m",
            "ulimits": [Ulimit(name="core", soft=0, hard=0), Ulimit(name="nofile", soft=1024, hard=1024)],
            "log_config": LogConfig(type="none"),
            "labels": {OWNER_LABEL: owner(os.getpid())},
            # gVisor ends the whole container for want of memory, and only a container that is still there tells.
            "auto_remove": not gvisor,
            **({"nano_cpus": int(self._cpus * 1e9)} if self._cpus else {}),
            **({"runtime": self.runtime} if self.runtime else {}),
        }


class DockerTransport(StreamTransport):
    """The attached stream of one container.

    Args:
        left: where the container is noted if it cannot be removed now.
    """

    def __init__(self, container: Any, stream: Any, memory_mb: int, left: deque[Any]) -> None:
        super().__init__(str(container.name), getattr(stream, "_sock", stream), memory_mb)
        self._container = container
        self._stream = stream  # the response that owns the socket
        self._left = left
        self._buffer = bytearray()
        self._log = b""

    def _payload(self, data: bytes) -> bytes:
        """Return what the buffer holds of the runner's stdout, as far as frames of the engine's stream are complete."""
        self._buffer += data
        out = bytearray()
        start = 0
        while len(self._buffer) - start >= _FRAME.size:
            kind, size = _FRAME.unpack_from(self._buffer, start)
            end = start + _FRAME.size + size
            if len(self._buffer) < end:
                break
            payload = self._buffer[start + _FRAME.size : end]
            if kind == 2:
                self._log = (self._log + payload)[-4096:]
            else:
                out += payload
            start = end
        del self._buffer[:start]
        return bytes(out)

    def _limit_memory(self, memory_mb: int) -> None:
        try:
            self._container.update(mem_limit=f"{memory_mb}m", memswap_limit=f"{memory_mb}m")
        except _LOST as error:
            raise OSError(" ".join(str(error).split())[:200]) from error

    def _log_tail(self) -> bytes:
        return self._log

    def _out_of_memory(self) -> bool:
        try:
            self._container.reload()
        except _LOST:
            return False
        return bool(self._container.attrs["State"].get("OOMKilled"))

    def _end(self) -> None:
        self._stream.close()
        if not _remove(self._container):
            self._left.append(self._container)


def connect() -> docker.DockerClient:
    """Return the engine that DOCKER_HOST or the default socket leads to.

    Raises:
        SandboxUnavailable: there is none, it does not answer, or this user may not use it.
    """
    where = os.environ.get("DOCKER_HOST") or "/var/run/docker.sock"
    try:
        client = docker.from_env(timeout=ENGINE_SECONDS, max_pool_size=64)
        client.ping()
    except _LOST as error:
        raise SandboxUnavailable(_why(error, where)) from error
    return client


def _why(error: BaseException, where: str) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, FileNotFoundError):
            return f"no Docker socket at {where}"
        if isinstance(cause, PermissionError):
            return f"this user may not use the Docker socket at {where} (add it to the group docker)"
        if isinstance(cause, ConnectionRefusedError):
            return f"no Docker engine listens at {where}"
        if isinstance(cause, TimeoutError | requests.Timeout):
            return f"the Docker engine at {where} does not answer"
        arguments = [argument for argument in cause.args if isinstance(argument, BaseException)]
        cause = cause.__cause__ or cause.__context__ or (arguments[0] if arguments else None)
    return f"the Docker engine at {where} cannot be reached ({error})"


def reap_orphans(client: docker.DockerClient) -> int:
    """Remove the workers whose owners on this machine are dead; how many there were."""
    reaped = 0
    try:
        for container in client.containers.list(all=True, filters={"label": OWNER_LABEL}, ignore_removed=True):
            if is_orphan(container.labels[OWNER_LABEL]):
                _remove(container)
                reaped += 1
    except _LOST as error:
        raise SandboxUnavailable(f"the Docker engine lists no containers ({error})") from error
    return reaped


def _remove(container: Any) -> bool:
    """Remove a container and wait until it is gone: its own end may have started that already. False when the engine is away."""
    try:
        container.remove(force=True, v=True)
    except NotFound:
        return True
    except APIError as error:
        if error.status_code != 409:  # 409: it is being removed
            log.warning("cannot remove the container %s: %s", container.name, error)
            return True
    except _LOST as error:
        log.info("cannot remove the container %s yet: %s", container.name, error)
        return False
    deadline = time.monotonic() + REMOVE_SECONDS
    while time.monotonic() < deadline:
        try:
            container.reload()
        except _LOST:
            return True
        time.sleep(0.02)
    return True


# A runtime is tried before anything is judged on it: one that does not start, or hangs, is found here and not in a verdict.

PROBE_SECONDS = 60.0  # for all programs together; gVisor takes three
LOOP_SECONDS = 1  # of CPU time, after which a loop must be ended

_PROBE_LIMITS = Limits(cpu_s=LOOP_SECONDS, wall_s=20)
_ECHO, _ENDLESS = b"print(input()[::-1])", b"while True: pass"


def prove_runtime(backend: Backend) -> bool:
    """Start a worker, have it answer, run a program in a fresh interpreter and in a forked one, and end one that loops.

    Returns whether the memory limit of a worker can be raised.

    Raises:
        SandboxUnavailable: any of this fails or takes too long; the message says which.
    """
    doing = "start a worker"
    try:
        worker = Worker(backend)
        deadline = threading.Timer(PROBE_SECONDS, worker.close)  # wakes whoever waits for the worker
        deadline.start()
        try:
            for fork in (False, True):
                doing = f"run a program in a {'forked' if fork else 'fresh'} interpreter"
                report = _run_probe(worker, _ECHO, fork)
                if report.stdout != b"2 1\n":
                    raise WorkerLost(f"it printed {report.stdout[:100]!r} and {report.stderr[-300:]!r}")
            doing = f"end a program after {LOOP_SECONDS} s of CPU time"
            report = _run_probe(worker, _ENDLESS, fork=False)
            if report.signal is None or report.stopped == "wall":
                raise WorkerLost(f"it ended after {report.cpu_ms:.0f} ms of CPU time, with the exit code {report.exit_code}")
            return _can_grow(worker)
        finally:
            deadline.cancel()
            worker.close()
    except WorkerLost as error:
        raise SandboxUnavailable(
            f"the runtime {backend.runtime!r} cannot {doing} ({error})", "Mend it or take another"
        ) from error


def _can_grow(worker: Worker) -> bool:
    try:
        worker.grow(FIXED_MEMORY_MB)
    except WorkerLost as error:
        log.info("workers have %d MB each from the start: %s", FIXED_MEMORY_MB, error)
        return False
    return True


def _run_probe(worker: Worker, source: bytes, fork: bool) -> Report:
    worker.begin({"main.py": source})
    report = worker.run(run_command(LANGUAGES["python"], _PROBE_LIMITS, fork=fork), b"1 2\n")
    worker.end()
    return report
