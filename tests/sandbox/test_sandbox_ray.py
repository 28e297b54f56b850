"""A cluster of two nodes on this machine, of which one is killed in the middle: no verdict is lost, doubled or wrong."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from r1env_sandbox import Sandbox, SandboxBusy, SandboxUnavailable, Submission, TestCase, Verdict, open_sandbox

ray = pytest.importorskip("ray", reason="needs r1env-sandbox[ray]")
cluster_utils = pytest.importorskip("ray.cluster_utils")

SUBMISSIONS = 300
KILL_AFTER = 60
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster():
    """One node, to which tests add others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = cluster_utils.Cluster(initialize_head=True, connect=False, head_node_args=NODE)
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def submission(number):
    """Every third is wrong, and every fifth fails: a verdict that went to another caller would show."""
    expected = Verdict.WRONG_ANSWER if number % 3 == 0 else Verdict.RUNTIME_ERROR if number % 5 == 0 else Verdict.ACCEPTED
    fails = "raise ValueError" if expected is Verdict.RUNTIME_ERROR else ""
    wrong = 1 if expected is Verdict.WRONG_ANSWER else 0
    source = f"import time\ntime.sleep(0.02)\n{fails}\nprint('number', {number} + {wrong})"
    return Submission(language="python", source=source), [TestCase.stdio("", f"number {number}")], expected


def kill(node):
    """What a power cut does: everything of the node at once, the actor with it."""
    raylet = node.all_processes["raylet"][0].process.pid
    children = [
        int(pid) for thread in Path(f"/proc/{raylet}/task").iterdir() for pid in (thread / "children").read_text().split()
    ]
    for pid in (raylet, *children):
        os.kill(pid, signal.SIGKILL)


def test_where_no_cluster_runs_that_is_said(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where a running cluster would have left its address
    with pytest.raises(SandboxUnavailable, match="no Ray cluster is running"):
        open_sandbox("ray")


def test_the_old_way_to_ask_for_a_cluster_works_with_a_warning_that_names_the_new_one(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.warns(DeprecationWarning, match="open_sandbox"), pytest.raises(SandboxUnavailable, match="no Ray cluster"):
        Sandbox(1, backend="ray:bwrap")


def test_a_backend_for_nodes_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="ray:podman"):
        open_sandbox("ray:podman")


@pytest.mark.docker
@pytest.mark.slow
def test_nodes_that_join_judge_too_and_closing_ends_it(engine, cluster, monkeypatch):
    from r1env_sandbox import cluster as module

    monkeypatch.setattr(module, "LOOK_SECONDS", 0.2)
    program, tests, expected = submission(1)
    with open_sandbox("ray:docker", 1) as sandbox:
        first = sandbox.judge(program, tests)
        assert (first.status, first.info.backend) == (expected, "ray:docker")
        second = cluster.add_node(**NODE)
        cluster.wait_for_nodes()
        deadline = time.monotonic() + 60
        with ThreadPoolExecutor(4) as threads:
            seen = set()
            while len(seen) < 2 and time.monotonic() < deadline:
                results = threads.map(lambda _: sandbox.judge(program, tests), range(4))
                seen |= {result.info.worker.partition("/")[0] for result in results}
        assert len(seen) == 2
        assert sandbox.run(Submission(language="python", source="print(input())"), "hello").stdout == "hello\n"
        assert sandbox.judge(Submission(language="cobol", source=""), tests).status is Verdict.REJECTED_INPUT
        with pytest.raises(ValueError, match=r"^unknown language 'cobol'"):
            sandbox.run(Submission(language="cobol", source=""))
    with pytest.raises(SandboxBusy, match="closed"):
        sandbox.judge(program, tests)
    cluster.remove_node(second)


@pytest.mark.docker
@pytest.mark.slow
def test_a_cluster_that_cannot_judge_is_refused_with_the_cause(engine, cluster):
    with pytest.raises(SandboxUnavailable, match="no node of the Ray cluster can judge") as raised:
        open_sandbox("ray", 1, image="r1env/none")
    assert "no image 'r1env/none'" in str(raised.value)


@pytest.mark.docker
@pytest.mark.nightly
def test_a_node_that_dies_in_the_middle_loses_no_verdict_and_doubles_none(engine, cluster):
    second = cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    verdicts = Counter()
    wrong = []
    judged_by = Counter()
    again = 0

    def judge(number):
        program, tests, expected = submission(number)
        result = sandbox.judge(program, tests)
        return number, result, expected

    with open_sandbox("ray", 1, mode="fork") as sandbox, ThreadPoolExecutor(8) as threads:
        assert sandbox.workers == 2
        for done, (number, result, expected) in enumerate(threads.map(judge, range(SUBMISSIONS))):
            if done == KILL_AFTER:
                assert len(judged_by) == 2, "both nodes were judging"
                kill(second)
                cluster.remove_node(second, allow_graceful=False)
            verdicts[number] += 1
            judged_by[result.info.worker.partition("/")[0]] += 1
            again += result.info.attempts > 1
            printed = result.tests[0].stdout_head.split() if result.tests else None
            if result.status is not expected or (expected is Verdict.ACCEPTED and printed != ["number", str(number)]):
                wrong.append((number, expected, result))
    assert wrong == []
    assert verdicts == Counter(range(SUBMISSIONS))
    assert again >= 1, f"nothing was on the node that was killed: {judged_by}"
