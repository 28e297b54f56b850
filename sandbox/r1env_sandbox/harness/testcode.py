"""Reads test code without running it: what it imports, what it misses, and why no verdict of it could be trusted.

Test code is the task's author's. A fault in it is found here, before a model is asked anything, and told to the author. The host reads
a test when it is loaded; the examiner reads it again, where it can see which modules there are. Standard library only.
"""

from __future__ import annotations

import ast
import builtins
import sys
import types
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence

ALIASES = ("solution", "submission", "candidate", "main")  # what tests call the submission's module

_MODULE_NAMES = frozenset(("__name__", "__file__", "__doc__", "__builtins__", "__annotations__"))
_FIXTURES = frozenset((
    *("capsys", "capfd", "capsysbinary", "capfdbinary", "caplog", "monkeypatch", "mocker", "recwarn"),
    *("tmp_path", "tmpdir", "tmp_path_factory", "tmpdir_factory"),
))  # fmt: skip
_PATCHES = frozenset(("patch", "redirect_stdout", "redirect_stderr"))
_INSPECTED = frozenset(
    ("__code__", "__globals__", "__closure__", "__defaults__", "__kwdefaults__", "__annotations__", "__wrapped__")
)
_INSPECTORS = frozenset(("getsource", "getsourcelines", "getsourcefile", "signature", "getfullargspec", "get_type_hints"))
_ASSERT_TWO = frozenset(("assertEqual", "assertNotEqual", "assertListEqual", "assertTupleEqual", "assertDictEqual", "assertSetEqual",
    "assertCountEqual", "assertAlmostEqual", "assertSequenceEqual", "assertMultiLineEqual", "assertIs"))  # fmt: skip

_COPIES = frozenset(
    ("list", "sorted", "tuple", "set", "frozenset", "dict", "copy", "deepcopy", "len", "sum", "min", "max", "str")
)
_VALUES: tuple[type, ...] = (
    *(int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, slice, Counter, deque),
    *(type(iter(())), types.GeneratorType),
)
_ATTRIBUTES_OF_VALUES = frozenset(name for kind in _VALUES for name in dir(kind)) | frozenset((
    *("shape", "dtype", "ndim", "size", "tolist", "all", "any", "sum", "mean", "item", "values", "columns", "index", "equals"),
    *("astype", "reshape", "flatten", "T", "year", "month", "day", "numerator", "denominator", "evalf", "subs", "args"),
))  # fmt: skip
"""What built-in types have, and those of the libraries that are copied as values."""


def faults(code: str, function: str | None = None) -> list[str]:
    """Return why a test can give no verdict that is worth anything, a line each.

    Args:
        code: the text of a test, which is valid Python.
        function: what an `assert` test calls `candidate`; None for a file of pytest's, which imports the submission.
    """
    tree = ast.parse(code)
    found = []
    given = {"candidate", *function.split(".")} if function is not None else set()
    if any(name in ALIASES for name, _ in star_imports(tree)):
        found.append("`import *` from the submission lets it replace any name of the test; import the names that it needs")
    elif not star_imports(tree) and (missing := undefined_names(tree) - given):
        found.append(f"nothing defines {', '.join(sorted(missing)[:5])}")
    theirs = given | names_from(tree, ALIASES)
    classes = {name for name in theirs if is_class_name(name)}
    if function is not None and is_class_name(function):
        classes.add("candidate")
    found.extend(_needs_one_process(tree, theirs))
    found.extend(_compares_objects(tree, classes))
    return found


def is_class_name(name: str) -> bool:
    """Return whether a name is one that classes have (PEP 8); what a test calls so it expects to be a class."""
    bare = name.lstrip("_")
    return bare[:1].isupper() and bare.isidentifier() and "_" not in bare


