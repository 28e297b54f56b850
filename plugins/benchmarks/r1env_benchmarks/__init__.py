"""Benchmarks as environments: each reads a local JSON-lines file or a dataset of the hub."""

__version__ = "0.1.0"


__all__ = ["__version__"]
