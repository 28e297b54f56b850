"""The sizes that CUDA graphs are made for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from r1env_trainers.generate.cache import graph_size, graph_sizes


def test_sizes_are_powers_of_two_and_the_middles_between_them():
    assert [graph_size(rows) for rows in (1, 8, 9, 13, 17, 25, 1000, 1024, 1025)] == [8, 8, 12, 16, 24, 32, 1024, 1024, 1536]


@given(st.integers(1, 100_000))
def test_a_graph_holds_its_rows_and_wastes_at_most_a_third(rows):
    assert rows <= graph_size(rows) <= max(8, 1.5 * rows)


@given(st.integers(1, 10_000))
def test_the_list_of_sizes_ends_where_the_most_rows_fit(most):
    sizes = graph_sizes(most)
    assert sizes[-1] == graph_size(most)
    assert all(graph_size(size) == size for size in sizes)
    assert sizes == sorted(set(sizes))
