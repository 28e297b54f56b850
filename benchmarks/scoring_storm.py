"""A storm: process-isolated scoring while rollouts misbehave, workers are killed and stopped from outside, and the machine is busy.

    python benchmarks/scoring_storm.py [--rows 1000000] [--minutes 60] [--workers 4] [--every 1000]

Of every thousand rollouts one misbehaves in each of 24 ways. Every few seconds a random process of the pool gets SIGKILL or SIGSTOP. Two
processes that compute without end run beside. Rollouts are scored in calls of 20,000, as a trainer would, so that memory that a call leaves
behind shows. The program prints a table, and exits with 1 if a rollout was lost, came in the wrong place, or got another status or value
than it deserves, or if anything is left when the pool is closed.
"""

from __future__ import annotations

import argparse
import builtins
import ctypes
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle

from r1env.rewards import Limits, reward
from r1env.scoring import ScoringPool, score
from r1env.scoring.system import children
from r1env.types import Rollout, Score, Status, Task

CALL = 20_000
"""Rollouts scored in one call."""

SHOT_SECONDS = 3.0
"""Mean time between two signals from outside."""

LIMITS = Limits(cpu_seconds=0.3, wall_seconds=1.0, memory_mb=128)
SEGMENT_BYTES = 4096
CHILD = "98123"
"""How long the children of rollouts would sleep; also the word by which they are found."""

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a worker cannot import a program

BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"

kept: list[Any] = []
"""What rollouts leave in their worker."""


# The kinds of misbehaviour. Each either raises, returns what the reward then returns, or returns None, and the reward goes on.


def hang() -> None:
    from multiprocessing import shared_memory

    kept.append(shared_memory.SharedMemory(create=True, size=SEGMENT_BYTES))
    kept.append(tempfile.NamedTemporaryFile(prefix="storm-"))  # noqa: SIM115
    while True:
        pass


def hoard() -> None:
    hoarded = []
    while True:
        hoarded.append(bytearray(8 << 20))


def complain() -> None:
    raise ValueError("line\nline\n" * 1000)


def interrupt() -> None:
    raise KeyboardInterrupt


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(1)


def print_much() -> None:
    text = "y" * 200_000
    print(text)
    print(text, file=sys.stderr)
    os.write(1, text.encode())


def close_output() -> None:
    sys.stdout.close()
    sys.stderr.close()
    for descriptor in (0, 1, 2):
        with suppress(OSError):
            os.close(descriptor)


def remove_folder() -> None:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


def guard() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    for name in ("kill", "fork", "remove", "getcwd", "chdir", "unlink"):
        setattr(os, name, None)
    builtins.quit = None  # type: ignore[assignment]


def leak_descriptors() -> None:
    while len(kept) < 300:
        kept.append(open("/dev/null"))  # noqa: SIM115


def spin() -> None:
    def forever() -> None:
        while True:
            pass

    threading.Thread(target=forever, daemon=True).start()


def stop_the_clock() -> None:
    time.perf_counter = lambda: 0.0


KINDS: dict[str, tuple[Status, Callable[[], Any]]] = {
    "computes for ever": (Status.TIMEOUT, hang),
    "sleeps for ever": (Status.TIMEOUT, lambda: time.sleep(1000)),
    "allocates much": (Status.LIMIT, lambda: len(bytearray(8 << 30))),
    "hoards": (Status.LIMIT, hoard),
    "raises": (Status.ERROR, complain),
    "raises KeyboardInterrupt": (Status.ERROR, interrupt),
    "calls sys.exit": (Status.ERROR, lambda: sys.exit(3)),
    "calls os._exit": (Status.ERROR, lambda: os._exit(0)),
    "crashes": (Status.ERROR, lambda: ctypes.string_at(0)),
    "terminates itself": (Status.ERROR, terminate),
    "returns text": (Status.ERROR, lambda: "1.0"),
    "returns NaN": (Status.ERROR, lambda: math.nan),
    "returns 10**400": (Status.ERROR, lambda: 10**400),
    "returns unknown parts": (Status.ERROR, lambda: {str(n): 1.0 for n in range(1000)}),
    "prints much": (Status.OK, print_much),
    "leaves a child": (Status.OK, lambda: kept.append(subprocess.Popen(["sleep", CHILD]))),
    "leaves a child in a session of its own": (Status.OK, lambda: kept.append(subprocess.Popen(["setsid", "-f", "sleep", CHILD]))),
    "forks and returns twice": (Status.OK, lambda: os.fork() and None),
    "closes its output": (Status.OK, close_output),
    "removes its folder": (Status.OK, remove_folder),
    "clears the environment": (Status.OK, os.environ.clear),
    "guards itself": (Status.OK, guard),
    "leaks descriptors": (Status.OK, leak_descriptors),
    "leaves a thread that spins": (Status.OK, spin),
}  # fmt: skip


