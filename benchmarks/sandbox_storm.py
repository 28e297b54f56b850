"""Thousands of honest programs with hundreds of hostile ones among them, while a container is killed and the engine restarted.

    python benchmarks/sandbox_storm.py [--honest 2000] [--hostile 200] [--mode fork] [--attacks FOLDER]
        [--stop-engine 'tools/docker-engine.sh stop' --start-engine 'tools/docker-engine.sh start' --away-s 12]

The hostile rows are all attacks of `tests/sandbox/redteam/corpus`, in turn, and those of other folders with an `index.jsonl` (a row of
`r1env-sandbox judge` a line, with `file` for its source, `expect` for what it must get, and `$TOK` for a fresh secret). Every row must be
answered once, in order; honest ones must be accepted, hostile ones must get a verdict that they may get, and nothing may be left: no
container, no process. The exit code is 1 otherwise.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import docker

from r1env_sandbox.backends.docker import OWNER_LABEL
from r1env_sandbox.models import Verdict
from r1env_sandbox.transport import owner

RED_TEAM = Path(__file__).parents[1] / "tests" / "sandbox" / "redteam" / "test_redteam.py"
KILL_AT, RESTART_AT = 0.3, 0.6  # of all rows
COMMAND = [sys.executable, "-c", "from r1env_sandbox.cli import main; main()", "judge"]
REFUSED = {verdict.value for verdict in Verdict} - {"accepted", "judge_error"}  # a fault of the task's own included
EXPECTED = {"accept_ok": {"accepted"}, "timeout": {"time_limit"}}

Row = dict[str, Any]


def honest_row(number: int) -> Row:
    """One of several kinds of honest programs; each reads or computes something that depends on its number."""
    kinds: list[Row] = [
        {
            "source": f"print(int(input()) + {number})",
            "tests": [{"kind": "stdio", "stdin": f"{n}\n", "expected": f"{n + number}\n"} for n in (1, 2)],
        },
        {
            "source": "def f(xs, n): return sorted(x * n for x in xs)",
            "tests": [{"kind": "call", "function": "f", "args": [[3, 1], number], "expected": [number, 3 * number]}],
        },
        {
            "source": f"def f(n):\n    for i in range(n): yield i + {number}",
            "tests": [
                {
                    "kind": "assert",
                    "function": "f",
                    "code": f"def check(candidate):\n    assert list(candidate(1)) == [{number}]\n",
                }
            ],
        },
        {
            "source": "import os\nopen('kept', 'w').write(input())\nprint(open('kept').read(), os.listdir('.'), os.listdir('/tmp'))",
            "tests": [{"kind": "stdio", "stdin": f"{number}\n", "expected": f"{number} ['kept'] []\n"}],
        },
    ]
    return {"language": "python", "limits": {"cpu_s": 10, "wall_s": 60}, **kinds[number % len(kinds)]}


def corpus_rows() -> list[tuple[Row, set[str]]]:
    """The attacks of the tests' corpus, with the verdicts that each may get."""
    spec = importlib.util.spec_from_file_location("red_team", RED_TEAM)
    assert spec is not None
    assert spec.loader is not None
    red_team = sys.modules["red_team"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(red_team)
    rows = []
    for attack in red_team.ATTACKS:
        tests = red_team.TASKS[attack.task](f"secret-{secrets.token_hex(8)}")
        row = {
            **attack.submission.model_dump(mode="json"),
            "tests": [test.model_dump(mode="json", exclude_defaults=True) for test in tests],
            "limits": red_team.LIMITS.model_dump(),
        }
        rows.append((row, {verdict.value for verdict in attack.verdicts}))
    return rows


def rows_of_folder(folder: Path) -> list[tuple[Row, set[str]]]:
    """The attacks of an `index.jsonl`."""
    rows = []
    for line in (folder / "index.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line.replace("$TOK", f"secret-{secrets.token_hex(8)}"))
        row["source"] = (folder / row["file"]).read_text("utf-8")
        fields = ("language", "source", "tests", "files", "collect", "limits")
        may_get = EXPECTED.get(row["expect"], REFUSED)
        rows.append(({name: row[name] for name in fields if name in row}, may_get))
    return rows


def mixed(honest: int, hostile: int, folders: list[Path]) -> list[tuple[Row, set[str]]]:
    """All rows in a random order that is the same every time, with ids in that order."""
    attacks = corpus_rows() + [row for folder in folders for row in rows_of_folder(folder)]
    rows = [(honest_row(number), {"accepted"}) for number in range(honest)]
    rows += [attacks[number % len(attacks)] for number in range(max(hostile, len(attacks) if hostile else 0))]
    random.Random(0).shuffle(rows)
    return [({"id": number, **row}, may_get) for number, (row, may_get) in enumerate(rows)]


def storm(rows: list[tuple[Row, set[str]]], options: argparse.Namespace, folder: Path) -> list[Row]:
    """Have the command judge all rows, disturb it, and return its answers."""
    source, out = folder / "in.jsonl", folder / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row, _ in rows), "utf-8")
    arguments = ["--input", str(source), "--output", str(out), "--mode", options.mode, "--workers", str(options.workers)]
    judging = subprocess.Popen([*COMMAND, *arguments])
    mine = {"label": f"{OWNER_LABEL}={owner(judging.pid)}"}
    killed = restarted = False
    while judging.poll() is None:
        time.sleep(0.5)
        answered = out.read_bytes().count(b"\n") if out.exists() else 0
        if not killed and answered >= KILL_AT * len(rows):
            client = docker.from_env()
            client.containers.list(filters=mine)[0].kill()
            client.close()
            killed = True
            print(f"killed a container after {answered} answers", flush=True)
        if not restarted and options.stop_engine and answered >= RESTART_AT * len(rows):
            subprocess.run(options.stop_engine, shell=True, check=True, stdout=subprocess.DEVNULL)
            time.sleep(options.away_s)
            subprocess.run(options.start_engine, shell=True, check=True, stdout=subprocess.DEVNULL)
            restarted = True
            print(f"restarted the engine after {answered} answers", flush=True)
    client = docker.from_env()
    left = [container.name for container in client.containers.list(all=True, filters=mine)]
    client.close()
    if left:
        raise SystemExit(f"containers are left: {', '.join(left)}")
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--honest", type=int, default=2000, help="rows (default: %(default)s)")
    parser.add_argument("--hostile", type=int, default=200, help="rows, at least one of each attack (default: %(default)s)")
    parser.add_argument("--mode", default="fork", choices=("spawn", "fork"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--attacks", type=Path, action="append", default=[], help="a folder with more attacks")
    parser.add_argument("--stop-engine", help="a command")
    parser.add_argument("--start-engine", help="a command")
    parser.add_argument("--away-s", type=float, default=12.0, help="seconds that the engine is away (default: %(default)s)")
    options = parser.parse_args()
    if bool(options.stop_engine) != bool(options.start_engine):
        parser.error("--stop-engine and --start-engine come together")
    rows = mixed(options.honest, options.hostile, options.attacks)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        answers = storm(rows, options, Path(name))
    print(f"{len(answers)} answers to {len(rows)} rows in {time.monotonic() - start:.0f} s")
    in_order = [answer["id"] for answer in answers] == list(range(len(rows)))
    wrong = [
        (
            answer["id"],
            answer["status"],
            sorted(may_get),
            answer["info"]["note"],
            answer["tests"][-1]["note"] if answer["tests"] else "",
        )
        for answer, (_, may_get) in zip(answers, rows, strict=False)
        if answer["status"] not in may_get
    ]
    print("in order" if in_order else "NOT IN ORDER", dict(Counter(answer["status"] for answer in answers)))
    for row in wrong:
        print("wrong:", *row, "|", json.dumps(rows[row[0]][0])[:300])
    print(f"{len(wrong)} wrong verdicts")
    if wrong or not in_order:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
