"""Procedural tasks and their checkers. Each module holds one family of tasks and its reward; `answers` holds the rewards they share."""

from r1env.moved import redirect

__all__ = ["__version__"]

__version__ = "0.1.0"

redirect({"r1env_logic.countdown_search": "r1env_logic.demonstrators"})
