"""The reward `json_schema`: one valid JSON document earns 1; hostile documents, schemas and patterns stay within bounds."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env.audit import SAMPLE_TASKS, audit
from r1env.testing import HOSTILE_TEXTS, Example, check_reward
from r1env_format.json_schema import MAX_CHARACTERS, MAX_DEPTH, MAX_DIGITS, MAX_VALUES, JsonSchema, read_json

POINT = {
    "type": "object",
    "properties": {"x": {"type": "number"}, "y": {"type": "number"}, "label": {"type": "string", "pattern": "^[a-z]+$"}},
    "required": ["x", "y"],
    "additionalProperties": False,
}


def task(schema: object) -> r1env.Task:
    return r1env.Task(id="t", prompt="A point, as JSON.", metadata={} if schema is None else {"schema": schema})


def judged(completion: str, schema: object = POINT) -> r1env.Score:
    return JsonSchema(completion, task(schema))


def test_the_reward_keeps_the_contract():
    check_reward(
        "json_schema",
        [
            Example('<think>so</think>{"x": 1, "y": 2}', value=1.0, status=r1env.Status.OK, task=task(POINT)),
            Example('{"x": 1}', value=0.0, status=r1env.Status.WRONG, task=task(POINT)),
            Example("x = 1", value=0.0, status=r1env.Status.UNPARSEABLE, task=task(POINT)),
            Example("<think>so</think>", value=0.0, status=r1env.Status.NO_ANSWER, task=task(POINT)),
            Example('{"x": 1, "y": 2}', value=None, status=r1env.Status.UNPARSEABLE, task=task(None)),
        ],
    )


@pytest.mark.parametrize(
    "completion",
    [
        '{"x": 1, "y": -2.5e3}',
        '<think>{"x": "no"}</think>\n{"x": 1, "y": 2}<|im_end|>',
        'Here it is:\n```json\n{"x": 1, "y": 2}\n```\nIt is the point asked for.',
        '```\n{"x": 1, "y": 2, "label": "a"}\n```',
        '<think>so</think><answer>\n{"x": 1, "y": 2}\n</answer>',
        '<answer>```json\n{"x": 1, "y": 2}\n```</answer>',
    ],
)
def test_one_valid_document_earns_1_wherever_it_stands(completion):
    assert judged(completion).value == 1.0


@pytest.mark.parametrize(
    ("completion", "status", "reason"),
    [
        ('{"x": 1, "y": "2"}', r1env.Status.WRONG, "at $.y: '2' is not of type 'number'"),
        ('{"x": 1, "y": 2, "z": 3}', r1env.Status.WRONG, "the name 'z' is not allowed"),
        ('{"x": 1, "y": 2, "label": "A"}', r1env.Status.WRONG, "'A' does not match '^[a-z]+$'"),
        ('{"x": 1, "y": 2} {"x": 1, "y": 2}', r1env.Status.UNPARSEABLE, "not JSON"),
        ('The point is {"x": 1, "y": 2}', r1env.Status.UNPARSEABLE, "not JSON"),
        ('{"x": NaN, "y": 2}', r1env.Status.UNPARSEABLE, "NaN is not a JSON value"),
        ('{"x": 1e999, "y": 2}', r1env.Status.UNPARSEABLE, "too large"),
        ('{"x": 1, "x": 1, "y": 2}', r1env.Status.UNPARSEABLE, "one name twice"),
        ("{'x': 1, 'y': 2}", r1env.Status.UNPARSEABLE, "not JSON"),
        ('{"x": 1, "y": 2,}', r1env.Status.UNPARSEABLE, "not JSON"),
        ('```json\n{"x": 1, "y": 2}\n```\n```json\n{"x": 1, "y": 2}\n```', r1env.Status.NO_ANSWER, "more than one"),
        ('<answer>{"x": 1, "y": 2}</answer><answer>{"x": 1, "y": 2}</answer>', r1env.Status.NO_ANSWER, "more than one"),
        ('<think>{"x": 1, "y": 2}', r1env.Status.NO_ANSWER, "no answer"),
    ],
)
def test_anything_else_earns_0_with_the_reason(completion, status, reason):
    result = judged(completion)
    assert (result.value, result.status) == (0.0, status)
    assert reason in result.reason


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (None, "no JSON schema"),
        (3, "no JSON schema"),
        ("{", "the schema is not JSON"),
        ("[]", "neither an object nor"),
        ({"type": "nothing"}, "the schema is invalid at $.type"),
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "is not fetched"),
        ({"$ref": "file:///etc/hostname"}, "is not fetched"),
        ({"$ref": "#/$defs/none"}, "refers to"),
        ({"$ref": "#"}, "refers to itself without end"),
        ({"pattern": "("}, "cannot be read"),
        ("[" * 100, "nested 100 levels"),
        ('{"description": "%s"}' % ("a" * MAX_CHARACTERS), "at most 100,000 are read"),
    ],
)
def test_a_schema_that_cannot_be_used_has_no_value(schema, reason):
    result = judged('"a"', schema)
    assert (result.value, result.status) == (None, r1env.Status.UNPARSEABLE)
    assert reason in result.reason


def test_the_schema_may_be_an_option_a_file_or_text_in_the_task(tmp_path):
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(POINT))
    for reward in (JsonSchema.with_options(schema=POINT), JsonSchema.with_options(schema=str(file))):
        assert reward('{"x": 1, "y": 2}', task(None)).value == 1.0
        assert reward("{}", task(True)).value == 0.0
    assert judged('{"x": 1, "y": 2}', json.dumps(POINT)).value == 1.0
    assert judged("{}", True).value == 1.0


@pytest.mark.parametrize("schema", ["nowhere.json", {"type": "nothing"}])
def test_a_wrong_schema_in_the_options_is_refused_before_anything_is_scored(schema):
    with pytest.raises(r1env.UsageError, match=r"^json_schema: .+"):
        JsonSchema.with_options(schema=schema)("{}", task(None))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1" * (MAX_DIGITS + 1), "digits"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "levels deep"),
        ("[" * 50_000, "levels deep"),
        (json.dumps([0] * (MAX_VALUES + 1)), "values"),
        (json.dumps("a" * MAX_CHARACTERS), "characters"),
    ],
)
def test_a_document_beyond_the_bounds_is_not_parsed(text, reason):
    with pytest.raises(ValueError, match=reason):
        read_json(text)


def test_brackets_in_strings_are_not_depth():
    text = json.dumps("[" * 1000 + '\\"{,:')
    assert read_json(text) == json.loads(text)


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "^(a+)+$"},
        {"type": "string", "pattern": "^(a|a)*$"},
        {"not": {"pattern": "^(a+)+!$"}},
    ],
)
def test_an_exponential_pattern_ends_soon_and_matches_nothing(schema):
    start = time.monotonic()
    result = judged(json.dumps("a" * 5_000 + "?"), schema)
    assert time.monotonic() - start < 5
    assert result.value == float("not" in schema)


def test_an_exponential_pattern_for_names_ends_soon():
    hostile = json.dumps({"a" * 5_000 + "?": 1})
    start = time.monotonic()
    assert judged(hostile, {"patternProperties": {"^(a+)+$": False}, "additionalProperties": True}).value == 1.0
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("items", "value"),
    [([1, 1.0], 0.0), ([1, True], 1.0), ([{"a": 1, "b": 2}, {"b": 2, "a": 1.0}], 0.0), ([[1], [2]], 1.0), (["1", 1], 1.0)],
)
def test_unique_items_are_compared_as_json_values(items, value):
    assert judged(json.dumps(items), {"uniqueItems": True}).value == value


def test_many_items_are_compared_in_linear_time():
    start = time.monotonic()
    assert judged(json.dumps([[n] for n in range(9_000)]), {"uniqueItems": True}).value == 1.0
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("draft", ["draft-04", "draft-07"])
def test_older_drafts_are_checked_by_their_own_rules(draft):
    schema = {"$schema": f"http://json-schema.org/{draft}/schema#", "minimum": 3}
    assert [judged(text, schema).value for text in ("3", "2")] == [1.0, 0.0]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_every_json_value_is_valid_under_its_own_constant(value):
    assert judged(json.dumps(value), {"const": value}).value == 1.0


@given(st.text(st.characters(codec=None)), json_values)
def test_no_text_and_no_schema_makes_it_raise(text, schema):
    result = judged(text, schema)
    assert result.value in (0.0, 1.0, None)
    assert not result.failed


@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_hostile_texts_are_no_documents(name):
    assert judged(HOSTILE_TEXTS[name]).value == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("schema", [POINT, {"type": "string", "pattern": "^(a+)+$"}], ids=["point", "exponential pattern"])
def test_it_passes_the_audit(schema):
    report = audit(JsonSchema.with_options(schema=schema), SAMPLE_TASKS)
    assert report.clean, report.findings
    assert report.scored > 0
