"""A session keeps files for a whole episode and nothing else, under the promises of a submission."""

from __future__ import annotations

import ast
import asyncio
import threading
import time

import pytest

from r1env_sandbox import Limits, Sandbox, SandboxBusy, SessionLost, worker
from r1env_sandbox.backends.docker import connect
from r1env_sandbox.session import VERIFIER_FOLDER, WORKSPACE

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def session(engine):
    with Sandbox(1, sessions=1) as sandbox, sandbox.open_session(Limits(memory_mb=256, output_kb=64, processes=16)) as session:
        yield session


def test_files_stay_and_processes_do_not(session):
    assert (
        session.exec("mkdir -p a && echo kept > a/b && (sleep 60 & echo $!) && pwd").stdout.decode().splitlines()[1]
        == WORKSPACE
    )
    left = session.exec("cat a/b; ls /proc | grep -c '^[0-9]'")
    assert left.stdout.decode().split()[0] == "kept"
    assert int(left.stdout.split()[1]) <= 6  # the runner, the launcher, and this pipeline
    assert session.exec("rm -r a && ls -A").stdout == b""


def test_a_command_gets_its_input_folder_variables_and_arguments(session):
    assert session.exec("cat; echo $X; pwd", stdin="in\n", cwd="/tmp", env={"X": "y z"}).stdout == b"in\ny z\n/tmp\n"
    assert session.exec(["printf", "%s|", "a b", "$X", "'"]).stdout == b"a b|$X|'|"
    assert session.exec("exit 3").exit_code == 3
    assert session.exec("kill -9 $$").signal == 9
    assert session.exec(["no-such-program"]).exit_code == 127
    assert session.exec("true", cwd="nowhere").exit_code == 127


@pytest.mark.parametrize(
    ("command", "stopped"),
    [
        ("sleep 30", "time"),
        ("trap '' TERM INT; while true; do :; done", "time"),
        ("while true; do yes x | head -c 100000; done", "output"),
        ("python3 -c \"x = []\nwhile True: x.append('x' * 1000000)\"", "memory"),
        ("python3 -c 'import os\nwhile True: os.fork()'", "time"),
    ],
)
def test_a_limit_ends_the_command_and_not_the_session(session, command, stopped):
    start = time.monotonic()
    assert session.exec(command, timeout_s=1.5 if stopped == "time" else 20).stopped in (
        stopped,
        None if "fork" in command else stopped,
    )
    assert time.monotonic() - start < 15
    assert session.exec("echo alive").ok


def test_files_go_in_and_come_out_as_they_are(session):
    data = bytes(range(256)) * 5000
    session.upload("deep/in/folders.bin", data)
    assert session.download("deep/in/folders.bin") == data
    assert session.exec("sha256sum < deep/in/folders.bin | head -c 8").ok
    session.upload("deep/in/folders.bin", "now text: ü")
    assert session.download("deep/in/folders.bin").decode() == "now text: ü"
    assert session.download("/etc/debian_version")
    for path in ("missing", "/etc/shadow", "deep", "/dev/zero", "/proc/1/mem"):
        with pytest.raises(OSError, match="cannot read"):
            session.download(path)
    session.exec("mkfifo fifo; ln -s /etc/shadow link")
    for path in ("fifo", "link"):
        with pytest.raises(OSError, match="cannot read"):
            session.download(path)
    with pytest.raises(OSError, match="longer than 10 bytes"):
        session.download("deep/in/folders.bin", max_bytes=10)
    for path in ("/etc/new", f"{VERIFIER_FOLDER}/test.py", "/judge/prog/main.py", "/proc/sys/kernel/hostname"):
        with pytest.raises(OSError, match="cannot write"):
            session.upload(path, "x")


def test_what_does_not_fit_is_refused_and_the_session_goes_on(session):
    session.upload("big", b"x" * (60 << 20))
    with pytest.raises(OSError, match="No space left"):
        session.upload("more", b"x" * (60 << 20))
    assert session.exec("rm -f big more; echo alive").stdout == b"alive\n"


def test_the_verifier_sees_the_workspace_and_the_agent_does_not_see_its_folder(session):
    session.exec("echo answer > out.txt")
    session.upload("expected.txt", "secret\n", user="verifier")
    assert session.exec("cat out.txt; cat /judge/verifier/expected.txt", user="verifier").stdout == b"answer\nsecret\n"
    assert session.exec(f"echo changed > {WORKSPACE}/out.txt", user="verifier").exit_code != 0
    for command in (
        "cat /judge/verifier/expected.txt",
        "ls /judge/verifier",
        "echo x > /judge/verifier/expected.txt",
        "find / -name expected.txt 2>/dev/null | grep .",
    ):
        assert session.exec(command).exit_code != 0
    assert session.download("expected.txt", user="verifier") == b"secret\n"
    assert session.exec("id -u").stdout != session.exec("id -u", user="verifier").stdout


