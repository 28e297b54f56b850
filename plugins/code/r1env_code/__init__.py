"""The code reward: programs that a model wrote, judged by tests in a sandbox."""

from r1env_code.version import __version__

__all__ = ["__version__"]
