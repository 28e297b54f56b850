"""How much of a text is in which language: labelled texts in all languages, mixtures whose proportion is known, and promises.

The labels count words in a way of their own: by white space, or by the number of characters.
"""

from __future__ import annotations

import json
import os
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env.testing import HOSTILE_TEXTS
from r1env_language import LANGUAGES, Language, consistency, identify, language_of_tag
from r1env_language.languages import OWN_SCRIPTS, SHARED_SCRIPTS
from r1env_language.masking import normalize
from r1env_language.vocabulary import CHINESE_CHARACTERS, JAPANESE_CHARACTERS, LETTERS, WORDS
from r1env_language.words import clauses_by_script

DATA = os.environ.get("R1ENV_TEST_DATA")
HERE = Path(__file__).parent
SENTENCES: dict[str, list[str]] = json.loads((HERE / "test_language_sentences.json").read_text("utf-8"))
CASES = [json.loads(line) for line in (HERE / "test_language_cases.jsonl").read_text("utf-8").splitlines()]
UNSPACED = {"th": 4.5, "lo": 4.5, "km": 5.0, "my": 5.0}  # characters a word
MAIN = ("en", "fr", "de", "es", "pt", "it", "ru", "ar", "hi", "zh", "ja", "ko")


def words(language: str, text: str) -> float:
    """The words of a text, counted simply."""
    text = unicodedata.normalize("NFKC", text)
    if language in ("zh", "ja"):
        return sum(map(str.isalpha, text)) / 1.7
    if language in UNSPACED:
        return sum(unicodedata.category(character)[0] in "LM" for character in text) / UNSPACED[language]
    cased = text.lower() != text.upper()  # one letter is a variable there
    return sum(sum(map(str.isalpha, word)) > cased for word in text.split())


def test_there_are_sentences_in_every_language():
    assert set(SENTENCES) == LANGUAGES


@pytest.mark.parametrize("language", sorted(SENTENCES))
def test_a_text_in_one_language_is_all_of_that_language(language):
    for text in (*SENTENCES[language], " ".join(SENTENCES[language])):
        assert consistency(text, language).proportion >= 0.95, text
        assert identify(text) == language, text


@pytest.mark.parametrize("language", sorted(SENTENCES))
def test_a_text_in_another_language_earns_next_to_nothing(language):
    for target in MAIN:
        if target != language:
            assert consistency(" ".join(SENTENCES[language]), target).proportion <= 0.05, target


@pytest.mark.parametrize("target", MAIN)
def test_sentences_of_two_languages_by_turns_are_told_apart(target):
    for other in SENTENCES.keys() - {target}:
        pairs = list(zip(SENTENCES[target], SENTENCES[other], strict=False))
        mine, theirs = (sum(words(language, pair[n]) for pair in pairs) for n, language in enumerate((target, other)))
        found = consistency(" ".join(sentence for pair in pairs for sentence in pair), target)
        # A sentence of near relatives can have too little of its own to be told: of 60 pairs here it is three times so.
        assert found.proportion == pytest.approx(mine / (mine + theirs), abs=0.1), other


