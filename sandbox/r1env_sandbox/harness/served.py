"""The submission's end of the border: does with its functions and objects what a test asks, in its container and with its rights.

Nothing here is trusted. `candidate` loads it for tests that are programs; a `call` test gets by without.
"""

from __future__ import annotations

import builtins

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from r1env_sandbox.harness import border as borders
else:
    import r1env_border as borders  # the same file, as it is called in a container


class Server:
    """Replies to the examiner's requests.

    Args:
        main: the submission, as a module.
        find, report, text_of: those of `candidate`, which is the program that runs.
    """

    def __init__(self, main: Any, lines: Any, out: Any, *, find: Any, report: Any, text_of: Any) -> None:
        self.main, self.find, self.report, self.text_of = main, find, report, text_of
        self.border = borders.Border(lines, out)
        self.border.make_proxy = self.make_proxy
        self.border.make_record = self.make_record
        self.border.make_error = self.make_error
        self.border.serve = self.serve
        self.records: dict[int, Any] = {}
        self.errors: dict[str, Any] = {}

    def serve(self, request: dict[str, Any]) -> dict[str, Any]:
        unpacker = borders.Unpacker(self.border, request)
        target = [unpacker.decode(item) for item in request["target"]]
        args = [unpacker.decode(item) for item in request["args"]]
        kwargs = {name: unpacker.decode(item) for name, item in request["kwargs"].items()}
        packer = borders.Packer(self.border)
        try:
            if request["op"] == "operator" and borders.lacks(target[1], target[0]):
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
            if value is None or request.get("back"):  # most functions that work in place return nothing
                reply["args"] = [self.left(packer, item) for item in borders.flat(args, kwargs)]
            return {**reply, "records": packer.records()}
        except Exception as error:  # noqa: BLE001 - a value that cannot even be looked at
            return {"refused": self.text_of(error)}

    def do(self, op: str, target: list[Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        if op == "run":
            return self.find(self.module(target[0]), target[1])(*args, **kwargs)
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
        operators = borders.IN_PLACE if target[1] in borders.IN_PLACE else borders.OPERATORS
        return operators[target[1]](thing, *args)

    def module(self, name: str) -> Any:
        if name == "main":
            return self.main
        import importlib

        return importlib.import_module(name)

    def raised(self, error: Exception) -> dict[str, Any]:
        self.report(error)
        theirs = getattr(error, "__r1env_theirs__", None)  # the test's own, on its way through the submission
        return {"raised": {"yours": theirs} if theirs is not None else borders.describe(error)}

    def left(self, packer: Any, argument: Any) -> Any:
        """Return what a function left in an argument."""
        try:
            return packer.encode(argument)
        except Exception:  # noqa: BLE001 - then the caller's stays as it is
            return None

    def make_error(self, described: Any) -> BaseException:
        """Return an exception that a function of the test's raised."""
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
        self.border.origins[id(record)] = record, origin
        return record

    def record_class(self, number: int, name: str, operators: list[str]) -> Any:
        """Return a class whose instances hold the attributes of a test's, and leave its operators to it."""

        members: dict[str, Any] = {
            "__r1env_class__": number,
            "__getattr__": lambda thing, name: self.attribute(thing, name),
            "__hash__": object.__hash__,
        }
        for operator in operators:
            if operator not in ("hash", "bool"):
                members[f"__{operator}__"] = self.asking(operator)
        return type(name, (borders.Record,), members)

    def attribute(self, thing: Any, name: str) -> Any:
        """Return an attribute that an object of the test's does not have here."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self.border.ask("attribute", thing, name)

    def make_proxy(self, number: int, kind: str, name: str, _via: Any) -> Any:
        return self.proxy_class()(self.border, number, kind, name)

    def proxy_class(self) -> Any:
        """Return what stands, here, for a function or an object of the test's."""
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
            "__doc__": property(lambda proxy: border.ask("attribute", proxy, "__doc__")),  # functools.wraps wants both
            "__bool__": self.asking("bool"),
            "__hash__": lambda proxy: hash(("r1env", object.__getattribute__(proxy, "_number"))),
        }
        for operator in borders.OPERATORS:
            members.setdefault(f"__{operator}__", self.asking(operator))
        self.__dict__["proxy"] = type("Proxy", (borders.Proxy,), members)
        return self.__dict__["proxy"]

    def asking(self, operator: str) -> Any:
        return lambda thing, *args: self.border.ask("operator", thing, operator, args=args)
