"""A rubric that does as it is told, and servers over it."""

from __future__ import annotations

import os
import threading
import time

import pytest

import r1env
from r1env.rewards import Limits, reward
from r1env.rubrics import Rubric, WeightedReward
from r1env.scoring import ScoringPool


@reward(name="exact", isolation="process", limits=Limits(cpu_seconds=0.5, wall_seconds=60.0))
def exact(completion: str, answer: str | None) -> r1env.Score | float:
    """Does what the completion says where that is an order, else compares it with the answer."""
    if completion == "raise":
        raise RuntimeError("as asked")
    if completion == "die":
        os._exit(3)
    if completion == "abstain":
        return r1env.Score(value=None, status=r1env.Status.UNPARSEABLE, reason="as asked \ud800")
    if completion.startswith("sleep"):
        time.sleep(float(completion.split()[1]))
    return float(completion == answer)


@reward(name="words")
def words(completion: str) -> float:
    return float(len(completion.split()))


RUBRIC = Rubric("pair", [WeightedReward(exact), WeightedReward(words, 0.1)])


@pytest.fixture(scope="package")
def pool():
    with ScoringPool(workers=2) as made:
        yield made


@pytest.fixture(scope="package")
def rubric():
    return RUBRIC


@pytest.fixture(scope="package")
def client(pool):
    testclient = pytest.importorskip("fastapi.testclient", reason="the extra r1env[server] is not installed")
    from r1env.server.app import ServerLimits, make_app

    limits = ServerLimits(max_body_mb=1, max_items=64, max_queue=100)
    with testclient.TestClient(make_app(RUBRIC, pool=pool, limits=limits, unscored=-0.5), raise_server_exceptions=True) as made:
        yield made


@pytest.fixture
def listening():
    """Return a function that serves an application at a free port of this machine, and returns its URL."""
    uvicorn = pytest.importorskip("uvicorn", reason="the extra r1env[server] is not installed")
    servers = []

    def serve(app):
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        servers.append((server, thread))
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    yield serve
    for server, _ in servers:
        server.should_exit = True
    for _, thread in servers:
        thread.join(10)
