"""Takes off what an answer says besides itself: where its letters range, a remark in parentheses, a reason, "the answer is"."""

from __future__ import annotations

import re

from r1env_math.normalize import balanced
from r1env_math.numeric import rational
from r1env_math.vocabulary import words_of

_DOMAIN = re.compile(
    r"(?:,|(?<=[0-9)}]) |\(|\\text\{[, ]*(?:for|where|with|,|and)? ?(?:all|every|any|each|some)? ?(?:(?:real|positive|non-?negative|integers?|natural|numbers?) ?)*\} ?)+"
    r"(?:for all |where |with )?\\?(?:forall ?)?[a-zA-Z](?:,[a-zA-Z])?\\in ?"
    r"(?:\\mathbb\{?[NZRQC]\}?|\\text\{[NZRQC]\}|[NZRQC]|\\mathbb [NZRQC])(?:\^\{?[*+]\}?|_\{?[+*0-9]\}?|\*|\+)*\)?$"
)
_DOMAIN_FIRST = re.compile(r"^[knm]\\in ?\\mathbb\{[NZ]\}(?:\^\{?[*+]\}?)?,(?=.*=)")
_LED = re.compile(r"^\\text\{ ?([A-Za-z, ]{2,60}) ?(?:is|are|equals|equal to) ?:?\}(?=-?[0-9\\$(.])")
_LEADS = re.compile(r"\\text\{[^{}]*\b(?:is|are|equals|has|have|gets|:)")
_ONLY_ANSWER = re.compile(
    r"(?<=.)\\text\{,? ?(?:is|are) the (?:only |unique |final |correct |required |desired )*(?:solution|answer|value|root)s?\.?\}$"
    r"|(?<=.)\\text\{ ?\(?(?:at|attained at) ?\}[a-zA-Z]=[^,=\\{}]{1,12}(?:\\text\{ ?\)\}|\))?$"
)
_FOR_ALL = re.compile(
    r"[, ]?\(?\\text\{[, ]*(?:for|where|with|is|and)? ?(?:all|any|every|each|an|some|arbitrary)? ?(?:(?:arbitrary|constants?|real|integers?|positive|natural|numbers?) ?)*\}? ?[a-zA-Z]?\}?"
    r"(?:\\text\{ ?(?:is |are )?(?:an? |any )?(?:arbitrary |real |positive |natural )*(?:integers?|constants?|numbers?|real)?\})?\)?$"
)
_FROM_ONE = re.compile(
    r"(?:[, ]|\(|\\text\{[, ]*(?:for|where|with|when)?(?: all| any)? ?\})+(?:for (?:all )?)?\(?(?P<name>[nkm])(?:(?:\\ge|>) ?[0-2]|=[01],[12](?:,[23])?(?:,(?:\.\.\.|\\ldots ?)){1,2})\)?$"
)
_REMARK = re.compile(
    r"[, ]?(?:\(\\text\{(?P<a>[^{}()]*)\}\)|\\text\{[, ]*\((?P<b>[^{}()]*)\)\}|(?<=[0-9a-zA-Z)},])\\text\{[, ]*(?P<c>(?:because|since|as) [^{}]*)\}.*|(?<=[0-9)} ])\((?P<d>[a-zA-Z]{2,}(?: [a-zA-Z]+){1,9})\))$"
)
_PLAIN_REASON = re.compile(r"(?<=[0-9a-zA-Z)}]),? ?(?:because|since) [^{}]*$")
_UNEQUAL = re.compile(
    r"(?:[, ]?\(?\\text\{[, ]*(?:for|where|with|if|when|provided)?(?: that)? ?(?:all )?\}|,|[, ]\()?(?<![=<>+*/^-])(?P<name>[a-zA-Z])\\neq ?(?P<value>[^,=<>()]{1,20})\)?$"
)
_SAID = re.compile(
    r"^\\text\{ ?(?:(?:so|thus|hence|therefore|and),? )?(?:the |our |final |correct )*(?:answer|result|value|solution|total|sum)s?(?: is| are| equals|:)? ?:?\}(?=.)|^(?:(?:答案|结果|答)(?:是|为|等于)?[:：]?|(?:一共|总共|合计|共)(?:有|是|为)?)(?=.)",
    re.IGNORECASE,
)
_OF_ANOTHER = words_of(
    "half twice double triple third nearly almost roughly around between than other next last first one product square root if"
)
_CONTRADICTS = words_of(
    """
    not no wrong incorrect false or and maybe if unless when except plus minus approximately about least most more less
    negative
    """
)


def without_remarks(text: str, *, whole: bool = False) -> str:
    """Return an answer without what it says besides: where its letters range, a remark in parentheses, a reason, "the answer is"."""
    text = _DOMAIN_FIRST.sub("", _SAID.sub("", text, count=1), count=1)
    led = _LED.match(text) if whole and len(_LEADS.findall(text)) == 1 else None  # `Ann is 40, Bob is 60` says who has what
    if led and not any(word in _CONTRADICTS or word in _OF_ANOTHER for word in led[1].lower().replace(",", " ").split()):
        text = text[led.end() :]
    text = _ONLY_ANSWER.sub("", text)
    if len(text) > 1 and text[0] == "=" and "=" not in text[1:]:
        text = text[1:]
    for _ in range(2):
        for pattern in (_DOMAIN, _FOR_ALL):
            found = pattern.search(text)
            if found and found.start() > 0 and "\\text" not in text[: found.start()][-1:] and _ends_well(text[: found.start()]):
                if pattern is _FOR_ALL and len(found[0]) < 8:
                    continue
                if pattern is _FOR_ALL and not re.search(r"all|any|every|each|arbitrary|integer|constant", found[0]):
                    continue
                text = text[: found.start()].rstrip(" ,")
    first = _FROM_ONE.search(text)
    if (
        first
        and first.start() > 0
        and first["name"] in _letters_of(text[: first.start()])
        and _ends_well(text[: first.start()])
    ):
        text = text[: first.start()].rstrip(" ,")
    text = _PLAIN_REASON.sub("", text)
    found = _REMARK.search(text)
    if found and found.start() > 0:
        said = next(group for group in (found["a"], found["b"], found["c"], found["d"]) if group is not None)
        spoken = [word.lower().strip(".,;:") for word in said.split()]
        if found["c"] is not None or not (any(word in _CONTRADICTS for word in spoken) or any(char.isdigit() for char in said)):
            text = text[: found.start()].rstrip(" ,")
    unequal = _UNEQUAL.search(text)
    if (
        unequal
        and unequal.start() > 0
        and unequal["name"] in _letters_of(text[: unequal.start()])
        and "\\neq" not in text[: unequal.start()]
        and not re.match(r"[a-zA-Z]\\in", text)
    ) and (
        not re.fullmatch(r"[a-zA-Z]", text[: unequal.start()].strip(" ,("))
        and rational(unequal["value"].strip()) is not None
        and "<" not in text
        and ">" not in text
        and "\\le" not in text
        and "\\ge" not in text
    ):
        text = text[: unequal.start()].rstrip(" ,(")
    return text


def _letters_of(text: str) -> str:
    return "".join(char for char in re.sub(r"\\[a-zA-Z]+", " ", text) if char.isalpha())


def _ends_well(text: str) -> bool:
    """Return whether a text could end there: brackets closed, no operator at the end."""
    return balanced(text.rstrip(" ,(") if text.endswith("(") else text) and not text.rstrip(" ").endswith(
        ("=", "+", "-", "*", "/", "^", "_", "<", ">", r"\in", r"\{", "|", ":")
    )
