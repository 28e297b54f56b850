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

    from r1env_sandbox.harness import border as borders
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


class Server:
    """Replies to the examiner's requests."""

    def __init__(self, main: Any, lines: Any, out: Any) -> None:
        import r1env_border as border  # type: ignore[import-not-found]

        self.borders: Any = border
        self.main = main
        self.border: borders.Border = border.Border(lines, out)
        self.border.make_proxy = self.make_proxy
        self.border.make_record = self.make_record
        self.border.make_error = self.make_error
        self.border.serve = self.serve
        self.records: dict[int, Any] = {}
        self.errors: dict[str, Any] = {}

    def serve(self, request: dict[str, Any]) -> dict[str, Any]:
        unpacker = self.borders.Unpacker(self.border, request)
        target = [unpacker.decode(item) for item in request["target"]]
        args = [unpacker.decode(item) for item in request["args"]]
        kwargs = {name: unpacker.decode(item) for name, item in request["kwargs"].items()}
        packer = self.borders.Packer(self.border)
        try:
            if request["op"] == "operator" and self.borders.lacks(target[1], target[0]):
                return {"lacks": True}
            value = self.do(request["op"], target, args, kwargs)
        except StopIteration as stop:
            if request["op"] in ("next", "send"):
                return {"stop": packer.encode(stop.value), "records": packer.records()}
            return self.raised(stop)
        except Exception as error:  # noqa: BLE001 - the submission's own, handed to the test as data
            return self.raised(error)
        try:
            reply = {"value": packer.encode(value)}
            if value is None:  # in-place functions return nothing
                reply["args"] = [self.left(packer, item) for item in self.borders.flat(args, kwargs)]
            return {**reply, "records": packer.records()}
        except Exception as error:  # noqa: BLE001 - a value that cannot even be looked at
            return {"refused": text_of(error)}

    def do(self, op: str, target: list[Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        if op == "run":
            return find(self.module(target[0]), target[1])(*args, **kwargs)
        if op == "get":
            return getattr(self.module(target[0]), target[1])
        thing = target[0]
        if op == "call":
            return thing(*args, **kwargs)
        if op == "attribute":
            return getattr(thing, target[1])
        if op == "assign":
            return setattr(thing, target[1], args[0])
        if op == "remove":
            return delattr(thing, target[1])
        if op == "next":
            return next(thing)
        if op == "send":
            return thing.send(args[0])
        if op == "await":
            import asyncio

            return asyncio.run(thing)
        if op == "isinstance":
            return isinstance(args[0], thing)
        if op == "issubclass":
            return issubclass(args[0], thing)
        return self.borders.OPERATORS[target[1]](thing, *args)

    def module(self, name: str) -> Any:
        if name == MAIN:
            return self.main
        import importlib

        return importlib.import_module(name)

    def raised(self, error: Exception) -> dict[str, Any]:
        report(error)
        theirs = getattr(error, "__r1env_theirs__", None)  # the test's own, on its way through the submission
        return {"raised": {"yours": theirs} if theirs is not None else self.borders.describe(error)}

    def left(self, packer: Any, argument: Any) -> Any:
        """What a function left in an argument."""
        try:
            return packer.encode(argument)
        except Exception:  # noqa: BLE001 - then the caller's stays as it is
            return None

    def make_error(self, described: Any) -> BaseException:
        """An exception that a function of the test's raised."""
        import builtins

        names = described.get("extends") or [described.get("type", "Exception")]
        known = (getattr(builtins, name, None) for name in names)
        base = next((kind for kind in known if isinstance(kind, type) and issubclass(kind, Exception)), Exception)
        kind = self.errors.setdefault(names[0], base if base.__name__ == names[0] else type(names[0], (base,), {}))
        error: BaseException
        try:
            error = kind(described.get("message", ""))
        except TypeError:  # one that wants other arguments (UnicodeDecodeError)
            error = Exception(described.get("message", ""))
        error.__r1env_theirs__ = described.get("number")  # type: ignore[attr-defined]
        return error

    def make_record(self, shape: Any, origin: Any, _known: Any) -> Any:
        number, name, operators = shape
        if number not in self.records:
            self.records[number] = self.record_class(number, name, operators)
        record = object.__new__(self.records[number])
        object.__setattr__(record, "__r1env_origin__", origin)
        return record

    def record_class(self, number: int, name: str, operators: list[str]) -> Any:
        """A class whose instances hold the attributes of a test's, and leave its operators to it."""

        members: dict[str, Any] = {
            "__r1env_class__": number,
            "__getattr__": lambda thing, name: self.attribute(thing, name),
            "__hash__": object.__hash__,
        }
        for operator in operators:
            if operator not in ("hash", "bool"):
                members[f"__{operator}__"] = self.asking(operator)
        return type(name, (self.borders.Record,), members)

    def attribute(self, thing: Any, name: str) -> Any:
        """An attribute that an object of the test's does not have here."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self.border.ask("attribute", thing, name)

    def make_proxy(self, number: int, kind: str, name: str, _via: Any) -> Any:
        return self.proxy_class()(self.border, number, kind, name)

    def proxy_class(self) -> Any:
        """What stands, here, for a function or an object of the test's."""
        if "proxy" in self.__dict__:
            return self.__dict__["proxy"]
        border = self.border
        members: dict[str, Any] = {
            "__slots__": (),
            "__call__": lambda proxy, /, *args, **kwargs: border.ask("call", proxy, args=args, kwargs=kwargs),
            "__getattr__": lambda thing, name: self.attribute(thing, name),
            "__setattr__": lambda proxy, name, value: border.ask("assign", proxy, name, args=(value,)),
            "__next__": lambda proxy: border.ask("next", proxy),
            "__name__": property(lambda proxy: object.__getattribute__(proxy, "_label")),
            "__bool__": self.asking("bool"),
            "__hash__": lambda proxy: hash(("r1env", object.__getattribute__(proxy, "_number"))),
        }
        for operator in self.borders.OPERATORS:
            members.setdefault(f"__{operator}__", self.asking(operator))
        self.__dict__["proxy"] = type("Proxy", (self.borders.Proxy,), members)
        return self.__dict__["proxy"]

    def asking(self, operator: str) -> Any:
        return lambda thing, *args: self.border.ask("operator", thing, operator, args=args)


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
            server = server or Server(main, requests, replies)
            reply = server.serve(request)
        print(plain.dumps(reply), file=replies, flush=True)
    end(0)


serve()