def helper_faults(code: str, helpers: Iterable[str]) -> list[str]:
    """Return why a test would let modules of the submission, which it does not name as under test, judge the submission.

    What such a module returns must be compared, by itself, with something of the test's own.
    """
    tree = ast.parse(code)
    helpers = set(helpers)
    if stars := [name for name, _ in star_imports(tree) if name in helpers - sys.stdlib_module_names]:
        return [f"`from {stars[0]} import *` lets the submission replace any name of the test; import the names that it needs"]
    names = _derived(tree, names_from(tree, helpers))
    if not names:
        return []
    theirs = _derived(tree, names | names_from(tree, ALIASES))
    for node in ast.walk(tree):
        sides: list[ast.expr] = []
        if isinstance(node, ast.Assert):
            whole: ast.AST = node.test
            if isinstance(node.test, ast.Compare) and all(isinstance(op, ast.Eq | ast.NotEq | ast.Is) for op in node.test.ops):
                sides = [node.test.left, *node.test.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("assert"):
            whole = node
            if node.func.attr in _ASSERT_TWO:
                sides = node.args[:2]
        else:
            continue
        used = names_in(whole)
        if used & names and (used & (theirs - names) or all(names_in(side) & theirs for side in sides)):
            return [
                f"{', '.join(sorted(used & names)[:3])} would come from a file of the submission, which would judge itself; "
                "put it among the test's files, or name its module in the test's `modules` if it is what is tested"
            ]
    return []


def is_under_test(code: str, package: str) -> bool:
    """Whether a test plainly tests a package: it compares what comes from there with something of its own, or expects its exceptions."""
    tree = ast.parse(code)
    modules = {name for name in imported_modules(tree) if name.partition(".")[0] == package}
    names = _derived(tree, names_from(tree, modules))
    if not names or helper_faults(code, modules):
        return False
    for node in ast.walk(tree):
        called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
        if (isinstance(node, ast.Assert) or called == "raises" or called.startswith("assert")) and names_in(node) & names:
            return True
    return False


def brings_back(trees: Sequence[ast.AST], theirs: set[str]) -> bool:
    """Return whether tests look at what a call has left in a list that they passed to it, and learn nothing false from that.

    They do where a name that is an argument of the submission's is compared, after the call, with something that is not derived from
    the call. They learn something false where both sides of a comparison are: `assert f(x) == sorted(x)` holds for a function that
    empties `x` and returns it.

    Args:
        theirs: names that are the submission's.
    """
    looks = False
    for tree in trees:
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and names_in(node.func) & _derived(tree, theirs)]
        passed = {
            argument.id
            for call in calls
            for argument in (*call.args, *(keyword.value for keyword in call.keywords))
            if isinstance(argument, ast.Name)
        } - theirs
        if not passed:
            continue
        changed = _derived(tree, passed | theirs) - _copies_before(tree, calls)
        counters = _counters(tree)
        own_calls = {id(inner) for call in calls for inner in ast.walk(call)}
        for node in ast.walk(tree):
            sides: list[ast.expr] = []
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
            elif isinstance(node, ast.Call) and id(node) not in own_calls:
                sides = node.args
            tainted = [side for side in sides if _names_but_counters(side, counters) & changed]
            if len(tainted) > 1:
                return False
            if isinstance(node, ast.Compare):
                looks = looks or any(id(name) not in own_calls and name.id in passed for name in _names(tainted))
    return looks


def compares_with_arguments(trees: Sequence[ast.AST], theirs: set[str]) -> set[str]:
    """Return names of functions whose results tests compare with something that is read from an argument of the call.

    Of such a function a value is expected, and what it leaves in its arguments must not become the value that it is compared with.

    Args:
        theirs: names that are the submission's.
    """
    found: set[str] = set()
    for tree in trees:
        calls: dict[str, list[ast.Call]] = {}
        known = _derived(tree, theirs)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and names_in(node.func) & known:
                calls.setdefault(node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func), []).append(
                    node
                )
        for name, own in calls.items():
            given = [argument for call in own for argument in (*call.args, *(keyword.value for keyword in call.keywords))]
            arguments = {argument.id for argument in _names(given)} - theirs
            arguments = _derived(tree, arguments) - _copies_before(tree, own)
            if any(_compares_result(node, own, _results(tree, own), arguments) for node in ast.walk(tree)):
                found |= {name} if name in theirs else {name, *theirs}  # by another name, or through a function of the test's
    return found


