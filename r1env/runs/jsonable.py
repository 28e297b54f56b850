"""JSON that holds whatever a model wrote and whatever a metric became."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON in ASCII, since a model's text may hold lone surrogates; on one line unless `indent` is given.

    NaN and infinities become `null`; numbers of NumPy or torch are taken as numbers.
    """
    return json.dumps(json_ready(value), ensure_ascii=True, allow_nan=False, indent=indent)


def json_ready(value: Any) -> Any:
    """The value with plain numbers only, None where one is not finite.

    Raises:
        TypeError: something in it is neither a container, a text nor a number.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | int) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return json_ready(float(value))
