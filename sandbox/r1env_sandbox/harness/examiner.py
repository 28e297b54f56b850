"""Runs tests, in a container that the submission has no way into. What they test is a proxy: each call is one line of JSON.

The first line on stdin says what to run. Requests go out on descriptor 3 and replies come in on stdin (see `border`); the last line
out is the outcome:

    {"outcome": "passed" | "failed" | "raised" | "broken", "note", "tests": {name: outcome}}

`raised` is a failure by the submission's own exception, `broken` one that is the test's own fault, whatever the submission does.

The examiner trusts values only, and a value is made before a test compares it. So a proxy is equal to nothing but itself and has no
arithmetic with the test's own values, and an exception of the submission's that the test does not name fails it, whatever became of
it: `map` and `hasattr` are content with some.
"""

from __future__ import annotations

import ast
import builtins
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
import traceback
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r1env_sandbox.harness import border as borders
    from r1env_sandbox.harness import plain, testcode
else:
    import r1env_border as borders  # the same files, as they are called in a container
    import r1env_plain as plain
    import r1env_testcode as testcode

MAIN = "main"
ENDS_LOOPS = frozenset(("StopIteration", "StopAsyncIteration", "GeneratorExit"))
NEVER_CALLED = ("eval", "exec", "compile", "open", "__import__", "getattr", "setattr", "delattr", "globals", "locals", "vars")
NEVER_GIVEN = (types.ModuleType, types.FrameType, types.TracebackType, types.CodeType, borders.Border)
WAYS_OUT = ("_", "gi_", "cr_", "ag_", "f_", "tb_", "co_")  # attributes that lead to frames and to all names in them
VERDICTS = frozenset((
    *(name for name in dir(str) if name.startswith("is")),
    *("startswith", "endswith", "isdisjoint", "issubset", "issuperset", "is_integer", "equals", "all", "any"),
))  # fmt: skip
"""Methods by which values say what they are equal to. An object that stands where a value is expected has none of them."""
WAYS_INTO_MOCKS = ("assert", "configure_mock", "attach_mock", "mock_add_spec", "reset_mock")
FUNCTIONS = (types.FunctionType, types.MethodType, types.BuiltinFunctionType)


class NotAValue(BaseException):
    """The submission gave something that is no data. Not an `Exception`: a test that expects one must not be content."""


class CannotBeJudged(BaseException):
    """A fault of the test's that no submission can cause."""


class SubmissionError(Exception):
    """An exception of the submission's whose type is unknown here, or that would end a loop of the test's."""


