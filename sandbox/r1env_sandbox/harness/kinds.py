"""Copies of values of the standard library's types and of NumPy's, pandas' and SymPy's: what `plain` has no tag of its own for.

A copy holds what the value held and nothing that its author wrote, so a test may compare it by `==`. Containers, dates and numbers
of the standard library are copied everywhere. Arrays, frames and expressions are rebuilt only where the library is loaded by the one
who asks (`take_arrays`); elsewhere they come out as lists, dicts and numbers.
"""

from __future__ import annotations

import math
import re
import sys
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from r1env_sandbox.harness import plain
    from r1env_sandbox.harness.plain import Give, Take

    Encoder = Callable[[Any, int, Give | None], Any]
elif __name__ == "r1env_kinds":
    import r1env_plain as plain  # the same file, as it is called in a container
else:
    from r1env_sandbox.harness import plain

MAX_EXPONENT = 100_000  # of a Decimal: comparing one with an integer writes it out
MAX_FRACTION_BITS = 1 << 16  # reducing one takes quadratic time: three seconds for a million bits
MAX_FIELDS = 255
MAX_ARRAY_ITEMS = 1 << 22
MAX_EMPTY_ROWS = 100  # of an array without items: a shape of a few characters could ask for any number of them
_TYPES: tuple[type, ...] = (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, object, type(None))
BUILTIN_TYPES = {kind.__name__: kind for kind in _TYPES}
_DTYPE = re.compile(r"[<>|=]?(?:[biufcUSO][0-9]{0,6}|[mM]8(?:\[[a-zA-Z0-9]{1,8}\])?)")


def encode(value: Any, depth: int, give: Give | None) -> Any:
    """Return a value as `plain.encode` does.

    Raises:
        NotPlainData: it has no copy, and `give` is None.
    """
    kind = type(value)
    for base, encoder in _ENCODERS:
        if issubclass(kind, base):
            return encoder(value, depth, give)
    for library, encoder in _LIBRARIES:
        if library in sys.modules and (encoded := encoder(value, depth, give)) is not None:
            return encoded
    if kind is type and (name := _builtin_name(value)):
        return {"__type__": name}
    if give is not None:
        return give(value)
    raise plain.NotPlainData(f"a value of the type {plain.clean(kind.__name__, 80)} is not plain data")


def decode(tag: str, content: Any, depth: int, take: Take | None) -> Any:
    """Return the value of a tag.

    Raises:
        NotPlainData, TypeError, ValueError, LookupError, ArithmeticError, AttributeError: it holds something else.
    """
    return _DECODERS[tag](content, depth, take)


def take_arrays(tag: str, content: Any) -> Any:
    """Rebuild an array, a NumPy scalar, a data frame, a series or an expression, with the libraries loaded; None for any other tag.

    Raises:
        NotPlainData: the tag holds something else, or the library is not here.
    """
    build = _BUILDERS.get(tag)
    if build is None:
        return None
    try:
        return build(content)
    except plain.NotPlainData:
        raise
    except Exception as error:  # the libraries raise what they like
        raise plain.NotPlainData(f"{tag} holds something else: {type(error).__name__}") from error


# --- built-in types and the standard library ------------------------------------------------------------------------------------


def _encode_dict(value: Any, depth: int, give: Give | None) -> Any:
    pairs = plain.encode_pairs(dict.items(value), depth, give)
    if isinstance(value, Counter):
        return {"__counter__": pairs}
    if isinstance(value, OrderedDict):
        return {"__ordereddict__": pairs}
    if isinstance(value, defaultdict):
        return {"__defaultdict__": [_builtin_name(value.default_factory), pairs]}
    return plain.encode(dict(dict.items(value)), depth, give=give)


def _builtin_name(kind: Any) -> str | None:
    return next((name for name, known in BUILTIN_TYPES.items() if known is kind), None)


def _encode_tuple(value: Any, depth: int, give: Give | None) -> Any:
    items = [plain.encode(item, depth + 1, give=give) for item in tuple.__iter__(value)]
    fields = getattr(type(value), "_fields", None)
    if type(fields) is tuple and len(fields) == len(items) and all(type(field) is str for field in fields):
        return {"__namedtuple__": [type(value).__name__, list(fields), items]}
    return {"__tuple__": items}


