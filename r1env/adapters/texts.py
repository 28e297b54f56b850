"""The model's text out of what a stack hands over: plain text, messages, content blocks, or prompt and response in one.

Pure functions, linear in the length of the text, which is a model's and may be hostile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from r1env.parsing import END_TOKENS, THINK_CLOSE, THINK_OPEN
from r1env.tasks import Conversation, Message

REASONING_KEYS = ("reasoning_content", "thinking")
"""Where chat parsers put the thinking that they cut out of the content."""

SHORTEST_OVERLAP = 16
"""Characters of the prompt's end that must stand at the head of the query: fewer could be there by chance."""


def text_of(content: object) -> str:
    """A message's content as text: itself, or the text blocks of it joined; nothing for None.

    Raises:
        TypeError: it is neither.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and all(isinstance(block, Mapping) for block in content):
        return "".join(str(block["text"]) for block in content if block.get("text") is not None)
    raise TypeError(f"expected text or content blocks, got {type(content).__name__}")


def conversation_of(prompt: object) -> Conversation:
    """Messages with text content. A text is one user message; thinking that was cut out of a message is put back.

    Raises:
        TypeError: it is neither text nor messages.
    """
    if isinstance(prompt, str):
        return ({"role": "user", "content": prompt},)
    if isinstance(prompt, Sequence) and all(isinstance(message, Mapping) for message in prompt):
        return tuple(map(_message, prompt))
    raise TypeError(f"expected text or messages, got {type(prompt).__name__}")


def without_end_tokens(text: str, end_tokens: Sequence[str] = END_TOKENS) -> str:
    """The text without the end-of-turn tokens it closes with, and without white space between and after those."""
    kept = end = len(text)
    while True:
        while end and text[end - 1].isspace():
            end -= 1
        token = next((token for token in end_tokens if token and text.endswith(token, 0, end)), None)
        if token is None:
            return text[:kept]
        kept = end = end - len(token)


def after_prompt(query: str, prompt: str) -> str | None:
    """The response in a query that is prompt and response in one; None where the prompt cannot be found at its head.

    The prompt may come back changed by its way through the tokenizer: cut on the left to fit the context, or with other white
    space. So what is looked for is the longest end of the prompt with which the query begins, white space aside.
    """
    if query.startswith(prompt):
        return query[len(prompt) :]
    known = [character for character in prompt if _counts(character)]
    places = list(islice((place for place, character in enumerate(query) if _counts(character)), len(known)))
    overlap = _overlap(known, [query[place] for place in places])
    if overlap < min(len(known), SHORTEST_OVERLAP):
        return None
    return query[places[overlap - 1] + 1 :].lstrip() if overlap else query.lstrip()


def _message(message: Mapping[str, object]) -> Message:
    content = text_of(message.get("content"))
    for key in REASONING_KEYS:
        thinking = message.get(key)
        if isinstance(thinking, str) and thinking:
            content = f"{THINK_OPEN}\n{thinking}\n{THINK_CLOSE}\n{content}"
            break
    return {"role": str(message.get("role", "user")), "content": content}


def _counts(character: str) -> bool:
    """False for what a tokenizer may add, drop or break: white space, and the mark of half a character at a cut."""
    return not character.isspace() and character != "\ufffd"


def _overlap(ending: Sequence[str], beginning: Sequence[str]) -> int:
    """Length of the longest end of `ending` that `beginning` starts with (Knuth-Morris-Pratt)."""
    fallback = [0] * len(beginning)
    matched = 0
    for place in range(1, len(beginning)):
        while matched and beginning[place] != beginning[matched]:
            matched = fallback[matched - 1]
        matched += beginning[place] == beginning[matched]
        fallback[place] = matched
    matched = 0
    for character in ending:
        while matched and (matched == len(beginning) or character != beginning[matched]):
            matched = fallback[matched - 1]
        matched += bool(beginning) and matched < len(beginning) and character == beginning[matched]
    return matched
