"""`r1env score --ray` on two Ray nodes of this machine, one of which is killed in the middle."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import r1env
from r1env.cli.rows import Chunk, score_chunk
from r1env.cli.score import AHEAD, score_on_cluster

ray = pytest.importorskip("ray", reason="needs r1env[ray]")
cluster_utils = pytest.importorskip("ray.cluster_utils")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("machine")]

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
CHUNKS, LINES, KILL_AFTER = 24, 5, 6


@r1env.reward(name="slow")
def slow(completion: str, answer: str) -> float:
    """So slow that a node that is killed had work."""
    time.sleep(0.1)
    return float(completion == answer)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # nodes cannot import a test
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = cluster_utils.Cluster(initialize_head=True, connect=False, head_node_args=NODE)
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def numbered_chunks() -> list[Chunk]:
    """Every third line is wrong and every seventh no JSON: a verdict that went to another line would show."""

    def line(number: int) -> bytes:
        if number % 7 == 0:
            return b"{\n"
        answer = number + (number % 3 == 0)
        return json.dumps({"id": number, "completion": str(answer), "answer": str(number)}).encode() + b"\n"

    return [[(1 + k * LINES + i, line(1 + k * LINES + i)) for i in range(LINES)] for k in range(CHUNKS)]


def kill(node: Any) -> None:
    """What a power cut does: everything of the node at once."""
    raylet = node.all_processes["raylet"][0].process.pid
    children = [
        int(pid) for thread in Path(f"/proc/{raylet}/task").iterdir() for pid in (thread / "children").read_text().split()
    ]
    for pid in (raylet, *children):
        os.kill(pid, signal.SIGKILL)


def without_seconds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_while_no_row_arrives_those_under_way_are_handed_on(cluster: Any) -> None:
    first, second, *_ = numbered_chunks()
    seen: list[int] = []  # how many had come back when the next chunk was asked for
    back = 0

    def arriving() -> Iterator[Chunk]:
        for chunk in (first, [], second, []):
            yield chunk
            seen.append(back)

    for back, scored in enumerate(score_on_cluster(arriving(), slow), start=1):
        assert scored.first == 1 + (back - 1) * LINES
    assert seen == [0, 1, 1, 2]


def test_a_node_that_is_killed_costs_no_row_and_doubles_none(cluster: Any) -> None:
    other = cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    given = numbered_chunks()
    taken = 0

    def taking() -> Iterator[Chunk]:
        nonlocal taken
        for chunk in given:
            taken += 1
            yield chunk

    rows: list[dict[str, Any]] = []
    malformed = 0
    for done, scored in enumerate(score_on_cluster(taking(), slow), start=1):
        if done == KILL_AFTER:
            kill(other)
        assert taken <= done + 2 * AHEAD  # nothing is read far ahead: a file may be larger than memory
        rows += scored.rows
        malformed += len(scored.malformed)
    here = [row for chunk in given for row in score_chunk(chunk, slow).rows]
    assert without_seconds(rows) == without_seconds(here)
    assert malformed == sum(number % 7 == 0 for number in range(1, CHUNKS * LINES + 1))
    assert {row["status"] for row in rows} >= {"ok", "wrong", "error"}
