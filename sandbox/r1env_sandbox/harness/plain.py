"""Values as JSON, with tags for what JSON has no word for. The only form in which values enter or leave a sandbox; never pickle.

This file holds the built-in types, and `kinds` those of the standard library and NumPy. A value that comes out is a copy made of
types that are known here: whatever its author overrides stays behind. Standard library only: the file runs on both sides.
"""

from __future__ import annotations

import json
import math
import re  # json has it already

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` would cost every call test three milliseconds
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    Give = Callable[[Any], dict[str, Any]]
    Take = Callable[[str, Any], Any]

MAX_DEPTH = 64
MAX_COLLISIONS = 1000
MAX_INTEGER_BITS = 4 << 20  # 1.2 million digits
JSON_DIGITS = 4000  # Python refuses to read or to print longer integers; they travel in hexadecimal
_JSON_BITS = int(JSON_DIGITS * 3.3)
_CONTAINERS = {"__tuple__": tuple, "__set__": set, "__frozenset__": frozenset}
KINDS = frozenset((
    *("__complex__", "__range__", "__slice__", "__bytearray__", "__ellipsis__", "__type__", "__view__"),
    *("__counter__", "__ordereddict__", "__defaultdict__", "__deque__", "__namedtuple__", "__fraction__", "__decimal__"),
    *("__date__", "__time__", "__datetime__", "__timedelta__", "__path__", "__ndarray__", "__npscalar__", "__frame__", "__series__"),
    "__sympy__",
))  # fmt: skip
"""Tags of `kinds`."""
OBJECTS = frozenset(("__mine__", "__yours__", "__record__"))
"""Tags of `border`, for objects that have no copy. Refused wherever a value is expected."""
TAGS = frozenset((*_CONTAINERS, "__bytes__", "__dict__", "__int__", "__float__", *KINDS, *OBJECTS))


class NotPlainData(ValueError):  # noqa: N818 - the field's own word for it
    """A value that has no copy here: another type, one nested too deeply, a number that is too long, or a lone surrogate."""


def encode(value: Any, depth: int = 0, *, tagged: bool = False, give: Give | None = None) -> Any:
    """Return a value as something that `json.dumps` takes.

    Instances of subclasses are copied as the built-in type that they extend: a subclass may lie about itself.

    Args:
        tagged: the value may hold tagged objects already, which are kept.
        give: names an object that has no copy; None refuses it.

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
            raise NotPlainData("a text with a lone surrogate in it") from error
        return value
    if kind is int:
        if value.bit_length() <= _JSON_BITS:
            return value
        if value.bit_length() > MAX_INTEGER_BITS:
            raise NotPlainData(f"an integer of more than {MAX_INTEGER_BITS} bits")
        return {"__int__": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"__float__": repr(value)}
    if kind is list:
        return [encode(item, depth + 1, tagged=tagged, give=give) for item in value]
    if kind is dict:
        is_tag = len(value) == 1 and next(iter(value)) in TAGS
        if all(type(key) is str for key in value) and (tagged or not is_tag):
            return {encode(key): encode(item, depth + 1, tagged=tagged, give=give) for key, item in value.items()}
        return {"__dict__": encode_pairs(value.items(), depth, give)}
    if kind is bytes:
        return {"__bytes__": value.hex()}
    for tag, container in _CONTAINERS.items():
        if kind is container:
            return {tag: [encode(item, depth + 1, tagged=tagged, give=give) for item in value]}
    encoded: Any = _kinds().encode(value, depth, give)
    return encoded


def encode_pairs(items: Any, depth: int, give: Give | None) -> list[list[Any]]:
    """Return the items of a dict as a list of pairs."""
    return [[encode(key, depth + 1, give=give), encode(item, depth + 1, give=give)] for key, item in items]


def decode(value: Any, depth: int = 0, *, take: Take | None = None) -> Any:
    """Return the value that `encode` was given, from what `json.loads` returns.

    Args:
        take: given a tag and its content, returns an object, or None where it knows no better than this function.

    Raises:
        NotPlainData: a tag holds something else than it says, or `encode` would have refused the value.
    """
    if depth > MAX_DEPTH:
        raise NotPlainData(f"nested more than {MAX_DEPTH} deep")
    if type(value) is list:
        return [decode(item, depth + 1, take=take) for item in value]
    if type(value) is not dict:
        encode(value)
        return value
    if len(value) != 1 or (tag := next(iter(value))) not in TAGS:
        for key in value:
            encode(key)
        return {key: decode(item, depth + 1, take=take) for key, item in value.items()}
    content = value[tag]
    if take is not None and (taken := take(tag, content)) is not None:
        return taken
    try:
        if tag == "__bytes__":
            return bytes.fromhex(content)
        if tag == "__int__":
            return _integer_of_hex(content)
        if tag == "__float__":
            return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[content]
        if tag == "__dict__":
            return dict(decode_pairs(content, depth, take))
        if tag in _CONTAINERS:
            if type(content) is not list:
                raise TypeError("not a list")
            items = [decode(item, depth + 1, take=take) for item in content]
            return _CONTAINERS[tag](items if tag == "__tuple__" else spread(items))
        if tag in KINDS:
            return _kinds().decode(tag, content, depth, take)
    except NotPlainData:
        raise
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, MemoryError, RecursionError) as error:
        raise NotPlainData(f"{tag} holds something else") from error
    raise NotPlainData("an object where a value is expected")


def decode_pairs(content: Any, depth: int, take: Take | None) -> list[tuple[Any, Any]]:
    """Return the items of a dict from `encode_pairs`.

    Raises:
        TypeError, ValueError: they are no pairs.
    """
    if type(content) is not list:
        raise TypeError("not a list")
    pairs = [(decode(key, depth + 1, take=take), decode(item, depth + 1, take=take)) for key, item in content]
    spread([key for key, _ in pairs])
    return pairs


def spread(keys: list[Any]) -> list[Any]:
    """Return keys that a set or dict can be made of in linear time.

    Raises:
        NotPlainData: more than `MAX_COLLISIONS` of them have the hash of another: 50,000 such integers take half a minute.
        TypeError: one of them has none.
    """
    if len(keys) > MAX_COLLISIONS and len(keys) - len({hash(key) for key in keys}) > MAX_COLLISIONS:
        raise NotPlainData("a set or dict whose keys have the same hash")
    return keys


def dumps(value: Any) -> str:
    """Return one line of JSON in ASCII."""
    return json.dumps(value, allow_nan=False)


def loads(line: str | bytes) -> Any:
    """Return what a line of JSON says; the tags are still in it. Integers may be of any length that `encode` takes.

    Raises:
        NotPlainData: it is no JSON, or says NaN or Infinity (`{"__float__": "inf"}` is how to say those).
    """
    try:
        return json.loads(line, parse_constant=_refuse_constant, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise NotPlainData(f"not JSON: {clean(str(error))[:100]}") from error


def clean(text: str, characters: int = 300) -> str:
    """Return the beginning of a text in one line that can be written anywhere: lone surrogates are replaced."""
    return " ".join(text[: 4 * characters].encode("utf-8", "replace").decode().split())[:characters]


def canonical(value: Any) -> str:
    """Return a text that two values share exactly when they have the same types and contents."""
    return json.dumps(_ordered(encode(value)), sort_keys=True)


def is_pytest_file(name: str) -> bool:
    """Return whether pytest looks for tests in a file of this name."""
    return bool(re.fullmatch(r"(?:.*/)?(?:test_[^/]*|[^/]*_test)\.py", name))


def _kinds() -> ModuleType:
    """Return the rarer types: most tests never load them."""
    if __name__ == "r1env_plain":
        import r1env_kinds as kinds  # type: ignore[import-not-found]  # as it is called in a container
    else:
        from r1env_sandbox.harness import kinds
    return kinds  # type: ignore[no-any-return]


def _integer(digits: str) -> int:
    if len(digits) <= JSON_DIGITS:
        return int(digits)
    if len(digits) > MAX_INTEGER_BITS // 4:
        raise ValueError(f"an integer of {len(digits)} digits")
    from decimal import Decimal  # knows no limit, and takes less than quadratic time

    return int(Decimal(digits))


def _integer_of_hex(content: Any) -> int:
    if type(content) is not str or len(content) > MAX_INTEGER_BITS // 4 + 3:
        raise ValueError("not an integer")
    return int(content, 16)


def _ordered(value: Any) -> Any:
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if isinstance(value, dict):
        members = {key: _ordered(item) for key, item in value.items()}
        for tag in ("__set__", "__frozenset__", "__dict__", "__counter__", "__defaultdict__"):
            if list(members) == [tag]:
                members[tag] = sorted(members[tag], key=lambda item: json.dumps(item, sort_keys=True))
        return members
    return value + 0.0 if isinstance(value, float) else value  # -0.0 is 0.0


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a finite number")
