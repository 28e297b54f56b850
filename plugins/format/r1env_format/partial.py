"""The reward `format_partial`: partial credit for the format, for a policy that never produces the whole format by chance."""

from __future__ import annotations

import r1env
from r1env.prompts import END_TOKENS, with_prefill
from r1env_format.reward import TAGS, box_is_filled, is_blank

PARTS = ("tags", "order", "filled", "nothing_outside")


@r1env.reward(name="format_partial", isolation="inline", parts=PARTS)
class FormatPartial:
    """Return a quarter for each of four rules of `format` that is kept, the last three only if every tag is there; 1 exactly if `format` is 1.

    `tags` is the share of the template's tags that occur exactly once. `order`, `filled` (no block and no response is empty) and
    `nothing_outside` are 1 or 0. They are 0 while a tag is missing, doubled or out of order, so that an empty text does not earn
    `nothing_outside`. Keeping one more rule never lowers the value. The empty format (`<think></think><answer></answer>`) still earns 0.75,
    so use a low weight, and change to `format` when the format has been learnt.

    Args:
        template, empty_thinking, prefilled: as for `format`.
    """

    def __init__(self, template: str = "r1-zero", empty_thinking: bool = False, prefilled: bool = False) -> None:
        if template not in TAGS:
            raise r1env.UsageError(f"unknown format template {template!r}; known: {', '.join(TAGS)}")
        self.template, self.empty_thinking, self.prefilled = template, empty_thinking, prefilled

    def __call__(self, completion: str) -> r1env.Score:
        kept = dict(zip(PARTS, self._kept(with_prefill(completion, self.prefilled)), strict=True))
        broken = [rule for rule, share in kept.items() if share < 1.0]
        return r1env.Score(
            value=sum(kept.values()) / len(PARTS),
            parts=kept,
            status=r1env.Status.BAD_FORMAT if broken else r1env.Status.OK,
            reason=f"not kept: {', '.join(broken)}" if broken else "",
        )

    def _kept(self, text: str) -> tuple[float, float, float, float]:
        """Return how far each rule is kept, in the order of `PARTS`."""
        tags = TAGS[self.template]
        written = tags[1:] if self.prefilled else tags  # a tag that the prompt wrote earns nothing
        once = sum(text.count(tag) == 1 for tag in written) / len(written)
        if any(text.count(tag) != 1 for tag in tags):
            return once, 0.0, 0.0, 0.0
        places = [text.index(tag) for tag in tags]
        if places != sorted(places):
            return 1.0, 0.0, 0.0, 0.0
        blocks = _between(text, tags)
        for token in END_TOKENS:
            blocks[-1] = blocks[-1].replace(token, "")
        return 1.0, 1.0, float(self._filled(blocks)), float(self._nothing_outside(blocks))

    def _filled(self, blocks: list[str]) -> bool:
        thought = self.empty_thinking or not is_blank(blocks[1])
        if self.template == "boxed":
            return thought and box_is_filled(blocks[2])
        return thought and not is_blank(blocks[2 if self.template == "r1" else 3])

    def _nothing_outside(self, blocks: list[str]) -> bool:
        outside = (blocks[0], blocks[2], blocks[4]) if self.template == "r1-zero" else (blocks[0],)
        return not any(text.strip() for text in outside)


def _between(text: str, tags: tuple[str, ...]) -> list[str]:
    """Return the texts before, between and after the tags, each of which occurs once and in order."""
    blocks = []
    for tag in tags:
        before, _, text = text.partition(tag)
        blocks.append(before)
    return [*blocks, text]
