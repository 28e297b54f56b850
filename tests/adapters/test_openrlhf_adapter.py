"""The reward file that OpenRLHF loads, called by its released `SingleTurnAgentExecutor` (0.11.2) with an engine that reads from a script."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from r1env.adapters.openrlhf import REWARD_STEP, label_of, reward_function, rounded_reward, row_of
from r1env.errors import UsageError
from r1env.rewards import reward
from r1env.types import Task

KEYS = ["error", "exact", "exact/long", "words"]
PROMPT = "<|im_start|>user\nSay yes, please.<|im_end|>\n<|im_start|>assistant\n"


def ask(function, completion, label="yes", prompt=PROMPT):
    """One call, as the executor makes it: lists of one, positional, special tokens kept."""
    return function([prompt + completion + "<|im_end|>"], [prompt], [label])


def test_it_answers_with_plain_numbers(pair):
    told = ask(reward_function(pair), "yes")
    assert told == {
        "rewards": pytest.approx(1.1, abs=REWARD_STEP / 2),
        "scores": 1.0,
        "extra_logs": {"error": 0.0, "exact": 1.0, "exact/long": 0.0, "words": 1.0},
    }
    assert type(told["rewards"]) is float


@pytest.mark.parametrize("completion", ["abstain", "raise", "die", "hang"])
def test_no_score_becomes_the_number_that_was_asked_for_and_an_error_under_the_same_keys(pair, completion):
    told = ask(reward_function(pair, unscored=-0.5), completion)
    assert (told["rewards"], told["scores"], told["extra_logs"]["error"]) == (-0.5, 0.0, 1.0)
    assert list(told["extra_logs"]) == KEYS


@pytest.mark.parametrize("label", ['{"r1env_task": 7}', '{"r1env_task": ', {"r1env_task": "no json"}, ["a list"]])
def test_a_label_that_makes_no_task_raises_nothing(pair, label):
    told = ask(reward_function(pair), "yes", label)
    assert list(told["extra_logs"]) == KEYS
    assert told["rewards"] <= rounded_reward(0.1)


@given(value=st.floats(-10, 10), size=st.integers(2, 256))
def test_a_group_that_is_all_alike_has_no_advantage_in_openrlhfs_arithmetic(value, size):
    """OpenRLHF's `group_norm`, in float32; see `compute_advantages_and_returns`."""
    rewards = torch.full((1, size), rounded_reward(value))
    advantages = (rewards - rewards.mean(-1, keepdim=True)) / (rewards.std(-1, keepdim=True) + 1e-9)
    assert advantages.abs().max() == 0
    assert rounded_reward(value) == pytest.approx(value, abs=REWARD_STEP / 2)


def test_a_query_that_does_not_hold_its_prompt_is_an_error_not_a_guess(pair):
    told = reward_function(pair)(["yes"], [PROMPT], ["yes"])
    assert (told["rewards"], told["extra_logs"]["error"]) == (0.0, 1.0)


def test_a_plain_label_is_the_answer_even_where_it_looks_like_json(pair):
    function = reward_function(pair)
    for answer in ("yes", "42", '{"a": 1}', "[1, 2]", "é\u202e"):
        assert ask(function, answer, answer)["extra_logs"]["exact"] == 1.0
    assert ask(function, "0", 0)["extra_logs"]["exact"] == 1.0
    assert ask(function, "yes", {"answer": "yes", "level": 3})["extra_logs"]["exact"] == 1.0


def test_a_label_written_from_a_task_brings_it_whole():
    task = Task(id="7", prompt="say é", answer="é\ud800", tests=({"input": 1},), language="fr", metadata={"level": 3})
    seen = []

    @reward(name="spy")
    def spy(task) -> float:
        seen.append(task)
        return 1.0

    assert ask(reward_function(spy), "x", label_of(task))["rewards"] == 1.0
    assert seen == [task]
    assert row_of(task) == {"prompt": [{"role": "user", "content": "say é"}], "label": label_of(task)}
    assert json.loads(label_of(task))["r1env_task"]["id"] == "7"


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)) | st.none() | st.integers())
def test_no_text_makes_it_raise(completion, label):
    told = ask(reward_function("format"), completion, label)
    assert list(told["extra_logs"]) == ["error", "format"]
    assert told["rewards"] in (0.0, 1.0)