def _results(tree: ast.AST, calls: Sequence[ast.Call]) -> set[str]:
    """Return names that are made from what calls return."""
    assigned = [
        node for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.NamedExpr) and _contains(node.value, calls)
    ]
    targets = [target for node in assigned for target in (node.targets if isinstance(node, ast.Assign) else [node.target])]
    return _derived(tree, {name.id for name in _names(targets)})


def _compares_result(node: ast.AST, calls: Sequence[ast.Call], results: set[str], arguments: set[str]) -> bool:
    sides: list[ast.expr] = []
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _ASSERT_TWO:
        sides = node.args[:2]
    return any(
        (_contains(one, calls) or names_in(one) & results) and names_in(other) & (arguments - results)
        for one in sides
        for other in sides
        if one is not other
    )


def _contains(node: ast.AST, calls: Sequence[ast.Call]) -> bool:
    own = {id(call) for call in calls}
    return any(id(inner) in own for inner in ast.walk(node))


def _names(nodes: Iterable[ast.AST]) -> Iterator[ast.Name]:
    return (inner for node in nodes for inner in ast.walk(node) if isinstance(inner, ast.Name))


def _names_but_counters(node: ast.AST, counters: set[str]) -> set[str]:
    """Return names in an expression, without the counters that it has for an index: `wanted[i]` is what the test wants."""
    indexes = {
        id(inner.slice)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Subscript) and isinstance(inner.slice, ast.Name) and inner.slice.id in counters
    }
    return {name.id for name in _names([node]) if id(name) not in indexes}


def _counters(tree: ast.AST) -> set[str]:
    """Return names that only count: `for i in range(…)`."""
    return {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.For | ast.comprehension)
        and isinstance(node.target, ast.Name)
        and isinstance(node.iter, ast.Call)
        and getattr(node.iter.func, "id", "") == "range"
    }


def _copies_before(tree: ast.AST, calls: Sequence[ast.Call]) -> set[str]:
    """Return names that are given a copy before the submission is called for the first time, and nothing else ever."""
    first = min((call.lineno for call in calls), default=0)
    given: dict[str, bool] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for name in _names([target]):
                    copied = isinstance(target, ast.Name) and node.lineno < first and _makes_a_copy(node.value)
                    given[name.id] = given.get(name.id, True) and copied
    return {name for name, always in given.items() if always}


def _makes_a_copy(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
        return name in _COPIES
    return isinstance(value, ast.ListComp | ast.SetComp | ast.DictComp | ast.Constant) or (
        isinstance(value, ast.Subscript) and isinstance(value.slice, ast.Slice)
    )


def expects_objects(trees: Iterable[ast.AST], name: str) -> bool:
    """Return whether tests expect of a function that it is a class, or returns objects that are no values.

    They do where they ask its results for an attribute that no built-in type has, or for a text that no value has, or ask whether
    something is an instance of it.
    """
    for tree in trees:
        results = _derived(tree, {name}) - {name}

        def is_result(node: ast.expr, results: set[str] = results) -> bool:
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                return called == name
            if isinstance(node, ast.BinOp):
                return is_result(node.left) or is_result(node.right)
            return isinstance(node, ast.Name) and node.id in results

        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and not node.attr.startswith("__"):
                own = isinstance(node.value, ast.Name) and node.value.id == name
                if node.attr not in _ATTRIBUTES_OF_VALUES and (own or is_result(node.value)):
                    return True
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
                if name in names_in(node) and any(getattr(item, "id", "") == name for item in ast.walk(node.args[-1])):
                    return True
            elif isinstance(node, ast.Compare) and len(node.comparators) == 1:
                for one, other in ((node.left, node.comparators[0]), (node.comparators[0], node.left)):
                    if _is_text_of(one, is_result) and isinstance(other, ast.Constant) and not _is_text_of_value(other.value):
                        return True
    return False


def operators_with_values(trees: Iterable[ast.AST], classes: set[str]) -> frozenset[str]:
    """Which kinds of operators (`order`, `arithmetic`, `contains`) tests use between a value and an instance that they have made."""
    found: set[str] = set()
    for tree in trees:
        is_instance = _instances(tree, classes)
        for node in ast.walk(tree):
            if (isinstance(node, ast.BinOp) and is_instance(node.left) != is_instance(node.right)) or (
                isinstance(node, ast.AugAssign) and is_instance(node.target) != is_instance(node.value)
            ):
                found.add("arithmetic")
            elif isinstance(node, ast.Compare):
                for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                    if isinstance(operator, ast.In | ast.NotIn) and is_instance(right):
                        found.add("contains")
                    elif isinstance(operator, ast.Lt | ast.LtE | ast.Gt | ast.GtE) and is_instance(left) != is_instance(right):
                        found.add("order")
    return frozenset(found)


def names_given_to_blocks(trees: Iterable[ast.AST]) -> set[str]:
    """Return names among the arguments of what opens a `with` block."""
    return {
        name.id
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.context_expr, ast.Call)
        for name in _names(item.context_expr.args)
    }


