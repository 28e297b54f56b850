"""A session keeps files for a whole episode and nothing else, under the promises of a submission."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from r1env_sandbox import Limits, Sandbox, SandboxBusy, SessionLost
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
