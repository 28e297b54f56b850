"""Engines make completions. The interface is in `base`; `scripted` needs no model; plugins bring the others."""

from r1env.engines.base import Engine, Sampling

__all__ = ["Engine", "Sampling"]