def test_it_has_no_rights_no_network_and_its_own_loopback(session):
    look = "id -u; grep -c . /proc/net/route; grep CapEff /proc/self/status; touch /etc/x; touch /usr/x; ls /sys/class/net 2>/dev/null"
    seen = session.exec(look)
    assert int(seen.stdout.split()[0]) >= 10_000
    assert b"0000000000000000" in seen.stdout
    assert seen.stderr.count(b"Read-only file system") == 2
    talk = (
        "import socket, threading\ns = socket.create_server(('127.0.0.1', 8000))\n"
        "threading.Thread(target=lambda: s.accept()[0].sendall(b'hello')).start()\n"
        "print(socket.create_connection(('127.0.0.1', 8000)).recv(9).decode())"
    )
    assert session.exec(["python3", "-c", talk]).stdout == b"hello\n"
    assert (
        b"Network is unreachable"
        in session.exec(["python3", "-c", "import socket; socket.create_connection(('1.1.1.1', 53))"]).stderr
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"command": ""},
        {"command": []},
        {"command": "x" * 100_000},
        {"command": "a\0b"},
        {"command": "echo \ud83d"},
        {"command": "true", "cwd": "\ud83d"},
        {"command": "true", "env": {"A=B": ""}},
        {"command": "true", "user": "root"},
        {"command": "true", "timeout_s": 0},
        {"command": "true", "cwd": ""},
    ],
)
def test_what_cannot_be_run_is_the_callers_fault(session, arguments):
    if arguments["command"] == "":
        assert session.exec("").ok  # bash's own opinion
        return
    with pytest.raises(ValueError):
        session.exec(**arguments)


def test_it_can_be_used_on_an_event_loop(session):
    async def three():
        return await asyncio.gather(*(session.exec_async(f"echo {number}") for number in range(3)))

    assert [result.stdout for result in asyncio.run(three())] == [b"0\n", b"1\n", b"2\n"]


def test_sessions_share_nothing_wait_for_one_another_and_are_removed(engine):
    with Sandbox(1, sessions=2) as sandbox:
        first, second = sandbox.open_session(), sandbox.open_session()
        first.exec("echo mine > x; echo mine > /tmp/x")
        assert second.exec("ls -A . /tmp | grep x").exit_code == 1
        with pytest.raises(SandboxBusy, match="no session was closed"):
            sandbox.open_session(queue_timeout_s=0.2)
        threading.Timer(0.3, first.close).start()
        third = sandbox.open_session(queue_timeout_s=30)
        assert third.exec("ls -A . /tmp | grep x").exit_code == 1
        with pytest.raises(SessionLost, match="it was closed"):
            first.exec("true")
        names = {session.name for session in (first, second, third)}
        assert len(names) == 3
    client = connect()
    assert not names & {container.name for container in client.containers.list(all=True, ignore_removed=True)}
    client.close()
    with pytest.raises(SessionLost):
        third.exec("true")


def test_a_session_ends_when_its_time_is_over_even_while_it_works(engine):
    with Sandbox(1, sessions=1) as sandbox:
        session = sandbox.open_session(max_seconds=1.0)
        with pytest.raises(SessionLost, match="open for 1 s"):
            session.exec("sleep 20", timeout_s=20)
        assert sandbox.open_session(queue_timeout_s=10).exec("true").ok


def test_a_container_that_is_gone_is_told_and_its_place_is_free(engine):
    client = connect()
    with Sandbox(1, sessions=1) as sandbox:
        session = sandbox.open_session()
        client.containers.get(session.name).kill()
        with pytest.raises(SessionLost):
            session.exec("true")
        assert sandbox.open_session(queue_timeout_s=10).exec("true").ok
    client.close()


def test_a_large_workspace_may_be_asked_for(engine):
    with Sandbox(1) as sandbox, sandbox.open_session(Limits(file_mb=200), disk_mb=300) as session:
        assert session.exec("head -c 150000000 /dev/zero > big && stat -c %s big").stdout == b"150000000\n"


