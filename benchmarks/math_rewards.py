"""The rewards `math` and `choice` beside bare Math-Verify and TRL's `accuracy_reward`: speed and errors on the same pairs.

    python benchmarks/math_rewards.py [--data FOLDER] [--runs 3] [--items 1319] [--rows 5000]

FOLDER (default: `R1ENV_TEST_DATA`) holds `gsm8k_test.jsonl`, `gsm8k_train.jsonl` and `math_equiv_dev.jsonl`; `field/rewards.jsonl` is read where
it is there. Math-Verify is used as its README does (`parse`, `verify`, time limits as they are), TRL's reward as it is, one
completion a call. The sets:

* GSM8K-like: reference answers of GSM8K, boxed in the notations that models use, one in four made wrong. Every way runs in turn
  within a run; figures are medians of the runs, after one that is not counted. CPU seconds include the workers'.
* Development set, and field cases (without those whose label is "cannot be said").
* Last sentences of GSM8K's solutions that end in the answer, read by the lenient policy; whole solutions with "A: 18" below.
* The command line: `--rows` GSM8K-like rows through `r1env score` in a process of its own, beside a process that does the same
  with Math-Verify; CPU seconds with the start and with all child processes.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import math_verify

import r1env
from r1env.scoring import ScoringPool
from r1env_math import AnswerPolicy, verify, verify_choice
from r1env_math.numeric import value_of
from r1env_math.parser import read

Judge = Callable[["Pair"], bool]
"""From a pair to whether it is called right."""

NOTATIONS = (
    "{n}",
    "{n:,}",
    "${n}$",
    "{n}.00",
    "\\text{{{n}}}",
    "\\${n}",
    "{n} \\text{{ dollars}}",
    "{n}.",
    "x = {n}",
    "\\frac{{{double}}}{{2}}",
)
WRONG_SHARE = 0.25


@dataclass(frozen=True)
class Pair:
    """A reference, a completion, and whether it is right."""

    reference: str
    completion: str
    right: bool
    question: str = ""
    choice: bool = False


@dataclass(frozen=True)
class Measured:
    """One run of one way over all pairs. `seconds` is CPU time a pair, where the way takes them one by one."""

    cpu_seconds: float
    wall_seconds: float
    seconds: tuple[float, ...]
    verdicts: tuple[bool, ...]


def starters(workers: int) -> list[r1env.Rollout]:
    """What the workers score before the clock starts; all different, since equal ones are scored once."""
    tasks = [r1env.Task(id=f"start {index}", prompt="?", answer="\\sin 2x") for index in range(8 * workers)]
    return [r1env.Rollout(task=task, completion="\\boxed{\\cos x}") for task in tasks]


def gsm8k_like(folder: Path, items: int, name: str = "gsm8k_test.jsonl") -> list[Pair]:
    """Pairs made of GSM8K's reference answers; the same for every run."""
    draw = random.Random(0)
    rows = [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()][:items]
    pairs = []
    for row in rows:
        reasoning, _, reference = row["answer"].rpartition("####")
        reference = reference.strip()
        right = draw.random() >= WRONG_SHARE
        value = int(reference.replace(",", "")) + (0 if right else draw.choice((-10, -1, 1, 2, 100)))
        written = draw.choice(NOTATIONS).format(n=value, double=2 * value)
        pairs.append(
            Pair(
                reference,
                f"<think>\n{reasoning.strip()}\n</think>\nThe answer is $\\boxed{{{written}}}$.",
                right,
                row["question"],
            )
        )
    return pairs


def development_set(folder: Path) -> list[Pair]:
    """The labelled pairs; a bare answer is put in a box."""
    rows = [json.loads(line) for line in (folder / "math_equiv_dev.jsonl").read_text("utf-8").splitlines()]
    return [
        Pair(row["gold"], row["pred"] if row["kind"] == "response" else f"It is $\\boxed{{{row['pred']}}}$.", row["label"])
        for row in rows
    ]


def field_cases(folder: Path) -> list[Pair]:
    """The labelled cases of the kinds math and choice; nothing where the file is not there."""
    path = folder / "field" / "rewards.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    return [
        Pair(str(row["answer"]), row["completion"], row["right"] == 1, row["prompt"] or "", row["kind"] == "choice")
        for row in rows
        if row["kind"] in ("math", "choice") and row["right"] is not None and not row.get("options")
    ]


def solutions(folder: Path) -> list[tuple[str, str, str]]:
    """Question, solution without its calculator's remarks, and answer of GSM8K's test set."""
    rows = [json.loads(line) for line in (folder / "gsm8k_test.jsonl").read_text("utf-8").splitlines()]
    found = []
    for row in rows:
        solution, _, answer = row["answer"].rpartition("####")
        found.append((row["question"], re.sub(r"<<.*?>>", "", solution).strip(), answer.strip()))
    return found