def _encode_view(name: str) -> Any:
    def encoder(value: Any, depth: int, give: Give | None) -> Any:
        return {"__view__": [name, [plain.encode(item, depth + 1, give=give) for item in value]]}

    return encoder


def _decode_view(content: Any, depth: int, take: Take | None) -> Any:
    name, items = content
    decoded = _items(items, depth, take)
    if name == "keys":
        return dict.fromkeys(plain.spread(decoded)).keys()
    if name == "items":
        plain.spread([key for key, _ in decoded])
        return dict(decoded).items()
    if name == "values":
        return dict(enumerate(decoded)).values()
    raise ValueError("no such view")


def _decode_namedtuple(content: Any, depth: int, take: Take | None) -> Any:
    name, fields, items = content
    if not (type(name) is str and type(fields) is list and len(fields) <= MAX_FIELDS and all(type(f) is str for f in fields)):
        raise ValueError("not the fields of a named tuple")
    return _named(name, tuple(fields))(*_items(items, depth, take))


_named_types: dict[tuple[str, tuple[str, ...]], Any] = {}


def _named(name: str, fields: tuple[str, ...]) -> Any:
    if (name, fields) not in _named_types:
        if len(_named_types) >= MAX_FIELDS:  # a submission could make types without end
            _named_types.clear()
        _named_types[name, fields] = namedtuple(name if name.isidentifier() else "_", fields)
    return _named_types[name, fields]


def _decode_defaultdict(content: Any, depth: int, take: Take | None) -> Any:
    name, pairs = content
    return defaultdict(None if name is None else BUILTIN_TYPES[name], plain.decode_pairs(pairs, depth, take))


def _decode_deque(content: Any, depth: int, take: Take | None) -> Any:
    items, longest = content
    if longest is not None and type(longest) is not int:
        raise ValueError("not a length")
    return deque(_items(items, depth, take), longest)


def _items(content: Any, depth: int, take: Take | None) -> list[Any]:
    if type(content) is not list:
        raise TypeError("not a list")
    return [plain.decode(item, depth + 1, take=take) for item in content]


def _number(content: Any) -> Any:
    value = plain.decode(content)
    if type(value) not in (int, float):
        raise TypeError("not a number")
    return value


def _decode_complex(content: Any, _depth: int, _take: Take | None) -> complex:
    real, imaginary = content
    return complex(_number(real), _number(imaginary))


def _decode_range(content: Any, _depth: int, _take: Take | None) -> range:
    return range(*(plain.decode(number) for number in content))


def _decode_slice(content: Any, depth: int, take: Take | None) -> slice:
    start, stop, step = _items(content, depth, take)
    return slice(start, stop, step)


def _decode_fraction(content: Any, _depth: int, _take: Take | None) -> Any:
    from fractions import Fraction

    numerator, denominator = (plain.decode(number) for number in content)
    if max(numerator.bit_length(), denominator.bit_length()) > MAX_FRACTION_BITS:
        raise ValueError("too long")
    return Fraction(numerator, denominator)


def _decode_decimal(content: Any, _depth: int, _take: Take | None) -> Any:
    from decimal import Decimal

    if type(content) is not str or len(content) > MAX_EXPONENT:
        raise ValueError("not a number")
    number = Decimal(content)
    if number.is_finite() and abs(number.adjusted()) > MAX_EXPONENT:
        raise ValueError("too large")
    return number


def _iso(name: str) -> Callable[[Any, int, Take | None], Any]:
    def decoder(content: Any, _depth: int, _take: Take | None) -> Any:
        import datetime

        return getattr(datetime, name).fromisoformat(content)

    return decoder


def _decode_timedelta(content: Any, _depth: int, _take: Take | None) -> Any:
    import datetime

    days, seconds, microseconds = content
    return datetime.timedelta(days, seconds, microseconds)


def _decode_path(content: Any, _depth: int, _take: Take | None) -> Any:
    import pathlib

    if type(content) is not str:
        raise TypeError("not a path")
    return pathlib.PosixPath(plain.encode(content))  # refuses a lone surrogate


