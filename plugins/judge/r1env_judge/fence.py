"""Putting untrusted text before a judge: between fences that the text cannot know, and never more of it than is allowed."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping

from r1env_judge.errors import TooLongError

_KEY = secrets.token_bytes(32)


def ticket_for(*parts: str) -> str:
    """A word that whoever wrote the parts cannot guess: their hash under a key that this process drew at random.

    The same parts have the same ticket, so that equal requests stay equal: they are answered from the cache here, and from that of
    prefixes on the server.
    """
    digest = hashlib.blake2b(key=_KEY, digest_size=12)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def fenced(sections: Mapping[str, str], ticket: str, max_characters: int) -> str:
    """The sections one after another, each between a line `<NAME ticket>` and a line `</NAME ticket>`.

    Raises:
        TooLongError: a section is longer than `max_characters`.
    """
    for name, text in sections.items():
        if len(text) > max_characters:
            raise TooLongError(f"the {name} has {len(text)} characters, more than max_characters {max_characters}")
    return "\n\n".join(f"<{name} {ticket}>\n{sendable(text)}\n</{name} {ticket}>" for name, text in sections.items())


def sendable(text: str) -> str:
    """The text without what no JSON reader takes: lone surrogates and NUL become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "?")