def test_any_other_number_of_queries_gives_lists(pair):
    function = reward_function(pair)
    assert function([], [], []) == {"rewards": [], "scores": [], "extra_logs": {key: [] for key in KEYS}}
    told = function([PROMPT + "yes", PROMPT + "no"], [PROMPT] * 2, ["yes"] * 2)
    assert told["rewards"] == [rounded_reward(1.1), rounded_reward(0.1)]
    assert told["extra_logs"]["exact"] == [1.0, 0.0]


def test_a_reward_named_as_one_of_its_own_metrics_is_refused_when_the_file_is_loaded():
    @reward(name="kl")
    def kl(completion: str) -> float:
        return 0.0

    with pytest.raises(UsageError, match="cannot be called 'kl' here"):
        reward_function(kl)


class Characters:
    """A tokenizer of characters, with the calls that the executor makes."""

    def __call__(self, text, add_special_tokens, return_tensors):
        return {"input_ids": [SimpleNamespace(tolist=lambda: [ord(character) for character in text])]}

    def decode(self, token_ids, skip_special_tokens):
        assert not skip_special_tokens
        return "".join(map(chr, token_ids))


class Engine:
    """Completes with what it was given, and the end-of-turn token."""

    def __init__(self, completion):
        self.completion = completion

    async def generate(self, prompt_token_ids, sampling_params, multi_modal_data):
        token_ids = [ord(character) for character in self.completion + "<|im_end|>"]
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=token_ids, finish_reason="stop", logprobs=None)])


@pytest.fixture
def executor():
    """The released class. Its package imports DeepSpeed and LaTeX tools when it is imported, and the file itself an HTTP client for
    reward servers: none is needed for a reward file, so the packages are stood in for, and the modules are the released ones.
    """
    installed = importlib.util.find_spec("openrlhf")
    if installed is None or installed.origin is None:
        pytest.skip("OpenRLHF is not installed (requirements/no-deps.txt)")
    root = Path(installed.origin).parent
    stand_ins = {"aiohttp": types.ModuleType("aiohttp")}
    for name, folder in (("openrlhf", root), ("openrlhf.utils", root / "utils")):
        stand_ins[name] = types.ModuleType(name)
        stand_ins[name].__path__ = [str(folder)]
    with patch.dict(sys.modules, stand_ins):
        return importlib.import_module("openrlhf.utils.agent").SingleTurnAgentExecutor


def execute(executor, completion, label, max_length=500):
    sampling = SimpleNamespace(max_tokens=100, logprobs=None)
    return executor.execute(PROMPT, label, sampling, max_length, Characters(), Engine(completion))


REWARD_FILE = """
import os
import r1env
from r1env.adapters.openrlhf import reward_function

@r1env.reward(name="obey", isolation="process", limits=r1env.Limits(cpu_seconds=0.5, wall_seconds=60.0))
def obey(completion: str, answer: str) -> float:
    while completion == "hang":
        pass
    if completion == "die":
        os._exit(3)
    return float(completion == answer)

reward_func = reward_function(obey)
"""


def test_the_released_executor_takes_the_file_and_a_stuck_reward_costs_only_its_own_rollout(executor, tmp_path):
    (tmp_path / "reward.py").write_text(REWARD_FILE)
    loaded = executor(str(tmp_path / "reward.py"))

    async def together():
        said = ("yes", "hang", "no", "die", "yes")
        return await asyncio.gather(*(execute(loaded, completion, "yes") for completion in said))

    outputs = asyncio.run(together())
    assert [output["reward"] for output in outputs] == [1.0, 0.0, 0.0, 0.0, 1.0]
    assert [output["scores"] for output in outputs] == [1.0, 0.0, 0.0, 0.0, 1.0]
    assert [output["extra_logs"]["error"] for output in outputs] == [0.0, 1.0, 0.0, 1.0, 0.0]
    assert all(list(output["extra_logs"]) == ["error", "obey"] for output in outputs)


def test_the_released_executor_cuts_a_long_prompt_and_the_response_is_still_found(executor, tmp_path):
    (tmp_path / "reward.py").write_text(REWARD_FILE)
    output = asyncio.run(execute(executor(str(tmp_path / "reward.py")), "yes", "yes", max_length=140))
    assert len(output["observation_tokens"]) < len(PROMPT)
    assert (output["reward"], output["extra_logs"]["error"]) == (1.0, 0.0)
