"""Where tasks come from: `rows` (files and the hub), `layouts` (what their columns mean), `sources` (task sources, mixing and epochs)."""

from r1env.data.rows import ColumnMap, Row, Rows, read_rows

__all__ = ["ColumnMap", "Row", "Rows", "read_rows"]