@reward(name="storm", isolation="process", limits=LIMITS)
def storm(completion: str) -> Any:
    number, _, kind = completion.partition(":")
    print(number)  # what an ordinary reward does: it prints, opens a file, uses the clock
    with open("/dev/null"):
        assert time.perf_counter() > 0
    returned = KINDS[kind][1]() if kind else None
    return float(number) + 1 if returned is None else returned


# The storm.


@dataclass
class Found:
    """What was seen.

    Attributes:
        wrong: (kind, expected, found) → count.
        neighbours: ordinary rollouts with another status or value than they deserve.
        parent_mb, worker_mb: resident memory of this process after each call, and of the largest worker.
    """

    rows: int = 0
    misbehaved: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    lost: int = 0
    misplaced: int = 0
    neighbours: int = 0
    wrong: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    shots: Counter[str] = field(default_factory=Counter)
    parent_mb: list[int] = field(default_factory=list)
    worker_mb: list[int] = field(default_factory=list)
    left: dict[str, list[str]] = field(default_factory=dict)

    @property
    def faults(self) -> int:
        return self.lost + self.misplaced + self.neighbours + sum(self.wrong.values()) + sum(map(len, self.left.values()))


def run(
    rows: int,
    *,
    workers: int,
    every: int,
    seconds: float = math.inf,
    busy: int = 2,
    shots: float = SHOT_SECONDS,
    seed: int = 1,
    note: Callable[[str], None] = lambda _: None,
) -> Found:
    """Score `rows` rollouts in a storm; see the module.

    Args:
        every: of so many rollouts one misbehaves in each way.
        seconds: no call is begun after this time, so that there may be fewer rollouts.
        busy: processes that compute without end beside.
        shots: mean seconds between two signals from outside.
        note: called with a line after each call.
    """
    shared, folder = tempfile.tempdir, tempfile.mkdtemp(prefix="storm-")
    tempfile.tempdir = folder  # so that what other programs leave is not taken for ours
    try:
        return _run(rows, workers, every, seconds, busy, shots, random.Random(seed), note)
    finally:
        tempfile.tempdir = shared
        shutil.rmtree(folder, ignore_errors=True)


def _run(
    rows: int,
    workers: int,
    every: int,
    seconds: float,
    busy: int,
    shots: float,
    chance: random.Random,
    note: Callable[[str], None],
) -> Found:
    found = Found()
    before, others = _belongings(), set(_below(os.getpid()))
    loops = [subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True) for _ in range(busy)]
    stop = threading.Event()
    start, cpu = time.monotonic(), time.process_time()
    try:
        with ScoringPool(workers=workers) as pool:
            shooter = threading.Thread(target=_shoot, args=(stop, found, random.Random(chance.random()), shots), daemon=True)
            shooter.start()
            for first in range(0, rows, CALL):
                if time.monotonic() - start > seconds:
                    break
                kinds = [_kind(chance, every) for _ in range(min(CALL, rows - first))]
                rollouts = list(_rollouts(kinds, first))
                _compare(found, kinds, first, score(rollouts, storm, pool=pool))
                del rollouts
                found.parent_mb.append(_resident_mb(os.getpid()))
                found.worker_mb.append(max(map(_resident_mb, set(_below(os.getpid())) - others), default=0))
                note(
                    f"{found.rows:,} rollouts, {time.monotonic() - start:.0f} s, {found.faults} faults, {found.parent_mb[-1]} MB"
                )
            stop.set()
            shooter.join()
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    found.seconds, found.cpu_seconds = time.monotonic() - start, time.process_time() - cpu
    deadline = time.monotonic() + 5
    while (left := {kind: sorted(now - before[kind]) for kind, now in _belongings().items()}) and any(left.values()):
        if time.monotonic() > deadline:
            found.left = left
            break
        time.sleep(0.1)
    return found


def _kind(chance: random.Random, every: int) -> str:
    place = int(chance.random() * every)
    return list(KINDS)[place] if place < len(KINDS) else ""


def _rollouts(kinds: list[str], first: int) -> Iterator[Rollout]:
    task = Task(id="storm", prompt="q")
    for number, kind in enumerate(kinds, start=first):
        yield Rollout(task=task, completion=f"{number}:{kind}" if kind else str(number))


