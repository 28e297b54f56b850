"""The runner: pid 1. Serves the host's requests one after the other until the host goes away."""

from __future__ import annotations

import json
import os
import platform
import socket
import time
from typing import Any

from r1env_sandbox.runner.confinement import lock_down
from r1env_sandbox.runner.files import collect, empty_box, fill_box, own_box, wipe, write
from r1env_sandbox.runner.launcher import launcher
from r1env_sandbox.runner.memory import Memory
from r1env_sandbox.runner.processes import Processes
from r1env_sandbox.runner.protocol import BOX, PROGRAM, Channel, HostGone
from r1env_sandbox.runner.running import Run


class Runner:
    """Answers requests; see the package for what they are."""

    def __init__(self, uid: int, preload: list[str]) -> None:
        self.uid = uid
        self.seccomp_fault = lock_down()
        self.box_files: list[str] = []
        self.memory = Memory()
        os.makedirs(PROGRAM, 0o755, exist_ok=True)
        os.makedirs(BOX, exist_ok=True)
        own_box(uid)
        self.launcher, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        launcher_pid = os.fork()
        if launcher_pid == 0:
            self.launcher.close()
            null = os.open("/dev/null", os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            launcher(uid, theirs, preload)
        theirs.close()
        self.processes = Processes(uid, launcher_pid)
        self.channel = Channel()

    def serve(self) -> None:
        answers = {"ping": self.ping, "begin": self.begin, "run": self.run, "end": self.end}
        while True:
            header, blobs = self.channel.receive()
            if header["op"] in ("input", "stop"):  # for a run that ended while this was on its way
                continue
            reply, *out = answers[header["op"]](header, blobs)
            self.channel.reply({**reply, "nonce": header["nonce"]}, *out)

    def ping(self, header: dict[str, Any], blobs: list[bytes]) -> tuple[Any, ...]:
        return ({"op": "pong", "uid": self.uid, "seccomp_fault": self.seccomp_fault, "python": platform.python_version()},)

    def begin(self, header: dict[str, Any], blobs: list[bytes]) -> tuple[Any, ...]:
        for (name, executable), data in zip(header["files"], blobs, strict=True):
            path = os.path.join(PROGRAM, name)
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            write(path, data, 0o755 if executable else 0o644)
        self.box_files = header["box"]
        self.memory.remember()
        self.memory.new_oom_kill()  # what happened before is not this submission's
        return ({"op": "begun"},)

    def run(self, header: dict[str, Any], blobs: list[bytes]) -> tuple[Any, ...]:
        fill_box(self.uid, self.box_files)
        self.processes.forget_orphans()
        started = time.monotonic()
        run = Run(self.processes, self.memory, self.channel, self.launcher, header, blobs[0])
        exit_code, cpu_ms, rss_kb = run.watch(started + header["wall_s"])
        wall_ms = 1000 * (time.monotonic() - started)
        artifact = b""
        if header.get("artifact") and exit_code == 0:
            artifact = collect(self.uid, [header["artifact"]], header["file_bytes"])[0] or b""
            if artifact:
                write(os.path.join(PROGRAM, header["artifact"]), artifact, 0o755)
        if not header.get("keep_box") and not empty_box(self.uid):
            raise SystemExit("files are left that cannot be removed")
        return (
            {
                "op": "done",
                "exit_code": exit_code if exit_code >= 0 else None,
                "signal": -exit_code if exit_code < 0 else None,
                "cpu_ms": cpu_ms + self.processes.orphans_cpu_ms,
                "wall_ms": wall_ms,
                "max_rss_kb": max(rss_kb, self.processes.orphans_rss_kb),
                "stopped": run.stopped,
                "oom": self.memory.new_oom_kill(),
            },
            *(bytes(stream) for stream in run.streams),
            artifact,
        )

    def end(self, header: dict[str, Any], blobs: list[bytes]) -> tuple[Any, ...]:
        self.processes.sweep()
        collected = collect(self.uid, header["collect"], header.get("max_bytes", 0)) if header["collect"] else []
        clean = empty_box(self.uid) and wipe(PROGRAM)
        self.box_files = []
        missing = [name for name, data in zip(header["collect"], collected, strict=True) if data is None]
        return ({"op": "ended", "clean": clean, "missing": missing}, *(data or b"" for data in collected))


def main(configuration: str) -> None:
    settings = json.loads(configuration)
    try:
        Runner(settings["uid"], settings["preload"]).serve()
    except HostGone:
        os._exit(0)