STATE = """
import os, resource, signal, sys
names = [name for name in dir(resource) if name.startswith("RLIMIT_") and name != "RLIMIT_CPU"]
print({name: resource.getrlimit(getattr(resource, name)) for name in names})
print(resource.getrlimit(resource.RLIMIT_CPU)[1] - resource.getrlimit(resource.RLIMIT_CPU)[0])
print(len(set(os.getresuid() + os.getresgid())), os.getuid() >= 10_000, os.getgroups(), os.getcwd(), os.getsid(0) == os.getpid())
umask = os.umask(0)
print(umask, sorted(map(int, os.listdir("/proc/self/fd")))[:-1], open("/proc/self/oom_score_adj").read())
print([line for line in open("/proc/self/status") if line.startswith(("Sig", "Cap", "NoNewPrivs", "Seccomp:"))])
print(sorted(os.environ.items()), sys.argv)
"""
COMMANDS = [
    (["python3", "-I", "-c", STATE, "a b"], 0),
    (["no-such-program"], 127),
    (["/judge/box"], 127),
    (["/tmp/text"], 127),  # no program, and no shell is asked to read it
    (["python3", "-c", "pass", *["x" * 4000] * 10], 0),
]


@pytest.fixture(scope="module")
def two_starts(engine):
    """What commands did, where the launcher is in C, and in an image without that library."""
    done = []
    for path in ("/opt/r1env/launcher.so", "/opt/r1env/missing"):
        with pytest.MonkeyPatch.context() as patch, Sandbox(1) as sandbox:
            modules = worker._runner_modules().replace("/opt/r1env/launcher.so", path)
            patch.setattr(worker, "_runner_modules", lambda modules=modules: modules)
            with sandbox.open_session() as session:
                session.exec("echo text > /tmp/text; chmod +x /tmp/text")
                results = [session.exec(command, user="verifier") for command, _ in COMMANDS]
                uid = session.exec("id -u").stdout.strip()
            done.append([(result.exit_code, result.stdout.replace(uid, b"UID"), result.stderr) for result in results])
    return done


def test_a_program_finds_the_same_whichever_way_it_is_started(two_starts):
    for (command, code), in_c, in_python in zip(COMMANDS, *two_starts, strict=True):
        assert in_c[:2] == in_python[:2], command[:1]
        assert in_c[0] == code
        assert in_c[2].startswith(b"cannot start: " if code else b"")
    state = two_starts[0][0][1].decode().splitlines()
    assert all(soft == hard for soft, hard in ast.literal_eval(state[0]).values() if hard != -1)
    assert state[2].startswith("1 True [UID] /judge/box True")
    assert state[3] == "18 [0, 1, 2] 1000"


@pytest.fixture(scope="module")
def python(session):
    with session.interpreter() as python:
        yield python


def test_an_interpreter_keeps_what_its_calls_define(python):
    assert not python.run("x = 6\nprint('set')").failed
    assert python.run("x * 7").output == "42\n"
    failed = python.run("def f():\n    raise KeyError('k')\nf()")
    assert failed.failed
    assert failed.output.endswith("KeyError: 'k'\n")
    assert "interpreter.py" not in failed.output
    assert "SyntaxError" in python.run("def (").output
    assert python.run("raise SystemExit(4)").output == "SystemExit: 4\n"
    assert python.run("import time\ntime.sleep(9)", timeout_s=0.2).output.startswith("TimeoutError")
    assert python.run("import subprocess\nsubprocess.run(['echo', 'sub'])\ninput()").output.startswith("sub\n")
    assert python.run("x").output == "6\n"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os\nos._exit(3)", "exit code 3"),
        ("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\nwhile True: pass", "did not stop"),
        ("b = bytearray(1 << 30)\nfor i in range(0, 1 << 30, 4096): b[i] = 1", "memory"),
        ("import os\nos.write(3, b'x' * (8 << 20))", "output"),
    ],
    ids=["exit", "time", "memory", "output"],
)
def test_an_interpreter_that_ends_is_replaced_and_says_so(python, monkeypatch, code, said):
    monkeypatch.setattr("r1env_sandbox.session.CALL_GRACE_SECONDS", 0.3)
    python.run("x = 1")
    lost = python.run(code, timeout_s=0.5 if said == "did not stop" else 10)
    assert lost.restarted
    assert said in lost.output
    assert "NameError" in python.run("x").output


def test_what_code_says_in_the_name_of_the_interpreter_answers_no_call(python):
    said = python.run("import os, sys\nos.write(3, b'{\"call\": 0}\\n[[\\n\\xff\\n')\nsys.stdout = None\n5")
    assert not python.run("1").restarted
    assert said.output or said.failed
    assert python.run("print('still here')").output == "still here\n"


def test_a_session_with_an_interpreter_runs_nothing_else(session, python):
    with pytest.raises(RuntimeError, match="close it"):
        session.exec("true")
    with pytest.raises(RuntimeError, match="already"):
        session.interpreter()
    with pytest.raises(ValueError, match="KB"):
        python.run("#" * 300_000)
    python.close()
    assert session.exec("ls /proc | grep -c '^[0-9]*$'").ok
    with pytest.raises(RuntimeError, match="this one"):
        python.run("1")
