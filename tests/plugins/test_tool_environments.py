"""The environments with tools of r1env-logic: a calculator, and a price list beside it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env import UsageError
from r1env.audit.environment import audit_environment
from r1env.rubrics import RubricSpec
from r1env.types import Completion, EndedBy
from r1env_logic import tools
from r1env_logic.countdown import ExpressionError
from r1env_logic.demonstrators import guessing_shopper
from r1env_logic.words import mark_letters


def call(name, **arguments):
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def play(env, task, *texts):
    """Play an episode with these messages of the model; return it, and what the tools said to each."""
    episode, said = env.open(task), []
    for text in texts:
        episode.submit(Completion(text=text, finish_reason="stop"))
        said.append([reply["content"] for reply in episode.replies])
    return episode, said


def score(env, episode):
    (score,) = r1env.score([episode.rollout()], env.rubric)
    return score


@pytest.mark.parametrize(
    ("expression", "value"),
    [("2 + 3 * 4", "14"), ("(2 - 5) * 123456789012", "-370370367036"), ("8 / 2", "4"), ("1 / 3", "1/3 (about 0.333333)")],
)
def test_a_calculator_calculates(expression, value):
    assert tools.calculator(expression) == value


@given(st.text(alphabet="0123456789+-*/() x.", max_size=250))
def test_a_calculator_answers_or_says_what_is_wrong(text):
    try:
        said = tools.calculator(text)
    except ExpressionError as error:
        said = str(error)
    assert said


def test_an_expression_is_worked_out_with_the_calculator():
    env = r1env.make_environment("calculator", split="test")
    for index in range(20):
        task = env.task(index)
        episode, said = play(env, task, call("calculator", expression=task.metadata["expression"]), task.answer)
        assert said[0] == [task.answer]
        assert episode.ended_by is EndedBy.ENVIRONMENT
        assert score(env, episode).value == 1


def test_a_calculator_that_is_asked_nonsense_says_so_and_the_episode_goes_on():
    env = r1env.make_environment("calculator")
    task = env.task(0)
    bad = [call("calculator", expression="7 +"), call("calculator", expression="9" * 61), call("calculator", expression="1/0")]
    episode, said = play(env, task, *bad, call("calculator", expr="1"), "I give up.")
    assert all(reply.startswith("error: ") for replies in said[:-1] for reply in replies)
    assert score(env, episode).value == 0


@pytest.mark.parametrize("style", ["chat", "compact"])
def test_a_basket_is_looked_up_and_added(style):
    env = r1env.make_environment("price-list", style=style, split="test", rubric=PAID)
    task = env.task(0)
    lookups = "".join(call("price", item=item) for item in task.metadata["basket"])
    episode, said = play(env, task, lookups)
    assert said[0] == [str(task.metadata["prices"][item]) for item in task.metadata["basket"]]
    episode.submit(Completion(text=task.answer))
    found = score(env, episode)
    assert (found.value, found.parts["environment"]) == (1, 0)


PAID = RubricSpec.model_validate({"name": "paid", "rewards": [{"reward": "accuracy"}, {"reward": "environment"}]})


def test_calls_that_fail_cost_something_in_the_turn_that_they_are_made_in():
    env = r1env.make_environment("price-list", style="compact", rubric=PAID)
    task = env.task(0)
    episode, said = play(env, task, call("price", item="no such") + call("sell"), "<tool_call>{", task.answer)
    assert [turn.reward for turn in episode.rollout().turns] == pytest.approx([-0.1, -0.05, 0])
    assert all(len(reply) <= tools.COMPACT_REPLY for reply in said[0])
    assert score(env, episode).value == pytest.approx(0.85)


def test_a_number_inside_a_call_is_no_answer():
    env = r1env.make_environment("price-list", style="compact")
    task = env.task(0)
    episode, _ = play(env, task, *[call("calculator", expression=task.answer)] * env.max_turns)
    assert episode.ended_by is EndedBy.LIMIT
    assert score(env, episode).value == 0


def test_two_episodes_have_their_own_prices():
    env = r1env.make_environment("price-list", style="compact")
    first, second = env.task(0), env.task(1)
    episodes = [env.open(first), env.open(second)]
    for episode, task in zip(episodes, (first, second), strict=True):
        episode.submit(Completion(text=call("price", item="a")))
        assert episode.replies[0]["content"] == str(task.metadata["prices"]["a"])
        episode.close()


@pytest.mark.parametrize("name", ["calculator", "price-list", "secret-word"])
def test_solutions_are_paid_and_doing_nothing_is_not(name):
    found = audit_environment(r1env.make_environment(name), count=5)
    assert found.clean
    assert found.solved == 5


@pytest.mark.parametrize(
    ("name", "options"), [("calculator", {"terms": 1}), ("calculator", {"digits": 0}), ("price-list", {"style": "loud"})]
)
def test_options_that_cannot_be_are_refused(name, options):
    with pytest.raises(UsageError):
        r1env.make_environment(name, **options)


def test_a_guessing_shopper_asks_for_six_numbers_of_ten_and_is_right_where_it_asks():
    env = r1env.make_environment("price-list", style="compact")
    rng = np.random.default_rng(0)
    right, calls, steps = [], 0, 0
    for index in range(200):
        task = env.task(index)
        turns = guessing_shopper(task, rng)
        episode, _ = play(env, task, *turns)
        assert episode.done
        asked = sum("tool_call" in turn for turn in turns)
        calls, steps = calls + asked, steps + 3
        if asked == 3:
            right.append(score(env, episode).value)
    assert 0.5 < calls / steps < 0.7
    assert set(right) == {1.0}


# search


@pytest.fixture
def search():
    return pytest.importorskip("r1env_logic.search", exc_type=ImportError) if pytest.importorskip("bm25s") else None


def test_every_question_of_the_chronicle_is_answered_by_searching(search):
    env = r1env.make_environment("search", split="all")
    assert env.source.size == 4 * search.TOWNS
    for task in map(env.task, range(env.source.size)):
        town = task.id.rpartition("-")[2]
        episode, said = play(env, task, call("read", title=town))
        about = said[0][0]
        if task.id.startswith("search-built"):
            _, _, about = about.partition("is crossed by ")
        elif not task.id.startswith("search-founder"):
            _, _, about = about.partition(" by ")
        else:
            assert task.answer in about
            about = ""
        if about:
            episode.submit(Completion(text=call("search", query=about.partition(".")[0], count=1)))
            assert task.answer in episode.replies[0]["content"]
        episode.submit(Completion(text=task.answer))
        assert (episode.ended_by, score(env, episode).value) == (EndedBy.ENVIRONMENT, 1)


def test_the_splits_of_the_chronicle_share_no_question(search):
    train, test = (r1env.make_environment("search", split=split).source for split in ("train", "test"))
    ids = [{source.task(index).id for index in range(source.size)} for source in (train, test)]
    assert not ids[0] & ids[1]
    assert min(map(len, ids)) > 5


def test_texts_and_questions_of_the_user_are_searched(search, tmp_path):
    texts, questions = tmp_path / "texts.jsonl", tmp_path / "questions.jsonl"
    rows = [{"title": "Otter", "text": "Otters eat fish. " * 100}, {"title": "Heron", "text": "A heron stands in water."}]
    texts.write_text("\n".join(map(json.dumps, [*rows, {"text": "Nothing lives here."}])))
    questions.write_text(json.dumps({"question": "What do otters eat?", "answer": ["fish", "fishes"]}))
    env = r1env.make_environment("search", corpus=str(texts), data=str(questions))
    episode, said = play(env, env.task(0), call("search", query="otter fish"), call("read", title="Otter"), "Fishes")
    assert said[0][0].startswith("[Otter]\nOtters eat fish.")
    assert len(said[0][0]) < len(said[1][0]) == 1700
    assert score(env, episode).value == 1


@pytest.mark.parametrize(
    ("call_text", "said"),
    [
        (call("search", query=""), "no text"),
        (call("search", query="the of and"), "no text"),
        (call("search", query="xyzzy 中文 \x00 " * 2000), "no text"),
        (call("search", query="bridge", count=10**30), "["),
        (call("search", query="bridge", count=-1), "["),
        (call("search", query="bridge", count="many"), "error: TypeError"),
        (call("search", query=7), "error: "),
        (call("read", title="Atlantis"), "error: LookupError: no text has the title 'Atlantis'"),
        (call("read", title=[]), "error: TypeError"),
    ],
)
def test_any_search_is_answered(search, call_text, said):
    env = r1env.make_environment("search")
    episode, replies = play(env, env.task(0), call_text)
    assert replies[0][0].startswith(said)
    assert not episode.done
    episode.close()


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([{"title": "a", "text": "x"}, {"title": "a", "text": "y"}], "line 2: another text has the title 'a'"),
        ([{"title": "a", "body": "x"}], "line 1: a text to search needs the column `text`; its columns: title, body"),
        ([{"text": " "}], "line 1: a text to search needs"),
        ([{"title": "of", "text": "the"}], "have no word to search for"),
    ],
)
def test_texts_that_cannot_be_searched_are_refused_with_their_line(search, tmp_path, rows, fault):
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UsageError, match=fault):
        r1env.make_environment("search", corpus=str(path), data=str(path))


def test_texts_without_questions_are_refused(search):
    with pytest.raises(UsageError, match="belong together"):
        r1env.make_environment("search", corpus="texts.jsonl")
    with pytest.raises(UsageError, match="map is for the rows of data=FILE"):
        r1env.make_environment("search", map="question=q")


# secret-word


@pytest.mark.parametrize(
    ("guess", "word", "marks"),
    [
        ("eerie", "theme", "?---+"),  # two letters e in the word: the last is in its place, so only one of the others counts
        ("apple", "apple", "+++++"),
        ("allow", "llama", "?+?--"),
        ("speed", "abide", "--?-?"),
        ("mound", "crypt", "-----"),
    ],
)
def test_letters_are_marked_as_often_as_the_word_has_them(guess, word, marks):
    assert mark_letters(guess, word) == marks


def test_a_word_is_found_and_progress_is_paid_once():
    env = r1env.make_environment("secret-word", split="all", rubric=PAID)
    task = next(task for task in map(env.task, range(env.source.size)) if task.answer == "trade")
    guesses = ["trail", "trail", "Trade", "trade"]
    episode, said = play(env, task, *(f"<answer>{guess}</answer>" for guess in guesses))
    assert [replies[0] for replies in said[:2]] == ["trail: +++--"] * 2
    assert said[2][0].startswith("That is no guess")
    assert [turn.reward for turn in episode.rollout().turns] == pytest.approx([0.15, 0, None, 0.1])
    assert episode.ended_by is EndedBy.ENVIRONMENT
    assert score(env, episode).value == pytest.approx(1.25)


def test_six_guesses_are_all_and_a_wrong_one_is_worth_what_it_placed():
    env = r1env.make_environment("secret-word", split="all", rubric=PAID)
    task = next(task for task in map(env.task, range(env.source.size)) if task.answer == "trade")
    episode, _ = play(env, task, *["<answer>trail</answer>"] * 6)
    assert (episode.ended_by, score(env, episode).value) == (EndedBy.LIMIT, pytest.approx(0.15))


@given(st.text(max_size=60))
def test_any_text_is_answered_as_a_guess(text):
    env = r1env.make_environment("secret-word")
    for said in (text, f"<answer>{text}</answer>"):
        episode, replies = play(env, env.task(0), said)
        assert not episode.error
        assert episode.done or replies[0]
        if not episode.done:
            episode.close()
