"""Procedural families: deterministic tasks, a checker that accepts every right answer and no other, levels that get harder."""

from __future__ import annotations

import datetime
import json
import re
from statistics import mean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import r1env
import r1env_logic.plugin
from r1env import Status, Task, UsageError
from r1env.cli.main import make_app
from r1env.envs.environment import make_environment
from r1env.envs.suite import make_suite
from r1env.errors import NoSplitError
from r1env.plugins import Plugins, Provenance
from r1env_logic.countdown import countdown_tasks
from r1env_logic.demonstrators import worked
from r1env_logic.families import FAMILIES, MAX_ANSWER, family_tasks, procedural
from r1env_logic.plugin import PROCEDURAL

NAMES = sorted(FAMILIES)
LEVELS = [(name, level) for name in NAMES for level in range(1, FAMILIES[name].levels + 1)]
some_task = st.builds(
    lambda place, index, seed, split: family_tasks(place[0], place[1], split).task(index, seed),
    st.sampled_from([place for place in LEVELS if place[1] <= 3]),
    st.integers(0, 10**9),
    st.integers(0, 2**31),
    st.sampled_from(["train", "test", "all"]),
)


def verdict(task: Task, answer: str) -> r1env.Score:
    return procedural(f"<think>so</think><answer>{answer}</answer>", task)


@settings(max_examples=30, deadline=None)
@given(some_task)
def test_the_reference_scores_one_and_the_worked_solution_ends_in_it(task):
    assert verdict(task, task.answer).value == 1.0
    assert task.metadata["trace"].endswith(task.answer)
    assert procedural(worked(task, np.random.default_rng(0)), task).value == 1.0


@settings(max_examples=30, deadline=None)
@given(some_task, st.integers(0, 10**6))
def test_the_answer_of_another_task_scores_zero_unless_it_is_the_same(task, index):
    other = family_tasks(task.metadata["family"], task.metadata["level"]).task(index, seed=7)
    # A way or an expression of another task may be right here as well; then the facts are equal in what counts.
    if other.answer != task.answer:
        assert verdict(task, other.answer).value == 0.0


@settings(max_examples=80, deadline=None)
@given(some_task, st.text(max_size=60))
def test_any_text_is_judged_and_none_is_right_by_chance(task, text):
    score = procedural(f"<answer>{text}</answer>", task)
    assert score.value in (0.0, 1.0)
    assert score.value == 0.0 or text.strip()
    assert not score.failed


@settings(max_examples=30, deadline=None)
@given(some_task, st.sampled_from(["maybe", "0", "or not", "; 9: x"]))
def test_an_answer_with_something_else_beside_it_is_wrong(task, more):
    assert verdict(task, f"{task.answer} {more}").value == 0.0
    assert verdict(task, f"{more} {task.answer}").value == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_constant_answers_are_not_paid(name):
    tasks = [family_tasks(name).task(index) for index in range(40)]
    lies = (
        "",
        "0",
        "1",
        "yes",
        "no",
        "T",
        "F",
        "T, T, T, T",
        "A-B",
        "knight",
        "1: red",
        "[]",
        "{}",
        "nan",
        FAMILIES[name].form,
    )
    assert [lie for lie in lies if mean(verdict(task, lie).value for task in tasks) > 0.1] == []


@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_tasks_follow_from_seed_and_index_and_survive_a_file(name, level):
    source, again = family_tasks(name, level, "train"), family_tasks(name, level, "train")
    task = source.task(3, seed=5)
    source.task(4, seed=5)
    assert again.task(3, seed=5) == task == source.task(3, seed=5)
    read = Task.model_validate_json(task.model_dump_json())
    assert verdict(read, task.answer).value == 1.0
    assert source.task(3, seed=6) != task


@pytest.mark.parametrize("name", NAMES)
def test_train_and_test_share_no_problem_at_any_level(name):
    ids = {split: set() for split in ("train", "test")}
    questions = {split: set() for split in ("train", "test")}
    for split in ids:
        for level in range(1, min(FAMILIES[name].levels, 3) + 1):
            for index in range(20):
                task = family_tasks(name, level, split).task(index)
                ids[split].add(task.id)
                questions[split].add(task.question)
    assert not ids["train"] & ids["test"]
    assert not questions["train"] & questions["test"]


@pytest.mark.parametrize("name", NAMES)
def test_difficulty_rises_with_the_level(name):
    """The worked solution gets longer: more cases, more steps, or longer ones."""
    work = [
        mean(len(family_tasks(name, level).task(index).metadata["trace"]) for index in range(20))
        for level in range(1, FAMILIES[name].levels + 1)
    ]
    assert work == sorted(work)
    assert len(set(work)) == len(work)


def test_a_range_of_levels_has_each_of_them():
    source = family_tasks("sorting", "2-4")
    assert {source.task(index).metadata["level"] for index in range(60)} == {2, 3, 4}


