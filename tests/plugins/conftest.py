"""What tests of plugins share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `judge_stub`, which several test files use


@pytest.fixture(scope="session")
def docker():
    """A sandbox that works; without one the test is skipped, or fails where `R1ENV_REQUIRE_DOCKER` is set."""
    from r1env_sandbox import SandboxUnavailable
    from r1env_sandbox.sandbox import default_sandbox

    try:
        default_sandbox().warm_up()
    except SandboxUnavailable as error:
        if os.environ.get("R1ENV_REQUIRE_DOCKER"):
            raise
        pytest.skip(str(error))
