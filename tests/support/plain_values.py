"""Values that may cross the border of a sandbox, for property tests."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque, namedtuple

from hypothesis import strategies as st

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
rich = st.one_of(
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.fractions(),
    st.decimals(allow_nan=False),
    st.dates() | st.times() | st.datetimes() | st.timedeltas(),
    st.integers(min_value=10**4000, max_value=10**4400),
    st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 3)),
    st.lists(hashable, max_size=3).map(deque),
    st.lists(st.text(max_size=2), max_size=5).map(Counter),
    st.dictionaries(hashable, hashable, max_size=3).map(OrderedDict),
    st.dictionaries(hashable, hashable, max_size=3).map(lambda items: defaultdict(list, items)),
    st.lists(hashable, max_size=3).map(lambda items: dict.fromkeys(items).keys()),
    st.binary().map(bytearray),
    st.builds(namedtuple("Pair", "left right"), hashable, hashable),
)