def _instances(tree: ast.AST, classes: set[str]) -> Callable[[ast.AST], bool]:
    """Tells which expressions are instances of classes under test that the code has made itself."""
    variables: set[str] = set()

    def is_instance(node: ast.AST) -> bool:
        if isinstance(node, ast.BinOp):
            return is_instance(node.left) or is_instance(node.right)
        if isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) in variables:
            return True
        if not isinstance(node, ast.Call):
            return False
        made = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        return made in classes

    while True:
        before = len(variables)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and is_instance(node.value):
                variables.update(ast.unparse(target) for target in node.targets)
            elif isinstance(node, ast.With):
                variables.update(
                    ast.unparse(item.optional_vars)
                    for item in node.items
                    if item.optional_vars and is_instance(item.context_expr)
                )
        if len(variables) == before:
            return is_instance


def _is_text_of(node: ast.expr, is_result: Callable[[ast.expr], bool]) -> bool:
    return (
        isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in ("str", "repr")
        and len(node.args) == 1
        and is_result(node.args[0])
    )


def _is_text_of_value(text: object) -> bool:
    if not isinstance(text, str):
        return True
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text.isidentifier()  # a text's text is itself
    return True


def imported_modules(tree: ast.AST) -> set[str]:
    """Modules that code imports outside `try`."""
    guarded = {
        id(inner) for node in ast.walk(tree) if isinstance(node, ast.Try) for part in node.body for inner in ast.walk(part)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def star_imports(tree: ast.AST) -> list[tuple[str, ast.ImportFrom]]:
    return [
        (node.module or "", node)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]


def names_from(tree: ast.AST, modules: Iterable[str]) -> set[str]:
    """Return names that code has from some modules, or from modules in them."""
    wanted = set(modules)
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "") in wanted:
            found.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update(alias.asname or alias.name for alias in node.names if f"{node.module}.{alias.name}" in wanted)
        elif isinstance(node, ast.Import):
            found.update(alias.asname or alias.name.partition(".")[0] for alias in node.names if alias.name in wanted)
    return found


def names_in(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def mentioned_names(trees: Iterable[ast.AST]) -> frozenset[str]:
    """Return every name that code mentions; `Exception` for a bare `except`."""
    found: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                found.add(node.id)
            elif isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.ExceptHandler) and node.type is None:
                found.add("Exception")
            elif isinstance(node, ast.Import | ast.ImportFrom):
                found.update(alias.name for alias in node.names)
    if "BaseException" in found:
        found.add("Exception")
    return frozenset(found)


def mentions_by_test(trees: Iterable[ast.AST]) -> dict[str, frozenset[str]]:
    """Return, for each test function by its qualified name, the names that it and all code outside of test functions mention."""
    tests: dict[str, list[ast.AST]] = {}
    rest: list[ast.AST] = []
    for tree in trees:
        top: list[ast.stmt] = getattr(tree, "body", [])
        inner = [(f"{node.name}.", item) for node in top if isinstance(node, ast.ClassDef) for item in node.body]
        for owner, node in [*(("", node) for node in top if not isinstance(node, ast.ClassDef)), *inner]:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                tests.setdefault(owner + node.name, []).append(node)
            else:
                rest.append(node)
    return {name: mentioned_names([*rest, *nodes]) for name, nodes in tests.items()}


def bound_names(tree: ast.AST) -> set[str]:
    """Return names that code gives a value to, anywhere."""
    return set(_bound(tree))


