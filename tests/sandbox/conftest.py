"""A sandbox for the tests of this folder: real containers, or a skip that says why there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from r1env_sandbox import Sandbox


def pytest_collection_modifyitems(items):
    """What fills the machine goes through one worker, one after another: its limits are in wall time."""
    for item in items:
        heavy = item.get_closest_marker("slow") or item.get_closest_marker("nightly")
        if heavy and item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group("machine"))


@pytest.fixture(scope="session")
def spawning(engine):
    with Sandbox(1) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def forking(engine):
    with Sandbox(1, mode="fork") as sandbox:
        yield sandbox


@pytest.fixture(params=["spawn", "fork"])
def sandbox(request):
    """The same test in both modes: they must not differ in any verdict."""
    return request.getfixturevalue("spawning" if request.param == "spawn" else "forking")
