"""The reward `format`: checks that thinking and answer are in the places that the template requires. It is linear and uses no regex."""

from __future__ import annotations

import r1env
from r1env.prompts import END_TOKENS, with_prefill

THINK, ANSWER = ("<think>", "</think>"), ("<answer>", "</answer>")
TAGS = {"r1-zero": (*THINK, *ANSWER), "r1": THINK, "boxed": THINK}


@r1env.reward(name="format", isolation="inline")
class Format:
    """Return 1 if each tag occurs once, in order, with text inside and none outside; else 0, with the violated rule as the reason.

    Args:
        template: `r1-zero` requires a thinking block and an answer block, `r1` a thinking block and a response after it, and `boxed`
            a thinking block and a response with a filled `\\boxed{}`.
        empty_thinking: allow empty thinking. The answer may never be empty, because policies collapse to empty answers.
        prefilled: the prompt ended with `<think>`, so the completion starts inside the block.

    Example:
        >>> Format("<think>2 + 2</think><answer>4</answer>").value
        1.0
    """

    def __init__(self, template: str = "r1-zero", empty_thinking: bool = False, prefilled: bool = False) -> None:
        if template not in TAGS:
            raise r1env.UsageError(f"unknown format template {template!r}; known: {', '.join(TAGS)}")
        self.template, self.empty_thinking, self.prefilled = template, empty_thinking, prefilled

    def __call__(self, completion: str) -> r1env.Score:
        fault = self._fault(with_prefill(completion, self.prefilled))
        status = r1env.Status.BAD_FORMAT if fault else r1env.Status.OK
        return r1env.Score(value=0.0 if fault else 1.0, status=status, reason=fault)

    def _fault(self, text: str) -> str:
        """Return the first rule that the text breaks; empty if it breaks none."""
        rest = text
        between = []  # the text before each tag
        for tag in TAGS[self.template]:
            if (count := text.count(tag)) != 1:
                return f"{tag} is there {count} times, not once"
            before, found, rest = rest.partition(tag)
            if not found:
                return f"{tag} is out of order"
            between.append(before)
        for token in END_TOKENS:
            rest = rest.replace(token, "")
        if not self.empty_thinking and is_blank(between[1]):
            return "the thinking is empty"
        if between[0].strip() or (self.template == "r1-zero" and between[2].strip()):
            return "there is text outside the tags"
        if self.template == "r1-zero":
            if is_blank(between[3]):
                return "the answer is empty"
            return "there is text after </answer>" if rest.strip() else ""
        if is_blank(rest):
            return "there is no response after </think>"
        return "" if self.template == "r1" or box_is_filled(rest) else "the response has no filled \\boxed{}"


def is_blank(text: str) -> bool:
    """Return True if no character is visible; zero-width and control characters are not."""
    return not any(char.isprintable() and not char.isspace() for char in text)


def box_is_filled(text: str) -> bool:
    """Return True if the last `\\boxed{` of the text is closed and filled."""
    content = text.rpartition("\\boxed{")
    depth = 1 if content[1] else 0
    for position, char in enumerate(content[2]):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            return bool(content[1]) and not is_blank(content[2][:position])
    return False
