"""Procedural tasks and their checkers. Each module holds one family of tasks and its reward; `answers` holds the rewards they share."""

__all__ = ["__version__"]

__version__ = "0.1.0"
