"""The reward `json_schema`: checks that the answer is one JSON document that is valid under a schema, not that the answer is right.

The library `jsonschema` does the validation. This module adds limits, because a model wrote the document and the schema may come from a
dataset: on size, depth and number of values, and on the time of matching patterns. References to other documents are never fetched.
If validation is slow nevertheless, the worker is killed.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import regex
from jsonschema import FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

import r1env
from r1env.prompts import END_TOKENS

MAX_CHARACTERS = 100_000  # of a document, and of a schema
MAX_DEPTH = 64
MAX_VALUES = 20_000  # in a document: members, items and scalars
MAX_DIGITS = 1_000  # of one number; Python's int() takes quadratic time
PATTERN_SECONDS = 0.1  # for one match; honest patterns take microseconds, exponential ones years


@r1env.reward(name="json_schema", isolation="process")
class JsonSchema:
    """Return 1 if the answer is one JSON document that is valid under the schema, 0 with the first fault otherwise.

    The document is the only `<answer>` block; without one, the only fenced block; without one, the whole response. JSON is read
    strictly (RFC 8259): no NaN, no comments, no name twice in one object.

    The schema is the option `schema`, else the task's metadata `schema` (an object, or its JSON text). There is no value
    (status `unparseable`) if there is none, if it is not a valid schema, or if it refers to another document. `format` is not
    checked, which is the default of JSON Schema.

    Args:
        schema: a schema, or the path of a JSON file with one.

    Example:
        >>> task = r1env.Task(id="t", prompt="A colour as JSON.", metadata={"schema": {"type": "object", "required": ["red"]}})
        >>> JsonSchema('<think>…</think>{"red": 255}', task).value
        1.0
    """

    def __init__(self, schema: Mapping[str, Any] | str | None = None) -> None:
        self._text = None if schema is None else _schema_of_option(schema)

    def __call__(self, completion: str, task: r1env.Task) -> r1env.Score:
        try:
            validator = _validator(self._text if self._text is not None else _schema_of_task(task))
        except _FaultError as fault:
            return r1env.Score.failure(r1env.Status.UNPARSEABLE, str(fault))
        text = document_of(completion)
        if text is None:
            reason = "there is no answer, or more than one answer block or fenced block"
            return r1env.Score(value=0.0, status=r1env.Status.NO_ANSWER, reason=reason)
        try:
            document = read_json(text)
        except _FaultError as fault:
            return r1env.Score(value=0.0, status=r1env.Status.UNPARSEABLE, reason=f"the answer {fault}")
        try:
            error = next(validator.iter_errors(document), None)
        except (_FaultError, Unresolvable, RecursionError) as fault:
            return r1env.Score.failure(r1env.Status.UNPARSEABLE, _fault_of_schema(fault))
        if error is None:
            return r1env.Score(value=1.0)
        return r1env.Score(value=0.0, status=r1env.Status.WRONG, reason=f"at {error.json_path[:80]}: {error.message[:200]}")


def _fault_of_schema(fault: Exception) -> str:
    if isinstance(fault, Unresolvable):
        return f"the schema refers to {_shown(fault.ref)}, which is not in it and is not fetched"
    return str(fault) if isinstance(fault, _FaultError) else "the schema refers to itself without end"


def document_of(completion: str) -> str | None:
    """Return the text of the document in a completion, or None if there is none, or not exactly one."""
    parsed = r1env.parse_response(completion)
    if "<answer>" in parsed.response or "</answer>" in parsed.response:
        text = parsed.answer or ""
    else:
        text = parsed.response
        for token in END_TOKENS:
            text = text.replace(token, "")
    parts = text.split("```")
    if len(parts) == 1:
        return text.strip() or None
    if len(parts) != 3:
        return None
    first, newline, rest = parts[1].partition("\n")
    return (rest if newline and first.strip().isalnum() else parts[1]).strip() or None


def read_json(text: str) -> Any:
    """Parse a JSON document strictly, within the bounds of this module.

    Raises:
        ValueError: it is too large, nested too deeply, or not JSON. The message completes "the answer …".
    """
    if len(text) > MAX_CHARACTERS:
        raise _FaultError(f"has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read")
    depth = deepest = values = 0
    in_string = escaped = False
    for char in text:  # before parsing: the parser is recursive
        if in_string:
            in_string = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
            values += 1
        elif char in "]}":
            depth -= 1
        elif char in ",:":
            values += 1
    if deepest > MAX_DEPTH:
        raise _FaultError(f"is nested {deepest} levels deep; at most {MAX_DEPTH} are read")
    if values > MAX_VALUES:
        raise _FaultError(f"has about {values:,} values; at most {MAX_VALUES:,} are read")
    try:
        return json.loads(
            text, parse_int=_integer, parse_float=_float, parse_constant=_refuse_constant, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        raise _FaultError(f"is not JSON: {error.msg} at character {error.pos}") from None


class _FaultError(ValueError):
    """A document or a schema cannot be used; the message says why."""


def _schema_of_option(schema: Mapping[str, Any] | str) -> str:
    if not isinstance(schema, str):
        text = json.dumps(schema)
    else:
        try:
            text = Path(schema).read_text("utf-8")
        except (OSError, ValueError) as error:
            raise r1env.UsageError(f"json_schema: cannot read the schema file {schema!r}: {error}") from error
    try:
        _validator(text)
    except _FaultError as fault:
        raise r1env.UsageError(f"json_schema: {fault}") from fault
    return text


def _schema_of_task(task: r1env.Task) -> str:
    schema = task.metadata.get("schema")
    if isinstance(schema, str):
        return schema
    if isinstance(schema, Mapping | bool):
        return json.dumps(schema)
    raise _FaultError("the task's metadata has no JSON schema under `schema`, and the option `schema` is not set")


@functools.lru_cache(maxsize=64)
def _validator(text: str) -> Validator:
    """Return a validator for the schema.

    Raises:
        _FaultError: the text is not a valid schema, or too large.
    """
    try:
        schema = read_json(text)
    except _FaultError as fault:
        raise _FaultError(f"the schema {fault}") from None
    if not isinstance(schema, dict | bool):
        raise _FaultError("the schema is neither an object nor true or false")
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema, format_checker=FormatChecker(()))  # patterns are not Python's
    except SchemaError as error:
        raise _FaultError(f"the schema is invalid at {error.json_path[:80]}: {error.message[:200]}") from None
    bounded = extend(kind, {name: check for name, check in _BOUNDED_KEYWORDS.items() if name in kind.VALIDATORS})
    made: Validator = bounded(schema, registry=Registry())  # an empty registry without a way to retrieve anything
    return made


# The keywords that are checked here and not by the library, which would match patterns without a limit and compare every item
# with every other. The signatures are the library's.


def _pattern(_: Validator, pattern: str, instance: object, __: object) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"{_shown(instance)} does not match {_shown(pattern)}")


def _pattern_properties(
    validator: Validator, patterns: Mapping[str, Any], instance: object, _: object
) -> Iterator[ValidationError]:
    for pattern, subschema in patterns.items():
        for name, value in instance.items() if isinstance(instance, dict) else ():
            if _matches(pattern, name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Validator, subschema: Any, instance: object, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, value in instance.items() if isinstance(instance, dict) else ():
        if name in known or any(_matches(pattern, name) for pattern in patterns):
            continue
        if subschema is False:
            yield ValidationError(f"the name {_shown(name)} is not allowed")
        else:
            yield from validator.descend(value, subschema, path=name)


def _unique_items(_: Validator, wanted: bool, instance: object, __: object) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list) and len({_canonical(item) for item in instance}) < len(instance):
        yield ValidationError("the items are not unique")


_BOUNDED_KEYWORDS = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}


def _matches(pattern: str, text: str) -> bool:
    """Return True if the pattern is found in the text within `PATTERN_SECONDS`; a match that takes longer counts as none."""
    try:
        return regex.search(pattern, text, timeout=PATTERN_SECONDS) is not None
    except TimeoutError:
        return False
    except regex.error as error:
        raise _FaultError(f"the schema has the pattern {_shown(pattern)}, which cannot be read: {error}") from error


def _canonical(value: object) -> str:
    """Return one text for equal JSON values: 1 and 1.0 are equal, 1 and true are not."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dict):
        members = (f"{json.dumps(name)}:{_canonical(value[name])}" for name in sorted(value))
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_canonical, value))}]"
    return json.dumps(value)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _FaultError(f"has a number of {len(text):,} digits; at most {MAX_DIGITS:,} are read")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _FaultError(f"has the number {text[:20]}, which is too large")
    return value


def _refuse_constant(name: str) -> object:
    raise _FaultError(f"is not JSON: {name} is not a JSON value")


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _FaultError("has an object with one name twice")
    return found
