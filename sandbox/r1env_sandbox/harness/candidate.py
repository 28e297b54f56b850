"""Runs beside a submission, in its container and with its rights: calls its functions as the host asks, one JSON line each.

Nothing here is trusted. Whatever comes out is taken as what the submission returned, and compared elsewhere.

    {"module", "name", "args", "kwargs"} -> {"value", "args"} or {"error": {"type", "message"}} or {"refused"}
    {"module", "get": name}              -> {"value"}, {"callable": true}, {"exception": true} or {"error"}
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` would cost every call test three milliseconds
    from typing import Any

    from r1env_sandbox.harness import plain
else:
    import r1env_plain as plain  # the same file, as it is called in a container

MAIN = "main"  # the module that a submission's source is, whatever name tests have for it


def load_main() -> Any:
    """The submission as a module; ends the process as the interpreter would where it does not load."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "main.py")
    module = type(sys)(MAIN)
    module.__file__ = path
    sys.modules[MAIN] = module
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec", dont_inherit=True)
    except SyntaxError as error:
        report(error.with_traceback(None))
        end(1)
    try:
        exec(code, module.__dict__)
    except Exception as error:  # noqa: BLE001 - the submission's own, reported as the interpreter would
        report(error)
        end(1)
    return module


def answer(main: Any, request: dict[str, Any]) -> dict[str, Any]:
    try:
        module = main if request["module"] == MAIN else imported(request["module"])
        if "get" in request:
            found = getattr(module, request["get"])
            if isinstance(found, type) and issubclass(found, Exception):
                return {"exception": True}
            if callable(found):
                return {"callable": True}
            return {"value": plain.encode(found)}
        function = find(module, request["name"])
        args = plain.decode(request["args"])
        value = function(*args, **plain.decode(request["kwargs"]))
    except Exception as error:  # noqa: BLE001 - the submission's own, handed to the caller as data
        report(error)
        return {"error": {"type": type(error).__name__, "message": str(error)[:500]}}
    try:
        # In-place functions return None. Only theirs are told, or `assert f(x) == sorted(x)` would hold for one that empties x.
        return {"value": plain.encode(value), "args": [changed(item) for item in args] if value is None else []}
    except plain.NotPlainData as error:
        return {"refused": str(error)}


def imported(name: str) -> Any:
    """Another module of the submission's."""
    import importlib

    return importlib.import_module(name)


def find(module: Any, name: str) -> Any:
    """`f`, `Class.method` of a new instance, or a method of `Solution`, which is where LeetCode's tasks want it."""
    owner, _, attribute = name.rpartition(".")
    if owner:
        return getattr(getattr(module, owner)(), attribute)
    if not hasattr(module, name) and hasattr(module, "Solution"):
        return getattr(module.Solution(), name)
    return getattr(module, name)


def changed(argument: Any) -> Any:
    """A container as the function left it, so that the caller's can be brought to the same state; None for anything else."""
    if type(argument) not in (list, dict, set):
        return None
    try:
        return plain.encode(argument)
    except plain.NotPlainData:
        return None


def report(error: BaseException) -> None:
    """Print the traceback from the submission's own frames on."""
    import traceback

    traceback.print_exception(type(error), error, error.__traceback__.tb_next if error.__traceback__ else None)


def end(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)


def serve() -> None:
    requests = os.fdopen(os.dup(0), "rb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    replies = os.fdopen(os.dup(3), "w", encoding="ascii")
    os.close(3)
    main = load_main()
    print('{"ready": true}', file=replies, flush=True)
    for line in requests:
        reply = answer(main, plain.loads(line))
        print(plain.dumps(reply), file=replies, flush=True)
    end(0)


serve()
