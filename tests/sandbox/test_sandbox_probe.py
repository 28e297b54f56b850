"""The probe of a container runtime, against runtimes that fail in every way."""

from __future__ import annotations

import re
import threading

import pytest

from r1env_sandbox import SandboxUnavailable
from r1env_sandbox.backends import docker
from r1env_sandbox.backends.docker import DockerBackend
from r1env_sandbox.errors import WorkerLost
from r1env_sandbox.runner.protocol import Frames, pack


class BrokenRuntime:
    """A backend and its only worker, which says `stdout` about every program, or nothing where that is None."""

    name, image, runtime, languages = "fake", "", "broken", ("python",)

    def __init__(self, stdout=None):
        self._stdout = stdout
        self._requests = Frames()
        self._closed = threading.Event()

    def start(self, command):
        return self

    def send(self, data):
        self._requests.feed(data)

    def grow(self, memory_mb):
        pass

    def receive(self, timeout_s):
        header, _ = self._requests.pop()
        if header["op"] != "run":
            return pack({"nonce": header["nonce"], "clean": True, "missing": []})
        if self._stdout is None:
            self._closed.wait(timeout_s)
            raise WorkerLost("ended")
        report = dict.fromkeys(("signal", "stopped"), None) | dict.fromkeys(("exit_code", "cpu_ms", "wall_ms", "max_rss_kb"), 0)
        return pack({"nonce": header["nonce"], "oom": False, **report}, self._stdout, b"", b"", b"")

    def close(self):
        self._closed.set()


class NeverStarts(BrokenRuntime):
    def start(self, command):
        raise WorkerLost("exec format error")


@pytest.mark.parametrize(
    ("runtime", "cause"),
    [
        (NeverStarts(), "cannot start a worker (exec format error"),
        (BrokenRuntime(b"something"), "cannot run a program in a fresh interpreter (it printed b'something'"),
        (BrokenRuntime(b"2 1\n"), "cannot end a program after 1 s"),
    ],
)
def test_a_runtime_that_does_not_work_is_named_with_what_failed(runtime, cause):
    with pytest.raises(SandboxUnavailable, match=re.escape(f"the runtime 'broken' {cause}")):
        docker.prove_runtime(runtime)


def test_a_runtime_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(docker, "PROBE_SECONDS", 0.05)
    with pytest.raises(SandboxUnavailable, match="cannot run a program in a fresh interpreter"):
        docker.prove_runtime(BrokenRuntime())


@pytest.mark.docker
def test_the_usual_runtime_proves_itself(engine):
    backend = DockerBackend()
    try:
        assert docker.prove_runtime(backend)
    finally:
        backend.close()
