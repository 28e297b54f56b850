"""An example plugin with one of everything. Start reading at `plugin.py`."""

__version__ = "0.1.0"
