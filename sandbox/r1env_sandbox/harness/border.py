"""Calls across the border between a test and a submission, which run in two containers. Both ends use this file.

Values cross as copies (`plain`, `kinds`). An object that has no copy stays where it was made, and the other end gets a proxy; calling a
proxy, or using it in an expression, is one request, a line of JSON, and one reply. While one end waits for a reply it serves requests
of the other, so a submission can call a function that a test has given to it.

    {"op", "target", "args", "kwargs", "records"} -> {"value", "args", "records"}, {"stop"}, {"lacks"}, {"refused"} or {"raised"}

An instance of a test's class that has no methods of its own (a node of a list or tree) crosses as a copy of its attributes. All
instances of a message stand in its "records", so that links between them, and circles of them, are kept.
"""

from __future__ import annotations

import operator
import types
from _thread import RLock  # `threading` would make every fork dearer
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TextIO

    from r1env_sandbox.harness import plain
elif __name__ == "r1env_border":
    import r1env_plain as plain  # the same file, as it is called in a container
else:
    from r1env_sandbox.harness import plain

MAX_MESSAGE = 500  # characters of an exception's message

OPERATORS: dict[str, Callable[..., Any]] = {
    **{name: getattr(operator, name) for name in ("getitem", "setitem", "delitem", "contains", "lt", "le", "gt", "ge", "eq", "ne")},
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "neg", "abs")},
    **{name: getattr(operator, name) for name in ("index", "invert", "pos", "lshift", "rshift", "xor")},
    **{"and": operator.and_, "or": operator.or_, "divmod": divmod, "round": round},
    **{"len": len, "bool": bool, "str": str, "repr": repr, "hash": hash, "int": int, "float": float, "complex": complex},
    **{"iter": iter, "reversed": reversed, "format": format},
    **{"enter": lambda manager: manager.__enter__(), "exit": lambda manager, *error: manager.__exit__(*error)},
}  # fmt: skip
"""What a proxy may be asked besides being called: the expressions of Python, by the name of their special method."""
ARITHMETIC = (
    "add",
    "sub",
    "mul",
    "matmul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
    "divmod",
)


