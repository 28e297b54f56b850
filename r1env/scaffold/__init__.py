"""Writes new plugins: `new_reward` makes a complete, installable distribution with tests."""

from r1env.scaffold.new_reward import new_reward

__all__ = ["new_reward"]
