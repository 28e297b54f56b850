"""`Suite`: environments mixed by weight."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import r1env.builtin
from r1env import EnvironmentSpec, Fixture, Task, hookimpl
from r1env.envs.environment import make_environment
from r1env.envs.suite import (
    WRONG,
    EnvironmentShare,
    Member,
    Suite,
    fixture_completions,
    make_mixture,
    make_suite,
    members_of,
)
from r1env.errors import UnknownNameError, UsageError
from r1env.plugins import Plugins, Provenance

SORT, ADD, COUNT = "sort-4", "add-2digit", "countdown-3"


def three(*weights: float) -> Suite:
    return Suite("three", [make_environment(name) for name in (SORT, ADD, COUNT)], weights)


@settings(max_examples=25)
@given(
    weights=st.lists(st.floats(0.01, 100), min_size=3, max_size=3),
    start=st.integers(0, 5000),
    count=st.integers(1, 1000),
)
def test_every_stretch_has_each_environment_by_its_weight(weights, start, count):
    suite = three(*weights)
    found = Counter(suite._order.at(position)[0] for position in range(start, start + count))
    for member, weight in enumerate(weights):
        assert found[member] == pytest.approx(count * weight / sum(weights), abs=8)


def test_a_position_is_always_the_same_task_whatever_was_read_before():
    forward, late = three(1, 2, 3), three(1, 2, 3)
    late.at(3000, seed=7)
    assert [forward.at(i, 7)[1] for i in range(20)] == [late.at(i, 7)[1] for i in range(20)]


def test_an_environment_s_tasks_come_without_gaps_or_repeats():
    suite = three(5, 1, 1)
    places = {member: [] for member in range(3)}
    for position in range(2000):
        member, place = suite._order.at(position)
        places[member].append(place)
    for found in places.values():
        assert found[0] == 0
        assert all(b == a + 1 for a, b in pairwise(found))


def test_an_environment_s_name_is_a_suite_of_one():
    suite = make_suite(SORT, rubric="zero")
    environment, task = suite.at(3, seed=1)
    assert (suite.name, environment.rubric.name) == (SORT, "zero")
    assert task == environment.task(3, 1)


def test_each_share_of_a_mixture_may_have_its_own_rubric_template_and_options():
    shares = [
        EnvironmentShare(env=SORT, rubric="zero", env_options={"style": "compact"}),
        EnvironmentShare(env=ADD, weight=3, template="r1-zero"),
    ]
    sort, add = make_mixture(shares, rubric="accuracy", split="test").environments
    assert (sort.rubric.name, add.rubric.name, add.template.name) == ("zero", "accuracy", "r1-zero")


def test_what_cannot_be_mixed_is_refused():
    with pytest.raises(UsageError, match="positive weight"):
        three(1, 0, 1)
    with pytest.raises(UnknownNameError):
        make_suite("sort-44")


def test_the_suite_smoke_has_every_environment_with_a_fixture_and_its_options():
    specs = {
        "file": EnvironmentSpec(
            "file", "r1env.data.tasks:file_tasks", "", "from a file", fixture=Fixture({"data": "x.jsonl"}, tasks=2)
        ),
        "without": EnvironmentSpec("without", "r1env.data.tasks:file_tasks", "", "from nowhere"),
    }

    assert members_of("smoke", with_specs(specs)) == [Member("file", 1.0, {"data": "x.jsonl"}, 2)]


def with_specs(specs):
    class Stranger:
        @hookimpl
        def r1env_environments(self):
            return list(specs.values())

    return Plugins({Provenance("stranger", "stranger", "1"): Stranger(), Provenance("r1env", "r1env", "0"): r1env.builtin})


def test_the_suite_smoke_leaves_out_with_a_warning_what_cannot_be_scored_here(caplog):
    asked = []

    def missing():
        asked.append(1)
        return "no sandbox: the engine is down"

    names = ("one", "two")
    specs = {
        name: EnvironmentSpec(name, "r1env.data.tasks:file_tasks", "", "", fixture=Fixture({"data": "x.jsonl"}, needs=missing))
        for name in names
    } | {
        "three": EnvironmentSpec(
            "three", "r1env.data.tasks:file_tasks", "", "", fixture=Fixture({"data": "x.jsonl"}, needs=lambda: "")
        )
    }
    assert [member.environment for member in members_of("smoke", with_specs(specs))] == ["three"]
    assert caplog.messages == ["suite smoke leaves out one, two: no sandbox: the engine is down"]
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("metadata", "answer", "right", "found"),
    [
        ({}, "4", "", ("<answer>4</answer>", WRONG)),
        ({"fixture": {"right": "so 4", "wrong": "so 5"}}, "4", "", ("so 4", "so 5")),
        ({}, None, lambda task: task.question.upper(), ("WHAT?", WRONG)),
    ],
)
def test_a_fixture_says_what_is_right_and_what_is_wrong(metadata, answer, right, found):
    task = Task(id="1", prompt="what?", answer=answer, metadata=metadata)
    assert fixture_completions(task, Fixture(right=right)) == found


def test_a_fixture_that_cannot_say_what_is_right_is_refused():
    with pytest.raises(UsageError, match="fixture task '1' has no reference answer"):
        fixture_completions(Task(id="1", prompt="what?"), Fixture())


class Counting:
    """A source that adapts: a task says how many of its tasks were solved."""

    size = None

    def __init__(self):
        self.solved = 0.0

    def task(self, index, seed=0):
        return Task(id=str(index), prompt=f"{self.solved} so far")

    def observe(self, task, success):
        self.solved += success

    def state(self):
        return {"solved": self.solved}

    def restore(self, state):
        self.solved = state.get("solved", 0.0)

    def metrics(self):
        return {"solved": self.solved}


def adaptive(*names):
    plain = make_environment(SORT)
    return Suite("adaptive", [plain, *(replace(plain, name=name, source=Counting()) for name in names)])


def test_adaptive_sources_hear_of_their_own_tasks_and_go_on_from_a_saved_state():
    suite = adaptive("a", "b")
    task = suite.environments[1].task(0)
    suite.observe([("a", task, 1.0), ("b", task, 0.5), ("a", task, float("nan")), (SORT, task, 1.0)])
    assert suite.metrics() == {"env/a/solved": 1.0, "env/b/solved": 0.5}
    again = adaptive("b", "c")
    again.restore(suite.state())
    assert again.metrics() == {"env/b/solved": 0.5, "env/c/solved": 0.0}


def test_environments_of_one_name_keep_a_state_each():
    suite = adaptive("a", "a")
    suite.environments[2].source.solved = 3.0
    assert suite.state() == {"a": {"solved": 0.0}, "a#2": {"solved": 3.0}}


def test_a_suite_without_adaptive_sources_has_nothing_to_save():
    assert three(1, 1, 1).state() == {}