def last_sentences(folder: Path) -> list[Pair]:
    """The last line of every solution whose last number is the answer."""
    pairs = []
    for question, solution, answer in solutions(folder):
        sentence = solution.rpartition("\n")[2]
        numbers = re.findall(r"[0-9][0-9,]*(?:\.[0-9]+)?", sentence)
        if numbers and numbers[-1].replace(",", "").removesuffix(".00") == answer.replace(",", ""):
            pairs.append(Pair(answer, sentence, True, question))
    return pairs


def labelled_solutions(folder: Path) -> list[Pair]:
    """Whole solutions with "A: 18" below."""
    return [Pair(answer, f"{solution}\nA: {answer}", True, question) for question, solution, answer in solutions(folder)]


def by_math_verify(pair: Pair) -> bool:
    """Math-Verify as in its README; references of our data are bare, and it wants math between dollars."""
    gold = math_verify.parse(pair.reference if "$" in pair.reference else f"${pair.reference}$")
    return bool(math_verify.verify(gold, math_verify.parse(pair.completion)))


def by_trl(pair: Pair) -> bool:
    """TRL's reward, one completion a call."""
    from trl.rewards.accuracy_rewards import accuracy_reward

    gold = pair.reference if "$" in pair.reference else f"${pair.reference}$"
    return accuracy_reward([[{"role": "assistant", "content": pair.completion}]], [gold])[0] == 1.0


def by_us(where: str) -> Judge:
    """`verify`, or `verify_choice`, in this process."""
    policy = AnswerPolicy(where=where)  # type: ignore[arg-type]  # a name becomes its member

    def judge(pair: Pair) -> bool:
        task = r1env.Task(id="pair", prompt=pair.question, answer=pair.reference)
        check = verify_choice if pair.choice else verify
        return check(pair.reference, pair.completion, task=task, policy=policy).correct is True

    return judge


def one_by_one(judge: Judge, pairs: Sequence[Pair]) -> Measured:
    """Judge every pair in this process and time each."""
    seconds, verdicts = [], []
    forget()
    start, wall = time.process_time(), time.perf_counter()
    for pair in pairs:
        before = time.process_time()
        verdicts.append(judge(pair))
        seconds.append(time.process_time() - before)
    return Measured(time.process_time() - start, time.perf_counter() - wall, tuple(seconds), tuple(verdicts))


def forget() -> None:
    """Empty our caches: the runs score the same pairs, which training does not."""
    value_of.cache_clear()
    read.cache_clear()


def all_together(pairs: Sequence[Pair], workers: int) -> Measured:
    """`r1env.score` with the reward `math`, in workers that know nothing yet.

    Its CPU time is this process's and what the workers report for each pair; starting the workers is not counted.
    """
    rollouts = [
        r1env.Rollout(task=r1env.Task(id=str(index), prompt=pair.question, answer=pair.reference), completion=pair.completion)
        for index, pair in enumerate(pairs)
    ]
    reward = r1env.get_reward("math")
    with ScoringPool(workers=workers) as pool:
        r1env.score(starters(workers), reward, pool=pool)
        forget()
        start, wall = time.process_time(), time.perf_counter()
        scores = r1env.score(rollouts, reward, pool=pool)
        wall = time.perf_counter() - wall
        here = time.process_time() - start
    seconds = tuple(score.seconds for score in scores)
    in_workers = sum(score.seconds for score, rollout in zip(scores, rollouts, strict=True) if reward.settle(rollout) is None)
    return Measured(here + in_workers, wall, seconds, tuple(score.value == 1.0 for score in scores))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie, in milliseconds."""
    return 1000 * sorted(values)[min(int(share * len(values)), len(values) - 1)]


def report(name: str, runs: Sequence[Measured], pairs: Sequence[Pair], base_cpu: float) -> str:
    """One line of the table."""
    cpu = statistics.median(run.cpu_seconds for run in runs)
    wall = statistics.median(run.wall_seconds for run in runs)
    last = runs[-1]
    accepts = sum(verdict and not pair.right for verdict, pair in zip(last.verdicts, pairs, strict=True))
    refusals = sum(pair.right and not verdict for verdict, pair in zip(last.verdicts, pairs, strict=True))
    accuracy = 1 - (accepts + refusals) / len(pairs)
    spread = " | ".join(f"{percentile(last.seconds, share):.2f}" for share in (0.5, 0.95, 0.99, 1.0))
    return (
        f"| {name} | {cpu:.2f} | {base_cpu / cpu:.1f} × | {len(pairs) / wall:,.0f} | {spread} | "
        f"{100 * accuracy:.1f} | {accepts} | {refusals} |"
    )


def compare(title: str, pairs: Sequence[Pair], runs: int, workers: int) -> None:
    """Print the table of one set of pairs."""
    ways: dict[str, Callable[[], Measured]] = {
        "Math-Verify": lambda: one_by_one(by_math_verify, pairs),
        "TRL accuracy_reward": lambda: one_by_one(by_trl, pairs),
        "r1env verify, explicit": lambda: one_by_one(by_us("explicit"), pairs),
        "r1env verify, lenient": lambda: one_by_one(by_us("lenient"), pairs),
        "r1env.score, explicit": lambda: all_together(pairs, workers),
    }
    measured: dict[str, list[Measured]] = {name: [] for name in ways}
    for _ in range(runs + 1):
        for name, way in ways.items():
            measured[name].append(way())
    wrong = sum(not pair.right for pair in pairs)
    print(f"\n{title}: {len(pairs)} pairs, {wrong} of them wrong ({100 * wrong / len(pairs):.0f} %); median of {runs} runs\n")
    print("| | CPU s | ratio | pairs/s | p50 ms | p95 ms | p99 ms | max ms | right % | false accepts | false refusals |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    base_cpu = statistics.median(run.cpu_seconds for run in measured["Math-Verify"][1:])
    for name, each in measured.items():
        print(report(name, each[1:], pairs, base_cpu), flush=True)


def errors(title: str, pairs: Sequence[Pair], ways: dict[str, Judge]) -> None:
    """Print how often every way is right on a set, once through."""
    if not pairs:
        return
    print(f"\n{title}: {len(pairs)} pairs, {sum(not pair.right for pair in pairs)} of them wrong\n")
    print("| | right % | false accepts | false refusals | CPU s | max ms |\n|---|---:|---:|---:|---:|---:|")
    for name, judge in ways.items():
        run = one_by_one(judge, pairs)
        accepts = sum(verdict and not pair.right for verdict, pair in zip(run.verdicts, pairs, strict=True))
        refusals = sum(pair.right and not verdict for verdict, pair in zip(run.verdicts, pairs, strict=True))
        share = 100 * (1 - (accepts + refusals) / len(pairs))
        print(
            f"| {name} | {share:.1f} | {accepts} | {refusals} | {run.cpu_seconds:.2f} | {1000 * max(run.seconds):.0f} |",
            flush=True,
        )


MATH_VERIFY_COMMAND = """
import json, logging, sys
import math_verify
logging.disable(logging.WARNING)
with open(sys.argv[1]) as rows, open(sys.argv[2], "w") as scores:
    for row in map(json.loads, rows):
        right = math_verify.verify(math_verify.parse("$" + row["answer"] + "$"), math_verify.parse(row["completion"]))
        scores.write(json.dumps({"id": row["id"], "value": float(right)}) + "\\n")