def _path(value: Any, _depth: int, _give: Give | None) -> Any:
    pathlib = sys.modules["pathlib"]
    return (
        {"__path__": plain.encode(pathlib.PurePath.__str__(value))} if issubclass(type(value), pathlib.PurePosixPath) else None
    )


def _decimal(value: Any, _depth: int, _give: Give | None) -> Any:
    kind = sys.modules["decimal"].Decimal
    return {"__decimal__": kind.__str__(value)} if issubclass(type(value), kind) else None


def _fraction(value: Any, _depth: int, _give: Give | None) -> Any:
    if not issubclass(type(value), sys.modules["fractions"].Fraction):
        return None
    return {"__fraction__": [plain.encode(int(value._numerator)), plain.encode(int(value._denominator))]}


def _dates(value: Any, _depth: int, _give: Give | None) -> Any:
    datetime, kind = sys.modules["datetime"], type(value)
    if issubclass(kind, datetime.timedelta):
        return {"__timedelta__": [value.days, value.seconds, value.microseconds]}
    for name in ("datetime", "date", "time"):  # a datetime is a date
        if issubclass(kind, getattr(datetime, name)):
            return {f"__{name}__": getattr(datetime, name).isoformat(value)}
    return None


def _without_depth(encoder: Callable[[Any], Any]) -> Encoder:
    return lambda value, _depth, _give: encoder(value)


def _items_as(tag: str, base: Any) -> Encoder:
    return lambda value, depth, give: {tag: [plain.encode(item, depth + 1, give=give) for item in base.__iter__(value)]}


def _encode_list(value: Any, depth: int, give: Give | None) -> Any:
    return plain.encode(list(list.__iter__(value)), depth, give=give)


def _encode_slice(value: Any, depth: int, give: Give | None) -> Any:
    return {"__slice__": [plain.encode(part, depth + 1, give=give) for part in (value.start, value.stop, value.step)]}


def _encode_deque(value: Any, depth: int, give: Give | None) -> Any:
    return {"__deque__": [[plain.encode(item, depth + 1, give=give) for item in deque.__iter__(value)], value.maxlen]}


def _encode_range(value: range) -> Any:
    return {"__range__": [plain.encode(number) for number in (value.start, value.stop, value.step)]}


def _encode_complex(value: Any) -> Any:
    if type(value).__module__ == "numpy":
        return {"__npscalar__": [value.dtype.str, _encode_complex(complex(value))]}
    return {"__complex__": [plain.encode(float(value.real)), plain.encode(float(value.imag))]}


# --- NumPy and pandas -----------------------------------------------------------------------------------------------------------


def _numpy(value: Any, depth: int, give: Give | None) -> Any:
    numpy = sys.modules["numpy"]
    kind = type(value)
    if issubclass(kind, numpy.ndarray):
        dtype = value.dtype.str
        if not _DTYPE.fullmatch(dtype) or value.size > MAX_ARRAY_ITEMS:
            return None
        flat = numpy.asarray(value).ravel()
        items = flat.astype("i8").tolist() if value.dtype.kind in "mM" else flat.tolist()
        return {"__ndarray__": [dtype, list(value.shape), [plain.encode(item, depth + 1, give=give) for item in items]]}
    if issubclass(kind, numpy.generic) and _DTYPE.fullmatch(value.dtype.str) and value.dtype.kind in "biufcUS":
        return {"__npscalar__": [value.dtype.str, plain.encode(value.item(), depth + 1)]}
    return None


def _pandas(value: Any, depth: int, give: Give | None) -> Any:
    pandas = sys.modules["pandas"]
    if issubclass(type(value), pandas.Series):
        return {"__series__": [_labels(value.index, depth), _label(value.name, depth), _column(value, depth, give)]}
    if issubclass(type(value), pandas.DataFrame):
        columns = [_column(value.iloc[:, number], depth, give) for number in range(value.shape[1])]
        return {"__frame__": [_labels(value.index, depth), _labels(value.columns, depth), columns]}
    return None


def _column(series: Any, depth: int, give: Give | None) -> Any:
    return [str(series.dtype), plain.encode(series.tolist(), depth + 1, give=give)]


def _labels(index: Any, depth: int) -> Any:
    return [plain.encode(index.tolist(), depth + 1), _label(index.name, depth)]


