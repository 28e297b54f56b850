"""Plain data as JSON, with tags for what JSON has no word for. The only form in which values leave or enter a sandbox; never pickle.

Standard library only: this file runs on both sides.
"""

from __future__ import annotations

import json
import math
import re  # json has it already

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` would cost every call test three milliseconds
    from typing import Any

MAX_DEPTH = 64
MAX_DIGITS = 4000  # Python reads no longer integer from text
_CONTAINERS = {"__tuple__": tuple, "__set__": set, "__frozenset__": frozenset}
_TAGS = frozenset((*_CONTAINERS, "__bytes__", "__dict__"))


class NotPlainData(ValueError):  # noqa: N818 - the field's own word for it
    """A value that is not plain data: another type, nan or an infinity, nested too deeply, a number that is too long, or half a
    character (a lone surrogate)."""


def encode(value: Any, depth: int = 0, tagged: bool = False) -> Any:
    """A value as something that `json.dumps` takes. Exact types only: a subclass may lie about itself.

    Args:
        tagged: the value may hold tagged objects already, and they stay as they are.

    Raises:
        NotPlainData: see there.
    """
    if depth > MAX_DEPTH:
        raise NotPlainData(f"nested more than {MAX_DEPTH} deep")
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise NotPlainData("a text with half a character in it") from error
        return value
    if kind is int:
        if value.bit_length() > MAX_DIGITS * 3.3:
            raise NotPlainData(f"an integer of more than {MAX_DIGITS} digits")
        return value
    if kind is float:
        if not math.isfinite(value):
            raise NotPlainData(f"{value} is not a finite number")
        return value
    if kind is list:
        return [encode(item, depth + 1, tagged) for item in value]
    if kind is dict:
        is_tag = len(value) == 1 and next(iter(value)) in _TAGS
        if all(type(key) is str for key in value) and (tagged or not is_tag):
            return {encode(key): encode(item, depth + 1, tagged) for key, item in value.items()}
        return {"__dict__": [[encode(key, depth + 1), encode(item, depth + 1, tagged)] for key, item in value.items()]}
    if kind is bytes:
        return {"__bytes__": value.hex()}
    for tag, container in _CONTAINERS.items():
        if kind is container:
            return {tag: [encode(item, depth + 1, tagged) for item in value]}
    raise NotPlainData(f"a value of the type {kind.__name__[:80]} is not plain data")


def decode(value: Any, depth: int = 0) -> Any:
    """The value that `encode` was given, from what `json.loads` returns.

    Raises:
        NotPlainData: a tag holds something else than it says, or `encode` would have refused the value.
    """
    if depth > MAX_DEPTH:
        raise NotPlainData(f"nested more than {MAX_DEPTH} deep")
    if type(value) is list:
        return [decode(item, depth + 1) for item in value]
    if type(value) is not dict:
        return encode(value)
    if len(value) == 1 and next(iter(value)) in _TAGS:
        ((tag, content),) = value.items()
        try:
            if tag == "__bytes__":
                return bytes.fromhex(content)
            items = [decode(item, depth + 1) for item in content]
            if tag == "__dict__":
                return {key: item for key, item in items}  # noqa: C416 - checks that they are pairs
            return _CONTAINERS[tag](items)
        except (TypeError, ValueError) as error:
            raise NotPlainData(f"{tag} holds something else") from error
    return {key: decode(item, depth + 1) for key, item in value.items()}


def dumps(value: Any) -> str:
    """One line of JSON in ASCII."""
    return json.dumps(value, allow_nan=False)


def loads(line: str | bytes) -> Any:
    """What a line of JSON says; the tags are still in it.

    Raises:
        NotPlainData: it is no JSON, or says nan.
    """
    try:
        return json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise NotPlainData(f"not JSON: {str(error)[:100]}") from error


def canonical(value: Any) -> str:
    """A text that two plain values share exactly when they have the same types and contents."""
    return json.dumps(_ordered(encode(value)), sort_keys=True)


def is_pytest_file(name: str) -> bool:
    """Whether pytest looks for tests in a file of this name."""
    return bool(re.fullmatch(r"(?:.*/)?(?:test_[^/]*|[^/]*_test)\.py", name))


def _ordered(value: Any) -> Any:
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if isinstance(value, dict):
        members = {key: _ordered(item) for key, item in value.items()}
        for tag in ("__set__", "__frozenset__", "__dict__"):
            if list(members) == [tag]:
                members[tag] = sorted(members[tag], key=lambda item: json.dumps(item, sort_keys=True))
        return members
    return value + 0.0 if isinstance(value, float) else value  # -0.0 is 0.0


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a finite number")
