"""What all tests share."""

from __future__ import annotations

import signal


def pytest_configure():
    # A shell that starts the tests in the background has them ignore Ctrl-C, and every program that they start would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
