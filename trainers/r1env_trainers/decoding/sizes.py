"""The numbers of rows that CUDA graphs are made for."""

from __future__ import annotations


def graph_size(rows: int) -> int:
    """The least size a graph is made for that holds so many rows: powers of two from 8 on, and the middles between them."""
    size = 8
    while size < rows:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


def graph_sizes(most: int) -> list[int]:
    """All sizes up to the one that holds `most` rows, ascending."""
    sizes = [graph_size(1)]
    while sizes[-1] < most:
        sizes.append(graph_size(sizes[-1] + 1))
    return sizes
