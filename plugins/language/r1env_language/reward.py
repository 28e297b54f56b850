"""The reward `language`: R1's share of target-language words in the thinking (Nature, eq. 7)."""

from __future__ import annotations

import r1env
from r1env.errors import UnknownNameError
from r1env.prompts import parse_response
from r1env_language.consistency import MAX_CHARACTERS, Consistency, consistency, identify
from r1env_language.detectors import get_detector
from r1env_language.languages import LANGUAGES, UNDETERMINED, language_of_tag

SCOPES = ("thinking", "response", "all")
PARTS = ("target_words", "words", "masked")


@r1env.reward(name="language", isolation="inline", parts=PARTS)
class Language:
    """The share of target-language words in the thinking. No value where nothing can be counted, or no target is known.

    The target is the task's `language`, else that of its question.

    Args:
        scope: `thinking` reads the thinking block, or the whole completion where there is no block; `response` what comes
            after the block; `all` both.
        floor: below so many words there is no value. The default takes any; for training, 20 or so keeps a policy from
            thinking in three safe words.
        detector: decides between languages of one script: `stopwords`, `py3langid` or `lingua`.
        per_character: Chinese and Japanese characters count as a word each, instead of 1.7 to a word.
        prefilled: the prompt ended with `<think>`, so the completion starts inside the block.
    """

    def __init__(
        self,
        scope: str = "thinking",
        floor: int = 1,
        detector: str = "stopwords",
        per_character: bool = False,
        prefilled: bool = False,
    ) -> None:
        if scope not in SCOPES:
            raise UnknownNameError("scope of the language reward", scope, SCOPES)
        if floor < 1:
            raise r1env.UsageError(f"the language reward's floor is {floor}; it must be at least 1 word")
        self.scope, self.floor, self.per_character, self.prefilled = scope, floor, per_character, prefilled
        self.detector = get_detector(detector)

    def __call__(self, completion: str, task: r1env.Task) -> r1env.Score:
        target = language_of_tag(task.language) if task.language else identify(task.question, detector=self.detector)
        if target is None:
            return _abstention(
                f"the task's language {task.language!r} is none of {', '.join(sorted(LANGUAGES))}"
                if task.language
                else "the task names no language, and its question shows none"
            )
        text = self._judged(completion)
        found = consistency(text, target, detector=self.detector, per_character=self.per_character)
        parts = dict(zip(PARTS, (found.target_words, found.words, found.masked_share), strict=True))
        value = found.proportion
        if value is None or found.words < self.floor:
            reason = "there are no words to count" if value is None else f"{found.words:.4g} words; the floor is {self.floor}"
            return r1env.Score(value=None, parts=parts, status=r1env.Status.NO_ANSWER, reason=reason)
        status = r1env.Status.OK if value else r1env.Status.WRONG
        return r1env.Score(value=value, parts=parts, status=status, reason=_told(found, target, len(text)))

    def _judged(self, completion: str) -> str:
        parsed = parse_response(completion, prefilled=self.prefilled)
        if self.scope == "response":
            return parsed.response
        if self.scope == "thinking" and parsed.thinking is not None:
            return parsed.thinking
        return completion


def _abstention(reason: str) -> r1env.Score:
    return r1env.Score.failure(r1env.Status.NO_ANSWER, reason, parts=PARTS)


def _told(found: Consistency, target: str, characters: int) -> str:
    """What there was besides the target, most of it first; what was not read."""
    others = sorted((item for item in found.by_language.items() if item[0] != target), key=lambda item: -item[1])
    told = [
        f"{words:.4g} of {found.words:.4g} words are {f'{language}, not {target}' if language != UNDETERMINED else 'foreign'}"
        for language, words in others[:3]
    ]
    if characters > MAX_CHARACTERS:
        told.append(f"of {characters:,} characters the first {MAX_CHARACTERS:,} were read")
    return "; ".join(told)