def _label(name: Any, depth: int) -> Any:
    return plain.encode(name, depth + 1)


def _plain_array(content: Any, depth: int, take: Take | None) -> Any:
    """Return an array as nested lists."""
    _, shape, items = content
    flat = _items(items, depth, take)
    if not (type(shape) is list and all(type(size) is int and size >= 0 for size in shape) and len(shape) <= 32):
        raise ValueError("not a shape")
    if math.prod(shape) != len(flat):
        raise ValueError("not a shape of so many items")
    if not flat and math.prod(filter(None, shape)) > MAX_EMPTY_ROWS:
        raise ValueError("too many rows of nothing")
    for length in reversed(shape[1:]):
        flat = [flat[start : start + length] for start in range(0, len(flat), length)] if length else [[]] * shape[0]
    return flat if shape else flat[0]


def _plain_series(content: Any, depth: int, take: Take | None) -> Any:
    (labels, _), _, (_, items) = content
    return dict(zip(_items(labels, depth, take), _items(items, depth, take), strict=True))


def _plain_frame(content: Any, depth: int, take: Take | None) -> Any:
    _, (labels, _), columns = content
    return {name: _items(items, depth, take) for name, (_, items) in zip(_items(labels, depth, take), columns, strict=True)}


def _build_array(content: Any) -> Any:
    import numpy

    dtype, shape, items = content
    if type(dtype) is not str or not _DTYPE.fullmatch(dtype):
        raise ValueError("not a type of arrays")
    flat = [plain.decode(item, 1, take=take_arrays) for item in items]
    if dtype.lstrip("<>|=")[0] in "mM":
        return numpy.array(flat, "i8").astype(dtype).reshape(shape)
    array = numpy.empty(len(flat), dtype)
    for number, item in enumerate(flat):  # numpy.array would make items that are lists a dimension
        array[number] = item
    return array.reshape(shape)


def _build_scalar(content: Any) -> Any:
    import numpy

    dtype, item = content
    if type(dtype) is not str or not _DTYPE.fullmatch(dtype):
        raise ValueError("not a type of numbers")
    return numpy.dtype(dtype).type(plain.decode(item))


def _build_series(content: Any) -> Any:
    import pandas  # type: ignore[import-untyped]

    (labels, index_name), name, column = content
    index = pandas.Index(plain.decode(labels, 1, take=take_arrays), name=plain.decode(index_name))
    return _restored(column, index, plain.decode(name))


def _build_frame(content: Any) -> Any:
    import pandas

    (labels, index_name), (names, names_name), columns = content
    index = pandas.Index(plain.decode(labels, 1, take=take_arrays), name=plain.decode(index_name))
    series = [_restored(column, index, None) for column in columns]
    frame = pandas.concat(series, axis=1) if series else pandas.DataFrame(index=index)
    frame.columns = pandas.Index(plain.decode(names, 1, take=take_arrays), name=plain.decode(names_name))
    return frame


def _restored(column: Any, index: Any, name: Any) -> Any:
    import pandas

    dtype, items = column
    series = pandas.Series(plain.decode(items, 1, take=take_arrays), index=index, name=name, dtype=object)
    return series.astype(dtype) if type(dtype) is str and len(dtype) < 80 else series


# --- SymPy ----------------------------------------------------------------------------------------------------------------------

_SINGLETONS = frozenset((
    *("Pi", "Exp1", "ImaginaryUnit", "Infinity", "NegativeInfinity", "ComplexInfinity", "NaN", "GoldenRatio", "EulerGamma"),
    *("Catalan", "TribonacciConstant", "EmptySet", "UniversalSet", "Reals", "Integers", "Naturals", "Naturals0", "Rationals"),
    *("Complexes", "BooleanTrue", "BooleanFalse"),
))  # fmt: skip


def _sympy(value: Any, depth: int, _give: Give | None) -> Any:
    """Return an expression as its tree: the name of each node's class, and its arguments. Never its text, which only `eval` could read."""
    sympy = sys.modules["sympy"]
    if issubclass(type(value), sympy.MatrixBase):
        trees = [_tree_of(entry, depth + 2) for entry in value.flat()]
        return None if None in trees else {"__sympy__": ["Matrix", value.rows, value.cols, *trees]}
    if not issubclass(type(value), sympy.Basic):
        return None
    tree = _tree_of(value, depth + 1)
    return None if tree is None else {"__sympy__": tree}


