"""The backend without an engine: it judges as Docker does, holds what it promises, leaves nothing, and is never taken in silence."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from r1env_sandbox import Limits, Sandbox, SandboxUnavailable, Submission, TestCase, Verdict, open_sandbox
from r1env_sandbox.backends import cgroups
from r1env_sandbox.backends.bwrap import BwrapBackend, engine_filter
from r1env_sandbox.doctor import HOLDS, PROBES, Finding, run_probe
from r1env_sandbox.open import choose_backend
from r1env_sandbox.transport import is_orphan, owner

_specification = importlib.util.spec_from_file_location("redteam", Path(__file__).parent / "redteam" / "test_redteam.py")
redteam = sys.modules["redteam"] = importlib.util.module_from_spec(_specification)  # dataclasses look their module up
_specification.loader.exec_module(redteam)

# Escapes, thefts and sabotage, and what exhausts quickly. Not the search for set-id programs, which takes longer than its limit in a whole
# /usr: that the mount lends no rights is one of the doctor's probes. Attacks on pytest need the host's python3 to have it.
ATTACKS = [
    attack
    for attack in redteam.ATTACKS
    if attack.name.startswith(("escape", "theft", "sabotage"))
    or (attack.name.startswith("exhaustion") and attack.submission.language == "python")
    if attack.name != "escape/set_id_programs.py"
]
NOWHERE = "unix:///nowhere/docker.sock"
PLUS_ONE = [TestCase.stdio("41\n", "42\n")]
HONEST = Submission(language="python", source="print(int(input()) + 1)")


@pytest.fixture(scope="module")
def host():
    """Nothing but the certainty that bubblewrap works here. `R1ENV_REQUIRE_BWRAP=1` makes its lack a failure."""
    try:
        BwrapBackend()
    except SandboxUnavailable as error:
        if os.environ.get("R1ENV_REQUIRE_BWRAP"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def bwrap(host):
    with Sandbox(1, backend="bwrap") as sandbox:
        yield sandbox


def groups_of(pid):
    return [folder for top in ("memory", "pids", ".") for folder in (cgroups.ROOT / top / cgroups.FOLDER).glob(f"*:{pid}:*")]


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("python", "print(int(input()) + 1)"),
        ("c", '#include <stdio.h>\nint main(void) { int n; scanf("%d", &n); printf("%d\\n", n + 1); }'),
        ("cpp", "#include <iostream>\nint main() { int n; std::cin >> n; std::cout << n + 1; }"),
        ("bash", "read n; echo $((n + 1))"),
    ],
)
def test_a_language_of_the_host_is_judged(bwrap, language, source):
    result = bwrap.judge(Submission(language=language, source=source), PLUS_ONE)
    assert (result.status, result.info.backend) == (Verdict.ACCEPTED, "bwrap")
    wrong = Submission(language=language, source=source.replace("+ 1", "+ 2"))
    assert bwrap.judge(wrong, PLUS_ONE).status is Verdict.WRONG_ANSWER


def test_test_code_runs_in_a_worker_of_its_own(bwrap):
    add = Submission(language="python", source="def add(a, b):\n    return a + b")
    assert bwrap.judge(add, [TestCase.assertion("add", "assert add(1, 2) == 3")]).status is Verdict.ACCEPTED
    assert bwrap.judge(add, [TestCase.assertion("add", "assert add(1, 2) == 4")]).status is Verdict.WRONG_ANSWER


def test_a_language_that_the_host_lacks_is_no_fault_of_the_program(bwrap, monkeypatch):
    monkeypatch.setattr(bwrap._ready()[0], "languages", frozenset({"python"}))
    result = bwrap.judge(Submission(language="rust", source="fn main() {}"), PLUS_ONE)
    assert (result.status, result.score) == (Verdict.REJECTED_INPUT, None)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name.replace(" ", "-"))
def test_what_the_doctor_tries_is_refused(bwrap, probe):
    finding = run_probe(bwrap, probe)
    assert finding.holds, finding.detail


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_of_the_red_team_gains_nothing_here_either(bwrap, attack):
    if attack.task == "pytest" and "missing" in bwrap.describe()["pytest for the host's python3"]:
        pytest.skip("the host's python3 has no pytest")
    redteam.check(bwrap, attack)


CLOSED = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
opened = []
for name, family in (("AF_VSOCK", 40), ("AF_ALG", 38)):
    try:
        socket.socket(family, socket.SOCK_STREAM if family == 40 else socket.SOCK_SEQPACKET)
        opened.append(name)
    except OSError:
        pass
for path in ("/etc/passwd", "/etc/shadow", "/root", "/home", "/var", "/run", "/opt", "/proc/1/environ", "/proc/kcore"):
    if os.access(path, os.R_OK) and path != "/proc/kcore":
        opened.append(path)
if libc.personality(0x0040000) != -1:
    opened.append("personality")
pid = libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)
if pid == 0:
    os._exit(0)
if pid > 0:
    opened.append("clone of a user namespace")
print(opened or "holds")
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls")
def test_the_hosts_files_and_what_no_namespace_contains_are_closed(bwrap):
    result = bwrap.judge(Submission(language="python", source=CLOSED), [TestCase.stdio("", HOLDS)])
    assert result.status is Verdict.ACCEPTED, result.tests


def test_packages_that_the_host_installed_for_its_python_are_out_of_sight(bwrap, tmp_path):
    local = next(iter(sorted(Path("/usr/local/lib").glob("python3*/*-packages"))), None)
    if local is None:
        pytest.skip("the host has no such folder")
    source = f"import os\nprint(os.listdir({str(local)!r}))"
    assert bwrap.run(Submission(language="python", source=source)).stdout == "[]\n"


def test_processes_together_cannot_have_more_memory_than_one(bwrap):
    source = "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        a = bytearray(60 << 20); time.sleep(5)\ntime.sleep(5)"
    limits = Limits(memory_mb=128, wall_s=8)
    result = bwrap.judge(Submission(language="python", source=source), [TestCase.stdio("", "")], limits)
    assert result.status is Verdict.MEMORY_LIMIT


def test_a_worker_may_have_more_memory_than_it_was_started_with(bwrap):
    result = bwrap.judge(
        Submission(language="python", source="a = bytearray(1500 << 20)\nprint(42)"),
        PLUS_ONE,
        Limits(memory_mb=1700, cpu_s=20, wall_s=60),
    )
    assert result.status is Verdict.ACCEPTED, result.tests


def test_a_worker_that_dies_is_replaced_and_nothing_is_left(host):
    with Sandbox(1, backend="bwrap") as sandbox:
        first = sandbox.judge(HONEST, PLUS_ONE).info.worker
        for folder in groups_of(os.getpid()):
            for pid in (folder / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):  # it went with one killed before
                    os.kill(int(pid), signal.SIGKILL)
        second = sandbox.judge(HONEST, PLUS_ONE)
    assert (second.status, second.info.attempts) == (Verdict.ACCEPTED, 2)
    assert second.info.worker != first


def test_closing_ends_every_process_and_gives_back_every_control_group(host):
    before = set(groups_of(os.getpid()))
    with Sandbox(2, backend="bwrap") as sandbox:
        sandbox.judge(HONEST, PLUS_ONE)
        assert set(groups_of(os.getpid())) - before
    assert set(groups_of(os.getpid())) <= before


def test_an_owner_that_is_killed_leaves_no_process_and_its_control_groups_to_the_next(host):
    program = (
        "import sys\nfrom r1env_sandbox import Sandbox, Submission, TestCase\n"
        "s = Sandbox(1, backend='bwrap')\n"
        "print(s.judge(Submission(language='python', source='print(1)'), [TestCase.stdio('', '1')]).status, flush=True)\n"
        "sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "accepted\n"
    folders = groups_of(process.pid)
    assert folders
    process.kill()
    process.wait(30)
    deadline = time.monotonic() + 20
    while any((folder / "cgroup.procs").read_text() for folder in folders) and time.monotonic() < deadline:
        time.sleep(0.05)
    BwrapBackend()
    assert not any(folder.exists() for folder in folders)


def test_an_ordinary_user_is_told_why_not(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SandboxUnavailable, match=r"root's alone.*Docker"):
        Sandbox(1, backend="bwrap")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == "bwrap" else f"/bin/{name}")
    with pytest.raises(SandboxUnavailable, match="lacks bwrap"):
        Sandbox(1, backend="bwrap")


def test_without_control_groups_there_is_no_worker(host, monkeypatch, tmp_path):
    monkeypatch.setattr(cgroups, "ROOT", tmp_path / "none")
    with pytest.raises(SandboxUnavailable, match="no control group can be made"):
        Sandbox(1, backend="bwrap")


def test_where_namespaces_are_forbidden_nothing_is_started(host, monkeypatch):
    monkeypatch.setattr("r1env_sandbox.backends.bwrap._PREPARE", "echo 'unshare: not permitted' >&2; exit 1")
    with pytest.raises(SandboxUnavailable, match=r"bubblewrap does not start here .*not permitted"):
        Sandbox(1, backend="bwrap")


def test_docker_is_not_replaced_unasked(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    with pytest.raises(SandboxUnavailable, match="no Docker socket"):
        Sandbox(1)


@pytest.mark.slow
def test_auto_takes_bubblewrap_once_everything_has_held_and_every_verdict_says_so(host, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    with open_sandbox("auto", 1) as sandbox:
        result = sandbox.judge(HONEST, PLUS_ONE)
    assert (result.status, result.info.backend) == (Verdict.ACCEPTED, "bwrap")
    assert result.info.image.startswith("host")


def test_auto_refuses_what_does_not_hold(host, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    found = [Finding("no network but the loopback", True), Finding("memory is limited", False, "accepted")]
    monkeypatch.setattr("r1env_sandbox.doctor.examine_host", lambda sandbox: iter(found))
    with pytest.raises(
        SandboxUnavailable, match=r"no Docker socket.*does not hold on this host: memory is limited \(accepted\)"
    ):
        open_sandbox("auto", 1)


def test_auto_names_both_causes_when_there_is_neither(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SandboxUnavailable, match=r"no Docker socket.*root's alone"):
        open_sandbox("auto", 1)


@pytest.mark.docker
def test_auto_takes_docker_where_there_is_one(engine):
    assert choose_backend() == "docker"


@pytest.mark.parametrize(
    "options",
    [{"backend": "podman"}, {"backend": "bwrap", "runtime": "runsc"}, {"backend": "auto", "image": "x"}, {"backend": "ray:x"}],
)
def test_options_that_do_not_go_together_are_refused(options):
    with pytest.raises(ValueError):
        open_sandbox(workers=1, **options)


def test_an_owner_that_lives_has_no_orphans():
    mine = owner(os.getpid())
    assert not is_orphan(mine)
    assert is_orphan(mine.rpartition(":")[0] + ":1")  # our pid, started at another time
    assert not is_orphan("another-boot:" + mine.partition(":")[2])
    assert not is_orphan("no owner at all")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_jump_of_the_filter_stays_in_it_and_it_ends_with_an_answer(machine):
    code = engine_filter(machine)
    program = [(int.from_bytes(code[at : at + 2], "little"), code[at + 2], code[at + 3]) for at in range(0, len(code), 8)]
    assert len(program) < 4096
    assert all(at + 1 + max(yes, no) < len(program) for at, (_, yes, no) in enumerate(program[:-1]))
    assert program[-1][0] == 0x06
