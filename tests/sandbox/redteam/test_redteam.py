"""Hostile programs get no verdict that they did not earn, and leave nothing to the next one.

Each file under `corpus/` is an attack, and ends in `.txt` so that nothing runs it by mistake. Its first three lines say what it
tries, which task of `TASKS` it is handed in for, and the verdicts it may get. After every attack an honest program runs in the same worker, looks for what was left, and must be accepted.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from r1env_sandbox import Limits, Sandbox, SandboxUnavailable, Submission, TestCase, Verdict
from r1env_sandbox.backends.docker import OWNER_LABEL, connect, owner

CORPUS = Path(__file__).parent / "corpus"
LANGUAGES = {".py": "python", ".c": "c", ".cpp": "cpp"}
LIMITS = Limits(
    cpu_s=0.5, wall_s=5, memory_mb=128, output_kb=64, processes=16, compile_cpu_s=2, compile_wall_s=24, compile_memory_mb=512
)

TASKS = {
    # what is expected cannot be computed: who gives it has stolen it
    "secret": lambda secret: [TestCase.stdio("go\n", f"{secret}\n")],
    "call": lambda secret: [TestCase.call("answer", [1], secret)],
    "assert": lambda secret: [TestCase.assertion("answer", f"def check(candidate):\n    assert candidate(1) == '{secret}'\n")],
    "pytest": lambda secret: [
        TestCase.pytest(
            {"test_it.py": f"from solution import answer\n\n\ndef test_answer():\n    assert answer(1) == '{secret}'\n"}
        )
    ],
    "collect": lambda secret: [TestCase.stdio("go\n", f"{secret}\n")],
    "memory": lambda secret: [TestCase.stdio("first\n", "first\n"), TestCase.stdio("second\n", "first\n")],
    # what is expected can be computed: the attack is on how it is compared, or on the tests after it
    "sum": lambda secret: [TestCase.stdio("3 4\n", "7\n")],
    "one": lambda secret: [TestCase.call("answer", [], 1)],
    "near": lambda secret: [TestCase.assertion("answer", "def check(candidate):\n    assert abs(candidate(1) - 0.5) < 1e-6\n")],
    "unchanged": lambda secret: [
        TestCase.assertion(
            "answer", "def check(candidate):\n    numbers = [2, 1]\n    assert candidate(list(numbers)) == numbers\n"
        )
    ],
    "half": lambda secret: [TestCase.stdio("", "0.5\n", "float")],
    "lines": lambda secret: [TestCase.stdio("", "1\n2\n3\n")],
    "two tests": lambda secret: [TestCase.stdio("first\n", "first\n"), TestCase.stdio("second\n", "second\n")],
    # the program itself says whether what it tried was refused
    "held": lambda secret: [TestCase.stdio("", "held\n")],
}

SCOUT = """
import contextlib
import os

left = []
for folder in (".", "/tmp", "/dev/shm", "/dev/mqueue", "/var/tmp", "/run"):
    for at, folders, names in os.walk(folder):
        for name in (*folders, *names):
            with contextlib.suppress(OSError):
                if os.lstat(f"{at}/{name}").st_uid not in (0, 65534):
                    left.append(f"{at}/{name}")
for process in filter(str.isdigit, os.listdir("/proc")):
    with contextlib.suppress(OSError):
        if int(process) != os.getpid() and os.stat(f"/proc/{process}").st_uid == os.getuid():
            left.append(open(f"/proc/{process}/cmdline").read() or process)
left.extend(os.listxattr("."))
if os.stat(".").st_mode & 0o777 != 0o700:
    left.append(oct(os.stat(".").st_mode))
with open("written", "w") as file:
    file.write("kept")
if open("written").read() != "kept" or os.stat("written").st_mode & 0o777 != 0o644:
    left.append("its own file is odd")
for kind in ("shm", "msg", "sem"):
    with contextlib.suppress(OSError):
        left.extend(open(f"/proc/sysvipc/{kind}").readlines()[1:])
