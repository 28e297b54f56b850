"""Runs beside a submission, in its container and with its rights: does with its functions and objects what a test asks.

Nothing here is trusted. Whatever comes out is taken as what the submission returned, and compared elsewhere. The host asks for a
`call` test, the examiner for all others; the requests are those of `border`, and a `call` test gets by without loading it.
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
    """Return the submission as a module; end the process as the interpreter would where it does not load."""
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


def answer_values(main: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Reply to a call whose arguments and result are plain data."""
    try:
        function = find(main, request["target"][1])
        args = [plain.decode(item) for item in request["args"]]
        value = function(*args, **{name: plain.decode(item) for name, item in request["kwargs"].items()})
    except Exception as error:  # noqa: BLE001 - the submission's own, handed to the caller as data
        report(error)
        return {"raised": {"type": type(error).__name__, "message": text_of(error)}}
    try:
        return {"value": plain.encode(value)}
    except Exception as error:  # noqa: BLE001 - a value that cannot even be looked at
        return {"refused": text_of(error)}


def find(module: Any, name: str) -> Any:
    """`f`, `Class.method` of a new instance, or a method of `Solution`, which is where LeetCode's tasks want it."""
    owner, _, attribute = name.rpartition(".")
    if owner:
        return getattr(getattr(module, owner)(), attribute)
    if not hasattr(module, name) and hasattr(module, "Solution"):
        return getattr(module.Solution(), name)
    return getattr(module, name)


def text_of(error: BaseException) -> str:
    try:
        return str(error).encode("utf-8", "replace").decode()[:500]
    except Exception:  # noqa: BLE001 - the submission's own
        return type(error).__name__


def report(error: BaseException) -> None:
    """Print the traceback from the submission's own frames on."""
    import traceback

    try:
        traceback.print_exception(type(error), error, error.__traceback__.tb_next if error.__traceback__ else None)
    except Exception:  # noqa: BLE001 - what an exception says of itself is the submission's own, and only for a person
        print(type(error).__name__, file=sys.stderr)


def end(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)


def served(main: Any, requests: Any, replies: Any) -> Any:
    """Return the end of the border that assertions and pytest's tests talk to."""
    import r1env_served  # type: ignore[import-not-found]  # harness/served.py, as it is called in a container

    return r1env_served.Server(main, requests, replies, find=find, report=report, text_of=text_of)


def serve() -> None:
    requests = os.fdopen(os.dup(0), "rb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    replies = os.fdopen(os.dup(3), "w", encoding="ascii")
    os.close(3)
    main = load_main()
    print('{"ready": true}', file=replies, flush=True)
    server = None
    for line in requests:
        request = plain.loads(line)
        if request["op"] == "values":
            reply = answer_values(main, request)
        else:
            server = server or served(main, requests, replies)
            reply = server.serve(request)
        print(plain.dumps(reply), file=replies, flush=True)
    end(0)


serve()
