"""One process writes a run at a time, and signals never hit it in the middle of a change."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from r1env.errors import RunError
from r1env.runs.owner import LOCK, Signals, Terminated, locked
from r1env.runs.run import Run


@pytest.fixture
def folder(tmp_path):
    return Run.create(tmp_path / "run", {"name": "x"}, seed=0).path


HOLD = """
import sys, time
from pathlib import Path
from r1env.runs.owner import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(folder):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_process_is_refused_with_the_first_one_s_number_and_machine(folder, holder):
    with pytest.raises(RunError, match=f"being written by process {holder.pid} on {socket.gethostname()}"), locked(folder):
        pass


def test_the_lock_of_a_killed_process_is_taken_over_with_a_message(folder, holder, caplog):
    holder.kill()
    holder.wait()
    with locked(folder):
        assert json.loads((folder / LOCK).read_text())["pid"] == os.getpid()
    assert f"left by process {holder.pid}" in caplog.text
    assert (folder / LOCK).read_text() == ""


def test_a_lock_of_another_machine_counts_while_the_run_is_written_to(folder, caplog):
    (folder / LOCK).write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": "today"}))
    with pytest.raises(RunError, match="process 1 on elsewhere"), locked(folder):
        pass
    assert "elsewhere" in (folder / LOCK).read_text()
    long_ago = time.time() - 3600
    for path in folder.iterdir():
        os.utime(path, (long_ago, long_ago))
    with locked(folder):
        pass
    assert "left by process 1 on elsewhere" in caplog.text


def test_one_process_cannot_write_a_run_twice(folder):
    with locked(folder), pytest.raises(RunError, match="this process already"), locked(folder):
        pass
    with locked(folder):
        pass


FORK = HOLD.replace(
    "time.sleep(60)",
    """
    import os
    child = os.fork()
    if child == 0:
        time.sleep(60)
    print(child, flush=True)
    os._exit(0)""",
)


def test_a_worker_that_outlives_its_process_holds_no_lock(folder):
    process = subprocess.Popen([sys.executable, "-c", FORK, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    child = int(process.stdout.readline())
    try:
        process.wait(20)
        os.kill(child, 0)  # it is there
        with locked(folder):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_waits_until_it_is_released(number, kind):
    signals = Signals()
    before = signal.getsignal(number)
    with signals.handled():
        signals.hold()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        time.sleep(0.01)
        with pytest.raises(kind):
            signals.release()
        signals.release()
        with pytest.raises(kind):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_a_checkpoint_can_be_asked_for():
    signals = Signals()
    with signals.handled():
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.01)
    assert signals.checkpoint_wanted
