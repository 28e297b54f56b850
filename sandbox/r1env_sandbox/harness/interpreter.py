"""An interpreter that runs one piece of code after another in the same namespace, for `session.Interpreter`.

It reads lines of JSON from stdin, `{"call", "code", "seconds"}`, and answers each with a line on descriptor 3, `{"call", "output", "failed"}`.
What it says is data: the code that it runs may say anything in its place. Standard library only.
"""

from __future__ import annotations

import ast
import contextlib
import json
import linecache
import os
import signal
import sys
import tempfile
import traceback
from types import FrameType
from typing import Any, NoReturn

MAX_OUTPUT_BYTES = 64 << 10  # of a call; the host shows a model less

_STDOUT, _STDERR = sys.stdout, sys.stderr


class TooLong(BaseException):
    """The call has used its seconds. No `Exception`, so that code that catches those does not catch this."""


def main() -> None:
    replies, requests = os.fdopen(3, "w", encoding="utf-8"), os.fdopen(os.dup(0), encoding="utf-8")
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)  # the next call is not the code's to read
    signal.signal(signal.SIGALRM, _too_long)
    namespace: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    for line in requests:
        request = json.loads(line)
        output, failed = run_captured(request["code"], request["call"], request["seconds"], namespace)
        text = output[:MAX_OUTPUT_BYTES].decode("utf-8", "replace")
        replies.write(json.dumps({"call": request["call"], "output": text, "failed": failed}) + "\n")
        replies.flush()


def run_captured(code: str, call: int, seconds: float, namespace: dict[str, Any]) -> tuple[bytes, bool]:
    """Run code; return what it and its processes wrote, and whether it failed."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(1), os.dup(2)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            failed = run(code, f"<call {call}>", seconds, namespace)
        finally:
            for target, descriptor in enumerate(kept, start=1):
                os.dup2(descriptor, target)
                os.close(descriptor)
        file.seek(0)
        return file.read(MAX_OUTPUT_BYTES + 1), failed


def run(code: str, name: str, seconds: float, namespace: dict[str, Any]) -> bool:
    """Run code in the namespace, and print the value of its last line where that is an expression. Return whether it failed."""
    sys.stdout, sys.stderr = _STDOUT, _STDERR  # an earlier call may have replaced them
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)  # lines of source in tracebacks
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        tree = ast.parse(code, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec", dont_inherit=True), namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), namespace)
            if value is not None:
                print(repr(value))
        failed = False
    except TooLong:
        failed = _say(f"TimeoutError: the code did not end within {seconds:g} s")
    except SystemExit as stop:
        failed = _say(f"SystemExit: {stop.code}")
    except BaseException as error:  # noqa: BLE001 - code may raise anything, and is told
        trace = error.__traceback__
        while trace is not None and not trace.tb_frame.f_code.co_filename.startswith("<call "):
            trace = trace.tb_next
        failed = _say("".join(traceback.format_exception(type(error), error, trace)).rstrip())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException as error:  # noqa: BLE001 - as above
        failed = _say(f"{type(error).__name__}: {error}")
    return failed


def _say(text: str) -> bool:
    with contextlib.suppress(BaseException):  # the code may have replaced it; what is said below goes around it
        sys.stdout.flush()
    os.write(2, f"{text}\n".encode("utf-8", "replace"))
    return True


def _too_long(*_: int | FrameType | None) -> NoReturn:
    raise TooLong


if __name__ == "__main__":
    main()
