"""The function that verl calls, called as verl 0.9.1 does; and by its released reward manager, where that is installed."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import types
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.adapters import verl
from r1env.adapters.verl import compute_score, reward_function, row_of
from r1env.errors import UsageError
from r1env.rewards import reward
from r1env.types import Task

KEYS = ["score", "acc", "error", "exact", "exact/long", "words"]


def ask(function, solution, ground_truth="yes", **extra_info):
    return function(data_source="d", solution_str=solution, ground_truth=ground_truth, extra_info=extra_info)


def test_it_answers_with_the_score_the_accuracy_and_the_parts(pair):
    told = ask(reward_function(pair), "yes")
    assert told == {"score": 1.1, "acc": 1.0, "error": 0.0, "exact": 1.0, "exact/long": 0.0, "words": 1.0}
    assert all(type(value) is float for value in told.values())


@pytest.mark.parametrize("solution", ["abstain", "raise", "die", "hang"])
def test_no_score_becomes_the_number_that_was_asked_for_and_an_error_under_the_same_keys(pair, solution):
    told = ask(reward_function(pair, unscored=-0.5), solution)
    assert (told["score"], told["acc"], told["error"]) == (-0.5, 0.0, 1.0)
    assert list(told) == KEYS
    assert np.isfinite(list(told.values())).all()


@pytest.mark.parametrize("extra_info", [{"r1env_task": "no json"}, {"prompt": 7}, {"prompt": ["text"]}])
def test_a_row_that_cannot_be_read_raises_nothing(pair, extra_info):
    told = ask(reward_function(pair), "yes", **extra_info)
    assert (list(told), told["score"], told["error"]) == (KEYS, 0.0, 1.0)


def test_extra_info_reaches_the_reward_and_stays_as_it_was(pair):
    seen = []

    @reward(name="spy")
    def spy(task) -> float:
        seen.append(task)
        return 1.0

    extra_info = {
        "index": 7,
        "prompt": np.array([{"role": "user", "content": "say yes"}], dtype=object),
        "level": np.int64(3),
        "num_turns": None,
        "rollout_reward_scores": {},
        "tokenizer": object(),
    }
    before = dict(extra_info)
    assert ask(reward_function(spy), "x", **extra_info)["score"] == 1.0
    assert extra_info == before
    (task,) = seen
    assert (task.id, task.question, task.answer, task.metadata["level"]) == ("7", "say yes", "yes", 3)
    assert task.metadata["data_source"] == "d"


def test_a_task_comes_whole_through_a_row_of_the_parquet_file(pair):
    row = row_of(Task(id="7", prompt="say é", answer="é\ud800"), data_source="mine")
    assert set(row) == {"data_source", "prompt", "reward_model", "extra_info"}
    told = reward_function(pair)(row["data_source"], "é\ud800", row["reward_model"]["ground_truth"], row["extra_info"])
    assert told["exact"] == 1.0


def test_what_else_verl_passes_is_ignored_and_extra_info_may_be_missing(pair):
    function = reward_function(pair)
    told = function(
        data_source="d", solution_str="yes", ground_truth="yes", reward_router_address="a:1", reward_model_tokenizer=object()
    )
    assert told["score"] == 1.1


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)) | st.none() | st.integers() | st.lists(st.none()))
def test_no_text_makes_it_raise(solution, ground_truth):
    told = ask(reward_function("format"), solution, ground_truth)
    assert list(told) == ["score", "acc", "error", "format"]
    assert told["error"] == 0.0


def test_a_reward_named_as_one_of_verls_own_keys_is_refused_when_it_is_made():
    @reward(name="acc")
    def acc(completion: str) -> float:
        return 0.0

    with pytest.raises(UsageError, match="cannot be called 'acc' here"):
        reward_function(acc)


def test_a_wrong_setting_is_an_error_at_the_first_call_and_not_a_zero():
    with pytest.raises(UsageError, match="unknown rubric or reward 'zerro'; did you mean 'zero'"):
        ask(partial(compute_score, rubric="zerro"), "x")
    with pytest.raises(UsageError, match="must be finite"):
        ask(partial(compute_score, unscored=float("nan")), "x")


def as_verl_calls_it(function, reward_kwargs, solutions):
    """verl 0.9.1, without verl: `trainer/ppo/reward.py` lays `reward_kwargs` over the call's own keywords, and
    `NaiveRewardManager.run_single` awaits it in the running loop's default executor, one response a call.
    """

    def with_reward_kwargs(**kwargs):
        return function(**{**kwargs, **reward_kwargs})

    async def score_all():
        loop = asyncio.get_running_loop()
        calls = (
            partial(
                with_reward_kwargs, data_source="gsm8k", solution_str=text, ground_truth="5", extra_info={"num_turns": None}
            )
            for text in solutions
        )
        return await asyncio.gather(*(loop.run_in_executor(None, call) for call in calls))

    return asyncio.run(score_all())


def test_the_module_itself_serves_as_the_custom_reward_function():
    solutions = ["<think>a</think><answer>5</answer>", "<answer>5</answer>", "<think>a</think><answer>6</answer>"] * 4
    told = as_verl_calls_it(compute_score, {"rubric": "zero", "unscored": -1.0}, solutions)
    assert [each["score"] for each in told] == [1.1, 1.0, 0.1] * 4
    assert all(list(each) == ["score", "acc", "error", "math", "format"] for each in told)


def test_a_stuck_reward_costs_only_its_own_rollout(pair):
    told = as_verl_calls_it(reward_function(pair), {"ground_truth": "yes"}, ["yes", "hang", "no", "die", "yes"])
    assert [each["score"] for each in told] == [1.1, 0.0, 0.1, 0.0, 1.1]
    assert [each["error"] for each in told] == [0.0, 1.0, 0.0, 1.0, 0.0]


@pytest.fixture
def released(monkeypatch):
    """verl's own loader of custom reward functions and its default reward manager. Their packages import Ray and more when they are
    imported, so the packages are stood in for; the four modules that take part in the call are the released ones.
    """
    installed = importlib.util.find_spec("verl")
    if installed is None or installed.origin is None:
        pytest.skip("verl is not installed (requirements/no-deps.txt)")
    root = Path(installed.origin).parent
    stand_ins = {}
    for name in (
        "",
        ".experimental",
        ".experimental.reward_loop",
        ".experimental.reward_loop.reward_manager",
        ".trainer",
        ".trainer.ppo",
    ):
        stand_ins[f"verl{name}"] = types.ModuleType(f"verl{name}")
        stand_ins[f"verl{name}"].__path__ = [str(root.joinpath(*name.split(".")))]
    for name, attributes in {
        "omegaconf": {"DictConfig": dict},
        "verl.utils": {"__path__": [str(root / "utils")]},
        "verl.utils.ray_utils": {"get_event_loop": asyncio.get_event_loop},
        "verl.utils.reward_score": {"default_compute_score": None, "get_default_compute_score": None},
    }.items():
        stand_ins[name] = types.ModuleType(name)
        stand_ins[name].__dict__.update(attributes)
    stand_ins["verl"].DataProto = list
    for name, module in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, module)
    managers = stand_ins["verl.experimental.reward_loop.reward_manager"]
    managers.register = importlib.import_module(f"{managers.__name__}.registry").register
    manager = importlib.import_module(f"{managers.__name__}.naive").NaiveRewardManager
    yield SimpleNamespace(manager=manager, load=importlib.import_module("verl.trainer.ppo.reward").get_custom_reward_fn)
    for name in [name for name in sys.modules if name.startswith("verl.")]:
        del sys.modules[name]


class Characters:
    """A tokenizer of characters."""

    def decode(self, token_ids, skip_special_tokens):
        assert skip_special_tokens
        return "".join(map(chr, token_ids))


def responses(*texts, ground_truth):
    """What the agent loop hands to the reward manager for each response: a batch of one."""
    torch = pytest.importorskip("torch")
    for text in texts:
        ids = torch.tensor([*map(ord, text), 0, 0])
        mask = torch.tensor([1, *[1] * len(text), 0, 0])
        rest = {"data_source": "d", "reward_model": {"ground_truth": ground_truth}, "extra_info": {}, "__num_turns__": 2}
        yield [SimpleNamespace(batch={"responses": ids, "attention_mask": mask}, non_tensor_batch=rest)]


@pytest.mark.parametrize("path", [f"pkg://{verl.__name__}", None], ids=["the module", "a file"])
def test_the_released_loader_and_manager_take_it(released, tmp_path, path):
    if path is None:
        (tmp_path / "reward.py").write_text(
            "from r1env.adapters.verl import reward_function\ncompute_score = reward_function('zero')\n"
        )
    settings = {"path": path or str(tmp_path / "reward.py"), "name": "compute_score"}
    if path:
        settings["reward_kwargs"] = {"rubric": "zero"}
    function = released.load(SimpleNamespace(reward={"custom_reward_function": settings}))

    async def score_all():
        manager = released.manager(config={}, tokenizer=Characters(), compute_score=function)
        batches = responses("<think>a</think><answer>5</answer>", "<answer>6</answer>", ground_truth="5")
        return await asyncio.gather(*map(manager.run_single, batches))

    first, second = asyncio.run(score_all())
    assert (first["reward_score"], second["reward_score"]) == (1.1, 0.0)
    assert first["reward_extra_info"] == {"score": 1.1, "acc": 1.0, "error": 0.0, "math": 1.0, "format": 1.0}
    assert first["reward_extra_info"].keys() == second["reward_extra_info"].keys()