print(left or sum(map(int, input().split())))
"""


@dataclass(frozen=True)
class Attack:
    """One file of the corpus."""

    name: str
    task: str
    verdicts: frozenset[Verdict]
    submission: Submission


def read_attack(path: Path) -> Attack:
    source = path.read_text("utf-8")
    _, task, verdicts = (line.partition(" ")[2] for line in source.split("\n")[:3])
    task = task.removeprefix("task: ")
    collect = ("out.txt", "folder/passwd") if task == "collect" else ()
    return Attack(
        name=str(path.relative_to(CORPUS)).removesuffix(".txt"),
        task=task,
        verdicts=frozenset(Verdict(name) for name in verdicts.removeprefix("verdict: ").split(", ")),
        submission=Submission(language=LANGUAGES[path.suffixes[-2]], source=source, collect=collect),
    )


ATTACKS = [read_attack(path) for path in sorted(CORPUS.glob("*/*.txt"))]
FORKED = [attack for attack in ATTACKS if attack.submission.language == "python" and not attack.name.startswith("escape")]


@pytest.fixture(scope="module", autouse=True)
def no_container_is_left():
    """Set up before the sandboxes, so that it looks after they are closed."""
    before = own_containers()
    yield
    assert own_containers() <= before


def own_containers():
    try:
        client = connect()
    except SandboxUnavailable:
        return set()
    with contextlib.closing(client):
        mine = {"label": f"{OWNER_LABEL}={owner(os.getpid())}"}
        return {container.id for container in client.containers.list(all=True, filters=mine, ignore_removed=True)}


@pytest.fixture(scope="module")
def spawning(engine):
    with Sandbox(1) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def forking(engine):
    with Sandbox(1, mode="fork") as sandbox:
        yield sandbox


def check(sandbox: Sandbox, attack: Attack, limits: Limits = LIMITS) -> None:
    secret = f"secret-{secrets.token_hex(16)}"
    result = sandbox.judge(attack.submission, TASKS[attack.task](secret), limits)
    assert result.status in attack.verdicts, result
    assert secret not in "".join(test.stdout_head + test.stderr_head for test in result.tests)
    assert "root:" not in result.compile.log
    assert not any("root:" in text or len(text) > limits.output_kb << 10 for text in result.collected.values())
    honest = sandbox.judge(Submission(language="python", source=SCOUT), [TestCase.stdio("3 4\n", "7\n")])
    assert honest.status is Verdict.ACCEPTED, honest


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_gets_the_verdict_it_must_and_leaves_nothing(attack, spawning):
    check(spawning, attack)


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("attack", FORKED, ids=lambda attack: attack.name)
def test_an_attack_on_a_forked_interpreter_gains_nothing_either(attack, forking):
    check(forking, attack)


@pytest.mark.docker
@pytest.mark.parametrize("name", ["theft/frames.py", "theft/garbage_collector.py", "theft/own_memory.py"])
def test_a_thief_finds_what_is_there_to_be_found(name, spawning):
    thief = next(attack for attack in ATTACKS if attack.name == name)
    secret = f"secret-{secrets.token_hex(16)}"
    assert spawning.judge(thief.submission, [TestCase.call("answer", [secret], secret)]).status is Verdict.ACCEPTED


@pytest.mark.docker
@pytest.mark.parametrize(
    "leaving", ["open('/tmp/left', 'w').close()", "os.fork() == 0 and __import__('time').sleep(9)", "os.mkdir('left')"]
)
def test_the_honest_program_sees_what_is_left(leaving, spawning):
    scout = SCOUT.replace("left = []", f"left = []\n{leaving}")
    result = spawning.judge(Submission(language="python", source=scout), [TestCase.stdio("3 4\n", "7\n")])
    assert result.status is Verdict.WRONG_ANSWER


def test_the_corpus_is_as_broad_as_it_says():
    kinds = Counter(attack.name.partition("/")[0] for attack in ATTACKS)
    languages = Counter(attack.submission.language for attack in ATTACKS)
    assert sum(kinds.values()) >= 60
    assert set(kinds) == {"exhaustion", "theft", "faking", "sabotage", "escape"}
    assert set(languages) == {"python", "c", "cpp"}
    assert all(
        Verdict.ACCEPTED not in attack.verdicts for attack in ATTACKS if attack.task in ("secret", "call", "assert", "pytest")
    )
