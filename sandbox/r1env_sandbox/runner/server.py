"""The runner: pid 1. Serves the host's requests one after the other until the host goes away.

`Runner` answers requests; `Run` is one program while it runs: its pipes, its limits, and why it was stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from r1env_sandbox.runner import files
from r1env_sandbox.runner.confinement import lock_down
from r1env_sandbox.runner.launcher import REPORT, launcher
from r1env_sandbox.runner.processes import ControlGroup, Processes
from r1env_sandbox.runner.protocol import IDLE_STRETCH, PROGRAM, READ_BYTES, WALL_STRETCH, Channel, HostGone

TICK_MS = 25  # how often memory and CPU time are looked at, and orphans reaped: unreaped ones count against the process limit
FIRST_TICK_MS = 50  # most runs are over by then, and are spared the kernel's adding up
UNREAD_MS = 20  # for which nobody reads what a program writes: most are over by then, and woke the runner with every write. A pipe holds 64 KB
CPU_TOLERANCE_MS = 40.0  # of the control group's account while the launcher's own share is not known yet

Reply = tuple[Any, ...]  # a header and its blobs


class Launcher:
    """The launcher, as the runner has it.

    Attributes:
        cpu_ms: what it had used itself when it spoke last.
    """

    def __init__(self, preload: list[str]) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            self.socket.close()
            null = os.open("/dev/null", os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            launcher(theirs, preload)
        theirs.close()
        self.cpu_ms = 0.0
        self.listen()

    def start(self, program: bytes, descriptors: list[int]) -> None:
        """Start a program, as `protocol.pack_program` has packed it."""
        socket.send_fds(self.socket, [program], descriptors)

    def sync(self) -> None:
        """Wait until it has handled every signal that it was sent. Only when no program runs."""
        self.socket.send(b"sync")
        self.listen()

    def listen(self) -> tuple[int, float, int]:
        """Return what the launcher says next: exit code or minus the signal, CPU milliseconds, peak RSS in KB."""
        said = self.socket.recv(REPORT.size)
        if not said:
            raise SystemExit("the launcher is gone")
        exit_code, cpu_ms, rss_kb, self.cpu_ms = REPORT.unpack(said)
        return int(exit_code), cpu_ms, int(rss_kb)


class Runner:
    """Answers requests; see the package for what they are.

    Args:
        uid: of submissions, or of a session's agent.
        preload: modules that forked interpreters have.
        loopback: let programs have internet sockets, on the container's own loopback interface.
        verifier: the uid of a session's second user; None outside of sessions.
    """

    def __init__(self, uid: int, preload: list[str], loopback: bool, verifier: int | None) -> None:
        self.uid = uid
        self.seccomp_fault = lock_down(loopback)
        self.box_files: list[str] = []
        os.umask(0o022)
        self.group = ControlGroup()
        os.makedirs(PROGRAM, 0o755, exist_ok=True)
        self.launcher = Launcher(preload)
        # Process 1 is spared every signal from its own container that it has no handler for, and Python has one for this.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.processes = Processes(self.launcher.pid, self.launcher.sync)
        self.touchables = files.Touchables()
        files.renew(uid, self.touchables)
        if verifier is not None:
            files.open_for_verifier(verifier)
        self.channel = Channel()

    def serve(self) -> None:
        answers: dict[str, Callable[[dict[str, Any], list[bytes]], Reply]] = {
            **{"ping": self.ping, "begin": self.begin, "run": self.run, "end": self.end, "put": self.put, "get": self.get}
        }
        while True:
            header, blobs = self.channel.receive()
            if header["op"] in ("input", "stop"):  # for a run that ended while this was on its way
                continue
            try:
                reply, *out = answers[header["op"]](header, blobs)
            except (OSError, MemoryError) as error:  # nothing more can be done here, and the host must hear of it
                self.channel.send({"op": "fault", "fault": f"{header['op']}: {error}"[:500], "nonce": header["nonce"]})
                raise
            self.channel.reply({**reply, "nonce": header["nonce"]}, *out)

    def ping(self, header: dict[str, Any], blobs: list[bytes]) -> Reply:
        return (
            {
                "op": "pong",
                "uid": self.uid,
                "seccomp_fault": self.seccomp_fault,
                "python": platform.python_version(),
                "cpu_account": self.group.cpu_ms() is not None,
            },
        )

    def begin(self, header: dict[str, Any], blobs: list[bytes]) -> Reply:
        """Lay out a submission. Files that do not fit, or names that exclude each other, are the submission's fault."""
        self.box_files = []
        self.group.remember()
        self.group.new_oom_kill()  # what happened before is not this submission's
        try:
            for (name, executable), data in zip(header["files"], blobs, strict=True):
                path = os.path.join(PROGRAM, name)
                os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
                files.write(path, data, 0o755 if executable else 0o644)
            files.fill_box(self.uid, header["box"])  # tried once, so that no run can fail for it
        except (OSError, ValueError) as error:
            return ({"op": "begun", "fault": str(error)[:300]},)
        self.box_files = header["box"]
        return ({"op": "begun", "fault": None},)

    def run(self, header: dict[str, Any], blobs: list[bytes]) -> Reply:
        self.processes.forget_orphans()
        started = time.monotonic()
        run = Run(self, header, *blobs)
        exit_code, cpu_ms, rss_kb = run.watch(started, header["wall_s"])
        wall_ms = 1000 * (time.monotonic() - started)
        artifact = self._take_artifact(header) if header.get("artifact") and exit_code == 0 else b""
        if not header.get("keep_box"):
            self.processes.put_back()
            files.renew(self.uid, self.touchables)
            files.fill_box(self.uid, self.box_files)
        if artifact:
            artifact = self._keep_artifact(header["artifact"], artifact)
        return (
            {
                "op": "done",
                "exit_code": exit_code if exit_code >= 0 else None,
                "signal": -exit_code if exit_code < 0 else None,
                "cpu_ms": cpu_ms,
                "wall_ms": wall_ms,
                "max_rss_kb": max(rss_kb, self.processes.orphans_rss_kb),
                "stopped": run.stopped,
                "oom": self.group.new_oom_kill(),
            },
            *(bytes(stream) for stream in run.streams),
            artifact,
        )

    def end(self, header: dict[str, Any], blobs: list[bytes]) -> Reply:
        """Collect files, and make everything as it was before `begin`."""
        self.processes.sweep()
        collected = files.collect(self.uid, header["collect"], header.get("max_bytes", 0)) if header["collect"] else []
        self.box_files = []
        files.renew(self.uid, self.touchables)
        files.empty(PROGRAM)
        missing = [name for name, data in zip(header["collect"], collected, strict=True) if data is None]
        return ({"op": "ended", "missing": missing}, *(data or b"" for data in collected))

    def put(self, header: dict[str, Any], blobs: list[bytes]) -> Reply:
        """Write a file for a user of a session."""
        return ({"op": "put", "fault": files.put(header["uid"], header["groups"], header["path"], blobs[0])},)

    def get(self, header: dict[str, Any], blobs: list[bytes]) -> Reply:
        """Read a file of a session with a user's rights."""
        data, fault = files.get(header["uid"], header["groups"], header["path"], header["max_bytes"])
        return {"op": "got", "fault": fault}, data

    def _take_artifact(self, header: dict[str, Any]) -> bytes:
        return files.collect(self.uid, [header["artifact"]], header["file_bytes"])[0] or b""

    def _keep_artifact(self, name: str, artifact: bytes) -> bytes:
        """Put what a compiler made next to its source. Empty when there is no room: then nothing was made."""
        path = os.path.join(PROGRAM, name)
        try:
            files.write(path, artifact, 0o755)
        except OSError:
            with contextlib.suppress(FileNotFoundError):  # it may not even have been created
                os.unlink(path)
            return b""
        return artifact


