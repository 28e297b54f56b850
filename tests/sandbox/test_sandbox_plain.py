"""Plain data: what may cross the border of a sandbox, and in which form."""

from __future__ import annotations

import contextlib
import json
from collections import Counter, deque
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_values import hashable, rich, values

from r1env_sandbox.harness import kinds, plain

tagged = st.dictionaries(st.sampled_from(["__tuple__", "__set__", "__dict__", "__bytes__", "a"]), hashable, max_size=2)


@given(values | tagged)
def test_a_value_comes_back_as_it_was(value):
    line = plain.dumps(plain.encode(value))
    assert "\n" not in line
    assert plain.canonical(plain.decode(plain.loads(line))) == plain.canonical(value)


@given(rich | st.lists(rich, max_size=3) | st.dictionaries(st.text(), rich, max_size=3))
def test_a_value_of_the_standard_library_comes_back_as_an_equal_one(value):
    copy = plain.decode(plain.loads(plain.dumps(plain.encode(value))))
    assert copy == value
    assert getattr(type(copy), "_fields", type(copy)) == getattr(type(value), "_fields", type(value))


@given(values, values)
def test_two_values_are_the_same_only_with_the_same_types(one, other):
    if plain.canonical(one) == plain.canonical(other):
        assert type(one) is type(other)
        assert one == other


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_whatever_json_comes_in_is_decoded_or_refused(document):
    try:
        value = plain.decode(plain.loads(json.dumps(document)))
    except plain.NotPlainData:
        return
    plain.encode(value)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (1, 1.0), ([1], (1,)), ({1}, frozenset({1})), ({1: 2}, {1.0: 2}), (b"a", "a"), ({"a": 1}, Counter("a"))],
)
def test_values_that_python_calls_equal_are_not_the_same(one, other):
    assert plain.canonical(one) != plain.canonical(other)


@pytest.mark.parametrize(
    ("one", "other"), [({1, 2}, {2, 1}), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), (0.0, -0.0), ({2: 1, "x": 0}, {"x": 0, 2: 1})]
)
def test_an_order_that_means_nothing_makes_no_difference(one, other):
    assert plain.canonical(one) == plain.canonical(other)


def liar(base):
    """A class that is equal to everything, contains everything, and looks empty."""
    lies = {
        "__eq__": lambda self, other: True,
        "__hash__": lambda self: 0,
        "__iter__": lambda self: iter(()),
        "__len__": lambda self: 0,
    }
    lies |= {
        "__contains__": lambda self, item: True,
        "items": lambda self: (),
        "__str__": lambda self: "",
        "__int__": lambda self: 0,
    }
    return type("Liar", (base,), lies)


@pytest.mark.parametrize(
    "honest", [7, 0.5, "seven", (1, 2), [1, 2], {"a": 1}, {1, 2}, frozenset({1}), b"ab", Counter("ab"), deque([1])], ids=repr
)
def test_a_subclass_that_lies_about_itself_is_copied_as_what_it_extends(honest):
    copy = plain.decode(plain.encode(liar(type(honest))(honest)))
    assert type(copy) is type(honest)
    assert copy == honest
    assert copy != "anything"


@pytest.mark.parametrize(
    "value",
    [{tag: content} for tag in sorted(plain.TAGS) for content in (5, "x", [], {}, [[1, 2, 3]])] + [{"__set__": {"__set__": 5}}],
)
def test_a_dict_that_looks_like_a_tag_is_a_dict(value):
    assert plain.decode(plain.loads(plain.dumps(plain.encode(value)))) == value


def test_integers_of_any_length_are_read():
    assert plain.decode(plain.loads("-" + "9" * 20_000)) == 1 - 10**20_000


def test_keys_of_one_hash_are_refused_before_they_cost_a_minute():
    numbers = [number * ((1 << 61) - 1) for number in range(20_000)]
    for tag, content in (("__set__", numbers), ("__dict__", [[number, 0] for number in numbers])):
        with pytest.raises(plain.NotPlainData, match="same hash"):
            plain.decode({tag: content})


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


circular: list = []
circular.append(circular)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        [object()],
        {object: 1, open: 2},
        1 << (5 << 20),
        "\ud800",
        {"\udfff": 1},
        {("\udfff",): 1},
        nested(200),
        circular,
        iter([1]),
        (number for number in [1]),
        open,
        json,
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_refused(value):
    with pytest.raises(plain.NotPlainData):
        plain.encode(value)


