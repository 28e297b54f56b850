"""What all tests share."""

from __future__ import annotations

import os
import signal

import hypothesis
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers are as many as the processors: more threads each would only wait for one another. Read when torch is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine takes its time over an example; nothing here is a measurement.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_configure():
    # A shell that starts the tests in the background has them ignore Ctrl-C, and every program that they start would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    # xdist sends what a test printed and logged as UTF-8: a lone surrogate in it, as models write them, would end the worker.
    report.sections = [(title, text.encode("utf-8", "backslashreplace").decode()) for title, text in report.sections]
    return report


@pytest.fixture(scope="session")
def engine():
    """Nothing but the certainty that containers can be started. `R1ENV_REQUIRE_DOCKER=1` makes their lack a failure."""
    from r1env_sandbox import Sandbox, SandboxUnavailable  # here, because few tests need it

    try:
        Sandbox(1).close()
    except SandboxUnavailable as error:
        if os.environ.get("R1ENV_REQUIRE_DOCKER"):
            raise
        pytest.skip(str(error))
