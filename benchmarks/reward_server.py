"""How many completions a second `r1env serve` scores over HTTP, and how long a batch waits.

    python benchmarks/reward_server.py [--seconds 10] [--clients 2] [--batch 64] [--workers 2]

The server is a program of its own, started as a user would; the clients are threads of this one and send a batch as soon as the last was
answered. `format` checks the form of the completion in the server itself; `math` compares answers such as GSM8K's in scoring workers:
every completion ends in a sentence with the number, so that the answer has to be parsed. All completions differ.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from r1env.scoring.system import usage

WORDS = [
    "so",
    "we",
    "add",
    "the",
    "clips",
    "of",
    "both",
    "months",
    "and",
    "get",
    "a",
    "number",
    "that",
    "is",
    "larger",
    "than",
    "either",
    "of",
    "them",
]


def batches(size: int, seed: int) -> Iterator[bytes]:
    """Endless batches of completions of about 600 characters; half of the answers are right."""
    draw = random.Random(seed)
    while True:
        items = []
        for _ in range(size):
            answer = draw.randint(1, 99_999)
            thought = " ".join(draw.choices(WORDS, k=120))
            said = answer if draw.random() < 0.5 else answer + 1
            items.append(
                {
                    "prompt": "How many clips did she sell altogether?",
                    "answer": str(answer),
                    "completion": f"<think>{thought}</think>\n<answer>The total is ${said:,}$ clips.</answer>",
                }
            )
        yield json.dumps({"items": items}).encode()


@contextmanager
def served(rubric: str, workers: int) -> Iterator[tuple[int, int]]:
    """Start `r1env serve`; yield its process id and its port."""
    command = [sys.executable, "-m", "r1env", "serve", "--rubric", rubric, "--port", "0", "--workers", str(workers)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as program:
        assert program.stderr is not None
        for line in program.stderr:
            if "running on" in line:
                port = int(line.split("http://")[1].split()[0].rpartition(":")[2])
                break
        else:
            raise SystemExit("the server did not start")
        drain = ThreadPoolExecutor(1)
        drain.submit(program.stderr.read)
        try:
            yield program.pid, port
        finally:
            program.terminate()
            program.wait()
            drain.shutdown()


def cpu_seconds(pid: int) -> float:
    """CPU time of the server and of its workers, those that have ended included."""
    used = usage(pid)
    if used is None:
        raise SystemExit("the server has ended, or this is no Linux")
    return used.cpu_seconds


def ask_until(port: int, deadline: float, size: int, seed: int) -> list[float]:
    """Send batch after batch; return the seconds that each took."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    taken: list[float] = []
    for body in batches(size, seed):
        if time.perf_counter() > deadline:
            return taken
        start = time.perf_counter()
        connection.request("POST", "/v1/score", body, {"Content-Type": "application/json"})
        scores = json.loads(connection.getresponse().read())["scores"]
        taken.append(time.perf_counter() - start)
        if len(scores) != size or any(score["value"] is None for score in scores):
            raise SystemExit(f"a completion was not scored: {next(score for score in scores if score['value'] is None)}")
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a measurement (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=2, help="batches in flight (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="completions in a batch (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="scoring workers (default: %(default)s)")
    arguments = parser.parse_args()
    print(
        f"load {os.getloadavg()[0]:.2f} on {os.cpu_count()} processors, {arguments.clients} clients, batches of {arguments.batch}"
    )
    for rubric in ("format", "math"):
        with served(rubric, arguments.workers) as (pid, port):
            ask_until(port, time.perf_counter() + 1.0, arguments.batch, seed=-1)  # not counted
            start, cpu = time.perf_counter(), cpu_seconds(pid)
            with ThreadPoolExecutor(arguments.clients) as threads:
                rounds = [
                    threads.submit(ask_until, port, start + arguments.seconds, arguments.batch, seed)
                    for seed in range(arguments.clients)
                ]
                taken = sorted(seconds for one in rounds for seconds in one.result())
            rate = len(taken) * arguments.batch / (time.perf_counter() - start)
            p99 = taken[min(len(taken) - 1, int(0.99 * len(taken)))]
            print(
                f"{rubric}: {rate:,.0f} items/s; a batch takes {1000 * statistics.median(taken):.0f} ms (median), "
                f"{1000 * p99:.0f} ms (p99), {1000 * taken[-1]:.0f} ms (longest of {len(taken)}); "
                f"{1000 * (cpu_seconds(pid) - cpu) / (len(taken) * arguments.batch):.2f} CPU ms an item, workers included"
            )


if __name__ == "__main__":
    main()
