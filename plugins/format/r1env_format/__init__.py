"""Format rewards for reasoning models."""

from r1env_format.reward import Format
from r1env_format.version import __version__

__all__ = ["Format", "__version__"]
