"""The reward `language`: the share of target-language words in the thinking, as DeepSeek-R1 defines it (Nature, eq. 7)."""

from __future__ import annotations

import r1env
from r1env.errors import UnknownNameError
from r1env.prompts import parse_response
from r1env_language.counting import MAX_CHARACTERS, Consistency, consistency, identify
from r1env_language.detectors import get_detector
from r1env_language.languages import LANGUAGES, UNDETERMINED, language_of_tag

SCOPES = ("thinking", "response", "all")
PARTS = ("target_words", "words", "masked")


@r1env.reward(name="language", isolation="inline", parts=PARTS)
class Language:
    """The share of target-language words in the thinking.

    The target is the task's `language` if it has one, else the language of its question. There is no value if there are no
    words to count (status `no_answer`), or if the task's language is unknown or cannot be found out (`unparseable`).

    Args:
        scope: `thinking` reads the thinking block, or the whole completion if there is no block; `response` reads what
            follows the block; `all` reads both.
        floor: fewest words that get a value. The default scores any text; about 20 is a good choice for training, because
            it keeps a policy from thinking in three safe words.
        detector: decides between languages of one script: `stopwords`, `py3langid` or `lingua`.
        per_character: count Chinese and Japanese characters as one word each, instead of 1.7 characters a word.
        prefilled: the prompt ended with `<think>`, so the completion starts inside the block.

    Example:
        >>> task = r1env.Task(id="t", prompt="What is 2 + 2?", language="en")
        >>> Language("<think>First we add, puis nous multiplions.</think>4", task).value
        0.5
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
            reason = (
                f"the task's language {task.language!r} is not one of {', '.join(sorted(LANGUAGES))}"
                if task.language
                else "the task has no language, and its question has no words in a known one"
            )
            return r1env.Score.failure(r1env.Status.UNPARSEABLE, reason, parts=PARTS)
        text = self._judged(completion)
        found = consistency(text, target, detector=self.detector, per_character=self.per_character)
        parts = dict(zip(PARTS, (found.target_words, found.words, found.masked_share), strict=True))
        value = found.proportion
        if value is None or found.words < self.floor:
            reason = "there are no words to count" if value is None else f"{found.words:.4g} words; the floor is {self.floor}"
            return r1env.Score(value=None, parts=parts, status=r1env.Status.NO_ANSWER, reason=reason)
        status = r1env.Status.OK if value else r1env.Status.WRONG
        return r1env.Score(value=value, parts=parts, status=status, reason=_described(found, target, len(text)))

    def _judged(self, completion: str) -> str:
        parsed = parse_response(completion, prefilled=self.prefilled)
        if self.scope == "response":
            return parsed.response
        if self.scope == "thinking" and parsed.thinking is not None:
            return parsed.thinking
        return completion


def _described(found: Consistency, target: str, characters: int) -> str:
    """Describe the words outside the target language, the most frequent language first, and what was not read."""
    others = sorted((item for item in found.by_language.items() if item[0] != target), key=lambda item: -item[1])
    described = [
        f"{words:.4g} of {found.words:.4g} words are {f'{language}, not {target}' if language != UNDETERMINED else 'foreign'}"
        for language, words in others[:3]
    ]
    if characters > MAX_CHARACTERS:
        described.append(f"of {characters:,} characters the first {MAX_CHARACTERS:,} were read")
    return "; ".join(described)