def _compare(found: Found, kinds: list[str], first: int, scores: list[Score]) -> None:
    found.rows += len(kinds)
    found.lost += len(kinds) - len(scores)
    for number, (kind, one) in enumerate(zip(kinds, scores, strict=False), start=first):
        expected = KINDS[kind][0] if kind else Status.OK
        found.misbehaved += bool(kind)
        if one.value is not None and one.value != number + 1:
            found.misplaced += 1
        if one.status is not expected or (expected is Status.OK and one.value is None):
            if kind:
                found.wrong[kind, expected, one.status, one.reason[:80]] += 1
            else:
                found.neighbours += 1
                found.wrong["(ordinary)", expected, one.status, one.reason[:80]] += 1


def _shoot(stop: threading.Event, found: Found, chance: random.Random, seconds: float) -> None:
    """Send SIGKILL and SIGSTOP to random processes of the pool."""
    while not stop.wait(chance.uniform(0.5, 1.5) * seconds):
        targets = [pid for pid in _below(os.getpid()) if b"r1env.scoring" in _command(pid)]
        if targets:
            number = chance.choice([signal.SIGKILL, signal.SIGSTOP])
            with suppress(ProcessLookupError):
                os.kill(chance.choice(targets), number)
                found.shots[number.name] += 1


# What belongs to this program.


def _belongings() -> dict[str, set[str]]:
    return {
        "processes": {str(pid) for pid in _below(os.getpid())}
        | {str(pid) for pid in _all() if CHILD.encode() in _command(pid)},
        "descriptors": set(os.listdir("/proc/self/fd")),
        "files": {str(path) for path in Path(tempfile.gettempdir()).iterdir()}
        | {str(path) for path in Path("/dev/shm").iterdir() if path.name.startswith("r1env-") or _is_segment(path)},
    }


def _is_segment(path: Path) -> bool:
    """Return whether it is shared memory of the size that a rollout here leaves behind; other programs have segments too."""
    try:
        return path.name.startswith("psm_") and path.stat().st_size == SEGMENT_BYTES
    except OSError:
        return False


def _all() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _below(pid: int) -> list[int]:
    return [one for child in children(pid) for one in (child, *_below(child))]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _resident_mb(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * resource.getpagesize() >> 20
    except OSError:
        return 0


def report(found: Found) -> str:
    """Return a table in Markdown."""
    tenth = max(1, len(found.parent_mb) // 10)
    parent, worker = (", ".join(map(str, series[tenth - 1 :: tenth])) for series in (found.parent_mb, found.worker_mb))
    shots = ", ".join(f"{count} × {name}" for name, count in sorted(found.shots.items())) or "none"
    rows = {
        "rollouts": f"{found.rows:,}, of which {found.misbehaved:,} misbehaved in {len(KINDS)} ways",
        "wall time": f"{found.seconds:.0f} s ({found.rows / found.seconds:,.0f} a second), {found.cpu_seconds:.0f} CPU s in the parent",
        "signals from outside": shots,
        "lost / in the wrong place": f"{found.lost} / {found.misplaced}",
        "ordinary rollouts harmed": f"{found.neighbours}",
        "wrong status": f"{sum(found.wrong.values())}",
        "left: processes / descriptors / files": " / ".join(
            str(len(found.left.get(kind, []))) for kind in ("processes", "descriptors", "files")
        ),
        "parent, MB, after each tenth": parent,
        "largest worker, MB, after each tenth": worker,
    }
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    lines += [
        f"    {count} × {kind}: expected {expected}, found {status} {reason!r}"
        for (kind, expected, status, reason), count in found.wrong.most_common(20)
    ]
    lines += [f"    left: {kind}: {', '.join(names[:5])}" for kind, names in found.left.items() if names]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rollouts (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no call after so long (default: no limit)")
    parser.add_argument("--workers", type=int, default=4, help="worker processes (default: %(default)s)")
    parser.add_argument(
        "--every", type=int, default=1000, help="of so many rollouts one misbehaves in each way (default: %(default)s)"
    )
    parser.add_argument(
        "--shots", type=float, default=SHOT_SECONDS, help="mean seconds between two signals (default: %(default)s)"
    )
    arguments = parser.parse_args()
    found = run(
        arguments.rows,
        workers=arguments.workers,
        every=arguments.every,
        seconds=60 * arguments.minutes,
        shots=arguments.shots,
        note=partial(print, file=sys.stderr),
    )
    print(report(found))
    if found.faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
