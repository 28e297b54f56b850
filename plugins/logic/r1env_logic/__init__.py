"""Procedural tasks and their checkers. Each module holds one family: its source, and its reward where it needs its own."""

from r1env_logic.version import __version__

__all__ = ["__version__"]