def _swapped(operator_of: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda right, left: operator_of(left, right)


REFLECTED = {f"r{name}": _swapped(OPERATORS[name]) for name in ARITHMETIC}
"""What is asked of the right operand: `2 * money`."""
OPERATORS.update(REFLECTED)
IN_PLACE: dict[str, Callable[..., Any]] = {
    f"i{name}": getattr(operator, f"i{name.rstrip('_')}") for name in ARITHMETIC if name != "divmod"
}
"""What only a test may ask of the submission's objects: it would change one of the test's."""
CHANGEABLE = (list, dict, set, deque, bytearray)
READ_ONLY = frozenset(OPERATORS) - {"setitem", "delitem", "enter", "exit"}


class Ended(BaseException):
    """The other end has gone. Not an `Exception`: nobody who expects one may be content."""


class Refused(Exception):  # noqa: N818 - not an error of ours
    """The other end asked for what it must not have."""


class Border:
    """One end of the line.

    Attributes:
        is_record: whether an object of this end crosses as a copy of its attributes.
        make_proxy: given the number, kind and name of an object of the other end, and the proxy that it was reached by.
        make_record: given the class's number, name and operators, an instance whose attributes are set later.
        make_error: given the description of an exception of the other end, an exception to raise.
        serve: the reply to a request of the other end's.
        check_given: raises where an object of this end must not get a number.
        brings_back: whether arguments are brought back also from calls that return something.
        brings_back_from_none: given the name of a function, whether they are brought back from its calls that return nothing.
        origins: the copies here of instances of the other end's, each with its number there, by their ids.
        unchanged: given the records of a message, those that come back to this end as they are here now, by their places.
    """

    def __init__(self, lines: Any, out: TextIO) -> None:
        self._lines, self._out = lines, out
        self._mine: list[Any] = []  # objects that the other end has a number for
        self._numbers: dict[int, int] = {}
        self.proxies: dict[int, Any] = {}
        self.is_record: Callable[[Any], bool] = lambda thing: isinstance(thing, Record)
        self.check_given: Callable[[Any], None] = lambda _: None
        self.brings_back = False
        self.brings_back_from_none: Callable[[str], bool] = lambda _: True
        self._asking = RLock()
        self.origins: dict[int, tuple[Any, Any]] = {}
        self.unchanged: Callable[[list[Any]], dict[int, Any]] = lambda _: {}
        self.make_proxy: Callable[[int, str, str, Any], Any]
        self.make_record: Callable[[Any, Any, Any], Any]
        self.make_error: Callable[[Any], BaseException]
        self.serve: Callable[[dict[str, Any]], dict[str, Any]]

    def write(self, message: dict[str, Any]) -> None:
        print(plain.dumps(message), file=self._out, flush=True)

    def read(self) -> dict[str, Any]:
        """
        Raises:
            Ended: the other end has gone, or does not speak the protocol.
        """
        line = self._lines.readline()
        try:
            message = plain.loads(line) if line else None
        except plain.NotPlainData:
            message = None
        if not isinstance(message, dict) or "gone" in message:
            raise Ended
        return message

    def ask(
        self, op: str, *target: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None, via: Any = None
    ) -> Any:
        """Have the other end do something, and return what comes of it.

        Args:
            target: what is asked: a proxy, or the name of a module and of a function in it; then the name of a method or operator.
            args, kwargs: of the call.
            via: the proxy that is asked; `make_proxy` is told, where the result is an object.

        Raises:
            Ended: see `read`.
            StopIteration: an iterator of the other end's is at its end (`next` and `send` alone).
            BaseException: what `make_error` makes of an exception over there, or of a reply that is no data.
        """
        with self._asking:  # a function of the test's may be called from several threads
            packer = Packer(self)
            request = {
                "op": op,
                "target": [packer.encode(item) for item in target],
                "args": [packer.encode(item) for item in args],
                "kwargs": {name: packer.encode(item) for name, item in (kwargs or {}).items()},
            }
            self.write({**request, "records": packer.records(), "back": self.brings_back})
            while "op" in (reply := self.read()):
                self.write(self.serve(reply))
            return self._outcome(op, target, args, kwargs or {}, packer, reply, via)

    def _outcome(
        self,
        op: str,
        target: tuple[Any, ...],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        packer: Packer,
        reply: dict[str, Any],
        via: Any,
    ) -> Any:
        """Return, or raise, what a reply says."""
        if "raised" in reply:
            raise self.make_error(reply["raised"])
        if "refused" in reply:
            raise self.make_error({"refused": reply["refused"]})
        if "lacks" in reply:
            raise TypeError(f"it does not support {op if op != 'operator' else target[1]}")
        try:
            if "stop" in reply and op in ("next", "send"):
                value, stop = Unpacker(self, reply, via=via).decode(reply["stop"]), True
            else:
                value, stop = Unpacker(self, reply, via=via).decode(reply.get("value")), False
                brings_back = self.brings_back or (value is None and self.brings_back_from_none(name_of(op, target)))
                if brings_back and type(reply.get("args")) is list:
                    self._bring_back(packer, args, kwargs, reply)
        except Exception as error:  # noqa: BLE001 - whatever it is, the reply is no data
            raise self.make_error({"refused": str(error)}) from None
        if stop:
            raise StopIteration(value)
        return value

    def _bring_back(self, packer: Packer, args: tuple[Any, ...], kwargs: dict[str, Any], reply: dict[str, Any]) -> None:
        """Give the arguments of a call the contents that it left in its copies.

        Only where the tests allow it, or of a function that returned nothing and whose result they do not compare with an argument:
        otherwise `assert f(x) == sorted(x)` would hold for one that empties `x` and returns it, and `assert f(d) == d["right"]` for one
        that puts None there.
        """
        unpacker = Unpacker(self, reply, originals=packer.sent)
        for argument, after in zip(flat(args, kwargs), reply["args"], strict=False):
            contents = unpacker.decode(after)
            if type(contents) is not type(argument):
                continue
            if isinstance(argument, CHANGEABLE):
                argument.clear()
                argument.extend(contents) if hasattr(argument, "extend") else argument.update(contents)
            elif type(argument).__name__ == "ndarray" and argument.shape == contents.shape and argument.dtype == contents.dtype:
                argument[...] = contents

    def number_of(self, thing: Any) -> int:
        """Return the number of an object of this end, which is kept from now on."""
        if id(thing) not in self._numbers:
            self._numbers[id(thing)] = len(self._mine)
            self._mine.append(thing)
        return self._numbers[id(thing)]

    def mine(self, number: Any) -> Any:
        """
        Raises:
            NotPlainData: nobody was ever given such a number.
        """
        if type(number) is not int or not 0 <= number < len(self._mine):
            raise plain.NotPlainData("an object that was never given away")
        return self._mine[number]


class Proxy:
    """Base of what stands for an object of the other end's."""

    __slots__ = ("_border", "_kind", "_label", "_number")

    def __init__(self, border: Any, number: int, kind: str, name: str) -> None:
        for slot, value in zip(("_border", "_number", "_kind", "_label"), (border, number, kind, name), strict=True):
            object.__setattr__(self, slot, value)


class Record:
    """Base of the copies, at the submission's end, of instances of a test's class."""


class Packer:
    """Encodes the values of one message."""

    def __init__(self, border: Border) -> None:
        self._border = border
        self._seen: list[Any] = []
        self._places: dict[int, int] = {}
        self._states: list[Any] = []

    def encode(self, value: Any) -> Any:
        return plain.encode(value, give=self._give)

    def records(self) -> list[Any]:
        """Return all instances that the values lead to."""
        while len(self._states) < len(self._seen):
            thing = self._seen[len(self._states)]
            state = {name: self.encode(item) for name, item in attributes(thing).items()}
            known = type(thing).__dict__.get("__r1env_class__")  # a copy goes back as what it was
            origin = (
                self._border.origins.get(id(thing), (None, None))[1] if known is not None else self._border.number_of(thing)
            )
            shape = (
                known
                if known is not None
                else [self._border.number_of(type(thing)), type(thing).__name__, defined(type(thing))]
            )
            self._states.append([shape, state, origin])
        return self._states

    def sent(self, origin: Any) -> Any:
        """Return the instance of this end that was sent under a number; None when it was not in this message."""
        return next((thing for thing in self._seen if type(origin) is int and self._border.number_of(thing) == origin), None)

    def _give(self, thing: Any) -> dict[str, Any]:
        if isinstance(thing, Proxy):
            return {"__yours__": object.__getattribute__(thing, "_number")}
        if self._border.is_record(thing):
            if id(thing) not in self._places:
                self._places[id(thing)] = len(self._seen)
                self._seen.append(thing)
            return {"__record__": self._places[id(thing)]}
        self._border.check_given(thing)
        kind, name = kind_of(thing)
        return {"__mine__": [self._border.number_of(thing), kind, name]}


class Unpacker:
    """Decodes the values of one message.

    Args:
        originals: gives the instance that a record was copied from, to be changed itself.

    Raises (by every method):
        NotPlainData: the message is not what `Packer` makes.
    """

    def __init__(
        self, border: Border, message: dict[str, Any], *, via: Any = None, originals: Callable[[Any], Any] | None = None
    ) -> None:
        self._border, self._via = border, via
        self._records: list[Any] = []
        states = message.get("records") or []
        if type(states) is not list or not all(type(entry) is list and len(entry) == 3 for entry in states):
            raise plain.NotPlainData("records that are none")
        if any(type(state) is not dict for _, state, _ in states):
            raise plain.NotPlainData("a record without attributes")
        unchanged = border.unchanged(states)
        for place, (shape, _, origin) in enumerate(states):
            known = originals(origin) if originals is not None else None
            self._records.append(unchanged[place] if place in unchanged else border.make_record(shape, origin, known))
        for place, (_, state, _) in enumerate(states):
            if place not in unchanged:
                set_attributes(self._records[place], {name: self.decode(item) for name, item in state.items()})

    def decode(self, value: Any) -> Any:
        return plain.decode(value, take=self._take)

    def _take(self, tag: str, content: Any) -> Any:
        if tag == "__mine__":
            if type(content) is not list or len(content) != 3 or type(content[0]) is not int:
                raise plain.NotPlainData("an object without a number")
            number, kind, name = content
            if number not in self._border.proxies:
                self._border.proxies[number] = self._border.make_proxy(
                    number, str(kind), plain.clean(str(name), 400), self._via
                )
            return self._border.proxies[number]
        if tag == "__yours__":
            return self._border.mine(content)
        if tag == "__record__":
            if type(content) is not int or not 0 <= content < len(self._records):
                raise plain.NotPlainData("a record that is not there")
            return self._records[content]
        return arrays(tag, content)


def flat(args: Any, kwargs: dict[str, Any]) -> list[Any]:
    """Return the arguments of a call in one order, at both ends."""
    return [*args, *(kwargs[name] for name in sorted(kwargs))]


def name_of(op: str, target: tuple[Any, ...]) -> str:
    """Return the name of what is called."""
    return str(target[1] if op == "run" else object.__getattribute__(target[0], "_label") if op == "call" else "")


def kind_of(thing: Any) -> tuple[str, str]:
    """Return what the other end may do with an object, and its name."""
    kind = type(thing)
    if issubclass(kind, type):
        if issubclass(thing, Exception):
            return "exception", ",".join(base.__name__ for base in thing.__mro__[:-2])
        return "class", thing.__name__
    if kind is types.GeneratorType:
        return "generator", kind.__name__
    if kind is types.CoroutineType:
        return "coroutine", kind.__name__
    if kind in (types.FunctionType, types.BuiltinFunctionType, types.MethodType):
        return "function", str(getattr(thing, "__name__", "function"))
    if hasattr(kind, "__next__") and hasattr(kind, "__iter__"):
        return "iterator", kind.__name__
    return ("function" if callable(thing) else "object"), kind.__name__


def lacks(name: str, thing: Any) -> bool:
    """Return whether an object does not even try to support an operator."""
    if name in IN_PLACE:
        return not hasattr(type(thing), f"__{name}__") and lacks(name[1:], thing)
    special = {"bool": "__len__", "contains": "__iter__", "iter": "__getitem__", "int": "__index__", "float": "__index__"}
    if name in ("bool", "str", "repr", "hash", "format", "eq", "ne"):
        return False
    wanted = (f"__{name}__", *((special[name],) if name in special else ()), *(("__getitem__",) if name == "contains" else ()))
    right = (f"__r{name}__",) if name in ARITHMETIC else ()
    return not any(hasattr(type(thing), method) for method in (*wanted, *right))


def attributes(thing: Any) -> dict[str, Any]:
    """Return the attributes of an instance: those of its own, and its slots."""
    state = dict(getattr(thing, "__dict__", {}))
    for kind in type(thing).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if not name.startswith("__") and hasattr(thing, name):
                state[name] = getattr(thing, name)
    return {name: item for name, item in state.items() if not name.startswith("__r1env_")}


def set_attributes(thing: Any, state: dict[str, Any]) -> None:
    """Give an instance these attributes and no others.

    Raises:
        NotPlainData: one of them would hide a method of its class, or has no place there.
    """
    for name in state:
        if name.startswith("__") or callable(getattr(type(thing), name, None)):
            raise plain.NotPlainData("an attribute that hides a method")
    try:
        for name in attributes(thing).keys() - state.keys():
            object.__delattr__(thing, name)
        for name, item in state.items():
            object.__setattr__(thing, name, item)
    except (AttributeError, TypeError) as error:
        raise plain.NotPlainData("an attribute that its class has no place for") from error


def defined(kind: type) -> list[str]:
    """Return the operators that a class defines."""
    return [name for name in OPERATORS if any(f"__{name}__" in base.__dict__ for base in kind.__mro__ if base is not object)]


def describe(error: BaseException) -> dict[str, Any]:
    """Return an exception as data: its type, the types that it extends, its message, and what of its arguments and attributes is data."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - the author's own
        message = ""
    described: dict[str, Any] = {
        "type": plain.clean(type(error).__name__, 80),
        "extends": [plain.clean(kind.__name__, 80) for kind in type(error).__mro__ if kind not in (object, BaseException)][:20],
        "message": message.encode("utf-8", "replace").decode()[:MAX_MESSAGE],
    }
    try:
        described["arguments"] = plain.encode(list(error.args))
        described["attributes"] = plain.encode(dict(error.__dict__))
    except (plain.NotPlainData, AttributeError, TypeError):
        described.setdefault("arguments", [])
    return described


def arrays(tag: str, content: Any) -> Any:
    """NumPy's, pandas' and SymPy's own, rebuilt."""
    if tag not in ("__ndarray__", "__npscalar__", "__frame__", "__series__", "__sympy__"):
        return None
    if __name__ == "r1env_border":
        import r1env_kinds as kinds  # type: ignore[import-not-found]
    else:
        from r1env_sandbox.harness import kinds
    return kinds.take_arrays(tag, content)
