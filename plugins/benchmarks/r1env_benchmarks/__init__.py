"""Benchmarks as environments: each reads a local JSON-lines file or a dataset of the hub."""

from r1env_benchmarks.version import __version__

__all__ = ["__version__"]