def _tree_of(node: Any, depth: int) -> list[Any] | None:
    """Return the tree of an expression; None where a part of it has no copy."""
    if depth > plain.MAX_DEPTH:
        raise plain.NotPlainData(f"nested more than {plain.MAX_DEPTH} deep")
    sympy, kind = sys.modules["sympy"], type(node)
    if issubclass(kind, sympy.Rational):
        return ["Rational", plain.encode(int(node.p)), plain.encode(int(node.q))]
    if kind is sympy.Float:
        sign, mantissa, exponent, _ = node._mpf_
        return ["Float", plain.encode((-1) ** sign * int(mantissa)), int(exponent), int(node._prec)]
    if kind is sympy.Symbol:
        return [
            "Symbol",
            plain.encode(node.name),
            {name: holds for name, holds in node.assumptions0.items() if holds is not None},
        ]
    if kind.__name__ in _SINGLETONS:
        return ["S", kind.__name__]
    undefined = isinstance(kind, sympy.core.function.UndefinedFunction)
    if not node.args or not (undefined or _sympy_class(kind.__name__) is kind):
        return None
    trees = [_tree_of(argument, depth + 1) if isinstance(argument, sympy.Basic) else None for argument in node.args]
    return None if None in trees else ["Function" if undefined else "", kind.__name__, *trees]


def _sympy_class(name: Any) -> Any:
    sympy = sys.modules["sympy"]
    if name == "ExprCondPair":  # of a Piecewise
        return sympy.functions.elementary.piecewise.ExprCondPair
    found = getattr(sympy, name, None) if name in sympy.__all__ else None
    return found if isinstance(found, type) and issubclass(found, sympy.Basic) else None


def _build_sympy(content: Any) -> Any:
    import sympy

    if content[0] == "Matrix":
        return sympy.Matrix(_whole(content[1]), _whole(content[2]), [_node_of(tree, 2) for tree in content[3:]])
    return _node_of(content, 1)


def _node_of(tree: Any, depth: int) -> Any:
    sympy = sys.modules["sympy"]
    if depth > plain.MAX_DEPTH or type(tree) is not list:
        raise ValueError("not a tree")
    kind, *rest = tree
    if kind == "Rational":
        top, bottom = (
            _whole(plain.decode(number), MAX_FRACTION_BITS if rest[1] != 1 else plain.MAX_INTEGER_BITS) for number in rest
        )
        if bottom < 1:
            raise ValueError("not a fraction")
        return sympy.Rational(top, bottom) if bottom != 1 else sympy.Integer(top)
    if kind == "Float":
        mantissa, exponent, precision = (_whole(plain.decode(number), 20_000) for number in rest)
        if abs(exponent) > MAX_EXPONENT or not 0 < precision <= MAX_EXPONENT:
            raise ValueError("too large")
        from mpmath.libmp import from_man_exp

        return sympy.Float._new(from_man_exp(mantissa, exponent), precision, zero=False)
    if kind == "Symbol":
        name, assumptions = rest
        if type(name) is not str or not all(type(holds) is bool for holds in assumptions.values()):
            raise ValueError("not a symbol")
        return sympy.Symbol(plain.encode(name), **assumptions)
    if kind == "S":
        if rest[0] not in _SINGLETONS:
            raise ValueError("not a constant")
        return getattr(sympy.S, {"BooleanTrue": "true", "BooleanFalse": "false"}.get(rest[0]) or rest[0])
    name, *trees = rest
    arguments = [_node_of(argument, depth + 1) for argument in trees]
    if kind == "Function":
        if type(name) is not str or not name.isidentifier():
            raise ValueError("not a function")
        return sympy.Function(name)(*arguments)
    build = _sympy_class(name)
    if kind != "" or build is None or not arguments:
        raise ValueError("not a class of expressions")
    try:
        return build(*arguments, **({} if build is sympy.Poly else {"evaluate": False}))  # it was evaluated where it was made
    except TypeError:
        return build(*arguments)


def _whole(number: Any, bits: int = 20) -> int:
    if type(number) is not int or number.bit_length() > bits:
        raise ValueError("not such an integer")
    return number