"""


def command_line(pairs: Sequence[Pair], runs: int) -> None:
    """Print the CPU seconds of whole processes that score a file."""
    print(f"\nCommand line: {len(pairs)} GSM8K-like rows, start included; median of {runs} runs\n")
    print("| | CPU s | ratio |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        rows, scores = Path(folder) / "rows.jsonl", Path(folder) / "scores.jsonl"
        fields = (
            {"id": at, "prompt": pair.question, "answer": pair.reference, "completion": pair.completion}
            for at, pair in enumerate(pairs)
        )
        rows.write_text("".join(json.dumps(row) + "\n" for row in fields), "utf-8")
        ours = [sys.executable, "-m", "r1env", "score", "--reward", "math", "--input", str(rows), "--output", str(scores)]
        if not (Path(r1env.__file__).parent / "__main__.py").exists():
            ours[:3] = [str(Path(sys.executable).with_name("r1env"))]
        commands = {
            "Math-Verify": [sys.executable, "-c", MATH_VERIFY_COMMAND, str(rows), str(scores)],
            "r1env score --reward math": ours,
        }
        base = 0.0
        for name, command in commands.items():
            seconds = statistics.median(children_seconds(command) for _ in range(runs))
            base = base or seconds
            print(f"| {name} | {seconds:.2f} | {base / seconds:.1f} × |", flush=True)


def children_seconds(command: Sequence[str]) -> float:
    """CPU seconds of a process and of those it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=os.environ.get("R1ENV_TEST_DATA"), help="folder of the two files")
    parser.add_argument("--items", type=int, default=1319, help="GSM8K-like pairs (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=5000, help="rows for the command line (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="runs that count (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of r1env.score (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("name the folder of the data with --data, or in R1ENV_TEST_DATA")
    logging.disable(logging.WARNING)  # Math-Verify's remarks on what it cannot parse
    compare("GSM8K-like", gsm8k_like(arguments.data, arguments.items), arguments.runs, arguments.workers)
    compare("Development set", development_set(arguments.data), arguments.runs, arguments.workers)
    others: dict[str, Judge] = {"Math-Verify": by_math_verify, "TRL accuracy_reward": by_trl}
    ours = {f"r1env {where}": by_us(where) for where in ("explicit", "lenient")}
    errors("Field cases", field_cases(arguments.data), {**others, **ours})
    errors("Last sentences of GSM8K solutions", last_sentences(arguments.data), {**others, **ours})
    errors("GSM8K solutions with A: below", labelled_solutions(arguments.data), {**others, **ours})
    command_line(gsm8k_like(arguments.data, arguments.rows, "gsm8k_train.jsonl"), arguments.runs)
    print(f"\nPeak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
