"""Writes new plugins: `new_plugin` makes a complete, installable distribution with tests."""

from r1env.scaffold.new_plugin import KINDS, new_plugin

__all__ = ["KINDS", "new_plugin"]
