"""Procedural tasks and their checkers. Each module holds one family: its source, and its reward where it needs its own."""

__all__ = ["__version__"]

__version__ = "0.1.0"