@pytest.mark.parametrize(
    "line",
    [
        "NaN", "-Infinity", "", "{", "[" * 100_000, '{"__tuple__": 1}', '{"__set__": [[]]}', '{"__bytes__": "zz"}', '{"__dict__": [[1]]}',
        "1" * 2_000_000, "[" * 100 + "]" * 100, '{"__mine__": [0, "function", "f"]}', '{"__yours__": 0}', '{"__int__": "x"}',
        '{"__float__": "one"}', '{"__complex__": [1]}', '{"__decimal__": "1e999999999"}', '{"__fraction__": [1, 0]}', '{"__range__": [1, 2, 0]}',
        '{"__namedtuple__": ["P", ["__class__"], [1]]}', '{"__namedtuple__": ["P", ["x"], [1, 2]]}', '{"__defaultdict__": ["eval", []]}',
        '{"__type__": "type"}', '{"__view__": ["items", [1]]}', '{"__deque__": [[], -1]}', '{"__ndarray__": ["<i8", [3], [1]]}',
        '{"__date__": "2020-13-01"}', '{"__counter__": [[[], 1]]}', '{"__set__": {"a": 1}}',
    ],
    ids=lambda line: line[:20],
)  # fmt: skip
def test_what_is_no_plain_data_is_refused_when_it_comes_in(line):
    with pytest.raises(plain.NotPlainData):
        plain.decode(plain.loads(line))


EXPRESSIONS = (
    "x**2 + 2*x*y + 1", "sin(x)/y", "Rational(1, 3)", "pi*E**x", "sqrt(2)", "oo", "-oo", "zoo", "3*I", "pi.evalf(30)", "Float(0)",
    "Eq(x, 2)", "x < y", "Matrix([[1, x], [y, 2]])", "FiniteSet(1, 2)", "Interval(0, 1)", "Integral(x, (x, 0, 1))", "f(x) + p",
    "Derivative(f(x), x)", "Piecewise((x, x > 0), (0, True))", "true", "And(x > 1, y < 2)", "Integer(10)**50", "Poly(x**2 + 1, x)",
    "Lambda(x, x**2)", "series(sin(x), x, 0, 4)", "Mul(2, 3, evaluate=False)", "binomial(x, 2)", "Sum(1/x**2, (x, 1, oo))",
)  # fmt: skip


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_of_sympy_comes_back_as_an_equal_one(text):
    sympy = pytest.importorskip("sympy")
    names = {**vars(sympy), "f": sympy.Function("f"), "p": sympy.Symbol("p", positive=True)}
    x, y = sympy.symbols("x y")
    expression = eval(text, {**names, "x": x, "y": y})
    told = plain.loads(plain.dumps(plain.encode({"it": [expression]})))
    assert plain.decode(told, take=kinds.take_arrays) == {"it": [expression]}


@pytest.mark.parametrize(
    "tree",
    [
        ["", "sympify", ["S", "Pi"]], ["", "Symbol", ["S", "Pi"]], ["", "os", ["S", "Pi"]], ["", "__class__", ["S", "Pi"]], ["S", "register"],
        ["Function", "f(", ["S", "Pi"]], ["", "Add", "__import__('os')"], ["", "Add", ["Rational", 1, 0]], ["Rational", "1", 2], ["", "Add"],
        ["Symbol", "x", {"positive": "yes"}], ["Symbol", "x", {"positive": True, "negative": True}], ["Float", 1, 10**9, 53],
        ["Matrix", 10**9, 10**9], ["Matrix", 2, 2, ["S", "Pi"]], ["Float", 1, 1, 10**9], [], "x", {"a": 1}, [[]],
    ],
)  # fmt: skip
def test_a_tree_that_is_no_expression_is_refused(tree):
    pytest.importorskip("sympy")
    with pytest.raises(plain.NotPlainData):
        plain.decode({"__sympy__": tree}, take=kinds.take_arrays)
    with contextlib.suppress(plain.NotPlainData):  # some are numbers, where SymPy is not asked
        assert isinstance(plain.decode({"__sympy__": tree}), int | float)


def test_a_number_of_sympy_is_one_of_python_where_sympy_is_not_wanted():
    sympy = pytest.importorskip("sympy")
    numbers = [sympy.Integer(3), sympy.Rational(1, 2), sympy.Float(0.1), sympy.true]
    assert plain.decode(plain.encode(numbers)) == [3, Fraction(1, 2), 0.1, True]
