"""Tasks of reasoning-gym: those whose scorers can be trusted, scored on the answer block alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
from r1env_logic import gym_tasks
from r1env_logic.gym_tasks import AUDITED, ReasoningGym, audit, audit_all, evidence_against, reasoning_gym_tasks


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


def test_a_scorer_that_chokes_on_an_answer_calls_it_unparseable(monkeypatch):
    task = reasoning_gym_tasks("chain_sum").task(0)
    scorer = gym_tasks._scorer("chain_sum", "{}")

    def choke(answer, entry):
        if answer != entry["answer"]:
            raise KeyError(answer)
        return 1.0

    monkeypatch.setattr(scorer, "score_answer", choke)
    score = ReasoningGym(answered("two times three"), task)
    assert (score.value, score.status) == (0.0, r1env.Status.UNPARSEABLE)


def test_a_scorer_that_chokes_on_its_own_answer_is_a_fault_of_ours_and_gives_no_value(monkeypatch):
    task = reasoning_gym_tasks("chain_sum").task(0)

    def broken(answer, entry):
        raise KeyError(answer)

    monkeypatch.setattr(gym_tasks._scorer("chain_sum", "{}"), "score_answer", broken)
    score = ReasoningGym.score(r1env.Rollout(task=task, completion=answered(task.answer)))
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


TABLE = json.loads(Path(gym_tasks.__file__).with_name(AUDITED).read_text("utf-8"))["datasets"]
REFUSED = {name: found["evidence"] for name, found in TABLE.items() if found["evidence"]} | {
    "composite": "it mixes other datasets"
}


@pytest.mark.parametrize("dataset", REFUSED)
def test_a_dataset_unfit_for_rewards_is_refused_in_one_line_with_the_evidence(dataset):
    with pytest.raises(r1env.UsageError) as refusal:
        reasoning_gym_tasks(dataset)
    assert f"{dataset!r} is refused: {REFUSED[dataset]}" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_row_of_a_refused_dataset_has_no_value_and_its_text_is_not_executed(tmp_path):
    canary = tmp_path / "executed"
    text = f"open({str(canary)!r}, 'w')"
    metadata = {"dataset": "number_sorting", "config": {}, "entry": {"question": "?", "answer": text, "metadata": {}}}
    score = ReasoningGym.score(r1env.Rollout(task=r1env.Task(id="t", prompt="?", metadata=metadata), completion=answered(text)))
    assert score.value is None
    assert "is refused: its scorer executes text" in score.reason
    assert not canary.exists()


def test_the_audit_is_repeated_where_the_scoring_source_is_another_than_the_one_audited(monkeypatch):
    monkeypatch.setattr(gym_tasks, "_audited", lambda: {"n_queens": {"source": "of another version", "evidence": ""}})
    assert "NQueensDataset.score_answer calls eval" in evidence_against.__wrapped__("n_queens")
    assert evidence_against.__wrapped__("chain_sum") == ""


@pytest.mark.parametrize(
    ("score", "evidence"),
    [
        (lambda answer, entry: 1.0, "gives full marks to '0' for 8 of 8 tasks with another answer"),
        (lambda answer, entry: 0.5, "gives a task's own answer 0.5"),
        (lambda answer, entry: int(answer) if answer == "yes" else float(answer == entry["answer"]), "raises ValueError on the answer 'yes'"),
        (lambda answer, entry: float(answer == entry["answer"]), ""),
    ],
)  # fmt: skip
def test_the_audit_finds_what_a_scorer_does_wrong(score, evidence, monkeypatch):
    dataset = gym_tasks._create("chain_sum", size=8, seed=1)
    monkeypatch.setattr(dataset, "score_answer", score)
    monkeypatch.setattr(gym_tasks, "_create", lambda *_, **__: dataset)
    found = audit("chain_sum")
    assert evidence in found
    assert bool(found) == bool(evidence)


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


@pytest.mark.slow
def test_the_table_is_what_the_audit_of_the_installed_version_finds():
    """Where it fails: `python -m r1env_logic.gym_tasks` prints the table."""
    found = audit_all()["datasets"]
    assert len(found) == 105
    assert found == TABLE


WATCH = """
import sys
from r1env_logic import gym_tasks

seen, name = [], ""

def watch(event, arguments):
    if event == "exec" and MARK in repr((arguments[0].co_names, arguments[0].co_consts)):
        seen.append(name)

MARK = "r1envcanary"
sys.addaudithook(watch)
exec(compile("r1envcanary = 1", "<test>", "exec"))
assert seen == [""], "the hook works"
del seen[:]
for name in sorted(gym_tasks._library().DATASETS):
    if gym_tasks.evidence_against(name):
        continue
    dataset = gym_tasks._create(name, size=1, seed=1)
    entry = dataset[0]
    for text in (MARK, f"[{MARK}]", f"{MARK} + 1", f'"{MARK}"', f"({MARK}, 1)", f"{entry['answer']} + {MARK}"):
        try:
            dataset.score_answer(text, entry)
        except Exception:
            pass
print()
print(seen)
"""


@pytest.mark.slow
def test_no_dataset_that_is_offered_executes_an_answer():
    """The interpreter itself is asked: it raises an audit event whenever code is executed."""
    result = subprocess.run([sys.executable, "-c", WATCH], capture_output=True, text=True, timeout=300, check=False)
    assert result.stdout.splitlines()[-1:] == ["[]"], result.stdout[-300:] + result.stderr[-800:]


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
OURS = {spec.name for spec in r1env_logic.plugin.r1env_environments()}


def test_without_the_library_the_environment_is_listed_with_the_command_that_mends_it(without_library):
    result = CliRunner().invoke(make_app(without_library), ["envs", "--json"])
    requires = {row["name"]: row["requires"] for row in json.loads(result.stdout) if row["name"] in OURS}
    assert requires.pop("reasoning-gym").endswith(REMEDY)
    assert set(requires.values()) == {""}


def test_without_the_library_making_it_is_refused_in_one_line(without_library):
    with pytest.raises(r1env.UsageError) as refusal:
        make_environment("reasoning-gym", plugins=without_library)
    assert str(refusal.value).endswith(REMEDY)
    assert "\n" not in str(refusal.value)


def test_without_the_library_every_other_environment_gives_tasks_and_scores_them(without_library):
    for name in OURS - {"reasoning-gym"}:
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