def test_the_plugin_lists_every_family_and_each_is_an_environment():
    assert list(PROCEDURAL) == list(FAMILIES)
    for name in NAMES:
        environment = make_environment(name, split="test")
        task = environment.task(0)
        assert (
            environment.rubric.rewards[0]
            .reward.score(r1env.Rollout(task=task, completion=f"<answer>{task.answer}</answer>"))
            .value
            == 1.0
        )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"family": "knight-knaves"}, UsageError, "did you mean 'knights-knaves'"),
        ({"family": "zebra", "level": 6}, UsageError, "level=6: it must be a whole number from 1 to 5"),
        ({"family": "zebra", "level": "3-2"}, UsageError, "level='3-2'"),
        ({"family": "zebra", "level": "hard"}, UsageError, "level='hard'"),
        ({"family": "zebra", "level": True}, UsageError, "level=True"),
        ({"family": "zebra", "split": "dev"}, NoSplitError, "unknown split 'dev'"),
        ({"family": "zebra", "level": "auto", "raise_at": 0.2}, UsageError, "lower_at=0.3, raise_at=0.2"),
    ],
)
def test_a_wrong_option_is_refused_before_any_task_is_made(options, error, message):
    with pytest.raises(error, match=message):
        family_tasks(**options)


def test_a_task_of_another_source_has_no_value_and_a_long_answer_is_not_read():
    stranger = procedural("<answer>1</answer>", Task(id="t", prompt="?", answer="1"))
    assert (stranger.value, stranger.status) == (None, Status.UNPARSEABLE)
    task = family_tasks("sorting").task(0)
    assert verdict(task, "1, " * MAX_ANSWER).status is Status.UNPARSEABLE
    assert procedural("no block", task).status is Status.NO_ANSWER


# Facts of single families, each checked by other means than those that made the task.


def test_a_knights_and_knaves_puzzle_has_one_solution_by_trying_all():
    def true(statement, roles):
        shape, *parts = statement
        if shape in ("knight", "knave"):
            return roles[parts[0]] == (shape == "knight")
        if shape == "count":
            return sum(roles) == parts[0]
        if shape == "same":
            return roles[parts[0]] == roles[parts[1]]
        left, right = (true(part, roles) for part in parts)
        return {"and": left and right, "or": left or right, "iff": left == right}[shape]

    for index in range(30):
        task = family_tasks("knights-knaves", "1-5").task(index)
        facts = task.metadata["facts"]
        count = len(facts["names"])
        worlds = [[bool(world >> i & 1) for i in range(count)] for world in range(2**count)]
        fitting = [
            roles
            for roles in worlds
            if all(true(one, roles) == role for one, role in zip(facts["statements"], roles, strict=True))
        ]
        assert len(fitting) == 1
        roles = [f"{name}: {'knight' if role else 'knave'}" for name, role in zip(facts["names"], fitting[0], strict=True)]
        assert verdict(task, "\n".join(roles)).value == 1.0


@pytest.mark.parametrize("style", ["{} is a {} and {} is a {}", "({}) {}"])
def test_roles_can_be_written_in_several_ways(style):
    task = family_tasks("knights-knaves", 1).task(1)
    (one, first), (two, second) = re.findall(r"(\w+) is a (\w+)", task.answer)
    answer = f"(1) {one.upper()} = {first}\n(2) {two}: {second}." if "(" in style else style.format(one, first, two, second)
    assert verdict(task, answer).value == 1.0
    assert verdict(task, f"{answer}, {one} is a {first}").value == 0.0
    assert verdict(task, answer.replace(first, "knave" if first == "knight" else "knight", 1)).value == 0.0


def test_the_clues_of_a_zebra_puzzle_fit_its_answer_alone():
    from itertools import permutations

    for index in range(5):
        task = family_tasks("zebra", 2).task(index)
        clues = re.findall(r"^\d+\. (\w+) is (.+?) (\w+)\.$", task.question, re.MULTILINE)
        kinds = [kind.split(", ") for kind in re.findall(r"^The \w+: (.+)\.$", task.question, re.MULTILINE)]
        fits = {
            "in the same house as": lambda a, b: a == b,
            "somewhere to the left of": lambda a, b: a < b,
            "directly to the left of": lambda a, b: a + 1 == b,
            "next to": lambda a, b: abs(a - b) == 1,
            "in house": lambda a, b: a == b,
        }
        found = []
        for one in permutations(range(1, 4)):
            for two in permutations(range(1, 4)):
                for three in permutations(range(1, 4)):
                    where = {
                        v: h for kind, p in zip(kinds, (one, two, three), strict=True) for v, h in zip(kind, p, strict=True)
                    }
                    if all(fits[relation](where[a], where.get(b) or int(b)) for a, relation, b in clues):
                        found.append(where)
        (where,) = found
        rows = [f"House {house}: {' '.join(v for v in reversed(where) if where[v] == house)}" for house in (3, 1, 2)]
        assert verdict(task, "\n".join(rows)).value == 1.0


