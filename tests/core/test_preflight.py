"""Pre-flight: what would make a run worthless is found before its first step, with the rows and what to do about them."""

from __future__ import annotations

import logging

import pytest
from chat_templates import LLAMA3, tokenizer_of

import r1env
from r1env import preflight
from r1env.data.sources import ListSource
from r1env.engines import ScriptedEngine
from r1env.envs.environment import Environment
from r1env.envs.suite import Suite
from r1env.plugins import installed
from r1env.preflight import Limits, Preflight, PreflightError, check_suites, check_tasks, settle
from r1env.rubrics import Rubric, WeightedReward
from r1env.types import Task


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@r1env.reward(name="same_text")
def same_text(completion, answer):
    return float(completion.endswith(f"<answer>{answer}</answer>"))


@r1env.reward(name="never")
def never(completion):
    return None


@r1env.reward(name="reads_numbers")
def reads_numbers(completion, answer):
    return same_text(completion, answer) if answer.isdigit() else None


def environment(*answers, reward=same_text, others=(), prompts=None, template="plain", **options):
    prompts = prompts or ["q"] * len(answers)
    tasks = [Task(id=f"t{i}", prompt=p, answer=a) for i, (p, a) in enumerate(zip(prompts, answers, strict=True), start=1)]
    rubric = Rubric("r", [WeightedReward(reward), *others])
    return Environment("mine", ListSource(tasks), rubric, reward.name, installed().template(template), **options)


NO_LIMITS = Limits()


def faults(environment, limits=NO_LIMITS, **settings):
    return {fault.what: fault for fault in check_tasks(environment, Preflight(**settings), limits).faults}


def test_references_that_are_paid_are_counted():
    report = check_tasks(environment("1", "2"), Preflight())
    assert report.faults == ()
    assert report.lines() == ["pre-flight, mine: 2 rows checked; 2 of 2 references are paid when given as the answer"]


def test_a_reference_that_is_not_paid_is_shown_with_its_row():
    @r1env.reward(name="numbers_only")
    def numbers_only(completion, answer):
        return float(answer.isdigit() and same_text(completion, answer))

    found = faults(environment("1", "We add, so 2.", "3", reward=numbers_only))
    fault = found[preflight.UNPAID]
    assert (fault.rows, fault.fatal) == (1, True)
    assert fault.examples[0].startswith("row 2 (task 't2'): 'We add, so 2.': scores 0")
    assert "right answers would score 0" in fault.remedy


def test_a_reference_that_cannot_be_read_is_shown_with_the_reason():
    found = faults(environment("1", "two", reward=reads_numbers))
    assert found[preflight.UNREADABLE].rows == 1
    assert found[preflight.UNREADABLE].examples[0].startswith("row 2 (task 't2'): 'two': ")


def test_rows_without_a_reference_are_a_fault_where_the_checker_asks_for_one():
    assert faults(environment("1", None, ""))[preflight.NO_ANSWER].rows == 2

    @r1env.reward(name="any_text")
    def any_text(completion, answer=None):
        return 1.0

    assert faults(environment("1", None, reward=any_text)) == {}


def test_a_few_faulty_rows_are_reported_and_many_stop_the_run(caplog):
    good = ["1"] * 19
    settle([check_tasks(environment(*good, None), Preflight())], Preflight())
    assert "1 of 20 have no reference answer" in caplog.text
    settings = Preflight(max_faulty=0.04)
    with pytest.raises(
        PreflightError,
        match=r"mine: 1 of 20 have no reference answer, and the checker needs one, the first: row 20 \(task 't20'\)",
    ):
        settle([check_tasks(environment(*good, None), settings)], settings)


def test_a_reference_is_written_as_the_checker_wants_it():
    @r1env.reward(name="boxed")
    def boxed(completion, answer):
        return float(f"\\boxed{{{answer}}}" in completion)

    assert faults(environment("1", "2", reward=boxed)) == {}


def test_a_checker_that_pays_nothing_that_is_known_says_so():
    @r1env.reward(name="json_only")
    def json_only(completion, answer):
        return float(completion == f'{{"answer": {answer}}}')

    assert "wants one of its own" in faults(environment("1", reward=json_only))[preflight.UNPAID].remedy


def test_a_reward_without_a_single_score_stops_the_run_and_one_without_weight_is_reported():
    name = "got no score from the reward 'never'"
    assert faults(environment("1", others=[WeightedReward(never)]))[name].fatal
    assert not faults(environment("1", others=[WeightedReward(never, 0.0)]))[name].fatal


def test_a_group_reward_is_asked_about_groups():
    @r1env.reward(name="best_of_group", scope="group")
    def best_of_group(completions):
        return [1.0 if len(completions) == 2 else None for _ in completions]

    assert faults(environment("1", "2", others=[WeightedReward(best_of_group)])) == {}