RELATIVES = [  # the same sentence in languages that share most of their words
    {
        "da": "Nu skal vi bare lægge pengene sammen og se, hvad der bliver tilbage af dem efter to uger.",
        "no": "Nå skal vi bare legge sammen pengene og se hva som blir igjen av dem etter to uker.",
        "sv": "Nu ska vi bara lägga ihop pengarna och se vad som blir kvar av dem efter två veckor.",
    },
    {
        "cs": "Teď už jen sečteme peníze a uvidíme, kolik jich zbude po dvou týdnech, protože nic dalšího nekoupil.",
        "sk": "Teraz už len sčítame peniaze a uvidíme, koľko ich zostane po dvoch týždňoch, pretože nič ďalšie nekúpil.",
    },
    {
        "es": "Ahora solo hay que sumar el dinero y ver cuánto queda después de dos semanas.",
        "pt": "Agora só temos que somar o dinheiro e ver quanto resta depois de duas semanas.",
        "ca": "Ara només hem de sumar els diners i veure quant en queda després de dues setmanes.",
    },
    {
        "hr": "Sada samo trebamo zbrojiti novac i vidjeti što ostaje nakon dva tjedna, jer ništa drugo nije kupio.",
        "sr": "Sada samo treba da saberemo novac i vidimo šta ostaje posle dve nedelje, jer ništa drugo nije kupio.",
        "sl": "Zdaj moramo samo še sešteti denar in pogledati, koliko ga ostane po dveh tednih, ker ni kupil ničesar drugega.",
    },
    {
        "id": "Sekarang kita hanya perlu menjumlahkan uangnya karena tidak ada yang lain, dan delapan ribu itu bisa dibagi dua.",
        "ms": "Sekarang kita hanya perlu menambah wangnya kerana tidak ada yang lain, dan lapan ribu itu boleh dibahagi dua.",
    },
    {
        "nl": "Nu hoeven we alleen nog het geld op te tellen en te kijken wat er na twee weken overblijft.",
        "af": "Nou hoef ons net nog die geld by mekaar te tel en te kyk wat daar na twee weke oorbly.",
        "de": "Jetzt müssen wir nur noch das Geld zusammenzählen und sehen, was nach zwei Wochen übrig bleibt.",
    },
    {
        "ru": "Теперь нужно только сложить деньги и посмотреть, что останется через две недели.",
        "uk": "Тепер треба лише додати гроші й подивитися, що залишиться через два тижні.",
        "be": "Цяпер трэба толькі скласці грошы і паглядзець, што застанецца праз два тыдні.",
        "bg": "Сега трябва само да съберем парите и да видим какво остава след две седмици.",
        "mk": "Сега треба само да ги собереме парите и да видиме што останува по две недели.",
        "sr": "Сада само треба да саберемо новац и видимо шта остаје после две недеље.",
    },
    {
        "hi": "अब हमें केवल पैसे जोड़ने हैं और देखना है कि दो हफ़्ते के बाद क्या बचता है।",
        "mr": "आता आपल्याला फक्त पैसे मिळवायचे आहेत आणि दोन आठवड्यांनंतर काय उरते ते पाहायचे आहे.",
        "ne": "अब हामीले पैसा मात्र जोड्नुपर्छ र दुई हप्तापछि के बाँकी रहन्छ हेर्नुपर्छ।",
    },
    {
        "zh-Hans": "现在我们只要把钱加起来，看看两个星期之后还剩下多少。",
        "ja": "あとはお金を足して、二週間後にいくら残るかを見るだけです。",
    },
    {
        "zh-Hant": "現在我們只要把錢加起來，看看兩個星期之後還剩下多少。",
        "ja": "今は答えを確認して、円の面積を図で示すだけです。",
    },
]


@pytest.mark.parametrize(
    ("family", "language"),
    [(family, language) for family in RELATIVES for language in family],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_a_sentence_is_told_from_the_same_one_in_a_related_language(family, language):
    assert consistency(family[language], language).proportion == 1.0
    for relative in family.keys() - {language}:
        assert consistency(family[language], relative).proportion <= 0.1, relative


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("zh", "Xianzai women zhi yao ba qian jia qilai, kankan liang ge xingqi zhihou hai sheng duoshao."),
        ("ru", "Teper nuzhno tol'ko slozhit' den'gi i posmotret', chto ostanetsya cherez dve nedeli."),
        ("ja", "Ato wa okane wo tashite, nishuukango ni ikura nokoru ka wo miru dake desu."),
        ("hi", "Ab hamein keval paise jodne hain aur dekhna hai ki do hafte ke baad kya bachta hai."),
        ("ko", "Ije doneul deohaeseo iju hue eolmana namneunji bogiman hamyeon doemnida."),
        ("el", "Tora prepei mono na prosthesoume ta chrimata kai na doume ti menei."),
    ],
)
def test_a_transliteration_is_not_the_language(language, text):
    assert consistency(text, language).proportion <= 0.1


