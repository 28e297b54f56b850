"""Plain data: what may cross the border of a sandbox, and in which form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env_sandbox.harness import plain

hashable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=8,
)
values = st.recursive(
    hashable | st.sets(hashable, max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(hashable, inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)
tagged = st.dictionaries(st.sampled_from(["__tuple__", "__set__", "__dict__", "__bytes__", "a"]), hashable, max_size=2)


@given(values | tagged)
def test_a_value_comes_back_as_it_was(value):
    line = plain.dumps(plain.encode(value))
    assert "\n" not in line
    assert plain.canonical(plain.decode(plain.loads(line))) == plain.canonical(value)


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
    ("one", "other"), [(1, True), (1, 1.0), ([1], (1,)), ({1}, frozenset({1})), ({1: 2}, {1.0: 2}), (b"a", "a")]
)
def test_values_that_python_calls_equal_are_not_the_same(one, other):
    assert plain.canonical(one) != plain.canonical(other)


@pytest.mark.parametrize(
    ("one", "other"), [({1, 2}, {2, 1}), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), (0.0, -0.0), ({2: 1, "x": 0}, {"x": 0, 2: 1})]
)
def test_an_order_that_means_nothing_makes_no_difference(one, other):
    assert plain.canonical(one) == plain.canonical(other)


class Liar(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


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
        float("nan"),
        float("inf"),
        object(),
        Liar(1),
        [Liar(1)],
        {Liar(1): 1},
        10**5000,
        "\ud800",
        {"\udfff": 1},
        nested(200),
        circular,
        range(3),
        1j,
        open,
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
        "1" * 10_000, "1e999", "[" * 100 + "]" * 100,
    ],
    ids=lambda line: line[:20],
)  # fmt: skip
def test_what_is_no_plain_data_is_refused_when_it_comes_in(line):
    with pytest.raises(plain.NotPlainData):
        plain.decode(plain.loads(line))