def test_a_prompt_beyond_the_context_is_found_and_left_out_only_where_the_run_leaves_it_out():
    tokenizer = tokenizer_of(None)
    prompts = ["short", "long " * 20, "é" * 5]
    fault = faults(environment("1", "2", "3", prompts=prompts), Limits(tokenizer, max_length=64))[preflight.TOO_LONG]
    assert (fault.rows, fault.fatal) == (1, True)
    assert fault.examples == ("row 2 (task 't2'): 100 tokens, limit 63",)
    skipping = Limits(tokenizer, max_prompt=50, max_length=64)
    fault = faults(environment("1", "2", "3", prompts=prompts), skipping)[preflight.TOO_LONG]
    assert (fault.fatal, fault.remedy) == (False, "filter.max_prompt_length=50 leaves them out")


def test_a_prompt_that_the_chat_template_cannot_show_is_found():
    odd = environment("1")
    task = Task(id="t", prompt=({"role": "critic", "content": "q"},), answer="1")
    odd = Environment(**{**vars(odd), "source": ListSource([task])})
    assert faults(odd, Limits(tokenizer_of(LLAMA3)))[preflight.UNSHOWN].fatal


def test_only_the_tasks_that_an_evaluation_uses_are_checked():
    assert check_tasks(environment("1", "2", None), Preflight(), count=2).faults == ()


@pytest.mark.parametrize(
    "name", ["sort-4", "add-2digit", "countdown-3", "guess-number", "bilingual-sort", "small-talk", "column-addition"]
)
def test_every_built_in_environment_passes(name):
    report = check_tasks(r1env.make_environment(name), Preflight(tasks=20))
    assert report.faults == ()


def test_what_took_long_is_not_checked_again_for_the_same_rows_rewards_and_tokenizer(monkeypatch):
    calls = []

    @r1env.reward(name="counted")
    def counted(completion, answer):
        calls.append(completion)
        return same_text(completion, answer)

    monkeypatch.setattr(preflight, "SLOW", 0.0)
    first = check_tasks(environment("1", "2", reward=counted), Preflight())
    asked = len(calls)
    assert check_tasks(environment("1", "2", reward=counted), Preflight()) == first
    assert len(calls) == asked
    for changed in (
        lambda: check_tasks(environment("1", "3", reward=counted), Preflight()),
        lambda: check_tasks(environment("1", "2", reward=counted, others=[WeightedReward(never, 0.0)]), Preflight()),
        lambda: check_tasks(environment("1", "2", reward=counted), Preflight(max_faulty=0.5)),
        lambda: check_tasks(environment("1", "2", reward=counted), Preflight(), Limits(tokenizer_of(None))),
        lambda: check_tasks(environment("1", "2", reward=counted), Preflight(), Limits(tokenizer_of(LLAMA3))),
    ):
        asked = len(calls)
        changed()
        assert len(calls) > asked


def test_the_hook_for_scored_rollouts_is_not_called(monkeypatch):
    monkeypatch.setattr(type(installed()), "listens", lambda *_: True)
    monkeypatch.setattr(type(installed()), "notify", lambda *_, **__: pytest.fail("called"))
    check_tasks(environment("1"), Preflight())


def test_each_environment_is_checked_once_and_off_checks_nothing(caplog):
    caplog.set_level(logging.INFO)
    one = environment("1")
    check_suites([Suite("a", [one]), Suite("b", [one])], Preflight(), ScriptedEngine("1"))
    assert len(caplog.records) == 1
    check_suites([Suite("a", [environment(None)])], Preflight(mode="off"))
    check_suites([Suite("a", [environment(None)])], Preflight(mode="report"))
    with pytest.raises(PreflightError):
        check_suites([Suite("a", [environment(None)])], Preflight())


def test_prose_that_is_compared_word_for_word_is_told_from_a_solution_that_is_read():
    prose = "We add the first number to the second number and get one hundred and forty eight in all."

    @r1env.reward(name="reads_solutions")
    def reads_solutions(completion, answer):
        return float(answer.rpartition("####")[2].strip() in completion)

    solution = prose + " #### 148"
    assert faults(environment(solution, reward=reads_solutions)) == {}
    assert faults(environment(prose))[preflight.WORDY].rows == 1


def test_rows_of_a_file_are_named_by_their_line(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('\n{"question": "1 + 1?", "answer": "2"}\n{"question": "%s", "answer": "3"}\n' % ("1 + 2? " * 20))
    mine = r1env.make_environment("data", data=str(path))
    fault = faults(mine, Limits(tokenizer_of(None), max_length=100))[preflight.TOO_LONG]
    assert fault.examples[0].startswith(f"{path}, line 3: ")


def test_more_tasks_than_a_batch_are_all_checked(monkeypatch):
    monkeypatch.setattr(preflight, "BATCH", 2)
    report = check_tasks(environment("1", "2", "3", None, "5"), Preflight(max_faulty=1))
    assert (report.checked, report.faults[0].examples[0][:5]) == (5, "row 4")
    assert "4 of 4 references" in report.lines()[0]
