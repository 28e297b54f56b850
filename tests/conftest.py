"""What all tests share."""

from __future__ import annotations

import signal

import hypothesis

# A busy machine takes its time over an example; nothing here is a measurement.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_configure():
    # A shell that starts the tests in the background has them ignore Ctrl-C, and every program that they start would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