def undefined_names(tree: ast.AST) -> set[str]:
    """Return names that code reads and that neither it nor Python defines."""
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return read - set(_bound(tree)) - set(dir(builtins)) - _MODULE_NAMES


def defined_tests(name: str, text: str) -> set[str]:
    """Return the ids, without parameters, of the tests that a pytest file plainly defines."""
    found: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            found.add(f"{name}::{node.name}")
        elif isinstance(node, ast.ClassDef) and (node.name.startswith("Test") or _is_unittest(node)):
            methods = (item.name for item in node.body if isinstance(item, ast.FunctionDef) and item.name.startswith("test"))
            found.update(f"{name}::{node.name}::{method}" for method in methods)
    return found


def _is_unittest(node: ast.ClassDef) -> bool:
    return any("TestCase" in ast.unparse(base) for base in node.bases)


def _bound(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name
        elif isinstance(node, ast.MatchMapping) and node.rest:
            yield node.rest


def _derived(tree: ast.AST, names: set[str]) -> set[str]:
    """These names, and those of variables and functions that are made from them."""
    names = set(names)
    while True:
        before = len(names)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if names_in(node.value) & names:
                    names.update(name for target in targets for name in names_in(target))
            elif isinstance(node, ast.For | ast.comprehension) and names_in(node.iter) & names:
                names |= names_in(node.target)
            elif isinstance(node, ast.FunctionDef) and not node.name.startswith("test") and names_in(node) & names:
                names.add(node.name)
        if len(names) == before:
            return names


def _needs_one_process(tree: ast.AST, theirs: set[str]) -> Iterator[str]:
    """Yield what only works where the submission runs in the test's own process."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for argument in (*node.args.args, *node.args.kwonlyargs):
                if argument.arg in _FIXTURES and node.name.startswith("test"):
                    yield f"the fixture {argument.arg} sees the process of the test, and the submission runs in another"
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            owner = names_in(node.func) if isinstance(node.func, ast.Attribute) else set()
            if name in _PATCHES or "patch" in owner:
                yield "it patches or redirects the process of the test, and the submission runs in another"
            elif name in _INSPECTORS and any(names_in(argument) & theirs for argument in node.args):
                yield f"{name} reads the submission's code, which is not in the process of the test"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in theirs:
            if node.attr in _INSPECTED:
                yield f"it reads {node.value.id}.{node.attr}, which is not in the process of the test"
        elif isinstance(node, ast.Assign) and any(
            ast.unparse(target) in ("sys.stdin", "sys.stdout") for target in node.targets
        ):
            yield "it replaces the streams of the process of the test, and the submission runs in another"
        elif isinstance(node, ast.ClassDef) and any(isinstance(base, ast.Name) and base.id in theirs for base in node.bases):
            yield f"its class {node.name} extends one of the submission's"


def _compares_objects(tree: ast.AST, classes: set[str]) -> Iterator[str]:
    """Comparisons in which an object of the submission's would say itself what it is equal to."""
    if not classes:
        return
    instances = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _makes(node.value, classes)
        for target in node.targets
        if isinstance(target, ast.Name)
    }

    def is_instance(side: ast.expr) -> bool:
        if isinstance(side, ast.List | ast.Tuple | ast.Set):
            return any(is_instance(item) for item in side.elts)
        if isinstance(side, ast.BinOp):
            return is_instance(side.left) or is_instance(side.right)
        return _makes(side, classes) or (isinstance(side, ast.Name) and side.id in instances)

    def may_be_instance(side: ast.expr) -> bool:
        return isinstance(side, ast.Call) and isinstance(side.func, ast.Attribute) and is_instance(side.func.value)

    for node in ast.walk(tree):
        sides: list[ast.expr] = []
        if isinstance(node, ast.Compare) and all(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            sides = [node.left, *node.comparators]
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _ASSERT_TWO - {"assertIs"}
        ):
            sides = node.args[:2]
        if any(map(is_instance, sides)) and all(is_instance(side) or may_be_instance(side) for side in sides):
            name = next(iter(sorted(classes - {"candidate"} or classes)))
            yield f"it compares objects of the submission's {name}, which would say themselves what they are equal to"
            return


def _makes(node: ast.expr, classes: set[str]) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes
