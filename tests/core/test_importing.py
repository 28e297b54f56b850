"""Objects that users name by `module:attribute` and `file.py:attribute`, and what is said when there is none."""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import r1env
from r1env.importing import import_target, load_object
from r1env.plugins import Plugins, installed
from r1env.rewards import load_reward
from r1env.rubrics import Rubric, WeightedReward, find_rubric
from r1env.scoring import ScoringPool, score
from r1env.types import Rollout, Task

SOURCE = """
import r1env
from r1env import RewardSpec
from beside import FACTOR

def last_number(completion, answer):
    return FACTOR * (completion.split()[-1] == answer)

@r1env.reward(name="marked", isolation="process", parts=("a",))
def marked(completion):
    return {"a": 2.0}

class Long:
    def __init__(self, limit=2):
        self.limit = limit
    def __call__(self, completion):
        return len(completion) > self.limit

WEIGHTS = {"accuracy": 1.0, "my_own.py:last_number": 0.5}

def rubric():
    return {"name": "from a function", "rewards": [{"reward": "my_own.py:marked"}]}

BRIEF = "{question} Be brief."

def shouting(task):
    return ({"role": "user", "content": task.question.upper()},)

def engine(model, **options):
    from r1env.engines import ScriptedEngine
    return ScriptedEngine(model + options.get("text", ""))

def environment():
    return r1env.EnvironmentSpec(
        "mine", lambda: r1env_list(), reward="my_own.py:last_number", summary="", template="my_own.py:BRIEF"
    )

def r1env_list():
    from r1env.data.sources import ListSource
    return ListSource([r1env.Task(id="1", prompt="2 + 2?", answer="4")])

NUMBER = 5
"""
TASK = Task(id="1", prompt="2 + 2?", answer="4")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a file of somebody's own; what it adds to the interpreter is taken away again."""
    (tmp_path / "my_own.py").write_text(SOURCE)
    (tmp_path / "beside.py").write_text("FACTOR = 1.0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [name for name in sys.modules if name in ("my_own", "beside") or name.startswith("r1env_file_my_own")]:
        del sys.modules[name]


def rollout(completion: str) -> Rollout:
    return Rollout(task=TASK, completion=completion)


@pytest.mark.parametrize("where", ["my_own", "my_own.py", "./my_own.py"])
def test_a_function_in_the_current_folder_is_a_reward_by_module_and_by_file(folder: Path, where: str) -> None:
    made = installed().reward(f"{where}:last_number")
    assert (made.name, made.score(rollout("it is 4")).value) == ("last_number", 1.0)


def test_the_current_folder_is_searched_only_when_a_module_of_it_is_named(folder: Path) -> None:
    (folder / "wandb").mkdir()
    with pytest.raises(r1env.UsageError, match="no module 'wandb_sweeps', neither installed nor in"):
        load_object("wandb_sweeps:x", "reward")
    assert str(folder) not in sys.path
    load_object("my_own:NUMBER", "number")
    assert sys.path[-1] == str(folder)


@pytest.mark.parametrize("where", ["my_own", "my_own.py"])
@pytest.mark.parametrize("name", ["last_number", "marked", "Long"])
def test_a_reward_from_a_file_works_in_workers_and_keeps_its_settings(folder: Path, where: str, name: str) -> None:
    made = load_reward(f"{where}:{name}")
    made = r1env.Reward(
        name="renamed",
        function=made.function,
        isolation=r1env.Isolation.PROCESS,
        parts=made.parts,
        options={"limit": 3} if name == "Long" else {},
    )
    travelled = pickle.loads(cloudpickle.dumps(made))
    assert (travelled.name, travelled.parts, travelled.options) == (made.name, made.parts, made.options)
    with ScoringPool(workers=1) as pool:
        here = [made.score(one) for one in (rollout("it is 4"), rollout("abc"))]
        assert score([rollout("it is 4"), rollout("abc")], made, pool=pool) == here
        assert all(found.value is not None for found in here)


def test_workers_run_what_was_loaded_even_if_the_file_has_changed_meanwhile(folder: Path) -> None:
    made = load_reward("my_own.py:marked")
    (folder / "my_own.py").write_text(SOURCE.replace('"a": 2.0', '"a": 7.0'))
    with ScoringPool(workers=1) as pool:
        assert score([rollout("x")], made, pool=pool)[0].value == 2.0
    assert load_reward("my_own.py:marked").score(rollout("x")).value == 7.0


@pytest.mark.parametrize("where", ["my_own", "my_own.py"])
def test_a_run_remembers_which_file_a_reward_came_from_and_its_hash(folder: Path, where: str) -> None:
    (described,) = Rubric("r", [WeightedReward(load_reward(f"{where}:last_number"))]).describe()
    assert described["sha256"] == hashlib.sha256(SOURCE.encode()).hexdigest()
    assert described["function"] == ("my_own:last_number" if where == "my_own" else f"{folder}/my_own.py:last_number")


def test_rubrics_templates_engines_and_environments_are_named_the_same_way(folder: Path) -> None:
    plugins = installed()
    spec = find_rubric("my_own.py:WEIGHTS")
    assert [(choice.reward, choice.weight) for choice in spec.rewards] == [("accuracy", 1.0), ("my_own.py:last_number", 0.5)]
    assert find_rubric("my_own:rubric").name == "from a function"
    assert find_rubric("my_own.py:marked").part_keys == ("marked", "marked/a")
    assert plugins.template("my_own.py:BRIEF").render(TASK)[-1]["content"] == "2 + 2? Be brief."
    assert plugins.template("my_own:shouting").render(Task(id="1", prompt="why?"))[-1]["content"] == "WHY?"
    assert (
        plugins.load(r1env.EngineSpec, "my_own.py:engine")("a", text="b").generate([TASK.prompt], _sampling())[0][0].text
        == "ab"
    )
    environment = r1env.make_environment("my_own.py:environment", rubric="my_own.py:marked")
    assert environment.open(environment.task(0)).messages[-1]["content"] == "2 + 2? Be brief."
    assert environment.accuracy == "last_number"


def test_a_rubric_file_may_name_functions_of_a_file(folder: Path) -> None:
    (folder / "rubric.yaml").write_text("name: y\nrewards:\n- {reward: 'my_own.py:last_number', weight: 2}\n")
    from r1env.adapters.core import load_rubric

    assert score([rollout("4")], load_rubric("rubric.yaml"))[0].value == 2.0


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no_such.py:f", "cannot read {folder}/no_such.py: No such file or directory"),
        ("no_such_module:f", "no module 'no_such_module', neither installed nor in {folder}"),
        ("my_own.py:last_numbr", "{folder}/my_own.py has no 'last_numbr'; it has last_number"),
        ("my_own:nothing_like_it", "my_own.py has no 'nothing_like_it'; it has last_number, marked"),
        ("my_own.py:", "write module:attribute or file.py:attribute"),
        (":f", "write module:attribute or file.py:attribute"),
        ("syntax.py:f", "importing {folder}/syntax.py raised SyntaxError: invalid syntax (syntax.py, line 2)"),
        ("raising.py:f", "importing {folder}/raising.py raised ValueError: on strike (raising.py, line 2)"),
        ("raising:f", "importing raising raised ValueError: on strike (raising.py, line 2)"),
        ("needing:f", "importing needing raised ModuleNotFoundError: No module named 'no_such_library' (needing.py, line 1)"),
        ("my_own.py:NUMBER", "is a int, not a reward"),
    ],
)
def test_what_was_looked_for_and_where_is_said_in_one_line(folder: Path, reference: str, message: str) -> None:
    (folder / "syntax.py").write_text("x = 1\nx = = 2\n")
    (folder / "raising.py").write_text("x = 1\nraise ValueError('on strike')\n")
    (folder / "needing.py").write_text("import no_such_library\n")
    with pytest.raises(r1env.UsageError) as caught:
        load_reward(reference)
    assert message.format(folder=folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40), st.sampled_from([":", ".py:", ".x:y", "/a.py:", ":" * 3]), st.text(max_size=10))
