"""The code reward: programs that a model wrote, judged by tests in a sandbox."""

__version__ = "0.1.0"


__all__ = ["__version__"]
