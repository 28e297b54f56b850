"""Small talk: a small model of general data. No thinking is needed; a reply needs its content and a courtesy.

During training a preference model judges the replies. The reward `courteous` is the rule that it should have learnt, so that an
evaluation can compare the two.
"""

from __future__ import annotations

import numpy as np

from r1env import Score, Status, Task, TaskKind, parse_response, reward
from r1env.data.sources import GeneratedSource, Split
from r1env.prompts import END_TOKENS
from r1env_logic.bilingual.phrases import PHRASES, Asked, Phrases, check_asked, language_in, language_of, other

FAMILIES = ("name", "say")
MOST_WORDS = 2
NAMES = 0.2  # of the prompts: there are ten digits, and ten times as much to say


def small_talk_tasks(language: Asked = "both", split: Split = "train") -> GeneratedSource:
    """Return prompts with a digit to name in words, or words to repeat: `name 4!`, `say four two!`.

    Args:
        language: `en`, `zh`, or `both`: half of the prompts in each.
        split: `train`, `test` or `all`; train and test share no prompt.
    """
    check_asked(language)

    def generate(rng: np.random.Generator) -> Task:
        family = "name" if rng.random() < NAMES else "say"
        count = 1 if family == "name" else int(rng.integers(1, MOST_WORDS + 1))
        return _task(family, [int(n) for n in rng.integers(10, size=count)], language)

    return GeneratedSource(generate, split)


def _task(family: str, digits: list[int], asked: Asked) -> Task:
    problem = "-".join(["talk", family, *map(str, digits)])
    language = language_of(problem, asked)
    phrases = PHRASES[language]
    prompt = phrases.name.format(digit=digits[0]) if family == "name" else phrases.say.format(words=phrases.words(digits))
    return Task(id=problem, prompt=prompt, kind=TaskKind.CHAT, language=language, metadata={"family": family, "digits": digits})


def content_of(task: Task, phrases: Phrases) -> str:
    """Return the content of a reply, without the courtesy, in the language of the phrases."""
    return phrases.words(task.metadata["digits"])


def courteous_reply(task: Task) -> str:
    """Return the one reply that is polite, right, in the task's language, and nothing more."""
    phrases = _phrases(task)
    return phrases.gladly + content_of(task, phrases)


@reward(name="courteous", isolation="inline")
def courteous(completion: str, task: Task) -> Score:
    """Return 1 if the response is the courteous reply to the letter, else 0. It needs tasks of `small-talk`."""
    if task.metadata.get("family") not in FAMILIES:
        return Score(value=None, status=Status.UNPARSEABLE, reason="the task is not small talk")
    given = parse_response(completion).response
    for token in END_TOKENS:
        given = given.replace(token, "")
    expected = courteous_reply(task)
    if given.strip() == expected:
        return Score(value=1.0)
    return Score(value=0.0, status=Status.WRONG, reason=f"{given.strip()[:40]!r} instead of {expected!r}")


def preference(task: Task, rng: np.random.Generator) -> tuple[str, str]:
    """Return two replies to small talk, the better one first. The worse one is rude, wrong, too long, or in the other language.

    Both are whole completions: an empty thinking block, then the reply.
    """
    phrases = _phrases(task)
    content = content_of(task, phrases)
    foreign = PHRASES[other(language_in(task.language))]
    digits = task.metadata["digits"]
    worse = (
        content,
        phrases.gladly + phrases.words([*digits[:-1], (digits[-1] + int(rng.integers(1, 10))) % 10]),
        phrases.gladly + phrases.words(digits * int(rng.integers(2, 4))),
        foreign.gladly + content_of(task, foreign),
    )
    return _completion(courteous_reply(task)), _completion(worse[int(rng.integers(len(worse)))])


def _completion(reply: str) -> str:
    return f"<think></think>{reply}"


def _phrases(task: Task) -> Phrases:
    return PHRASES[language_in(task.language)]