class Examination:
    """The border, as it is seen by a test.

    Args:
        mentioned: names in the tests' code: an exception that it does not mention, a test cannot have expected.
        mentioned_by: those of each test function.
    """

    def __init__(self) -> None:
        lines = os.fdopen(os.dup(0), "rb")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        out = os.fdopen(os.dup(3), "w", encoding="ascii")
        os.close(3)
        self.border = borders.Border(lines, out)
        self.border.is_record = is_record
        self.border.make_proxy = self.make_proxy
        self.border.make_record = self.make_record
        self.border.make_error = self.make_error
        self.border.serve = self.serve
        self.border.check_given = self.check_given
        self.border.unchanged = self.unchanged
        self.serving = 0  # how many requests of the submission's are being served
        self.mentioned: frozenset[str] = frozenset()
        self.mentioned_by: dict[str, frozenset[str]] = {}
        self.asked = 0  # calls and names of the submission's: no test passes, and none is blamed on it, without
        self.function = ""  # that an `assert` test calls `candidate`
        self.trees: list[ast.AST] = []  # of the tests
        self.operators: frozenset[str] = frozenset()  # that the tests use between an instance that they have made and a value
        self.exceptions: dict[str, type[Exception]] = {}
        self.raised: BaseException | None = None  # the last exception of the submission's
        self.unexpected: str = ""  # the first one that the test does not mention

    def ask(self, op: str, *target: Any, args: tuple[Any, ...] = (), kwargs: Any = None, via: Any = None) -> Any:
        self.asked += 1
        return self.border.ask(op, *target, args=args, kwargs=kwargs, via=via)

    def lookup(self, module: str, name: str) -> Any:
        """Return what the submission has under a name that a test imports: a function, a class, an exception type, or plain data.

        Raises:
            AttributeError: it has nothing of that name.
        """
        raised, unexpected = self.raised, self.unexpected
        try:
            found = self.ask("get", module, name)
        except Exception:  # noqa: BLE001 - whatever it is, it says that the name is not there
            self.raised, self.unexpected = raised, unexpected
            raise AttributeError(f"the submission has no {name}") from None
        kind = object.__getattribute__(found, "_kind") if isinstance(found, borders.Proxy) else ""
        if kind == "function" or (kind == "class" and not self.expects_objects(name)):
            return RemoteFunction(self, module, name)
        if kind == "class":
            return RemoteClass(self, object.__getattribute__(found, "_number"), kind, name)
        return found

    def expects_objects(self, name: str) -> bool:
        """Return whether the tests expect a class under a name, or a function that makes objects."""
        names = {self.function, "candidate"} if name in (self.function, "candidate") else {name}
        return any(testcode.is_class_name(one) or testcode.expects_objects(self.trees, one) for one in names)

    def read_tests(self, trees: list[ast.AST], theirs: set[str]) -> None:
        """Learn from the text of the tests what they expect of the submission.

        Args:
            theirs: names that are the submission's.
        """
        self.trees = trees
        self.mentioned = testcode.mentioned_names(trees)
        self.mentioned_by = testcode.mentions_by_test(trees)
        self.border.brings_back = testcode.brings_back(trees, theirs)
        compared = testcode.compares_with_arguments(trees, theirs)
        if "candidate" in compared:  # the function's other name
            compared |= theirs
        self.border.brings_back_from_none = lambda name: name.rpartition(".")[2] not in compared
        self.operators = testcode.operators_with_values(trees, {name for name in theirs if self.expects_objects(name)})

    def may_mix(self, operators: str, other: Any) -> bool:
        """Return whether an instance of the submission's may be used with something in an operator."""
        return isinstance(other, borders.Proxy) or operators in self.operators

    def make_proxy(self, number: int, kind: str, name: str, via: Any) -> Any:
        if kind == "exception":
            return self.exception_type(name.split(","))
        if kind == "coroutine":
            return remote_coroutine(RemoteObject(self, number, kind, name))
        if kind != "generator" and isinstance(via, RemoteInstance | RemoteClass):
            return RemoteInstance(self, number, kind, name)
        if kind in ("generator", "iterator"):
            return remote_generator(RemoteObject(self, number, kind, name))
        return RemoteObject(self, number, kind, name)

    def exception_type(self, names: list[str]) -> Any:
        """Return the type here for one of the submission's; `names` begins with its own, and those that it extends follow."""
        for position, name in enumerate(names):
            known = self.exceptions.get(name, getattr(builtins, name, None))
            if isinstance(known, type) and issubclass(known, Exception):
                return self.exceptions.setdefault(names[0], known if position == 0 else type(names[0], (known,), {}))
        return self.exceptions.setdefault(names[0], type(names[0], (Exception,), {}))

    def make_record(self, shape: Any, origin: Any, known: Any) -> Any:
        """A copy of an instance of a test's class that the submission made or changed; the instance itself, where it may be changed."""
        kind = self.border.mine(shape)
        if not isinstance(kind, type):
            raise plain.NotPlainData("an instance of what is no class")
        if type(known) is kind:
            return known
        try:
            return object.__new__(kind)
        except TypeError as error:
            raise plain.NotPlainData("an instance of a class that has none like it") from error

    def unchanged(self, states: list[Any]) -> dict[int, Any]:
        """Return the test's own instances for records that hold what these hold now, and lead to such records only.

        So a test that looks for one of its objects with `is` finds it, and one that was changed is a copy, as before.
        """
        found: dict[int, Any] = {}
        leads_to: dict[int, list[int]] = {}
        for place, (shape, state, origin) in enumerate(states):
            try:
                thing = self.border.mine(origin)
                if self.border.mine(shape) is type(thing) and is_record(thing):
                    numbered, leads_to[place] = renumbered(state, [record[2] for record in states])
                    if comparable(numbered) == comparable(plain.encode(borders.attributes(thing), give=self._number_given)):
                        found[place] = thing
            except plain.NotPlainData:
                continue
        reached_from: dict[int, list[int]] = {}
        for place in found:
            for target in leads_to[place]:
                reached_from.setdefault(target, []).append(place)
        changed = [place for place in range(len(states)) if place not in found]
        while changed:
            reaching = reached_from.pop(changed.pop(), [])
            changed.extend(place for place in reaching if found.pop(place, None) is not None)
        return found

    def _number_given(self, thing: Any) -> dict[str, Any]:
        if isinstance(thing, borders.Proxy):
            raise plain.NotPlainData("an object of the submission's")
        return {"__record__" if is_record(thing) else "__yours__": self.border.number_of(thing)}

    def make_error(self, described: Any) -> BaseException:
        """Return the exception that the submission says it raised: one that is known here, or its nearest base that is."""
        if not isinstance(described, dict):
            described = {}
        if "refused" in described:
            return NotAValue(f"no plain data: {plain.clean(str(described['refused']))}")
        if type(described.get("yours")) is int:
            theirs = self.border.mine(described["yours"])
            if isinstance(theirs, Exception) and not isinstance(theirs, StopIteration | StopAsyncIteration):
                self.raised = theirs
                return theirs
        extends = described.get("extends")
        names = [str(name) for name in extends] if isinstance(extends, list) and extends else [str(described.get("type"))]
        self.raised = self._exception(names, described)
        if not self.mentioned_here().intersection(names) and not self.unexpected:
            self.unexpected = plain.clean(f"{names[0]}: {described.get('message')}")
        return self.raised

    def _exception(self, names: list[str], described: dict[str, Any]) -> Exception:
        message, name = str(described.get("message")), names[0]
        base = next((kind for kind in map(self._known_exception, names) if kind is not None), Exception)
        if name != base.__name__:  # a type of its own, which the test may ask for its name
            if hasattr(builtins, name) or not name.isidentifier():
                return SubmissionError(f"{plain.clean(name)}: {message}")
            base = self.exceptions.setdefault(name, type(name, (base,), {}))
        return filled(base, message, described)

    def _known_exception(self, name: str) -> type[Exception] | None:
        """Return the type here that a name of the submission's stands for; None for one that would end a loop of the test's."""
        kind = self.exceptions.get(name, getattr(builtins, name, None))
        if name in ENDS_LOOPS and name not in self.mentioned_here():
            return None
        return kind if isinstance(kind, type) and issubclass(kind, Exception) else None

    def mentioned_here(self) -> frozenset[str]:
        """Return the names that the running test mentions: what another test of the same file expects, this one does not."""
        frame: types.FrameType | None = sys._getframe()
        while frame is not None:
            name = getattr(frame.f_code, "co_qualname", "").partition(".<locals>")[0]
            if name in self.mentioned_by:
                return self.mentioned_by[name]
            frame = frame.f_back
        return self.mentioned

    def serve(self, request: dict[str, Any]) -> dict[str, Any]:
        """Reply to a submission that uses a function or an object of the test's: within limits, as it may ask for anything."""
        packer = borders.Packer(self.border)
        self.serving += 1
        try:
            unpacker = borders.Unpacker(self.border, request)
            target = [unpacker.decode(item) for item in listed(request.get("target"))]
            args = [unpacker.decode(item) for item in listed(request.get("args"))]
            kwargs = request.get("kwargs")
            named = {str(name): unpacker.decode(item) for name, item in kwargs.items()} if isinstance(kwargs, dict) else {}
            value = self._do(request.get("op"), target, args, named)
            return {"value": packer.encode(value), "records": packer.records()}
        except (borders.Refused, plain.NotPlainData, IndexError) as error:
            return {"raised": {"type": "TypeError", "message": plain.clean(str(error))}}
        except StopIteration:
            return {"stop": None}
        except Exception as error:  # noqa: BLE001 - the test's own, handed to the submission as data
            return {"raised": {**borders.describe(error), "number": self.border.number_of(error)}}
        finally:
            self.serving -= 1

    def check_given(self, thing: Any) -> None:
        """
        Raises:
            CannotBeJudged: a test gives the submission what it could do anything to the test with.
            Refused: the submission asks for such a thing.
        """
        if isinstance(thing, (*NEVER_GIVEN, Examination)) or any(thing is getattr(builtins, name) for name in NEVER_CALLED):
            if self.serving:
                raise borders.Refused("a submission may not have this")
            raise CannotBeJudged(f"it gives {getattr(thing, '__name__', type(thing).__name__)} to the submission")

    def _do(self, op: Any, target: list[Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        thing = target[0]
        if op == "attribute" and str(target[1]).startswith(WAYS_INTO_MOCKS) and hasattr(thing, "mock_calls"):
            raise borders.Refused("a submission may not change what a mock says of its calls")
        if op == "call" and callable(thing):
            return thing(*args, **kwargs)
        if op == "attribute" and target[1] == "__doc__" and isinstance(thing, FUNCTIONS):
            return thing.__doc__
        if op == "attribute" and not isinstance(thing, FUNCTIONS) and not str(target[1]).startswith(WAYS_OUT):
            return getattr(thing, str(target[1]))
        if op == "next":
            return next(thing)
        if op == "operator" and target[1] in borders.READ_ONLY:
            return borders.OPERATORS[target[1]](thing, *args)
        raise borders.Refused(f"a submission may not {plain.clean(str(op), 40)} this")


class RemoteFunction:
    """A function of the submission, by its name."""

    def __init__(self, examination: Examination, module: str, name: str) -> None:
        self._examination, self._module, self.__name__ = examination, module, name
        self.__qualname__ = name

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._examination.ask("run", self._module, self.__name__, args=args, kwargs=kwargs)

    def __getattr__(self, name: str) -> Any:
        """An attribute of the function (`cache_info`), where the test itself names it: pytest looks for some of its own."""
        if name.startswith("__") or name not in self._examination.mentioned:
            raise AttributeError(f"the submission's function {self.__name__} has no {name}")
        return getattr(self._examination.ask("get", self._module, self.__name__), name)

    def __get__(self, instance: Any, owner: Any = None) -> Any:  # a test may make it a method
        return self if instance is None else types.MethodType(self, instance)

    def __reduce_ex__(self, _: Any) -> Any:
        raise TypeError("a function of the submission cannot be copied or sent elsewhere")


class RemoteObject(borders.Proxy):
    """An object of the submission. It can be called and looked into; what comes out is values, or other such objects."""

    __slots__ = ("__weakref__",)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return ask(self, "call", self, args=args, kwargs=kwargs)

    @property
    def __name__(self) -> str:
        if object.__getattribute__(self, "_kind") != "function":
            raise AttributeError("__name__")
        return str(object.__getattribute__(self, "_label"))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or (type(self) is RemoteObject and name in VERDICTS):
            raise AttributeError(f"an object of the submission's has no {name}")
        examination = object.__getattribute__(self, "_border")
        raised, unexpected = examination.raised, examination.unexpected
        try:
            return ask(self, "attribute", self, name)
        except AttributeError:
            examination.raised, examination.unexpected = raised, unexpected  # `hasattr` asks so
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        ask(self, "assign", self, name, args=(value,))

    def __delattr__(self, name: str) -> None:
        ask(self, "remove", self, name)

    def __next__(self) -> Any:
        return ask(self, "next", self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self) >> 4

    def __reduce_ex__(self, _: Any) -> Any:
        raise TypeError("an object of the submission cannot be copied or sent elsewhere")


class RemoteInstance(RemoteObject):
    """An instance of a class under test, made by the test itself, or what its methods give: its operators are under test as well.

    With a value of the test's it would decide itself how it compares, and `stack.top() > 3` is about a number. So it does that only where
    the test uses such an operator on an instance that it has made there (`Examination.operators`).
    """

    __slots__ = ()

    def __contains__(self, thing: Any) -> bool:
        if object.__getattribute__(self, "_border").may_mix("contains", thing):
            return ask(self, "operator", self, "contains", args=(thing,)) is True
        return any(item is thing or item == thing for item in iter(self))


class RemoteClass(RemoteObject):
    """A class of the submission, by a name that a class has."""

    __slots__ = ()

    def __instancecheck__(self, thing: Any) -> bool:
        return isinstance(thing, borders.Proxy) and ask(self, "isinstance", self, args=(thing,)) is True

    def __subclasscheck__(self, thing: Any) -> bool:
        return isinstance(thing, borders.Proxy) and ask(self, "issubclass", self, args=(thing,)) is True

    @property
    def __name__(self) -> str:
        return str(object.__getattribute__(self, "_label"))


def ask(proxy: Any, op: str, *target: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
    examination = object.__getattribute__(proxy, "_border")
    # What a class gives is an instance of it, whatever kind of thing it says it is.
    return examination.ask(op, *target, args=args, kwargs=kwargs, via=proxy)


def _operator(name: str, text: bool = False) -> Any:
    def method(self: Any, *args: Any) -> Any:
        return ask(self, "operator", self, name, args=args)

    def whole(self: Any, *args: Any) -> str:
        value = method(self, *args)
        return value if isinstance(value, str) else ""

    return whole if text else method


def _leave(self: Any, kind: Any, error: Any, _trace: Any) -> bool:
    """Leave a `with` block. What the test raises in it is swallowed only where the block is told to (`with candidate(KeyError):`)."""
    swallowed = ask(self, "operator", self, "exit", args=(kind, error, None))
    trees = object.__getattribute__(self, "_border").trees
    return swallowed is True and kind is not None and kind.__name__ in testcode.names_given_to_blocks(trees)


def _ordered(name: str) -> Any:
    def method(self: Any, other: Any) -> Any:
        if not object.__getattribute__(self, "_border").may_mix("order", other):
            return NotImplemented
        return ask(self, "operator", self, name, args=(other,))

    return method


def _arithmetic(name: str) -> Any:
    def method(self: Any, *args: Any) -> Any:
        if args and not object.__getattribute__(self, "_border").may_mix("arithmetic", args[0]):
            return NotImplemented
        value = ask(self, "operator", self, name, args=args)
        if args and not isinstance(args[0], borders.Proxy) and not isinstance(value, borders.Proxy):
            # `abs(candidate(1) - 0.5) < 1e-6` must not hold because the submission says that its object less 0.5 is 0.
            raise TypeError(f"an object of the submission's with {name} gives a value where an object is expected")
        return value

    return method


for _name in ("len", "iter", "getitem", "setitem", "delitem", "bool", "enter", "reversed"):
    setattr(RemoteObject, f"__{_name}__", _operator(_name))
for _name in ("str", "repr", "format"):
    setattr(RemoteObject, f"__{_name}__", _operator(_name, text=True))
for _name in ("int", "float", "complex", "index", "abs", "round", "neg", "pos", "invert"):
    setattr(RemoteInstance, f"__{_name}__", _operator(_name))
for _name in ("lt", "le", "gt", "ge"):
    setattr(RemoteInstance, f"__{_name}__", _ordered(_name))
RemoteObject.__exit__ = _leave  # type: ignore[attr-defined]
RemoteObject.__doc__ = property(  # type: ignore[assignment]
    lambda self: ask(self, "attribute", self, "__doc__") if object.__getattribute__(self, "_kind") == "function" else None
)
for _name in (*borders.ARITHMETIC, *borders.REFLECTED, *borders.IN_PLACE):
    setattr(RemoteInstance, f"__{_name}__", _arithmetic(_name))


def remote_generator(proxy: Any) -> Any:
    """Yield an iterator of the submission's, as a generator of this end."""
    sent = None
    while True:
        try:
            item = ask(proxy, "next", proxy) if sent is None else ask(proxy, "send", proxy, args=(sent,))
        except StopIteration as stop:
            return stop.value
        sent = yield item


async def remote_coroutine(proxy: Any) -> Any:
    return ask(proxy, "await", proxy)


def is_record(thing: Any) -> bool:
    """Return whether an object is one with attributes and without methods: a node, a point."""
    kind = type(thing)
    if not borders.attributes(thing) or isinstance(
        thing, type | types.ModuleType | BaseException | borders.Proxy | RemoteFunction
    ):
        return False
    if callable(thing) or hasattr(kind, "__next__"):
        return False
    members = {name: member for base in kind.__mro__[:-1] for name, member in base.__dict__.items()}
    return not any(callable(member) and not name.startswith("_") for name, member in members.items())


def renumbered(state: Any, origins: list[Any]) -> tuple[Any, list[int]]:
    """Return the state of a record with the numbers of instances for their places in the message, and those places.

    Raises:
        NotPlainData: a place that is not there.
    """
    places: list[int] = []

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        if list(value) == ["__record__"]:
            place = value["__record__"]
            if type(place) is not int or not 0 <= place < len(origins):
                raise plain.NotPlainData("a record that is not there")
            places.append(place)
            return {"__record__": origins[place]}
        return {name: walk(item) for name, item in value.items()}

    return walk(state), places


def comparable(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def filled(kind: type[Exception], message: str, described: dict[str, Any]) -> Exception:
    """Return an exception of a type, with the arguments and attributes that are data."""
    arguments: Any = described.get("arguments")
    attributes: Any = described.get("attributes")
    try:
        decoded = plain.decode(arguments) if isinstance(arguments, list) and arguments else [message]
        error = kind(*decoded) if str(kind(*decoded)) == message else kind(message)
        for name, value in (plain.decode(attributes) if isinstance(attributes, dict) else {}).items():
            if not hasattr(kind, name):
                setattr(error, name, value)
    except Exception:  # noqa: BLE001 - one that wants other arguments (UnicodeDecodeError)
        return SubmissionError(f"{kind.__name__}: {message}")
    return error


class RemoteModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the submission's modules, after everything that is really here.

    Args:
        modules: that the submission has.
        expected: packages that are under test: that the submission lacks one is its own fault.
    """

    def __init__(self, examination: Examination, modules: list[str], expected: set[str]) -> None:
        self._examination, self._expected = examination, expected
        self._modules = {**dict.fromkeys(testcode.ALIASES, MAIN), **{name: name for name in modules}}

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name in self._modules:
            return importlib.machinery.ModuleSpec(name, self, is_package=name not in testcode.ALIASES)
        if name.partition(".")[0] in self._expected:
            self._examination.asked += 1
        return None

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        remote = self._modules[module.__name__]
        found: dict[str, Any] = {}

        def attribute(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            if name not in found:
                thing = self._examination.lookup(remote, name)
                if not callable(thing):  # data may change from one look to the next
                    return thing
                found[name] = thing
            return found[name]

        module.__getattr__ = attribute


def what_is_missing(trees: list[ast.AST], own: set[str], given: set[str]) -> str:
    """Return what tests use and nobody has: neither they, nor Python, nor the image. Never taken from the submission.

    Args:
        own: modules that are the tests' or the submission's.
        given: names that the tests are given.
    """
    packages = {name.partition(".")[0] for tree in trees for name in testcode.imported_modules(tree)} - own
    if missing := sorted(name for name in packages if not is_here(name)):
        return f"it imports {', '.join(missing)}, which the image does not have"
    for tree in trees:
        stars = {module for module, _ in testcode.star_imports(tree)}
        if stars & own:
            continue
        known = {name for module in stars for name in public_names(module)}
        if undefined := testcode.undefined_names(tree) - given - known:
            return f"nothing defines {', '.join(sorted(undefined)[:5])}"
    return ""


def is_here(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def public_names(module: str) -> set[str]:
    try:
        loaded = importlib.import_module(module)
    except ImportError:
        return set()
    return set(getattr(loaded, "__all__", [name for name in vars(loaded) if not name.startswith("_")]))


def run_assertions(examination: Examination, code: str, function: str) -> dict[str, Any]:
    """Run `check(candidate)`, or code that holds the assertions itself."""
    tree = ast.parse(code)
    if fault := what_is_missing([tree], set(), {"candidate", *function.split(".")}):
        return {"outcome": "broken", "note": fault}
    owner, _, last = function.rpartition(".")
    theirs = {"candidate", *function.split(".")}
    examination.function = function
    examination.read_tests([tree], theirs)
    candidate: Any = RemoteFunction(examination, MAIN, function)
    scope: dict[str, Any] = {"__name__": "tests"}
    is_object = not owner and examination.expects_objects(function)
    expected = owner if owner and owner not in testcode.bound_names(tree) else function if is_object else ""
    if expected:
        try:
            scope[expected] = examination.lookup(MAIN, expected)
        except AttributeError as error:
            return {"outcome": "failed", "note": str(error)}
        if not callable(scope[expected]):
            return {"outcome": "failed", "note": f"the submission's {expected} is no class and no function"}
        candidate = candidate if owner else scope[expected]
    scope["candidate"] = candidate
    if not (hasattr(builtins, last) and "candidate" in testcode.mentioned_names([tree])):  # `sum` is then Python's own
        scope[last] = candidate
    # A test that fails before it has asked anything is broken, unless it may be for want of the class that it expects.
    examination.asked = 0 if not expected or isinstance(scope[expected], RemoteClass) else 1
    module = types.ModuleType("tests")  # where its classes say they are from
    module.__dict__.update(scope)
    sys.modules["tests"] = module
    scope = module.__dict__
    try:
        exec(compile(tree, "tests", "exec", dont_inherit=True), scope)
        if "check" in testcode.bound_names(tree) and callable(scope.get("check")):
            scope["check"](candidate)
    except (Exception, NotAValue) as error:  # noqa: BLE001 - every failure is the submission's, once it was asked
        traceback.print_exc()
        described = plain.clean(traceback.format_exception_only(type(error), error)[-1])
        if error is examination.raised or isinstance(error, NotAValue):
            return {"outcome": "raised" if error is examination.raised else "failed", "note": described}
        return {"outcome": "failed" if examination.asked else "broken", "note": described}
    if not examination.asked:
        return {"outcome": "broken", "note": "the test asks nothing"}
    return passed_or_raised(examination, {})


def passed_or_raised(examination: Examination, ran: dict[str, str]) -> dict[str, Any]:
    if examination.unexpected:
        return {"outcome": "raised", "note": f"raised {examination.unexpected}, which the test does not expect", "tests": ran}
    return {"outcome": "passed", "note": "", "tests": ran}


class Outcomes:
    """A pytest plugin that notes what became of each test."""

    def __init__(self) -> None:
        self.tests: dict[str, str] = {}
        self.faults: list[str] = []

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        self.tests = {item.nodeid: "not run" for item in items}

    def pytest_collectreport(self, report: Any) -> None:
        if not report.passed:
            self.faults.append(f"{report.nodeid}: {report.outcome}")

    def pytest_runtest_logreport(self, report: Any) -> None:
        if hasattr(report, "wasxfail") or report.outcome != "passed":
            self.tests[report.nodeid] = "xfailed" if hasattr(report, "wasxfail") else report.outcome
        elif report.when == "call" and self.tests.get(report.nodeid) == "not run":
            self.tests[report.nodeid] = "passed"


def what_is_not_named(texts: dict[str, str], own: set[str], under_test: list[str], theirs: list[str]) -> tuple[set[str], str]:
    """Return the packages that tests take from the submission without naming them in `modules`, and why that cannot be judged, if so.

    The tests' text alone decides, never which files the submission has: it would choose whether it is judged. A package that neither
    the tests nor the image has is the submission's if it is plainly under test.

    Args:
        texts: of the tests' files.
        own: modules that are the tests'.
        under_test: those that the tests name.
        theirs: those that the submission has.
    """
    known = own | {name.partition(".")[0] for name in (*testcode.ALIASES, *under_test)}
    packages = {name.partition(".")[0] for text in texts.values() for name in testcode.imported_modules(ast.parse(text))}
    unnamed = {package for package in packages - known if not is_here(package)}
    for name, text in texts.items():
        modules = {module for module in testcode.imported_modules(ast.parse(text)) if module.partition(".")[0] in unnamed}
        if found := testcode.helper_faults(
            text, modules | {module for module in theirs if module.partition(".")[0] in unnamed}
        ):
            return unnamed, f"{name}: {found[0]}"
    strange = {package for package in unnamed if not any(testcode.is_under_test(text, package) for text in texts.values())}
    if strange:
        missing = ", ".join(sorted(strange)[:5])
        return unnamed, f"it imports {missing}, which the image does not have and which its `modules` do not name as under test"
    return unnamed, ""


def run_pytest(
    examination: Examination, files: list[str], helpers: list[str], modules: list[str], under_test: list[str]
) -> dict[str, Any]:
    """Run pytest on files, which import the submission.

    Args:
        helpers: the tests' other Python files.
        modules: that the submission has, besides its main one.
        under_test: modules that the tests name.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    texts: dict[str, str] = {}
    for name in (*files, *helpers):
        with open(os.path.join(here, name), encoding="utf-8") as file:
            texts[name] = file.read()
    trees: list[ast.AST] = [ast.parse(texts[name]) for name in files]
    own = {part for name in files for part in name.removesuffix(".py").split("/")}
    own.update(name.removesuffix(".py") for name in os.listdir(here))
    unnamed, fault = what_is_not_named(texts, own, under_test, modules)
    theirs = unnamed | {name.partition(".")[0] for name in (*testcode.ALIASES, *under_test)}
    if fault := fault or what_is_missing(trees, own | theirs, set()):
        return {"outcome": "broken", "note": fault, "tests": {}}
    import pytest

    theirs_here = {name for tree in trees for name in testcode.names_from(tree, {*testcode.ALIASES, *under_test})}
    examination.read_tests(trees, theirs_here)
    sys.meta_path.append(RemoteModules(examination, modules, theirs))
    outcomes = Outcomes()
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", here, "-c", os.devnull, "--import-mode=importlib"]
    code = pytest.main([*options, *(os.path.join(here, name) for name in files)], plugins=[outcomes])
    passed = code == 0 and outcomes.tests and not outcomes.faults and set(outcomes.tests.values()) == {"passed"}
    bad = [f"{name}: {outcome}" for name, outcome in outcomes.tests.items() if outcome != "passed"]
    note = "; ".join([*outcomes.faults, *bad][:5]) or ("no test ran" if not outcomes.tests else "")
    if not examination.asked:
        return {"outcome": "broken", "note": note or "the tests ask nothing", "tests": outcomes.tests}
    if passed:
        return passed_or_raised(examination, outcomes.tests)
    return {"outcome": "failed", "note": note[:300], "tests": outcomes.tests}


def main() -> None:
    examination = Examination()
    order = examination.border.read()
    outcome: dict[str, Any]
    try:
        if "code" in order:
            outcome = run_assertions(examination, order["code"], order["function"])
        else:
            outcome = run_pytest(examination, order["files"], order["helpers"], order["modules"], order["under_test"])
    except borders.Ended:
        outcome = {"outcome": "failed", "note": "the submission ended before the tests did"}
    except CannotBeJudged as error:
        outcome = {"outcome": "broken", "note": str(error)}
    sys.stdout.flush()
    examination.border.write(outcome)
    os._exit(0)


main()
