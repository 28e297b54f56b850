"""The functions that TRL calls: its batches in, its numbers out. `test_trl_training.py` runs them in its trainer."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from r1env.adapters.trl import reward_function, reward_functions, row_of
from r1env.rewards import reward
from r1env.types import Task


def batch(*completions: str, **columns):
    """The keywords of a text data set, as `GRPOTrainer._calculate_rewards` of TRL 1.16.0 passes them."""
    count = len(completions)
    return {
        "prompts": ["say yes"] * count,
        "completions": list(completions),
        "completion_ids": [[1, 2]] * count,
        "answer": ["yes"] * count,
        "trainer_state": object(),
        **columns,
    }


class Log:
    """TRL's `log_metric` and `log_extra`."""

    def __init__(self):
        self.metrics, self.columns = {}, {}
        self.keywords = {"log_metric": self.metrics.__setitem__, "log_extra": self.columns.__setitem__}


def test_there_is_a_function_for_each_reward_with_its_name_and_weight(pair):
    functions = reward_functions(pair)
    assert [(function.__name__, function.weight) for function in functions] == [("exact", 1.0), ("words", 0.1)]
    assert [function(**batch("yes", "oh no")) for function in functions] == [[1.0, 0.0], [1.0, 2.0]]


def test_one_function_for_all_adds_them_up_under_the_rubrics_name(pair):
    function = reward_function(pair)
    assert (function.__name__, function.weight) == ("pair", 1.0)
    assert function(**batch("yes", "oh no")) == [1.1, 0.2]


def test_a_completion_that_cannot_be_scored_gets_none_and_costs_the_others_nothing(pair):
    completions = ("yes", "hang", "abstain", "raise", "die", "no")
    exact, words = reward_functions(pair)
    assert exact(**batch(*completions)) == [1.0, None, None, None, None, 0.0]
    assert words(**batch(*completions)) == [1.0] * 6
    assert reward_function(pair)(**batch("yes", "abstain")) == [1.1, None]


def test_conversations_are_scored_by_what_the_assistant_says_last(pair):
    turns = [
        {"role": "assistant", "content": "wait"},
        {"role": "tool", "content": "?"},
        {"role": "assistant", "content": "yes"},
    ]
    blocks = [{"role": "assistant", "content": [{"type": "text", "text": "yes"}]}]
    given = batch(turns, blocks, [{"role": "assistant", "content": "no"}])
    given["prompts"] = [[{"role": "user", "content": "say yes"}]] * 3
    assert reward_functions(pair)[0](**given) == [1.0, 1.0, 0.0]


def test_the_parts_the_unscored_share_and_the_verdicts_are_logged(pair):
    log = Log()
    reward_function(pair)(**batch("yes", "abstain", "a long refusal", "yes"), **log.keywords)
    assert log.metrics == {
        "unscored/pair": 0.25,
        "parts/exact": pytest.approx(2 / 3),
        "parts/exact/long": pytest.approx(1 / 3),
        "parts/words": 1.5,
    }
    assert log.columns == {"pair_verdict": ["ok", "unparseable: exact: as asked", "wrong", "ok"]}


def test_what_trl_logs_itself_is_not_logged_twice(pair):
    log = Log()
    exact, _ = reward_functions(pair)
    exact(**batch("yes", "no"), **log.keywords)
    assert log.metrics == {"unscored/exact": 0.0, "parts/exact/long": 0.0}


def test_a_part_that_no_completion_has_is_not_logged_as_nan(pair):
    log = Log()
    reward_functions(pair)[0](**batch("abstain"), **log.keywords)
    assert log.metrics == {"unscored/exact": 1.0}


def test_an_empty_batch_gives_nothing_and_logs_nothing(pair):
    log = Log()
    assert reward_function(pair)(**batch(), **log.keywords) == []
    assert (log.metrics, log.columns) == ({}, {})


def test_a_row_that_cannot_be_read_costs_only_its_own_score(pair):
    given = batch("yes", "yes")
    given["prompts"] = ["say yes", 7]
    assert reward_function(pair)(**given) == [1.1, None]


def test_columns_reach_the_reward_as_the_task():
    @reward(name="level")
    def level(task, rollout) -> float:
        return float(task.metadata["level"] + len(rollout.token_ids))

    assert reward_function(level)(**batch("a", "b", level=[10, 20], environments=[object()] * 2)) == [12.0, 22.0]


def test_the_reference_answer_may_stand_in_any_column(pair):
    given = batch("four", gold=["four"])
    assert reward_functions(pair, answer_field="gold")[0](**given) == [1.0]


def test_a_task_comes_whole_through_a_row_of_the_data_set(pair):
    row = row_of(Task(id="7", prompt="say é", answer="é\ud800"))
    prompt = row.pop("prompt")
    columns = {key: [value] for key, value in row.items()}
    given = {"prompts": [prompt], "completions": [[{"role": "assistant", "content": "é\ud800"}]], **columns}
    assert reward_functions(pair)[0](**given) == [1.0]


def test_it_answers_from_many_threads_and_inside_a_running_loop(pair):
    function = reward_function(pair)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda text: function(**batch(text)), ["yes", "no"] * 8)) == [[1.1], [0.1]] * 8

    async def in_a_loop():
        return function(**batch("yes")), await asyncio.to_thread(function, **batch("no"))

    assert asyncio.run(in_a_loop()) == ([1.1], [0.1])


def test_it_pickles_for_the_spawned_worker_of_the_asynchronous_trainer(pair, tmp_path):
    """Also where the reward was written in a script: TRL pickles with the standard module, which refuses those."""
    (tmp_path / "function.pickle").write_bytes(pickle.dumps(reward_function(pair)))
    code = (
        "import pickle; function = pickle.load(open('function.pickle', 'rb'));"
        "print(function.__name__, function(prompts=['q'], completions=['yes'], answer=['yes']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[0] == "pair [1.1]", done.stderr
