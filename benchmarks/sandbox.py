"""What the sandbox costs beside a plain subprocess, in one run on one machine.

    python benchmarks/sandbox.py [--rounds 5] [--seconds 2] [--workers 2]
    python benchmarks/sandbox.py --submissions 10000

Wall time of a shared machine means little, so everything is measured in slices that take turns with a plain subprocess doing the same
work, and CPU seconds are those of the whole path: this process and its children, the containers, and the engine. All containers share
one control group, so beside other busy programs they get less of the processors than plain subprocesses do; and the engine's seconds
are everybody's who uses one. So measure on an idle machine. The second form judges many submissions in a row and shows whether
memory, descriptors, threads or containers grow.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import docker

from r1env_sandbox import Sandbox, Submission, TestCase, Verdict
from r1env_sandbox.backends.docker import OWNER_LABEL, DockerBackend
from r1env_sandbox.languages import LANGUAGES
from r1env_sandbox.transport import Backend, owner
from r1env_sandbox.worker import Worker

TESTS = [TestCase.stdio(f"{number} 1\n", f"{number + 1}\n") for number in range(10)]
PYTHON_SOURCE = "print(sum(map(int, input().split())))\n"
CXX_SOURCE = "#include <bits/stdc++.h>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b << '\\n'; }\n"
ENGINE_PROCESSES = ("dockerd", "containerd")
PLAIN_PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else "python3"  # the image's is Debian's too

Judge = Callable[[str], None]
"""Judges one submission, given a text that makes its source different from all others."""


@dataclass
class Way:
    """One way to judge, and what its slices gave."""

    name: str
    judge: Judge
    workers: int
    rates: list[float] = field(default_factory=list)  # submissions per wall second
    costs: list[float] = field(default_factory=list)  # CPU seconds per submission

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def cost(self) -> float:
        return statistics.median(self.costs)


class CpuClock:
    """CPU seconds of this process, its children, its containers and the engine."""

    def __init__(self, client: docker.DockerClient) -> None:
        self._client = client

    def read(self) -> tuple[float, frozenset[str]]:
        """Return the seconds, and the containers that are in them: what one that is gone has used is in no account any more."""
        own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        containers = own_containers(self._client)
        inside = sum(container_seconds(container) for container in containers)
        names = frozenset(str(container.id) for container in containers)
        return own + inside + engine_seconds(sorted(names)), names


def own_containers(client: docker.DockerClient) -> list[docker.models.containers.Container]:
    """The workers that this process started."""
    return list(client.containers.list(filters={"label": f"{OWNER_LABEL}={owner(os.getpid())}"}, ignore_removed=True))


def container_seconds(container: docker.models.containers.Container) -> float:
    """CPU seconds of a container's control group, read here if it is on this machine: the engine takes a second or two to say."""
    try:
        groups = Path(f"/proc/{container.attrs['State']['Pid']}/cgroup").read_text("ascii").splitlines()
        for _, controllers, path in (group.split(":", 2) for group in groups):
            if "cpuacct" in controllers.split(","):
                return int(Path(f"/sys/fs/cgroup/cpuacct{path}/cpuacct.usage").read_text("ascii")) / 1e9
        return int(Path(f"/sys/fs/cgroup{path}/cpu.stat").read_text("ascii").split()[1]) / 1e6
    except OSError:
        return float(container.stats(stream=False, one_shot=True)["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9


def engine_seconds(containers: Sequence[str]) -> float:
    """User and system seconds of the engine's processes, without the shims of others' containers; 0 where it runs elsewhere."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text("ascii", "replace").partition("(")[2].rpartition(")")
            words = path.with_name("cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if name in ENGINE_PROCESSES or (name.startswith("containerd-shim") and not set(words).isdisjoint(containers)):
            ticks += sum(map(int, rest.split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def in_sandbox(sandbox: Sandbox, language: str, source: str, tests: Sequence[TestCase] = TESTS) -> Judge:
    comment = "#" if language == "python" else "//"

    def judge(number: str) -> None:
        result = sandbox.judge(Submission(language=language, source=f"{source}{comment} {number}\n"), tests)
        if result.status is not Verdict.ACCEPTED:
            raise SystemExit(f"{language}: {result}")

    return judge


def in_subprocesses(folder: Path, language: str, source: str) -> Judge:
    """The same work without any sandbox: compile once, start a program for each test, compare."""
    spec = LANGUAGES[language]

    def judge(number: str) -> None:
        file, program = folder / f"{number}-{spec.source_file}", folder / f"{number}-program"
        file.write_text(source)
        names = {"{source}": str(file), "{artifact}": str(program), "python3": PLAIN_PYTHON}
        if spec.compile is not None:
            arguments = [names.get(argument, argument) for argument in spec.compile if not argument.startswith("-I")]
            subprocess.run(arguments, check=True)
        run = [names.get(argument, argument) for argument in spec.run]
        for test in TESTS:
            done = subprocess.run(run, input=test.stdin.encode(), capture_output=True, check=True)
            if done.stdout != str(test.expected).encode():
                raise SystemExit(f"{language}: {done}")
        file.unlink()
        program.unlink(missing_ok=True)

    return judge


def measure(ways: list[Way], rounds: int, seconds: float, clock: CpuClock) -> None:
    """Slices of all ways in turn; one round before those that count. A slice in which a worker was replaced is measured again."""
    numbers = map(str, count())
    for number in range(rounds + 1):
        for way in ways:
            while True:
                (before, workers), start = clock.read(), time.perf_counter()
                done = run_slice(way, numbers, start + seconds)
                wall, (after, same_workers) = time.perf_counter() - start, clock.read()
                if workers == same_workers:
                    break
                print(f"{way.name}: a worker was replaced; the slice is measured again", file=sys.stderr, flush=True)
            if number:
                way.rates.append(done / wall)
                way.costs.append((after - before) / done)


def run_slice(way: Way, numbers: Iterator[str], end: float) -> int:
    """How many submissions were judged before the time was over, by as many threads as the way has workers."""
    lock, done = threading.Lock(), []

    def work() -> None:
        while True:
            with lock:
                number = next(numbers)
            way.judge(number)
            done.append(number)
            if time.perf_counter() >= end:
                return

    threads = [threading.Thread(target=work) for _ in range(way.workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done)


@contextmanager
def warm(workers: int, **options: object) -> Iterator[Sandbox]:
    with Sandbox(workers=workers, min_workers=workers, **options) as sandbox:  # type: ignore[arg-type]
        sandbox.warm_up()
        yield sandbox


def round_trip_ms(backend: Backend, times: int = 2000) -> float:
    """Median of asking a warm worker whether it is there."""
    worker = Worker(backend)
    try:
        durations = []
        for _ in range(times):
            start = time.perf_counter()
            worker.ping()
            durations.append(time.perf_counter() - start)
        return 1000 * statistics.median(durations)
    finally:
        worker.close()


def cold_start_seconds(workers: int) -> float:
    """From nothing to the first verdict of a pool whose workers are all there."""
    start = time.perf_counter()
    with warm(workers) as sandbox:
        sandbox.judge(Submission(language="python", source=PYTHON_SOURCE), TESTS[:1])
        return time.perf_counter() - start


def compare(rounds: int, seconds: float, workers: int) -> None:
    backend = DockerBackend()
    clock = CpuClock(backend.client)
    load = os.getloadavg()[0]
    print("| | measured | bar |\n|---|---|---|")
    print(f"| cold start of {workers} workers, to the first verdict | {cold_start_seconds(workers):.2f} s | at most 3 s |")
    print(f"| round trip to a warm worker, p50 | {round_trip_ms(backend):.2f} ms | at most 1 ms |", flush=True)
    with tempfile.TemporaryDirectory() as name:
        python = [Way("plain subprocess", in_subprocesses(Path(name), "python", PYTHON_SOURCE), workers)]
        with warm(workers) as spawning, warm(workers, mode="fork") as forking:
            python.append(Way("spawn", in_sandbox(spawning, "python", PYTHON_SOURCE), workers))
            python.append(Way("fork", in_sandbox(forking, "python", PYTHON_SOURCE), workers))
            measure(python, rounds, seconds, clock)
        plain, spawn, fork = python
        print(f"| Python, spawn: throughput to plain | {spawn.rate / plain.rate:.2f} | at least 0.85 |")
        print(f"| the same, by CPU time | {plain.cost / spawn.cost:.2f} | |")
        print(f"| Python, fork: throughput to plain | {fork.rate / plain.rate:.2f} | at least 4 |")
        print(f"| the same, by CPU time | {plain.cost / fork.cost:.2f} | |", flush=True)
        # A token before the header keeps the compiler from taking the precompiled one.
        unprepared = f"extern int before;\n{CXX_SOURCE}"
        cxx = [Way("plain g++", in_subprocesses(Path(name), "cpp", CXX_SOURCE), workers)]
        with warm(workers, cache_bytes=0) as compiling:
            cxx.append(Way("header compiled again", in_sandbox(compiling, "cpp", unprepared), workers))
            cxx.append(Way("header precompiled", in_sandbox(compiling, "cpp", CXX_SOURCE), workers))
            measure(cxx, rounds, 2 * seconds, clock)
        local, slow, quick = cxx
        print(f"| C++ without the precompiled header, CPU to plain | {slow.cost / local.cost:.2f} | at most 1.25 |")
        print(f"| C++, CPU to plain | {quick.cost / local.cost:.2f} | |")
        print(f"| C++, what the precompiled header saves | {slow.cost / quick.cost:.2f} times | at least 2.3 times |\n")
    print(f"10 tests a submission, {workers} workers, medians of {rounds} slices that take turns:\n")
    print("| way | submissions/s | CPU ms a submission | the least of any slice |\n|---|---:|---:|---:|")
    for language, ways in (("Python", python), ("C++", cxx)):
        for way in ways:
            print(f"| {language}, {way.name} | {way.rate:.1f} | {1000 * way.cost:.1f} | {1000 * min(way.costs):.1f} |")
    print(f"\nLoad of the machine, before and after: {load:.1f}, {os.getloadavg()[0]:.1f}.")
    backend.close()


def endure(submissions: int, workers: int) -> None:
    """Judge many submissions in a row, every tenth of which leaves a process and a file; nothing may grow."""
    leaves_things = (
        "import os, time\ndata = bytearray(8 << 20)\nopen('/tmp/left', 'wb').write(data)\n"
        "if os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\n"
    )
    print("| submissions | per s | own RSS MB | descriptors | threads | containers | their memory MB |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    with warm(workers, mode="fork") as sandbox:
        sources = (PYTHON_SOURCE, leaves_things + PYTHON_SOURCE)
        ways = [in_sandbox(sandbox, "python", source, TESTS[:1]) for source in sources]
        start = time.perf_counter()
        for number in range(1, submissions + 1):
            ways[number % 10 == 0](str(number))
            if number % max(submissions // 10, 1) == 0:
                rate = number / (time.perf_counter() - start)
                print(f"| {number:,} | {rate:.0f} | {' | '.join(f'{value:.0f}' for value in what_is_held())} |", flush=True)
    *_, containers, _ = what_is_held()
    print(f"\nafter closing: {containers:.0f} containers, {threading.active_count()} threads")


def what_is_held() -> list[float]:
    """Resident MB, open descriptors and threads of this process; its containers and their MB."""
    resident = int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    client = docker.from_env(timeout=60)  # a new one each time, as a client keeps a connection for every path that it asked for
    try:
        containers = own_containers(client)
        stats = (client.api.stats(container.id, stream=False, one_shot=True) for container in containers)
        return [
            resident,
            descriptors,
            threads,
            len(containers),
            sum(stat["memory_stats"].get("usage", 0) for stat in stats) / 1e6,
        ]
    finally:
        client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="slices of each way (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one slice (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--submissions", type=int, default=0, help="judge so many in a row instead")
    arguments = parser.parse_args()
    if arguments.submissions:
        endure(arguments.submissions, arguments.workers)
    else:
        compare(arguments.rounds, arguments.seconds, arguments.workers)


if __name__ == "__main__":
    main()
