"""Containers come and go with who needs them: threads, event loops, forks, sudden deaths. Nothing is ever left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from r1env_sandbox import Limits, Sandbox, SandboxBusy, SandboxUnavailable, Submission, TestCase, Verdict, judge
from r1env_sandbox import sandbox as sandbox_module
from r1env_sandbox.backends.docker import OWNER_LABEL, connect, reap_orphans
from r1env_sandbox.transport import owner
from r1env_sandbox.worker import Worker

pytestmark = pytest.mark.docker

SLEEP = Submission(language="python", source="import time; time.sleep(60)")
LONG = Limits(cpu_s=60, wall_s=120)
ADD = [TestCase.assertion("add", "def check(candidate):\n    assert candidate(1, 2) == 3")]


def echo(text):
    return Submission(language="python", source=f"print({text!r})"), [TestCase.stdio("", str(text))]


@pytest.fixture(scope="module")
def client(engine):
    client = connect()
    yield client
    client.close()


def containers_of(client, pid):
    found = client.containers.list(all=True, filters={"label": OWNER_LABEL}, ignore_removed=True)
    return {
        container.name for container in found if container.labels[OWNER_LABEL] == owner(pid) or f"-{pid}-" in container.name
    }


def gone(client, pid, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not containers_of(client, pid):
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def nothing_is_left(client):
    before = containers_of(client, os.getpid())
    yield
    assert containers_of(client, os.getpid()) <= before


def test_many_threads_share_the_workers_and_get_their_own_verdicts(nothing_is_left):
    with Sandbox(2, mode="fork") as sandbox, ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda number: sandbox.judge(*echo(number)), range(24)))
    assert all(result.status is Verdict.ACCEPTED for result in results)
    assert len({result.info.worker for result in results}) <= 2


def test_it_works_inside_a_running_event_loop(forking):
    async def both():
        return await asyncio.gather(*(forking.judge_async(*echo(number)) for number in range(3)))

    assert [result.status for result in asyncio.run(both())] == [Verdict.ACCEPTED] * 3


def test_a_worker_that_dies_is_replaced_and_nobody_notices(client, nothing_is_left):
    with Sandbox(1) as sandbox:
        first = sandbox.judge(*echo(1)).info.worker
        client.containers.get(first).kill()
        second = sandbox.judge(*echo(2))
    assert (second.status, second.info.attempts) == (Verdict.ACCEPTED, 2)
    assert second.info.worker != first


def test_workers_that_keep_dying_give_no_score(client, nothing_is_left):
    def kill_all(sandbox):
        while not done.wait(0.05):
            for name in containers_of(client, os.getpid()) - before:
                try:
                    client.containers.get(name).kill()
                except Exception:  # noqa: BLE001 - it is not running yet, or not any more
                    continue

    done, before = threading.Event(), containers_of(client, os.getpid())
    with Sandbox(1) as sandbox:
        killer = threading.Thread(target=kill_all, args=[sandbox])
        killer.start()
        result = sandbox.judge(SLEEP, [TestCase.stdio("", "")], LONG)
        done.set()
        killer.join()
    assert (result.status, result.score, result.info.attempts) == (Verdict.JUDGE_ERROR, None, 2)
    assert result.info.note


def test_closing_while_something_is_judged_ends_it(nothing_is_left):
    sandbox = Sandbox(1)
    sandbox.judge(*echo(1))
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(sandbox.judge, SLEEP, [TestCase.stdio("", "")], LONG)
        time.sleep(0.5)
        sandbox.close()
        with pytest.raises(SandboxBusy, match="closed"):
            running.result(30)
    with pytest.raises(SandboxBusy, match="closed"):
        sandbox.judge(*echo(1))


def test_a_forked_child_gets_workers_of_its_own_and_leaves_its_parents_alone(client):
    with Sandbox(1) as sandbox:
        mine = sandbox.judge(*echo(1)).info.worker
        child = os.fork()
        if child == 0:
            code = 1
            try:
                result = sandbox.judge(*echo(2))
                code = 0 if result.status is Verdict.ACCEPTED and result.info.worker != mine else 2
                sandbox.close()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert gone(client, child)
        after = sandbox.judge(*echo(3))
        assert (after.info.worker, after.info.attempts) == (mine, 1)


def test_the_sandbox_of_a_module_is_not_locked_in_a_forked_child_by_a_thread_of_its_parent():
    with sandbox_module._default_lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if sandbox_module._default_lock.acquire(timeout=1) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


PROGRAM = """
import sys
from r1env_sandbox import judge, Submission, TestCase
result = judge(Submission(language="python", source="def add(a, b): return a + b"),
               [TestCase.assertion("add", "def check(candidate):\\n    assert candidate(1, 2) == 3")])
print(result.status, flush=True)
"""


def test_a_program_that_closes_nothing_leaves_nothing(client):
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert process.communicate(timeout=60)[0] == "accepted\n"
    assert not containers_of(client, process.pid)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_program_that_is_killed_leaves_nothing(client, sent):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + "\nsys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout.readline() == "accepted\n"
    assert len(containers_of(client, process.pid)) == 2
    process.send_signal(sent)
    process.wait(30)
    assert gone(client, process.pid)


def test_workers_of_a_dead_owner_are_removed_and_those_of_a_living_one_are_not(client, spawning):
    mine = spawning.judge(*echo(1)).info.worker
    label = owner(os.getpid())
    dead = f"{label.rpartition(':')[0].rpartition(':')[0]}:{os.getpid()}:1"  # our pid, but started at another time
    orphan = client.containers.create(
        client.containers.get(mine).image.id, ["true"], labels={OWNER_LABEL: dead}, name=f"r1env-orphan-{os.getpid()}"
    )
    assert reap_orphans(client) >= 1
    left = {container.name for container in client.containers.list(all=True, ignore_removed=True)}
    assert orphan.name not in left
    assert mine in left


def test_the_module_has_a_sandbox_of_its_own(engine):
    assert judge(Submission(language="python", source="def add(a, b): return a + b"), ADD).status is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("environment", "cause"),
    [
        ({"DOCKER_HOST": "unix:///nowhere/docker.sock"}, "no Docker socket at unix:///nowhere/docker.sock"),
        ({"DOCKER_HOST": "tcp://127.0.0.1:9"}, "no Docker engine listens at tcp://127.0.0.1:9"),
        ({"R1ENV_SANDBOX_IMAGE": "r1env/no-such-image"}, "r1env-sandbox build"),
    ],
)
def test_where_nothing_can_run_the_cause_is_named(engine, monkeypatch, environment, cause):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SandboxUnavailable) as raised:
        Sandbox(1)
    assert cause in str(raised.value)


@pytest.mark.parametrize(
    ("options", "cause"), [({"runtime": "runsc-9"}, "no runtime 'runsc-9'"), ({"image": "r1env/none"}, "no image")]
)
def test_what_the_engine_lacks_is_named(engine, options, cause):
    with pytest.raises(SandboxUnavailable, match=cause):
        Sandbox(1, **options)


def test_a_worker_that_answers_another_request_is_not_believed(spawning):
    backend, _ = spawning._ready()
    worker = Worker(backend)
    try:
        worker.send({"op": "ping", "nonce": ""})
        worker.new_request()
        with pytest.raises(Exception, match="answered another request"):
            worker.receive(time.monotonic() + 10)
    finally:
        worker.close()