@pytest.mark.parametrize(
    "text",
    [
        "Ben has 14 men. Tom and Sam have to add 3.",
        "So Al, Carl and Del weighed 12 kg in all.",
        "Red crayons: 12. Total crayons: 15.",
        "So 18 - 2 = 16. Then 16 / 2 = 8 on the left.",
    ],
)
def test_short_english_with_names_and_words_of_other_languages_is_english(text):
    assert consistency(text, "en").proportion == 1.0


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        *(("nb", "no"), ("nn", "no"), ("nob", "no"), ("fil", "tl"), ("bs", "hr"), ("sh", "sr"), ("yue-Hant", "zh")),
        *(("sr-Latn", "sr"), ("sr_Cyrl_RS", "sr"), ("ger", "de"), ("cze", "cs"), ("Swahili", "sw"), ("DANISH", "da")),
        *(("klingon", None), ("", None), ("-en", None), ("und", None), ("mul", None)),
    ],
)
def test_tags_codes_and_names(tag, language):
    assert language_of_tag(tag) == language


def test_every_language_can_be_written_in_a_script():
    assert frozenset(OWN_SCRIPTS.values()).union(*SHARED_SCRIPTS.values()) == LANGUAGES


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_labelled_cases(case):
    found = consistency("".join(piece for _, piece in case["pieces"]), case["target"])
    assert found.proportion == pytest.approx(case["share"], abs=case["within"]), found


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_labels_are_what_counting_their_pieces_gives(case):
    counts: dict[str, float] = {}
    for language, piece in case["pieces"]:
        counts[language] = counts.get(language, 0.0) + words(language, piece)
    counts.pop("", None)  # what is masked
    assert case["share"] == pytest.approx(counts.get(language_of_tag(case["target"]), 0.0) / sum(counts.values()), abs=1e-4)


@pytest.mark.skipif(DATA is None, reason="R1ENV_TEST_DATA names no folder with gsm8k_train.jsonl")
def test_terse_english_solutions_are_english():
    lines = (Path(DATA) / "gsm8k_train.jsonl").read_text("utf-8").splitlines()[3000:4000]
    shares = [consistency(json.loads(line)["answer"], "en").proportion for line in lines]
    assert sum(shares) / len(shares) >= 0.99
    assert sum(share < 0.95 for share in shares) <= 10


MASKS = {
    "fence": "\n```\n{}\n```\n",
    "inline code": "`{}`",
    "dollars": "${}$",
    "spaced dollars": "$ {} $",
    "double dollars": "$${}$$",
    "parentheses": "\\({}\\)",
    "brackets": "\\[{}\\]",
    "equation": "\\begin{{equation}}{}\\end{{equation}}",
    "nested environments": "\\begin{{align}}\\begin{{cases}}{0}\\end{{cases}} {0}\\end{{align}}",
    "box": "\\boxed{{\\text{{{}}}}}",
}
FILLER = "we think about this and that in the right language"


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_filler_behind_a_mask_earns_nothing_and_is_seen(mask):
    thought = "Il faut trouver la valeur {} puis on vérifie le résultat."
    bare, hidden = (consistency(thought.format(middle), "en") for middle in ("", mask.format(FILLER)))
    assert (hidden.target_words, hidden.words) == (bare.target_words, bare.words)
    assert bare.masked_share == 0.0
    assert hidden.masked_share > 0.3


def test_prose_environments_are_read():
    assert consistency("\\begin{itemize}\\item the first of them\\end{itemize}", "en").words >= 4


def test_masked_text_is_a_share_of_what_can_be_seen():
    assert consistency("abcd $xyz$ \n\n `12345`", "en").masked_share == pytest.approx(12 / 16)
    assert consistency("", "en").masked_share == 0.0


def test_an_unknown_target_is_refused():
    with pytest.raises(r1env.UsageError, match="unknown language 'tlh'"):
        consistency("nuqneH", "tlh")


