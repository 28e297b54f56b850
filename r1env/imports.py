"""Import strings: `module:attribute`, how plugins name things without importing them."""

from __future__ import annotations

import importlib
from typing import Any


def import_attribute(target: str) -> Any:
    """The object at `module:attribute`; the attribute may be dotted.

    Raises:
        ImportError: the module cannot be imported.
        AttributeError: it has no such attribute.
    """
    module_name, _, attribute = target.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found
