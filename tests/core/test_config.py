"""Settings from files and the command line."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, Field

from r1env.config import merge, parse_overrides, validate
from r1env.errors import UsageError


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    temperature: float = 1.0


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    lr: float = Field(default=1e-3, gt=0)
    sampling: Inner = Inner()


def test_overrides_nest_at_dots_and_read_numbers_as_people_write_them():
    assert parse_overrides(
        ["lr=1e-4", "sampling.temperature=0.7", "a.b.c=[1, 2]", "name=x", "flag=true", "language=no", "empty="]
    ) == {
        "lr": 1e-4,
        "sampling": {"temperature": 0.7},
        "a": {"b": {"c": [1, 2]}},
        "name": "x",
        "flag": True,
        "language": "no",
        "empty": "",
    }


@pytest.mark.parametrize("pair", ["lr", "=3", "lr=[1"])
def test_a_setting_that_cannot_be_read_is_named(pair):
    with pytest.raises(UsageError, match="cannot read"):
        parse_overrides([pair])


def test_merging_goes_mapping_by_mapping():
    assert merge({"a": {"x": 1, "y": 2}, "b": 1}, {"a": {"y": 3}, "c": {"d": 4}}) == {
        "a": {"x": 1, "y": 3},
        "b": 1,
        "c": {"d": 4},
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"lrr": 1}, "outer: unknown key 'lrr'; did you mean lr?"),
        ({"sampling": {"temprature": 1}}, "outer: unknown key 'sampling.temprature'; did you mean sampling.temperature?"),
        ({"lr": -1}, "outer: lr: Input should be greater than 0 (got -1)"),
        ({"lr": "fast"}, "outer: lr: Input should be a valid number, unable to parse string as a number (got 'fast')"),
    ],
)
def test_the_first_fault_is_one_line_that_names_key_value_and_nearest_match(data, message):
    with pytest.raises(UsageError) as caught:
        validate(Outer, data, where="outer")
    assert str(caught.value) == message
