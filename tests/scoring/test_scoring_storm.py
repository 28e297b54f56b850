"""A small storm; `benchmarks/scoring_storm.py` runs the large one."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

STORM = Path(__file__).parents[2] / "benchmarks" / "scoring_storm.py"


@pytest.fixture
def storm() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("scoring_storm", STORM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scoring_storm"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["scoring_storm"]


@pytest.mark.slow
@pytest.mark.xdist_group("machine")
@pytest.mark.skipif(sys.platform != "linux", reason="other systems promise less, see docs/scoring.md")
def test_in_a_storm_nothing_is_lost_misplaced_or_harmed_and_nothing_is_left(storm: Any) -> None:
    found = storm.run(8_000, workers=4, every=250)
    assert found.faults == 0, storm.report(found)
    assert found.misbehaved > 500
    assert sum(found.shots.values()) >= 3
    assert max(found.worker_mb) < 200
