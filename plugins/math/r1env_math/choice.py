"""Multiple choice: which option a completion picks, by letter, by several letters, or by the option's text.

The options are read from the task's metadata (`options` or `choices`) or from the prompt (`A) … B) …`). A reference may be
letters, an option's text, or an index.
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import r1env
from r1env import parse_response
from r1env_math.ast import Words
from r1env_math.compare import Scalars, equal
from r1env_math.extraction import MAX_CANDIDATES, boxes_that_stand, cut_response, length_of, statement_of
from r1env_math.guards import MAX_LENGTH, excess
from r1env_math.normalize import normalize, words
from r1env_math.parser import read
from r1env_math.phrases import ANNOUNCEMENT, CONCLUSION, HEDGE, NEGATED, SUPPOSED_BEFORE, is_retracted, may_announce
from r1env_math.policy import AnswerPolicy, Case, Conflict, Where
from r1env_math.reference import final_answer

LETTERS = string.ascii_uppercase[:10]
MAX_TAIL = 20_000  # characters at the end of a response in which a statement is looked for


class Index(StrEnum):
    """What a bare integer means as a reference."""

    AUTO = "auto"  # an option's text where it is one, an index from 0 otherwise
    ZERO = "zero"  # an index from 0
    ONE = "one"  # an index from 1
    NONE = "none"  # an option's text


@dataclass(frozen=True, slots=True)
class Pick:
    """What a completion picks.

    Attributes:
        letters: the options picked; empty where there is none.
        text: what was read, or None where there was nothing.
        reason: where it was found, or why there is none.
        candidates: the options that may be meant where it is not clear which: a letter with another option's text.
    """

    letters: frozenset[str]
    text: str | None
    reason: str
    candidates: tuple[frozenset[str], ...] = ()


_TAKEN_BACK = "the answer is taken back"
_MARK = r"[).:：．、）]"
_INLINE = re.compile(rf"(?:(?<=\n)|^|(?<=[\s;,。；，（(）)]))[(（\[]?(?P<letter>[A-J])(?:{_MARK}|\](?!\w))\s?(?=\S)")
_LATEX = re.compile(
    r"\\[{}]|\\(?:text(?:bf|it|rm|sf|tt)?|math(?:bf|rm|it|sf|tt)|mbox|bf|rm|boldsymbol|bm|underline|operatorname)\s?(?=\{)|[{}$*`_\"“”]|\\[,;:! ()\[\]]|\\(?:left|right|quad|qquad|displaystyle|square|checkmark)(?![a-zA-Z])"
)
_OPENING = re.compile(
    r"^(?:so |thus |therefore |hence |the |my |our |i think |i believe |i choose |i pick |it is |it's |it must be |that is |is |要 |应 |我 )*(?:(?:final |correct |right |best |only )*(?:answer|option|choice|alternative|letter|statement|solution)s? ?(?:is|are|:|：|=)? ?(?:option |choice |letter )?|"
    r"(?:正确)?(?:答案|选项|选择|应选|故选|选)(?:是|为|应为|[:：])? ?|보기 ?|선택지 ?|정답(?:은)? ?|вариант ?(?:ответа)? ?|opción ?|opção ?|opzione ?|antwort ?|réponse ?|réponse ?|lựa chọn ?|दिकल्प ?|विकल्प ?|الخيار ?|選択肢 ?|pilihan ?|optie ?|alternativ ?)?",
    re.IGNORECASE,
)
_ONE = re.compile(
    rf"^[(（\[【]?\s?(?P<letter>[A-Ja-j])\s?(?P<close>[)）\]】])?(?P<mark>{_MARK})?(?:\s*[-–—=]\s*(?P<dashed>\S.*)|\s*(?P<content>.*))$",
    re.DOTALL,
)
_BRACKETED = re.compile(r"[(（]\s?([A-J])\s?[)）]")
_LETTER_OR_FORMULA = re.compile(r"([A-J])\s?[-–=]\s?[-0-9\\(]")
_SEVERAL = re.compile(
    r"^[(（\[【]?(?P<letters>[A-J](?:\s?(?:,|;|、|，|/|&|\+|\band\b|and|和|与|及|und|et|y|и|と|및)?\s?[A-J]){1,9})[)）\]】]?$"
)
_REJECTED = re.compile(
    r"[,，;；]?\s*(?:and |but |rather than|instead of|not|而不是|而非|不是|,? ?nicht|pas|no)\s.*$", re.IGNORECASE
)
_EITHER = re.compile(
    r"(?<![A-Za-z])[A-J]\s?\)?\s?(?:或者?|または|또는|\bor\b|/|\bou\b|\boder\b|\bили\b)\s?\(?[A-J](?![A-Za-z])", re.IGNORECASE
)
_NOT_BEFORE = re.compile(
    r"(?:\\neq?|\\lnot|\\neg|\\not|≠|!=|¬|\b(?:any|every|no)thing (?:but|except|other than)|\ball but|other than|different from|\bnot|n't|never|\bno|neither|nor|except|rather than|instead of|unlike|whereas|eliminate|exclude|reject|rule out|ruled out|不选|不是|排除|而非|非|nicht|pas|не)\s?(?:option |choice |选项)?[(\[]?$",
    re.IGNORECASE,
)
_WRONG_AFTER = re.compile(
    r"^[)\].]?\s?(?:is|are|was|looks|seems|can be|可以)?\s?(?:not |also )?(?:wrong|incorrect|false|out|eliminated|ruled out|excluded|not |错误|错|不对|不正确|不符合|排除|ist falsch|неверн)",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"(?<![A-Za-z0-9\\'’])(?P<open>[(（\[【])?(?P<letter>[A-J])(?P<shut>[)）\]】])?(?![A-Za-z0-9'’])")
_SAYS_CORRECT = re.compile(
    r"(?:\b(?:option|choice|alternative|statement|answer)s?|选项|選択肢|보기|вариант|opción|opção|opzione|विकल्प|الخيار)?\s?[*(（\[【]{0,3}(?P<letter>[A-J])[*)）\]】]{0,3}\s?(?:选项|项)?"
    r"(?:(?P<plain>(?:都|均|皆)?(?:是(?:正确|对)的?|正确|对(?!于)|符合题意)|(?P<are>are) (?:all |both )?(?:correct|right|true)(?! (?!and|so|but|while|because|since|as|here|in this)[a-zA-Z0-9])|is (?:also )?(?:correct|right|true)(?! that| for| one| answer| option| choice))|"
    r"are the (?:only )?(?:correct|right|true) (?:ones|answers|options|choices)|是(?:唯一)?(?:正确|对)的?|正确|对(?!于)|符合题意|が正しい|matches\b|fits\b|holds\b|이 정답|가 정답|is (?:the )?(?:only )?(?:correct|right|best|true)(?! that| for)(?: one| answer| option| choice)?|is the (?:answer|choice|option)\b(?! to)|ist richtig|est correcte?|es (?:la )?correcta|é a correta|верен|правильный)",
)
_LIST_BEFORE = re.compile(
    r"(?:(?<![A-Za-z0-9\\'’])[*(（\[【]{0,3}[A-J][*)）\]】]{0,3}\s?(?P<joined>,? ?(?:and|or|&|/)|[,、和与及或])\s?)+(?:选项|option )?[*(（\[【]{0,3}$"
)
_DENIED_BEFORE = re.compile(
    r"(?:not (?:true|the case|clear|sure|correct)|n't think|false|wrong|unclear|doubt|whether|\bif|unless|suppose|assume|如果|若|假设)\s?(?:that )?(?:both |only |all )*(?:the )?(?:(?:option|choice|alternative|statement|answer)s? |选项)?[*(（\[【]{0,3}$",
    re.IGNORECASE,
)
_CORRECTED = re.compile(
    r"\b(?:actually|wait|no|but|however|instead|rather|thought|mistake|correction)\b|不对|但|其实", re.IGNORECASE
)
_CHOOSES = re.compile(
    r"(?:故选|应选择?|因此选择?|所以选择?|本题选择?|答案选择?|综上选择?|则选|于是选|选择|(?<![可备挑])选(?!项|取|举)|选项为|"
    r"\b(?:i|we|i'd|i'll|i would|we should|let's|you should)\s(?:therefore |thus |will |would |must )?(?:choose|select|pick|go with|opt for|mark)|\bchoosing|\bselecting|"
    r"\b(?:correct|right|best|final|only (?:correct|right|possible)|matching) (?:option|choice|answer|alternative|letter)\b[^.\n]{0,30}?(?:is|:|would be|must be|should be)|"
    r"(?:corresponds? to|matches|which is|that is|this is|leads to|so it(?:'s| is)|namely|hence|therefore|thus|so)[:,]? (?:with )?(?:option|choice|answer|letter))"
    r"\s?[:：]?\s?(?:option |choice |letter |the |answer |选项 ?|项 ?)*[(（\[【*\s$]*(?P<letters>[A-J](?:\s?[,、，&]?\s?(?:and |和 ?)?[A-J](?![A-Za-z'’]))*)(?![A-Za-z'’])",
    re.IGNORECASE,
)
_OPTION_ALONE = re.compile(
    r"^(?:(?:the )?(?:option|choice|letter|选项|选|答)\s?[:：]?\s?)?[(（\[【]?(?P<letters>[A-J]{1,6})[)）\]】]?[.．。!]?$",
    re.IGNORECASE,
)
_SO = re.compile(r"[,;.] (?:[Ss]o|[Hh]ence|[Tt]hus|[Tt]herefore),? (?:it(?:'s| is) |option )?(\(?[A-J]\)?)[.!]?$")
_WIDE = re.compile("[Ａ-Ｊａ-ｊⒶ-Ⓙ]")
_LED = re.compile(
    r"^(?:[✅✔☑✓👉➡]\uFE0F?|(?:final )?answer -|clearly,?|obviously,?|both)\s+(?=[(*]{0,2}[A-J](?![A-Za-z'’]))", re.IGNORECASE
)
_MENTION = re.compile(r"(?:\b(?:option|choice|answer)\s|选项)\(?(?P<letter>[A-J])(?![A-Za-z'’])|[(（](?P<bare>[A-J])[)）]")


# Options.


def options_of(task: r1env.Task | None) -> Mapping[str, str]:
    """Return the options of a task by letter, from its metadata or its prompt; nothing where it shows none."""
    if task is None:
        return {}
    for key in ("options", "choices"):
        if found := listed_options(task.metadata.get(key)):
            return found
    return options_in(task.question[-12_000:])


def listed_options(value: Any) -> dict[str, str]:
    """Return options by letter, as the common sets list them; nothing where they are none.

    `["red", "blue"]`, `{"A": "red"}`, `{"label": ["A"], "text": ["red"]}`, `[{"label": "A", "text": "red"}]`.
    """
    if isinstance(value, str) and value[:1] in "[{":
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    if isinstance(value, Mapping):
        labels, texts = value.get("label"), value.get("text")
        if (
            isinstance(labels, Sequence)
            and isinstance(texts, Sequence)
            and not isinstance(labels, str)
            and len(labels) == len(texts)
        ):
            return listed_options(list(texts))
        if all(isinstance(key, str) and key.strip().upper() in LETTERS and key.strip() for key in value) and value:
            return {str(key).strip().upper(): str(text) for key, text in value.items()}
        return {}
    if not isinstance(value, Sequence) or isinstance(value, str) or not 2 <= len(value) <= len(LETTERS):
        return {}
    texts = [each.get("text", "") if isinstance(each, Mapping) else each for each in value]
    if any(isinstance(each, str | int | float) for each in texts):
        return {
            letter: _INLINE.sub("", str(text), count=1) if _INLINE.match(str(text)) else str(text)
            for letter, text in zip(LETTERS, texts, strict=False)
        }
    return {}


@lru_cache(maxsize=512)
def options_in(prompt: str) -> Mapping[str, str]:
    """Return the options that a prompt shows, by letter: the last run of labels A, B, … of two or more."""
    best: list[re.Match[str]] = []
    run: list[re.Match[str]] = []
    for label in _INLINE.finditer(prompt):
        letter = label["letter"]
        if letter == "A":
            run = [label]
        elif run and letter == chr(ord(run[-1]["letter"]) + 1):
            run.append(label)
        if len(run) > 1 and (len(run) >= len(best) or run[0].start() > best[-1].start()):
            best = list(run)
    found: dict[str, str] = {}
    for at, label in enumerate(best):
        end = best[at + 1].start() if at + 1 < len(best) else len(prompt)
        text = prompt[label.end() : end].strip()
        found[label["letter"]] = (text.partition("\n")[0] if at + 1 == len(best) else text).strip(" \n,;；，(（").rstrip()
    return found


# The reference.


def letters_of_reference(answer: str, options: Mapping[str, str], index: Index = Index.AUTO) -> frozenset[str] | None:
    """Return the letters that a reference names; None where it names none, or several options have its text."""
    reference = final_answer(answer)
    if reference is None:
        return None
    if index in (Index.ZERO, Index.ONE) and re.fullmatch(r"[0-9]{1,2}", reference):
        return _by_index(int(reference) - (index is Index.ONE), options)
    listed = re.fullmatch(r"\[(.{1,60})\]", reference)
    bare = listed[1].replace("'", "").replace('"', "") if listed else reference
    if (letters := _letters(bare, options, strict=True)) is not None:
        return letters
    if options and (same := _by_text(reference, options)):
        return same if len(same) == 1 else None
    if index is Index.AUTO and options and re.fullmatch(r"[0-9]", reference):
        return _by_index(int(reference), options)
    return None


def content_of_reference(answer: str) -> Mapping[str, str]:
    """Return the one option that a reference such as `B) 12` shows."""
    reference = final_answer(answer) or ""
    letters = _letters(reference, {}, strict=True)
    content = _content(reference)
    return {next(iter(letters)): content} if letters and len(letters) == 1 and content else {}


def _by_index(place: int, options: Mapping[str, str]) -> frozenset[str] | None:
    letters = list(options) or list(LETTERS)
    return frozenset({letters[place]}) if 0 <= place < len(letters) else None


def _by_text(text: str, options: Mapping[str, str]) -> frozenset[str]:
    """Return the options whose text says the same."""
    if len(text) > MAX_LENGTH or excess(text):
        return frozenset()
    plain = _plain(text).casefold()
    same = frozenset(letter for letter, option in options.items() if plain and _plain(option).casefold() == plain)
    if same:
        return same
    form = read(normalize(text))
    if isinstance(form, Words) and len(form.text) < 3:
        return frozenset()
    scalars = Scalars(AnswerPolicy())
    return frozenset(
        letter
        for letter, option in options.items()
        if option and len(option) <= MAX_LENGTH and not excess(option) and equal(read(normalize(option)), form, scalars)
    )


def _plain(text: str) -> str:
    return words(" ".join(_LATEX.sub(" ", text).split())).strip(" .。,;:")


# The completion.


def _letters(text: str, options: Mapping[str, str], *, strict: bool = False, keep_case: bool = False) -> frozenset[str] | None:
    """Return the letters that a text consists of: `C`, `(C)`, `C. 12`, `A, C`, `AC`, `Option C`. None where it is no such text."""
    bare = " ".join(_LATEX.sub(" ", text.replace(r"\&", "&")).split()).strip(" .。;")
    if len(re.findall(_BRACKETED, bare)) > 1:  # `(A) and (C)`
        bare = re.sub(_BRACKETED, r"\1", bare)
    bare = re.sub(r"^\(\s?\(?([A-J])\s?\)", r"(\1)", bare)
    opened = _OPENING.sub("", bare, count=1).strip() if not strict else bare
    bare = opened if opened else bare
    several = _SEVERAL.match(bare)
    if several:
        letters = re.findall(r"[A-J]", several["letters"])
        glued = re.fullmatch(r"[A-J]+", several["letters"])
        if (
            len(set(letters)) == len(letters)
            and (not glued or letters == sorted(letters))
            and not (glued and len(options) > 1 and not set(letters) <= set(options))
        ):
            return frozenset(letters)
    one = _ONE.match(bare)
    if one is None:
        return None
    letter = one["letter"].upper()
    if one["letter"].islower() and (keep_case or (one["content"] and not one["close"] and not one["mark"])):
        return None
    content = (one["content"] or one["dashed"] or "").strip()
    if not content:
        return frozenset({letter})
    if one["close"] or one["mark"]:
        return frozenset({letter})
    if one["dashed"] is not None and strict:
        return None  # `E=mc^2`, `A-B`
    if one["dashed"] is not None:
        known = options and _same_text(content, options.get(letter, ""))
        return frozenset({letter}) if known or re.match(r"[^\W\d_]{2,}", content) else None
    if one["content"] and options.get(letter) and _same_text(content, options[letter]):
        return frozenset({letter})
    return None  # `A polygenic score`: an article


def _same_text(first: str, second: str) -> bool:
    return bool(second) and (_plain(first).casefold() == _plain(second).casefold() or bool(_by_text(first, {"A": second})))


def _content(text: str) -> str:
    """Return what stands beside the one letter of a text."""
    bare = _OPENING.sub(
        "", " ".join(re.sub(r"\$|\*\*|\\(?:text(?:bf)?|math(?:bf|rm))\s?(?=\{)", " ", text).split()), count=1
    ).strip()
    found = re.match(rf"^[{{(（\[\s]*[A-Ja-j]\s?[}})）\]\s]*(?:{_MARK})?\s*[}}]?\s*(?P<content>.*)$", bare, re.DOTALL)
    return found["content"].strip(" }.。") if found else ""


def pick(completion: str, options: Mapping[str, str], policy: AnswerPolicy) -> Pick:
    """Return the option that a completion picks."""
    parsed = parse_response(completion, prefilled=policy.prefilled)
    response = parsed.response
    if not parsed.closed:
        if not policy.unfinished_thought:
            return Pick(frozenset(), None, "the thinking was never finished")
        response = parsed.thinking or ""
    in_block = "<answer>" in response or "</answer>" in response
    if in_block:
        if not parsed.answer:
            return Pick(frozenset(), None, "there is not exactly one filled <answer> block")
        response = parsed.answer
    else:
        response = cut_response(response)
    boxed = _from_boxes(response, options, policy)
    stated = _from_statements(response[-MAX_TAIL:], options, policy)
    if boxed is not None and stated is not None and boxed.letters and stated.letters and boxed.letters != stated.letters:
        if policy.conflict is Conflict.LAST and policy.where is not Where.STRICT:
            return stated
        candidates = (boxed.letters, stated.letters)
        return Pick(frozenset(), None, "the box and the final statement disagree", candidates)
    if policy.where is Where.STRICT:
        if boxed is None and in_block and (stated is None or not stated.letters):
            boxed = _read_pick(response.strip(), options, policy, "answer block")
        return boxed or Pick(frozenset(), None, "no answer block and no box with an option")
    if boxed is not None and (boxed.letters or stated is None or not stated.letters):
        return boxed
    if stated is not None:
        last = _from_last_line(response, options, policy) if stated.reason == _TAKEN_BACK and not in_block else None
        if last is not None and last.letters:
            return last
        return stated if stated.letters or not in_block else Pick(frozenset(), None, stated.reason)
    if in_block and (block := _read_pick(response.strip(), options, policy, "answer block")) is not None:
        return block
    if (last := _from_last_line(response, options, policy)) is not None:
        return last
    if policy.where is Where.LENIENT and (mentioned := list(_MENTION.finditer(response[-MAX_TAIL:]))):
        letter = mentioned[-1]["letter"] or mentioned[-1]["bare"]
        return Pick(frozenset({letter}), letter, "last option mentioned")
    return Pick(frozenset(), None, "no option is picked")


def _from_boxes(response: str, options: Mapping[str, str], policy: AnswerPolicy) -> Pick | None:
    contents, retracted = boxes_that_stand(response, policy)
    picks = [found for content in contents if (found := _read_pick(content, options, policy, "box")) is not None]
    if not picks:
        return Pick(frozenset(), None, _TAKEN_BACK) if retracted and not contents else None
    if len({each.letters for each in picks}) > 1 and policy.conflict is Conflict.REFUSE:
        return Pick(frozenset(), None, "there are boxes with different answers")
    return picks[-1]


def _read_pick(text: str, options: Mapping[str, str], policy: AnswerPolicy, where: str) -> Pick | None:
    """Return what one text picks; None where it picks nothing."""
    if not text.strip() or len(text) > MAX_LENGTH or (where == "answer block" and "\n" in text.strip()):
        return None
    hedged = HEDGE.search(re.sub(r"\b[Ii] think\b", "", text))
    if hedged or _EITHER.search(_LATEX.sub(" ", text)):
        return Pick(frozenset(), text, "the answer is hedged")
    first = text.strip().partition("\n")[0] if where != "box" else text
    first = unicodedata.normalize("NFKC", first) if _WIDE.search(first) else first
    kept = _REJECTED.sub("", first).strip() or first
    letters = _letters(kept, options, keep_case=policy.case is Case.KEEP)
    if letters is None and options and (by_text := _by_text(first, options) or _by_text(kept, options)):
        if len(by_text) > 1:
            return None
        return Pick(by_text, kept, f"the text of an option ({where})")
    if letters is None and (formula := _LETTER_OR_FORMULA.match(_LATEX.sub(" ", kept).strip())):
        return Pick(frozenset(), kept, f"a letter, or a formula ({where})", (frozenset(formula[1]),))
    if letters is None:
        return None
    if len(options) > 1 and not letters <= set(options):
        return Pick(frozenset(), kept, f"it is no option ({where})")
    if len(letters) == 1 and options and (content := _content(kept)):
        (letter,) = letters
        others = _by_text(content, options)
        if others and letter not in others:
            return Pick(frozenset(), kept, "the letter and the text beside it are of two options", (letters, others))
    return Pick(letters, kept, where)


def _from_statements(text: str, options: Mapping[str, str], policy: AnswerPolicy) -> Pick | None:
    """Return what the text announces: "the answer is C", "故选C", "选项C正确"."""
    taken_back = False
    found: list[tuple[int, int, Pick]] = []  # place, strength
    if may_announce(text):
        for announcement in list(ANNOUNCEMENT.finditer(text))[-MAX_CANDIDATES:]:
            if NEGATED.search(announcement[0]) or SUPPOSED_BEFORE.search(
                text[max(0, announcement.start() - 60) : announcement.start()]
            ):
                continue
            said = statement_of(text, announcement)
            if HEDGE.search(re.sub(r"\b[Ii] think\b", "", announcement[0])):
                return Pick(frozenset(), None, "the answer is hedged")
            reading = _read_pick(said, options, policy, "final statement") or _letter_in_sentence(said)
            if reading is not None and is_retracted(text, announcement.end() + length_of(text, announcement, said)):
                taken_back = True
            elif reading is not None:
                found.append((announcement.end(), 2, reading))
    for chosen in list(_CHOOSES.finditer(text))[-MAX_CANDIDATES:]:
        if not _NOT_BEFORE.search(text[max(0, chosen.start() - 20) : chosen.start()]) and chosen["letters"].isupper():
            letters = frozenset(re.findall(r"[A-J]", chosen["letters"]))
            if _is_article(text, chosen.end(), chosen["letters"]):
                continue
            found.append((chosen.end(), 2, Pick(letters, chosen["letters"], "final statement")))
    found += _said_to_be_correct(text)
    if not found:
        return Pick(frozenset(), None, _TAKEN_BACK) if taken_back else None
    found.sort(key=lambda each: each[0])
    strongest = max(strength for _, strength, _ in found)
    picks = [each for _, strength, each in found if strength == strongest]
    named = {each.letters for each in picks if each.letters}
    if len(named) > 1 and policy.conflict is Conflict.REFUSE:
        if (
            strongest == 2
            and re.search(r"(?:final|最终|综上|故选)", text[found[-1][0] - 40 : found[-1][0]], re.IGNORECASE)
            and picks[-1].letters
        ):
            return picks[-1]
        return Pick(frozenset(), None, "there are statements with different answers")
    return next((each for each in reversed(picks) if each.letters), picks[-1])


def _said_to_be_correct(text: str) -> list[tuple[int, int, Pick]]:
    """Return the options that sentences call correct: "C is correct", "options A and C are correct", "A is correct. C is correct."."""
    found: list[tuple[int, int, Pick]] = []
    plain: list[re.Match[str]] = []
    for correct in list(_SAYS_CORRECT.finditer(text))[-MAX_CANDIDATES:]:
        at = correct.start("letter")
        before = text[max(0, at - 60) : at]
        letters, joined = {correct["letter"]}, ""
        if (listed := _LIST_BEFORE.search(before)) and (correct["are"] or not _NOT_BEFORE.search(before[: listed.start()])):
            letters |= set(re.findall(r"[A-J]", listed[0]))
            joined, before = listed[0], before[: listed.start()]
        if _NOT_BEFORE.search(before[-20:]) or _DENIED_BEFORE.search(before) or re.search(r"[A-Za-z0-9\\]$", before):
            continue
        said = ", ".join(sorted(letters))
        if re.search(r"\bor\b|/|或", joined):
            found.append((correct.end(), 1, Pick(frozenset(), said, "the answer is hedged")))
            continue
        found.append((correct.end(), 1, Pick(frozenset(letters), said, "said to be correct")))
        if correct["plain"]:
            plain.append(correct)
    named = {each.letters for _, _, each in found}
    if len(named) < 2 or len(plain) < len(found):
        return found
    if _CORRECTED.search(text[plain[0].end() : plain[-1].end()]):
        return found
    # Several options are called correct one after the other, and none is called the answer: together they are the answer.
    together = frozenset().union(*named)
    return [(found[-1][0], 1, Pick(together, ", ".join(sorted(together)), "said to be correct"))]


def _is_article(text: str, end: int, letters: str) -> bool:
    """Return whether an `A` is followed by a small word: an article."""
    return letters == "A" and re.match(r"\s[a-z]", text[end : end + 2]) is not None


def _letter_in_sentence(sentence: str) -> Pick | None:
    """Return the only letter that a statement of more words names and does not reject: "A careful look gives D"."""
    sentence = sentence[:300].partition("\n")[0]
    letters = []
    for token in _TOKEN.finditer(_LATEX.sub(" ", sentence)):
        plain = _LATEX.sub(" ", sentence)
        if _is_article(plain, token.end(), token["letter"]) and not token["open"]:
            continue
        if _NOT_BEFORE.search(plain[max(0, token.start() - 20) : token.start()]) or _WRONG_AFTER.match(plain[token.end() :]):
            continue
        letters.append(token["letter"])
    if len(set(letters)) != 1:
        return None
    if HEDGE.search(re.sub(r"\b[Ii] think\b", "", sentence)):
        return Pick(frozenset(), sentence, "the answer is hedged")
    return Pick(frozenset(letters), sentence, "final statement")


def _from_last_line(response: str, options: Mapping[str, str], policy: AnswerPolicy) -> Pick | None:
    """Return a last line, or a response, that is nothing but an option."""
    line = _LED.sub("", CONCLUSION.sub("", response.strip().rpartition("\n")[2].strip(), count=1), count=1)
    if concluded := _SO.search(line):
        line = concluded[1]
    if len(line) > 300 or ANNOUNCEMENT.search(line):
        return None  # what a line announces was read as a statement, and may have been denied or taken back
    alone = _OPTION_ALONE.match(" ".join(_LATEX.sub(" ", line).split()))
    if alone and (len(alone["letters"]) == 1 or alone["letters"].isupper()):
        letters = frozenset(alone["letters"].upper())
        if len(options) < 2 or letters <= set(options):
            return Pick(letters, line, "last line")
    found = _read_pick(line, options, policy, "last line")
    return found if found is not None and (found.letters or "\n" not in response.strip()) else None
