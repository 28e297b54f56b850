"""The language reward pays for thinking in the task's language, abstains where it cannot tell, and does not mind formulas."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import r1env
from r1env.cli.main import make_app
from r1env.plugins import Plugins, installed
from r1env.rubrics import find_rubric, resolve_rubric
from r1env.testing import Example, check_reward
from r1env_language import Language
from r1env_language.counting import MAX_CHARACTERS

ENGLISH = "First we add the two numbers."
FRENCH = "Ensuite on multiplie par deux."
MIXED = f"{ENGLISH} {FRENCH}"  # six words and five


def exact(completion: str) -> float:
    return 1.0


def task(language: str | None = "en", question: str = "What is the sum of the numbers?") -> r1env.Task:
    return r1env.Task(id="t", prompt=question, language=language)


def score(completion: str, language: str | None = "en", question: str = "What is it?", **options: object) -> r1env.Score:
    reward = r1env.get_reward("language", **options)
    return reward.score(r1env.Rollout(task=task(language, question), completion=completion))


def test_the_reward_keeps_the_contract():
    check_reward(
        "language",
        [
            Example(f"<think>{ENGLISH}</think>4", value=1.0, status=r1env.Status.OK, task=task()),
            Example(f"<think>{FRENCH}</think>4", value=0.0, status=r1env.Status.WRONG, task=task()),
            Example("<think></think>4", value=None, status=r1env.Status.NO_ANSWER, task=task()),
            Example(f"<think>{ENGLISH}</think>4", value=None, status=r1env.Status.UNPARSEABLE, task=task("tlh")),
        ],
    )


def test_the_value_is_the_share_of_target_words_and_the_parts_say_of_what():
    result = score(f"<think>{MIXED} $x = 1$</think>4")
    assert result.value == pytest.approx(6 / 11)
    assert result.parts["language"] == result.value
    assert (result.parts["language/target_words"], result.parts["language/words"]) == (6, 11)
    assert 0 < result.parts["language/masked"] < 0.2
    assert result.reason == "5 of 11 words are fr, not en"


def test_only_the_thinking_is_judged_where_there_is_any():
    assert score(f"<think>{ENGLISH}</think>{FRENCH}").value == 1.0
    assert score(f"{ENGLISH}</think>{FRENCH}").value == 1.0
    assert score(f"<think>{ENGLISH} and never ends").value == 1.0


def test_a_completion_without_a_thinking_block_is_judged_whole():
    assert score(ENGLISH).value == 1.0
    assert score(FRENCH).value == 0.0


def test_the_response_can_be_judged_too():
    completion = f"<think>{ENGLISH}</think>{FRENCH}"
    assert score(completion, scope="response").value == 0.0
    assert score(completion, scope="all").value == pytest.approx(6 / 11)


def test_a_prefilled_thought_may_lack_both_tags():
    assert score(f"{ENGLISH}</think>{FRENCH}", prefilled=True).value == 1.0
    assert score(ENGLISH, prefilled=True).value == 1.0
    assert score(ENGLISH, prefilled=True, scope="response").value is None


@pytest.mark.parametrize("thinking", ["", " \n", "4 + 4 = 8", "$\\text{all of it}$", "```all of it```", "x, y, AB", "🙂 …"])
def test_there_is_no_value_where_there_are_no_words(thinking):
    result = score(f"<think>{thinking}</think>{ENGLISH}")
    assert (result.value, result.status, result.reason) == (None, r1env.Status.NO_ANSWER, "there are no words to count")


def test_a_floor_keeps_a_few_safe_words_from_being_paid():
    assert score("<think>So it is seven.</think>").value == 1.0
    result = score("<think>So it is seven.</think>", floor=20)
    assert (result.value, result.status) == (None, r1env.Status.NO_ANSWER)
    assert result.reason == "4 words; the floor is 20"
    assert result.parts["language/words"] == 4
    assert score(f"<think>{ENGLISH * 4}</think>", floor=20).value == 1.0


@pytest.mark.parametrize(
    ("question", "completion"),
    [
        ("How many apples are left?", ENGLISH),
        ("Combien de pommes reste-t-il ?", FRENCH),
        ("还剩下多少个苹果？", "首先我们把两个数相加。"),
        ("りんごはいくつ残っていますか。", "まず二つの数を足します。"),
        ("Solve $x^2 = 4$.", ENGLISH),
    ],
)
def test_without_a_language_the_question_decides(question, completion):
    assert score(completion, language=None, question=question).value == 1.0


def test_the_task_overrules_the_question():
    assert score(FRENCH, language="fr", question="How many apples are left?").value == 1.0


@pytest.mark.parametrize("question", ["", "2 + 2 = ?", "$\\int x$"])
def test_a_question_without_words_gives_no_target(question):
    result = score(ENGLISH, language=None, question=question)
    assert (result.value, result.status) == (None, r1env.Status.UNPARSEABLE)
    assert result.reason == "the task has no language, and its question has no words in a known one"


@pytest.mark.parametrize("tag", ["tlh", "klingon", "x", "--", "😀", "und"])
def test_an_unknown_language_is_named_with_those_that_are_known(tag):
    result = score(ENGLISH, language=tag)
    assert (result.value, result.status) == (None, r1env.Status.UNPARSEABLE)
    assert result.reason.startswith(f"the task's language {tag!r} is not one of af, am, ar,")


@pytest.mark.parametrize("tag", ["en", "EN", "en-US", "en_GB", " en ", "en-Latn-US", "eng", "English"])
def test_a_language_goes_by_tags_codes_and_its_english_name(tag):
    assert score(ENGLISH, language=tag).value == 1.0


@pytest.mark.parametrize("tag", ["zh", "zh-Hans", "zh-Hant-TW", "zh_CN", "cmn-Hans-CN", "zho", "Chinese"])
def test_chinese_has_many_tags(tag):
    assert score("首先我们把两个数相加。", language=tag).value == 1.0


MGSM = {
    "bn": "প্রথমে আমরা মোট কত টাকা ছিল তা বের করি, তারপর খরচ বাদ দিই।",
    "de": "Zuerst zählen wir die Eier und ziehen dann die verkauften ab.",
    "en": "First we count the eggs and then take away those she sold.",
    "es": "Primero contamos los huevos y luego restamos los que vendió.",
    "fr": "On compte d'abord les œufs, puis on enlève ceux qu'elle a vendus.",
    "ja": "まず卵を数えて、売った分を引きます。",
    "ru": "Сначала посчитаем яйца, а потом вычтем проданные.",
    "sw": "Kwanza tunahesabu mayai, kisha tunaondoa yale aliyoyauza.",
    "te": "మొదట గుడ్లను లెక్కించి, తర్వాత అమ్మినవి తీసివేస్తాము.",
    "th": "ขั้นแรกนับจำนวนไข่ แล้วลบจำนวนที่ขายไป",
    "zh": "先数一下鸡蛋，再减去卖掉的。",
}


@pytest.mark.parametrize("language", MGSM)
def test_every_language_of_mgsm_is_paid_for_itself_and_for_no_other(language):
    for target in MGSM:
        assert score(f"<think>{MGSM[language]}</think>4", language=target).value == (target == language), target


def test_characters_may_count_as_words():
    mixed = "我们用 mathematical induction 证明"
    by_word, by_character = score(mixed, "zh"), score(mixed, "zh", per_character=True)
    assert by_word.value == pytest.approx(5 / 1.7 / (5 / 1.7 + 2))
    assert by_character.value == pytest.approx(5 / 7)


def test_a_completion_beyond_the_limit_is_judged_by_its_beginning_and_says_so():
    beginning = f"{ENGLISH} " * (MAX_CHARACTERS // len(ENGLISH))
    result = score(beginning + FRENCH * 1000)
    assert result.value == 1.0
    assert result.reason.endswith(f"the first {MAX_CHARACTERS:,} were read")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scope": "answer"}, r"unknown scope of the language reward 'answer'; known: all, response, thinking"),
        ({"floor": 0}, r"the language reward's floor is 0; it must be at least 1 word"),
        ({"detector": "stopword"}, r"unknown language detector 'stopword'; did you mean 'stopwords'\?"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_scored(options, message):
    with pytest.raises(r1env.UsageError, match=message):
        Language.with_options(**options)


@given(st.text(st.characters(codec=None)), st.sampled_from(["en", "zh", "ru", "ar", "hi", None]))
def test_no_text_makes_it_raise(text, language):
    result = Language(text, task(language))
    assert result.value is None or 0.0 <= result.value <= 1.0
    assert not result.failed


@pytest.mark.parametrize("preset", ["stage1", "stage2"])
def test_the_rubrics_of_r1_s_stages_find_it(preset):
    rubric = resolve_rubric(find_rubric(preset), installed().reward, accuracy=r1env.reward(name="exact")(exact))
    assert [item.reward.name for item in rubric.rewards][2] == "language"


def test_the_command_line_scores_rows_by_their_language():
    rows = [
        {"id": "1", "completion": f"<think>{MIXED}</think>4", "language": "en"},
        {"id": "2", "completion": f"<think>{MIXED}</think>4", "language": "fr"},
        {"id": "3", "completion": MIXED, "prompt": "Combien de pommes reste-t-il ?"},
        {"id": "4", "completion": MIXED, "language": "tlh"},
    ]
    plugins = Plugins.discover()
    result = CliRunner().invoke(
        make_app(plugins), ["score", "--reward", "language"], input="".join(json.dumps(row) + "\n" for row in rows)
    )
    scored = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["value"] for row in scored] == [pytest.approx(6 / 11), pytest.approx(5 / 11), pytest.approx(5 / 11), None]
    assert scored[3]["status"] == "unparseable"
    assert {tuple(row["parts"]) for row in scored} == {
        ("language", "language/target_words", "language/words", "language/masked")
    }


def test_the_command_line_takes_its_options():
    row = json.dumps({"id": "1", "completion": ENGLISH, "language": "en"})
    result = CliRunner().invoke(
        make_app(installed()), ["score", "--reward", "language", "--option", "floor=20"], input=row + "\n"
    )
    assert json.loads(result.stdout)["reason"] == "6 words; the floor is 20"
