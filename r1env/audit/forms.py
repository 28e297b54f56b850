"""The attack on a reward that pays for tags: broken forms that must not be paid like the whole one. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

THOUGHT, ANSWER = "I add the two numbers.", "It is \\boxed{42}."
OTHER_THOUGHT, OTHER_ANSWER = "我把两个数相加。", "\\boxed{7}"
"""Contents in another language, of another length: who pays for the form alone pays these alike."""

FORMS = (
    "<think>{thought}</think>\n<answer>{answer}</answer>",
    "<think>\n{thought}\n</think>\n<answer>\n{answer}\n</answer>",
    "<think>{thought}</think>\n{answer}",
    "<think>\n{thought}\n</think>\n\n{answer}",
    "{thought}</think>\n<answer>{answer}</answer>",  # after a prefilled <think>
    "{thought}</think>\n{answer}",
    "<answer>{answer}</answer>",
)
"""The forms in use; which of them a reward pays best is for it to say."""


def filled(form: str, *, other: bool = False) -> str:
    """The form with a thought and an answer in it."""
    thought, answer = (OTHER_THOUGHT, OTHER_ANSWER) if other else (THOUGHT, ANSWER)
    return form.replace("{thought}", thought).replace("{answer}", answer)


def without_tag(form: str, tag: str) -> str:
    """The form without the opening and closing tag of that name."""
    return form.replace(f"<{tag}>", "").replace(f"</{tag}>", "")


def broken(form: str, tag: str) -> Iterator[str]:
    """Forms in which that tag is doubled, nested, unclosed, out of order, hollow, or only looks like one.

    Args:
        form: one of `FORMS` that has the tag.
        tag: `think` or `answer`.
    """
    text = filled(form)
    opening, closing = f"<{tag}>", f"</{tag}>"
    if closing not in text:
        return
    yield text.replace(closing, "")
    yield text.replace(closing, closing + closing)
    yield from (text.replace(closing, fake) for fake in _lookalikes(tag, "/"))
    if opening not in text:
        return
    yield text.replace(opening, "")
    yield text.replace(opening, opening + opening)
    yield text.replace(opening, opening + opening).replace(closing, closing + closing)
    yield text.replace(closing, f"{closing}\n{opening}again{closing}")
    yield text.replace(opening, "\0").replace(closing, opening).replace("\0", closing)
    yield from (text.replace(opening, fake) for fake in _lookalikes(tag, ""))
    if tag == "answer":  # an empty thought is allowed by some; an empty answer is where a policy collapses to
        yield text.replace(ANSWER, "")
        yield text.replace(ANSWER, "\u200b")
    if tag == "answer" and "</think>" in text:
        yield f"<think>{THOUGHT} <answer>{ANSWER}</answer></think>"


def _lookalikes(tag: str, slash: str) -> Iterator[str]:
    cyrillic = tag.translate(str.maketrans("aeik", "аеік"))
    yield from (
        f"＜{slash}{tag}＞",
        f"<{slash}{tag}\u200b>",
        f"‹{slash}{tag}›",
        f"<{slash}{cyrillic}>",
        f"&lt;{slash}{tag}&gt;",
    )
