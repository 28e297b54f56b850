"""gVisor instead of the engine's own runtime: the red team gains nothing there either, and leaves nothing."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from r1env_sandbox import Sandbox, SandboxUnavailable, Submission, TestCase, Verdict

_specification = importlib.util.spec_from_file_location(
    "redteam_on_gvisor", Path(__file__).parent / "redteam" / "test_redteam.py"
)
redteam = sys.modules["redteam_on_gvisor"] = importlib.util.module_from_spec(_specification)  # dataclasses look it up
_specification.loader.exec_module(redteam)

# Its system calls cost several times the kernel's own, so that honest imports take half a second here.
LIMITS = redteam.LIMITS.model_copy(update={"cpu_s": 4.0, "wall_s": 20.0, "compile_cpu_s": 20.0, "compile_wall_s": 60.0})

# How a program fakes its answers is the judge's matter, and no runtime's; what exhausts takes long here, as does a search of all /usr.
ATTACKS = [
    attack
    for attack in redteam.ATTACKS
    if attack.name.startswith(("escape", "theft", "sabotage")) and attack.name != "escape/set_id_programs.py"
]

# What these open belongs to gVisor's own kernel, which ends with the worker; docs/security.md names each.
OPEN_IN_THE_GUEST = {"escape/devices.c", "escape/real_time.c", "escape/kernel_secrets.py", "theft/include_files.c"}


def on_gvisor(attack):
    """The same attack with the verdicts that it may get here."""
    verdicts = set(attack.verdicts)
    if Verdict.ACCEPTED not in verdicts:
        verdicts.add(Verdict.TIME_LIMIT)  # whatever would stop it, time may be over before
    if attack.name in OPEN_IN_THE_GUEST:
        verdicts.add(Verdict.WRONG_ANSWER)  # the program says what it could do, or prints what it found instead of the secret
    return replace(attack, verdicts=frozenset(verdicts))


@pytest.fixture(scope="module")
def gvisor(engine):
    """`R1ENV_REQUIRE_RUNSC=1` makes its lack a failure."""
    try:
        sandbox = Sandbox(1, runtime="runsc")
    except SandboxUnavailable as error:
        if os.environ.get("R1ENV_REQUIRE_RUNSC"):
            raise
        pytest.skip(str(error))
    with sandbox:
        yield sandbox


@pytest.mark.docker
@pytest.mark.nightly
@pytest.mark.parametrize("attack", [on_gvisor(attack) for attack in ATTACKS], ids=lambda attack: attack.name)
def test_an_attack_gains_nothing_under_gvisor(attack, gvisor):
    redteam.check(gvisor, attack, LIMITS)


@pytest.mark.docker
@pytest.mark.nightly
def test_every_kind_of_test_is_judged_under_gvisor_and_the_verdict_says_so(gvisor):
    add = Submission(
        language="python", source="def add(a, b):\n    return a + b\nif __name__ == '__main__':\n    print(add(3, 4))"
    )
    pytest_file = "from solution import add\n\n\ndef test_add():\n    assert add(3, 4) == 7\n"
    tests = [
        TestCase.stdio("", "7\n"),
        TestCase.call("add", [3, 4], 7),
        TestCase.assertion("add", "assert add(3, 4) == 7"),
        TestCase.pytest({"test_add.py": pytest_file}),
    ]
    result = gvisor.judge(add, tests, LIMITS)
    assert (result.status, result.info.runtime) == (Verdict.ACCEPTED, "runsc"), result


@pytest.mark.docker
@pytest.mark.nightly
@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("python", "import threading\nthread = threading.Thread(target=print, args=('done',))\nthread.start()\nthread.join()"),
        (
            "cpp",
            '#include <iostream>\n#include <thread>\nint main() { std::thread t([] { std::cout << "done"; }); t.join(); }',
        ),
    ],
)
def test_programs_start_threads_under_gvisor(language, source, gvisor):
    result = gvisor.judge(Submission(language=language, source=source), [TestCase.stdio("", "done\n")], LIMITS)
    assert result.status is Verdict.ACCEPTED, result


@pytest.mark.docker
@pytest.mark.nightly
def test_children_that_nobody_waits_for_are_charged_under_gvisor(gvisor):
    """No control group can be seen from there."""
    source = (
        "import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nif os.fork() == 0:\n"
        "    while time.process_time() < 3: pass\n    os._exit(0)\ntime.sleep(8)\nprint('done')"
    )
    limits = LIMITS.model_copy(update={"cpu_s": 1.0})
    result = gvisor.judge(Submission(language="python", source=source), [TestCase.stdio("", "done\n")], limits)
    assert result.status is Verdict.TIME_LIMIT, result


@pytest.mark.docker
@pytest.mark.nightly
def test_a_task_may_ask_for_more_memory_than_a_worker_usually_has(gvisor):
    """The memory limit of a worker cannot be raised there once it has started."""
    limits = LIMITS.model_copy(update={"memory_mb": 2048})
    program = Submission(language="python", source="print(len(bytearray(200 << 20)) >> 20)")
    assert gvisor.judge(program, [TestCase.stdio("", "200\n")], limits).status is Verdict.ACCEPTED