@pytest.mark.parametrize("text", ["", "123", "Gauss", "$the$", "Blorptu gimzak fendoral wexipu zartok brindel mofagu"])
def test_what_has_no_known_language_is_not_identified(text):
    assert identify(text) is None


some_language = st.sampled_from(MAIN)
some_sentences = st.lists(some_language.flatmap(lambda language: st.sampled_from(SENTENCES[language])), min_size=1, max_size=12)
some_text = st.one_of(
    st.text(st.characters(codec=None)),
    st.lists(
        st.sampled_from([*"$`\\[](){}<>._'1aà 的のаж\n", "\\begin{align}", "\\end{align}", "```", "the ", "www.", "@"])
    ).map("".join),
)


@given(some_text, some_language)
def test_target_words_are_among_the_words_whatever_the_text(text, target):
    found = consistency(text, target)
    assert 0 <= found.target_words <= found.words
    assert found.words == pytest.approx(sum(found.by_language.values()))
    assert 0 <= found.masked_share <= 1
    assert found == consistency(text, target)


@given(some_sentences, some_language, st.randoms(use_true_random=False))
def test_the_order_of_the_sentences_hardly_matters(sentences, target, random):
    shuffled = random.sample(sentences, len(sentences))
    before, after = (consistency(" ".join(text), target) for text in (sentences, shuffled))
    assert after.words == pytest.approx(before.words)
    # One sentence may change sides between near relatives; the longest has 17 words.
    assert abs(after.target_words - before.target_words) <= 17


@given(some_sentences, some_language)
def test_another_sentence_in_the_target_language_never_lowers_the_share(sentences, target):
    text = " ".join(sentences)
    for sentence in SENTENCES[target]:
        assert consistency(f"{text} {sentence}", target).proportion >= consistency(text, target).proportion - 1e-9


REPEATED = {
    "alternating combining marks": "\u0301\u0323",
    "letters that grow when normalised": "\ufdfa",
    "open brackets": "\\[",
    "open environments": "\\begin{align}",
    "environments that close others": "\\begin{cases}\\end{align}\\a",
    "open boxes with groups": "\\boxed{{}{}",
    "half dollars": "$a\n",
    "half code": "`a\n",
    "half addresses": "a@ ",
    "half links": "a+",
    "underscores": "_a",
    "open tags": "<a",
    "kana and kanji by turns": "あ漢",
    "languages by turns": "the der это और ",
    "look-alikes": "aа",
    "one-letter words": "a'",
    "commas": "ab,cd",
}


def test_a_megabyte_of_anything_stays_within_the_cpu_limit_of_a_worker():
    killable = replace(Language, isolation=r1env.Isolation.PROCESS)
    task = r1env.Task(id="t", prompt="What is it?", language="en")
    texts = [text * (1_000_000 // len(text)) for text in REPEATED.values()]
    scores = r1env.score([r1env.Rollout(task=task, completion=text) for text in texts], killable)
    assert {name: score.reason for name, score in zip(REPEATED, scores, strict=True) if score.failed} == {}


@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_hostile_texts_are_counted_like_any_other(name):
    found = consistency(HOSTILE_TEXTS[name], "en")
    assert 0 <= found.target_words <= found.words


@pytest.mark.parametrize("language", sorted(WORDS))
def test_every_listed_word_can_be_met_in_a_text(language):
    for word in WORDS[language]:
        found = clauses_by_script(normalize(f"{word}x" if word.endswith("'") else word))
        assert [clause.words for clauses in found.values() for clause in clauses] in ([[word]], [[f"{word}x"]]), word


@pytest.mark.parametrize("language", sorted(LETTERS))
def test_every_listed_letter_survives_normalisation(language):
    assert normalize(LETTERS[language]) == LETTERS[language]


def test_no_character_is_both_chinese_only_and_japanese_only():
    assert not CHINESE_CHARACTERS & JAPANESE_CHARACTERS
