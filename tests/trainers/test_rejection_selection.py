"""What rejection sampling keeps: each reason to leave a sample out, duplicates, readability, and the statistics of it all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env import Task
from r1env.plugins import installed
from r1env.types import FinishReason, Rollout, Score, Status
from r1env_trainers.rejection.config import RewardFilter, Selection
from r1env_trainers.rejection.select import (
    SeenTexts,
    Selector,
    has_code_block,
    longest_paragraph,
    pieces,
    similarity,
    thinking_of,
)
from r1env_trainers.rejection.statistics import Counts, count, make_table, merged

TASK = Task(id="t", prompt="1+1?", answer="2")
RIGHT = Score(value=1.0, parts={"math": 1.0})


@r1env.reward(name="vowels")
def vowels(completion: str) -> float | None:
    """The share of vowels; nothing to say about a text without letters."""
    letters = [character for character in completion if character.isalpha()]
    return sum(character in "aeiou" for character in letters) / len(letters) if letters else None


def rollout(text, finish=FinishReason.STOP):
    return Rollout(task=TASK, completion=text, finish_reason=finish, token_ids=tuple(range(len(text))))


def fates(texts, keep, scores=None):
    """The fates of the samples of one prompt."""
    group = [text if isinstance(text, Rollout) else rollout(text) for text in texts]
    (judged,) = Selector(keep, installed()).judge([group], [scores or [RIGHT] * len(group)])
    return [sample.fate for sample in judged]


def test_a_sample_is_right_from_the_threshold_on():
    scores = [Score(value=value, parts={}) for value in (0.99, 1.0, 1.1)]
    assert fates(["a", "b", "c"], Selection(threshold=1.0), scores) == ["wrong", "kept", "kept"]


def test_a_sample_that_could_not_be_scored_is_not_called_wrong():
    assert fates(["a"], Selection(), [Score.failure(Status.TIMEOUT, "slow")]) == ["unscored"]


def test_a_sample_that_was_cut_off_is_no_demonstration_of_how_to_stop():
    assert fates([rollout("a", FinishReason.LENGTH)], Selection()) == ["truncated"]


def test_no_more_are_kept_of_a_prompt_than_its_cap_in_the_order_they_were_drawn():
    assert fates(["a", "b", "c", "d"], Selection(per_prompt=2)) == ["kept", "kept", "surplus", "surplus"]


def test_copies_are_kept_once_whatever_their_spaces_and_case():
    assert fates(["so 1+1=2", "So  1+1=2\n", "then 2"], Selection()) == ["kept", "duplicate", "kept"]


LONG = "first add the ones and write down the carry, then add the tens and the carry, and read the answer"


def test_near_copies_go_where_they_are_asked_to():
    near = LONG.replace("read", "tell")
    assert fates([LONG, near, "quite another way"], Selection(near_duplicate=0.8)) == ["kept", "near_duplicate", "kept"]
    assert fates([LONG, near], Selection()) == ["kept", "kept"]


def test_a_reward_filters_what_it_can_score_and_passes_the_rest():
    keep = Selection(filters=(RewardFilter(reward=f"{__name__}:vowels", at_least=0.5),))
    assert fates(["aa b", "a bb", "12"], keep) == ["kept", "vowels", "kept"]


def test_filters_are_asked_only_about_samples_that_are_right():
    keep = Selection(filters=(RewardFilter(reward=f"{__name__}:vowels", at_least=0.5),))
    scores = [Score(value=0.0, parts={}), RIGHT]
    assert fates(["bb", "bb"], keep, scores) == ["wrong", "vowels"]


@pytest.mark.parametrize("reward", ["language", "repetition"])
def test_the_installed_rewards_serve_as_filters(reward):
    mixed = "<think>我们先算个位数字然后再算十位数字</think>2" if reward == "language" else "go " * 50
    task = TASK.model_copy(update={"language": "en"})
    keep = Selection(filters=(RewardFilter(reward=reward, at_least=-0.5 if reward == "repetition" else 0.9),))
    clean = "<think>We add the ones and then we add the tens</think>2"
    group = [rollout(text).model_copy(update={"task": task}) for text in (mixed, clean)]
    assert fates(group, keep) == [reward, "kept"]


def test_long_paragraphs_and_code_in_the_thinking_are_left_out():
    keep = Selection(longest_paragraph=20, code_blocks=False)
    long = f"<think>{'word ' * 10}</think>2"
    code = "<think>so\n```python\n1\n```\n</think>2"
    code_as_answer = "<think>so</think>\n```python\nprint(2)\n```"
    assert fates([long, code, code_as_answer], keep) == ["long_paragraph", "code_block", "kept"]


@pytest.mark.parametrize(
    ("text", "longest"), [("", 0), ("abc", 3), ("abc\n\nde", 3), ("ab\ncd\n\nefg", 5), ("\n\nab\n", 2), ("a\n \nbc", 2)]
)
def test_a_paragraph_ends_at_an_empty_line(text, longest):
    assert longest_paragraph(text) == longest


@given(st.text())
def test_any_text_has_a_readability(text):
    assert 0 <= longest_paragraph(text) <= len(text)
    has_code_block(thinking_of(text))


@given(st.text(), st.text())
def test_similarity_is_symmetric_and_one_for_a_copy(a, b):
    assert similarity(pieces(a), pieces(a)) == 1.0
    assert similarity(pieces(a), pieces(b)) == similarity(pieces(b), pieces(a))


@given(st.text())
def test_a_text_is_its_own_duplicate(text):
    seen = SeenTexts(near=None)
    assert seen.fault(text) is None
    seen.add(text)
    assert seen.fault(text) == "duplicate"


@given(st.lists(st.lists(st.sampled_from(["a", "bb", "bb cc", "ccc", LONG]), min_size=1, max_size=5), max_size=6))
def test_every_sample_has_one_fate_and_the_sums_are_right(groups):
    selector = Selector(Selection(per_prompt=2, near_duplicate=0.9), installed())
    scores = [[RIGHT if len(text) > 1 else Score(value=0.0, parts={}) for text in group] for group in groups]
    judged = selector.judge([[rollout(text) for text in group] for group in groups], scores)
    total = sum(count(judged).values(), start=Counts())
    assert total.sampled == sum(map(len, groups))
    assert total.prompts == len(groups)
    assert total.right == sum(len(text) > 1 for group in groups for text in group)
    assert total.kept <= 2 * total.solved
    assert total.sampled_tokens == sum(len(text) for group in groups for text in group)


def test_the_table_tells_domains_as_the_paper_does_and_adds_up():
    math = Counts(prompts=2, solved=1, fates={"kept": 2, "wrong": 1, "language": 1}, sampled_tokens=40, rounds=3, tokens=25)
    table = make_table(merged([{"math": math}, {"math": math, "code": Counts(prompts=1, fates={"wrong": 4})}]), {"general": 5})
    assert table.columns == (
        *("domain", "prompts", "solved", "sampled", "right", "kept", "avg rounds", "avg tokens"),
        *("wrong", "language"),
    )
    assert table.rows == (
        ("math", "4", "2", "8", "6", "4", "1.5", "12.5", "2", "2"),
        ("code", "1", "0", "4", "0", "0", "–", "–", "4", "0"),
        ("general", "–", "–", "–", "–", "5", "–", "–", "–", "–"),
        ("total", "5", "2", "12", "6", "9", "1.5", "12.5", "6", "2"),
    )