class Run:
    """One program while it runs.

    Attributes:
        stopped: why the runner ended it; None when it ended by itself.
        streams: what it wrote to stdout, to stderr, and, where it has one, to descriptor 3.
    """

    def __init__(self, runner: Runner, header: dict[str, Any], program: bytes, stdin: bytes) -> None:
        self.processes = runner.processes
        self.group = runner.group
        self.channel = runner.channel
        self.launcher = runner.launcher
        self.interactive = bool(header.get("interactive"))
        self.nonce = header["nonce"]
        self.room = int(header["output_bytes"])  # of all streams together
        self.stopped: str | None = None
        self.memory_bytes = self.group.memory_before + int(header["memory_bytes"])
        self.cpu_limit_ms = 1000 * float(header["cpu_s"])
        self.next_tick = time.monotonic() + FIRST_TICK_MS / 1000
        self.idle_s = 0.0  # that it waited for its next line, and since when it does
        self.idle_since: float | None = None
        self.streams = (bytearray(), bytearray(), bytearray())
        self.to_program = bytearray()
        self.stdin_fd: int | None = None
        if self.interactive:
            program_stdin, self.stdin_fd = os.pipe()
            os.set_blocking(self.stdin_fd, False)
        else:
            program_stdin = files.readable(stdin)
        used = self.streams if header["result"] else self.streams[:2]
        pipes = [os.pipe() for _ in used]
        self.stream_of = {reader: stream for (reader, _), stream in zip(pipes, used, strict=True)}
        for reader in self.stream_of:
            os.set_blocking(reader, False)
        self.result_fd = pipes[2][0] if header["result"] else -1
        theirs = [program_stdin, *(writer for _, writer in pipes)]
        self.cpu_before = self._cpu_account_ms()
        self.launcher.start(program, theirs)
        for descriptor in theirs:
            os.close(descriptor)

    def watch(self, started: float, wall_s: float) -> tuple[int, float, int]:
        """Read until the program has ended or must be stopped; then sweep. Returns (exit code or -signal, CPU ms, peak RSS KB)."""
        deadline = started + wall_s
        poll = select.poll()
        poll.register(self.launcher.socket, select.POLLIN)
        poll.register(0, select.POLLIN if self.interactive else 0)  # what comes now is the next request; only the end is news
        read_from = started if self.interactive else min(deadline, started + UNREAD_MS / 1000)
        reading = False
        ended: tuple[int, float, int] | None = None
        if self.interactive:
            self._from_host()
        while ended is None and self.stopped is None:
            now = time.monotonic()
            if not reading and now >= read_from:
                reading = True
                for reader in self.stream_of:
                    poll.register(reader, select.POLLIN)
            if now >= deadline:
                idle_s = min(self._idle_s(now), (IDLE_STRETCH - 1) * wall_s)
                deadline = started + min(wall_s + idle_s + self.processes.longest_wait_s(), WALL_STRETCH * wall_s)
                if now < deadline:
                    continue
                self.stopped = "wall"
                break
            if now >= self.next_tick:
                self._tick(now)
                continue
            if self.stdin_fd is not None and self.to_program:
                poll.register(self.stdin_fd, select.POLLOUT)
            wake = min(deadline, self.next_tick) if reading else read_from
            for fd, events in poll.poll(1000 * (wake - now) + 1):
                if fd in self.stream_of:
                    if self._read(fd) < 0:
                        poll.unregister(fd)
                elif fd == 0 and not events & select.POLLIN:
                    raise HostGone
                elif fd == 0:
                    self.channel.feed()
                    self._from_host()
                elif fd == self.stdin_fd:
                    poll.unregister(fd)
                    self._write_stdin()
                else:
                    ended = self.launcher.listen()
        if self.cpu_before is None:
            self._used_cpu_ms()  # a last look at those that are still there
        end = select.poll()  # select() itself is refused by old gVisors with an engine's filter
        end.register(self.launcher.socket, select.POLLIN)
        while ended is None:
            self.processes.kill()  # again and again: the child may not be there yet
            if end.poll(5):
                ended = self.launcher.listen()
        self.processes.sweep()
        for reader in self.stream_of:
            while self._read(reader) > 0:
                pass
            os.close(reader)
        if self.stdin_fd is not None:
            os.close(self.stdin_fd)
        exit_code, cpu_ms, rss_kb = ended
        cpu_ms += self.processes.orphans_cpu_ms
        cpu_ms = max(cpu_ms, self._used_cpu_ms())  # includes what nobody has waited for
        if self.stopped == "cpu":
            cpu_ms = max(cpu_ms, self.cpu_limit_ms + 1)
        return exit_code, cpu_ms, rss_kb

    def _idle_s(self, now: float) -> float:
        """Return the seconds in which the program of a conversation waited for its next line."""
        return self.idle_s + (0.0 if self.idle_since is None else now - self.idle_since)

    def _cpu_account_ms(self) -> float | None:
        """CPU time of all but the runner and the launcher, as the control group has it."""
        used = self.group.cpu_ms()
        return None if used is None else used - 1000 * time.process_time() - self.launcher.cpu_ms

    def _used_cpu_ms(self) -> float:
        """CPU time that the program and all its children have used so far."""
        if self.cpu_before is None:
            return self.processes.seen_cpu_ms()
        return (self._cpu_account_ms() or 0.0) - self.cpu_before

    def _read(self, fd: int) -> int:
        """Return how many bytes came; -1 when the stream is at its end or beyond its limit."""
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return 0
        kept = data[: self.room]
        self.room -= len(kept)
        if len(kept) < len(data):
            self.stopped = self.stopped or "output"
        if not self.interactive or fd != self.result_fd:
            self.stream_of[fd] += kept
        elif kept and self.stopped is None:
            self.idle_since = time.monotonic()
            self.channel.send({"op": "output", "nonce": self.nonce}, kept)
        return len(kept) if kept and len(kept) == len(data) else -1

    def _tick(self, now: float) -> None:
        """Reap, and stop the program when all its processes together have used more CPU time, or have more in memory, files
        included, than it may."""
        self.next_tick = now + TICK_MS / 1000
        self.processes.reap()
        if self.group.memory_bytes() > self.memory_bytes:
            self.stopped = self.stopped or "memory"
        if self._used_cpu_ms() > self.cpu_limit_ms + CPU_TOLERANCE_MS:
            self.stopped = self.stopped or "cpu"

    def _from_host(self) -> None:
        while (frame := self.channel.pending()) is not None:
            header, blobs = frame
            if header["nonce"] != self.nonce:
                continue
            if header["op"] == "stop":
                self.stopped = self.stopped or "host"
            elif header["op"] == "input":
                if self.idle_since is not None:
                    self.idle_s, self.idle_since = self.idle_s + time.monotonic() - self.idle_since, None
                self.to_program += blobs[0]

    def _write_stdin(self) -> None:
        assert self.stdin_fd is not None
        try:
            written = os.write(self.stdin_fd, self.to_program)
        except BlockingIOError:
            written = 0
        except BrokenPipeError:
            written = len(self.to_program)
        del self.to_program[:written]


def main(configuration: str) -> None:
    settings = json.loads(configuration)
    try:
        Runner(settings["uid"], settings["preload"], settings["loopback"], settings["verifier"]).serve()
    except HostGone:
        os._exit(0)