@example("\0", ".py:", "f")
@example("~\0", ".py:", "f")
@example("a" * 400, ":", "f")
@example("a" * 5000, ".py:", "f")
@example("..", ":", "f")
@example("~nobody-at-all", "/a.py:", "f")
def test_no_text_makes_it_raise_anything_but_a_usage_error_of_one_line(where: str, between: str, attribute: str) -> None:
    try:
        load_object(f"{where}{between}{attribute}", "reward")
    except r1env.UsageError as error:
        assert len(str(error).splitlines()) == 1, error  # noqa: PT017 - other errors fail the test, and no error is fine


def test_a_target_that_is_no_text_is_the_object_itself() -> None:
    assert import_target(len) is len
    with pytest.raises(r1env.errors.PluginError, match="cannot import 'r1env:nothing'"):
        import_target("r1env:nothing")


def test_a_reference_that_is_no_environment_is_refused(folder: Path) -> None:
    with pytest.raises(r1env.UsageError, match=r"'my_own\.py:NUMBER' is a int, not an r1env\.EnvironmentSpec"):
        Plugins({}).environment("my_own.py:NUMBER")


def _sampling() -> r1env.engines.SamplingParams:
    from r1env.engines import SamplingParams

    return SamplingParams()


def test_a_file_that_exits_when_it_is_run_is_refused_in_one_line(tmp_path):
    path = tmp_path / "script.py"
    path.write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(r1env.UsageError, match=r"importing .*script.py raised SystemExit: 3 \(script.py, line 2\)"):
        load_reward(f"{path}:mine")