def test_every_shortest_way_is_accepted_and_a_longer_one_is_not():
    task = family_tasks("graph-path").task(0)
    edges = [[0, 1, 2], [0, 2, 2], [1, 3, 2], [2, 3, 2], [0, 3, 9]]
    task = task.model_copy(
        update={"answer": "A-B-D", "metadata": {**task.metadata, "facts": {"edges": edges, "start": 0, "end": 3}}}
    )
    assert [
        verdict(task, way).value for way in ("A-B-D", "a -> c -> d", "A, C, D", "A-D", "A-B", "B-D", "A-B-C-D", "A-B-D-B-D")
    ] == [
        *(1.0, 1.0, 1.0),
        *(0.0, 0.0, 0.0, 0.0, 0.0),
    ]


def test_countdown_accepts_other_expressions_and_agrees_with_countdown_3_on_the_split():
    task = family_tasks("countdown", 2).task(0)
    facts = {"numbers": [2, 3, 4, 6], "target": 16, "operations": "+-*/", "solution": ""}
    task = task.model_copy(update={"metadata": {**task.metadata, "facts": facts}})
    assert [verdict(task, text).value for text in ("6 / 3 * 2 * 4", "4 * 2 * (6 / 3)", "16", "4 * 4", "2 ** 4 + 3 - 6")] == [
        1,
        1,
        0,
        0,
        0,
    ]
    ours = {family_tasks("countdown", 1, "test").task(index).metadata["facts"]["target"] for index in range(20)}
    assert ours
    trained = {task.id for task in map(countdown_tasks(3, "train").task, range(300))}
    tested = [family_tasks("countdown", 1, "test").task(index).metadata["facts"] for index in range(100)]
    assert not trained & {f"countdown-{'-'.join(map(str, f['numbers']))}-to-{f['target']}" for f in tested}


def test_dates_agree_with_the_calendar_and_bases_with_python():
    for index in range(40):
        task = family_tasks("dates", "1-4").task(index)
        facts = task.metadata["facts"]
        days = sum(amount * (7 if unit == "weeks" else 1) for amount, unit in facts["moves"])
        date = datetime.date.fromisoformat(facts["start"]) + datetime.timedelta(days=days)
        assert verdict(task, f"{date.year}/{date.month}/{date.day}").value == 1.0
        task = family_tasks("base-arithmetic", "1-4").task(index)
        one, sign, two, base = re.search(r"Compute (\w+) (.) (\w+) in base (\d+)", task.question).groups()
        a, b = int(one, int(base)), int(two, int(base))
        assert int(task.answer, int(base)) == {"+": a + b, "-": a - b, "*": a * b}[sign]
        assert verdict(task, f"00{task.answer.upper()}").value == 1.0


def test_formulas_agree_with_python():
    for index in range(20):
        task = family_tasks("boolean-logic", "1-3").task(index)
        values = {n: v == "true" for n, v in re.findall(r"(\w) be (true|false)", task.question)}
        formulas = re.findall(r"^\d+\. (.+)$", task.question, re.MULTILINE)

        def truth(text, values=values):
            """Evaluate by rewriting the innermost pair of parentheses until a letter is left."""
            text = re.sub(r"\b([p-z])\b", lambda m: str(int(values[m[1]])), text)
            tables = {"and": "0001", "or": "0111", "xor": "0110", "implies": "1101"}
            while len(text) > 1:
                text = re.sub(r"not ([01])", lambda m: str(1 - int(m[1])), text)
                text = re.sub(r"\(([01]) (\w+) ([01])\)", lambda m: tables[m[2]][int(m[1] + m[3], 2)], text)
            return text == "1"

        assert verdict(task, " ".join("true" if truth(one) else "false" for one in formulas)).value == 1.0


def test_facts_are_plain_data_that_a_worker_can_be_sent():
    for name in NAMES:
        facts = family_tasks(name).task(0).metadata["facts"]
        assert json.loads(json.dumps(facts)) == facts


# The suite `r1`.


def test_the_suite_r1_mixes_the_categories_of_the_paper_and_draws_tasks_without_any_data():
    suite = make_suite("r1", split="train")
    drawn = [suite.at(position) for position in range(270)]
    kinds = {kind: sum(task.kind == kind for _, task in drawn) / len(drawn) for kind in ("math", "code", "logic", "chat")}
    assert kinds == pytest.approx({"math": 26 / 54, "code": 8 / 54, "logic": 15 / 54, "chat": 5 / 54}, abs=0.01)
    assert {task.metadata.get("level", 1) for _, task in drawn} == {1, 2, 3}


def test_r1env_envs_lists_the_members_of_a_suite_with_their_shares():
    app = make_app(r1env.installed())
    result = CliRunner().invoke(app, ["envs", "--suite", "r1", "--json"])
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["zebra"]["options"] == "level=1-3"
    assert rows["bugfix"]["share"] == "14.8%"
    wrong = CliRunner().invoke(app, ["envs", "--suite", "r2"])
    assert wrong.exit_code != 0
    assert "unknown suite 'r2'" in wrong.stderr + str(wrong.exception)


def test_the_suite_r1_names_the_distribution_that_is_missing():
    plugins = Plugins({Provenance("logic", "r1env-logic", "0"): r1env_logic.plugin})
    with pytest.raises(UsageError, match="pip install r1env-code"):
        make_suite("r1", plugins=plugins)
