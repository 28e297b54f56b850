"""`Run`: one program while it runs. Its pipes, its limits, and why it was stopped."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from typing import Any

from r1env_sandbox.runner.files import readable
from r1env_sandbox.runner.memory import Memory
from r1env_sandbox.runner.processes import Processes
from r1env_sandbox.runner.protocol import READ_BYTES, Channel, HostGone

TICK_MS = 25  # how often memory is looked at, and orphans are reaped: unreaped ones count against the process limit
FIRST_TICK_MS = 50  # most runs are over by then, and are spared the kernel's adding up


class Run:
    """One program while it runs: its pipes, and why it was stopped."""

    def __init__(
        self,
        processes: Processes,
        memory: Memory,
        channel: Channel,
        launcher: socket.socket,
        header: dict[str, Any],
        stdin: bytes,
    ) -> None:
        self.processes = processes
        self.channel = channel
        self.launcher = launcher
        self.interactive = bool(header.get("interactive"))
        self.nonce = header["nonce"]
        self.room = int(header["output_bytes"])  # of all streams together
        self.stopped: str | None = None
        self.memory = memory
        self.memory_bytes = memory.before + int(header["memory_bytes"])
        self.next_tick = time.monotonic() + FIRST_TICK_MS / 1000
        self.streams = (bytearray(), bytearray(), bytearray())  # stdout, stderr, result
        self.to_program = bytearray()
        self.stdin_fd: int | None = None
        if self.interactive:
            program_stdin, self.stdin_fd = os.pipe()
            os.set_blocking(self.stdin_fd, False)
        else:
            program_stdin = readable(stdin)
        pipes = [os.pipe() for _ in self.streams]
        self.stream_of = {reader: stream for (reader, _), stream in zip(pipes, self.streams, strict=True)}
        for reader in self.stream_of:
            os.set_blocking(reader, False)
        self.result_fd = pipes[2][0]
        request = {name: header[name] for name in ("argv", "environment", "fork", "rlimits")}
        theirs = [program_stdin, *(writer for _, writer in pipes)]
        socket.send_fds(launcher, [json.dumps(request).encode()], theirs)
        for descriptor in theirs:
            os.close(descriptor)

    def watch(self, deadline: float) -> tuple[int, float, int]:
        """Read until the program has ended or must be stopped; then sweep. Returns (exit code or -signal, CPU ms, peak RSS KB)."""
        poll = select.poll()
        poll.register(self.launcher, select.POLLIN)
        poll.register(0, select.POLLIN if self.interactive else 0)  # what comes now is the next request; only the end is news
        for reader in self.stream_of:
            poll.register(reader, select.POLLIN)
        ended: bytes = b""
        if self.interactive:
            self._from_host()
        while not ended and self.stopped is None:
            now = time.monotonic()
            if now >= deadline:
                self.stopped = "wall"
                break
            if now >= self.next_tick:
                self._tick(now)
                continue
            if self.stdin_fd is not None and self.to_program:
                poll.register(self.stdin_fd, select.POLLOUT)
            for fd, events in poll.poll(1000 * (min(deadline, self.next_tick) - now) + 1):
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
                    ended = self._how_it_ended()
        end = select.poll()  # select() itself is refused by old gVisors with an engine's filter
        end.register(self.launcher, select.POLLIN)
        while not ended:
            self.processes.kill()  # again and again: the child may not have changed its uid yet
            if end.poll(5):
                ended = self._how_it_ended()
        self.processes.sweep()
        for reader in self.stream_of:
            while self._read(reader) > 0:
                pass
            os.close(reader)
        if self.stdin_fd is not None:
            os.close(self.stdin_fd)
        exit_code, cpu_ms, rss_kb = json.loads(ended)
        return exit_code, cpu_ms, rss_kb

    def _read(self, fd: int) -> int:
        """How many bytes came; -1 when the stream is at its end or beyond its limit."""
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
            self.channel.send({"op": "output", "nonce": self.nonce}, kept)
        return len(kept) if kept and len(kept) == len(data) else -1

    def _how_it_ended(self) -> bytes:
        if not (ended := self.launcher.recv(4096)):
            raise SystemExit("the launcher is gone")
        return ended

    def _tick(self, now: float) -> None:
        """Reap, and stop the program when all that it has in memory is more than it may have: all its processes, and its files."""
        self.next_tick = now + TICK_MS / 1000
        self.processes.reap()
        if self.memory.used_bytes() > self.memory_bytes:
            self.stopped = self.stopped or "memory"

    def _from_host(self) -> None:
        while (frame := self.channel.pending()) is not None:
            header, blobs = frame
            if header["nonce"] != self.nonce:
                continue
            if header["op"] == "stop":
                self.stopped = self.stopped or "host"
            elif header["op"] == "input":
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
