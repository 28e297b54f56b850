"""Tasks of reasoning-gym: those whose scorers can be trusted, scored on the answer block alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import r1env
import r1env.builtin
import r1env_logic.plugin
from r1env.cli.main import make_app
from r1env.data.sources import iterate
from r1env.envs.environment import make_environment
from r1env.plugins import Plugins, Provenance
from r1env.testing import Example, check_reward
from r1env_logic.gym_tasks import REFUSED, ReasoningGym, reasoning_gym_tasks


def answered(text: str) -> str:
    return f"<think>so</think><answer>{text}</answer>"


def test_the_reward_keeps_the_contract():
    task = reasoning_gym_tasks("chain_sum").task(0)
    check_reward(
        "reasoning-gym",
        [
            Example(answered(task.answer), value=1.0, task=task),
            Example(answered(task.answer + "0"), value=0.0, status=r1env.Status.WRONG, task=task),
            Example(task.answer, value=0.0, status=r1env.Status.NO_ANSWER, task=task),
        ],
    )


def test_a_task_of_another_source_has_no_value():
    result = ReasoningGym(answered("42"), r1env.Task(id="t", prompt="?", answer="42"))
    assert (result.value, result.status) == (None, r1env.Status.UNPARSEABLE)


def test_a_scorer_that_chokes_on_an_answer_calls_it_unparseable():
    task = reasoning_gym_tasks("prime_factorization").task(0)
    score = ReasoningGym(answered("two times three"), task)
    assert (score.value, score.status) == (0.0, r1env.Status.UNPARSEABLE)


def test_a_broken_entry_is_a_fault_of_ours_and_gives_no_value():
    task = reasoning_gym_tasks("prime_factorization").task(0)
    broken = task.model_copy(update={"metadata": {**task.metadata, "entry": {"answer": "x", "metadata": {}}}})
    score = ReasoningGym.score(r1env.Rollout(task=broken, completion=answered("2 × 3")))
    assert (score.value, score.status) == (None, r1env.Status.ERROR)


def test_a_share_of_the_marks_is_paid_only_on_request():
    task = reasoning_gym_tasks("chain_sum").task(0)
    beside = answered(f"maybe {task.answer}")
    assert ReasoningGym(beside, task).value == 0.0
    assert 0.0 < ReasoningGym.with_options(partial=True)(beside, task).value < 1.0


def test_a_task_can_go_through_a_file():
    task = reasoning_gym_tasks("shortest_path").task(2)
    again = r1env.Task.model_validate_json(task.model_dump_json())
    assert ReasoningGym(answered(task.answer), again).value == 1.0


def test_train_and_test_share_no_question_and_tasks_come_in_any_order():
    train, test = (reasoning_gym_tasks("chain_sum", size=100, split=split) for split in ("train", "test"))
    assert not {task.question for task in iterate(train)} & {task.question for task in iterate(test)}
    assert reasoning_gym_tasks("chain_sum", size=100, split="test").task(57) == test.task(57)


def test_settings_go_through_to_the_library():
    task = reasoning_gym_tasks("chain_sum", min_terms=5, max_terms=5, split="all").task(0)
    assert task.metadata["config"] == {"min_terms": 5, "max_terms": 5}
    assert sum(task.question.count(sign) for sign in "+-") >= 4


@pytest.mark.parametrize("dataset", REFUSED)
def test_a_dataset_unfit_for_rewards_is_refused_with_the_reason(dataset):
    with pytest.raises(r1env.UsageError, match=f"{dataset!r} is refused: .+"):
        reasoning_gym_tasks(dataset)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "chain_sun"}, "unknown reasoning-gym dataset 'chain_sun'; did you mean 'chain_sum'"),
        ({"terms": 5}, "'chain_sum' refuses its settings: .*terms"),
        ({"min_terms": 9, "max_terms": 2}, "'chain_sum' refuses its settings"),
        ({"size": 0}, "size=0: it must be a whole number"),
        ({"split": "dev"}, "unknown split 'dev'"),
    ],
)
def test_a_wrong_option_is_named_before_any_task_is_made(options, message):
    with pytest.raises(r1env.UsageError, match=message):
        reasoning_gym_tasks(**options)


CHEAP_LIES = ("0", "1", "nan", "inf", "None", "True", "[]", "{}", "()", "yes", "No", "a", "-1", "[[]]", "1e400")


@pytest.mark.slow
def test_no_dataset_that_is_offered_pays_for_a_constant_or_refuses_its_own_answer():
    from reasoning_gym.factory import DATASETS, create_dataset

    paid = []
    for name in sorted(DATASETS.keys() - REFUSED.keys()):
        dataset = create_dataset(name, size=3, seed=1)
        entries = [json.loads(json.dumps(dataset[index])) for index in range(3)]
        tasks = [
            r1env.Task(
                id=name,
                prompt=({"role": "user", "content": entry["question"]},),
                answer=entry["answer"],
                metadata={"dataset": name, "config": {}, "entry": entry},
            )
            for entry in entries
        ]
        paid.extend((name, lie) for lie in CHEAP_LIES if all(ReasoningGym(answered(lie), task).value == 1.0 for task in tasks))
        for task in tasks:
            assert task.answer is None or ReasoningGym(answered(task.answer), task).value == 1.0, name
    assert paid == []


@pytest.fixture
def without_library(monkeypatch):
    """The plugin as it is where the extra `reasoning-gym` is not installed."""
    for name in [module for module in sys.modules if module.partition(".")[0] == "reasoning_gym"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    return Plugins(
        {Provenance("r1env", "r1env", "0"): r1env.builtin, Provenance("logic", "r1env-logic", "0"): r1env_logic.plugin}
    )


REMEDY = "pip install 'r1env-logic[reasoning-gym]'"


def test_without_the_library_the_environment_is_listed_with_the_command_that_mends_it(without_library):
    result = CliRunner().invoke(make_app(without_library), ["envs", "--json"])
    requires = {row["name"]: row["requires"] for row in json.loads(result.stdout)}
    assert requires.pop("reasoning-gym").endswith(REMEDY)
    del requires["data"]  # the core's, which needs rows
    assert set(requires.values()) == {""}


def test_without_the_library_making_it_is_refused_in_one_line(without_library):
    with pytest.raises(r1env.UsageError) as refusal:
        make_environment("reasoning-gym", plugins=without_library)
    assert str(refusal.value).endswith(REMEDY)
    assert "\n" not in str(refusal.value)


def test_without_the_library_every_other_environment_gives_tasks_and_scores_them(without_library):
    for name in without_library.provided("environments").keys() - {"reasoning-gym", "data"}:
        environment = make_environment(name, plugins=without_library)
        task = environment.task(0)
        score = environment.rubric.rewards[0].reward.score(r1env.Rollout(task=task, completion=answered(task.answer or "")))
        assert not score.failed, name


def test_with_the_library_the_environment_needs_nothing():
    assert r1env.installed().environment("reasoning-gym").requires == ""


def test_gymnasium_registers_the_environment_without_the_library_and_names_the_remedy():
    program = (
        "import sys; sys.modules['reasoning_gym'] = None\n"
        "import gymnasium, r1env\n"
        "gymnasium.make('r1env/sort-4').reset(seed=0)\n"
        "try:\n"
        "    gymnasium.make('r1env/reasoning-gym')\n"
        "except r1env.UsageError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert result.stdout.strip().endswith(REMEDY), result.stderr
