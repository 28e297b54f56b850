"""The command `r1env view`: a local page over runs and evaluations."""

__version__ = "0.1.0"