def _plain_sympy(content: Any, _depth: int, _take: Take | None) -> Any:
    """Return a number of SymPy's as one of Python's. Where an expression is expected, a test has to be an assertion."""
    kind, *rest = content
    numbers = [plain.decode(number) for number in rest]
    if kind == "Rational" and numbers[1] == 1:
        return _whole(numbers[0], plain.MAX_INTEGER_BITS)
    if kind == "Rational":
        return _decode_fraction(rest, 0, None)
    if kind == "Float":
        return math.ldexp(_whole(numbers[0], 1000), _whole(numbers[1]))
    if kind == "S" and numbers[0] in ("BooleanTrue", "BooleanFalse"):
        return numbers[0] == "BooleanTrue"
    raise plain.NotPlainData("an expression of SymPy's, where a value is expected")


_LIBRARIES: tuple[tuple[str, Callable[[Any, int, Give | None], Any]], ...] = (
    ("fractions", _fraction),
    ("decimal", _decimal),
    ("datetime", _dates),
    ("pathlib", _path),
    ("numpy", _numpy),
    ("pandas", _pandas),
    ("sympy", _sympy),
)


def _encode_float(value: Any) -> Any:
    number = plain.encode(float.__float__(value))
    return {"__npscalar__": [value.dtype.str, number]} if type(value).__module__ == "numpy" else number


_ENCODERS: tuple[tuple[Any, Encoder], ...] = (
    (str, _without_depth(lambda value: plain.encode(str.__str__(value)))),
    (int, _without_depth(lambda value: plain.encode(int.__int__(value)))),
    (list, _encode_list),
    (dict, _encode_dict),
    (tuple, _encode_tuple),
    (set, _items_as("__set__", set)),
    (frozenset, _items_as("__frozenset__", frozenset)),
    (bytes, _without_depth(lambda value: {"__bytes__": bytes.hex(value)})),
    (bytearray, _without_depth(lambda value: {"__bytearray__": bytearray.hex(value)})),
    (complex, _without_depth(_encode_complex)),
    (float, _without_depth(_encode_float)),
    (range, _without_depth(_encode_range)),
    (slice, _encode_slice),
    (deque, _encode_deque),
    (type({}.keys()), _encode_view("keys")),
    (type({}.values()), _encode_view("values")),
    (type({}.items()), _encode_view("items")),
    (type(...), _without_depth(lambda _: {"__ellipsis__": None})),
)


def _content_alone(decoder: Callable[[Any], Any]) -> Callable[[Any, int, Take | None], Any]:
    return lambda content, _depth, _take: decoder(content)


_DECODERS: dict[str, Callable[[Any, int, Take | None], Any]] = {
    "__complex__": _decode_complex,
    "__range__": _decode_range,
    "__slice__": _decode_slice,
    "__bytearray__": _content_alone(lambda content: bytearray.fromhex(content)),
    "__ellipsis__": _content_alone(lambda _: ...),
    "__type__": _content_alone(lambda content: BUILTIN_TYPES[content]),
    "__view__": _decode_view,
    "__counter__": lambda content, depth, take: Counter(dict(plain.decode_pairs(content, depth, take))),
    "__ordereddict__": lambda content, depth, take: OrderedDict(plain.decode_pairs(content, depth, take)),
    "__defaultdict__": _decode_defaultdict,
    "__deque__": _decode_deque,
    "__namedtuple__": _decode_namedtuple,
    "__fraction__": _decode_fraction,
    "__decimal__": _decode_decimal,
    "__date__": _iso("date"),
    "__time__": _iso("time"),
    "__datetime__": _iso("datetime"),
    "__timedelta__": _decode_timedelta,
    "__path__": _decode_path,
    "__ndarray__": _plain_array,
    "__npscalar__": _content_alone(lambda content: plain.decode(content[1])),
    "__series__": _plain_series,
    "__frame__": _plain_frame,
    "__sympy__": _plain_sympy,
}
_BUILDERS: dict[str, Callable[[Any], Any]] = {
    "__ndarray__": _build_array,
    "__npscalar__": _build_scalar,
    "__series__": _build_series,
    "__frame__": _build_frame,
    "__sympy__": _build_sympy,
}
