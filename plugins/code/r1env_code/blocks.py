"""Finds the program in a model's response: fenced blocks, their language tags, and which of them is the answer.

Linear in the length of the text, without regular expressions: the text is a model's and may be hostile.
"""

from __future__ import annotations

from dataclasses import dataclass

from r1env_sandbox.languages import LanguageSpec, UnknownLanguageError, find_language

DEFAULT_LANGUAGE = "python"
"""That of a block without a tag, where the task does not say."""

MAX_SOURCE_BYTES = 256 * 1024
"""Four times what contests accept; more is a loop of the model, not a program."""


@dataclass(frozen=True, slots=True)
class FencedBlock:
    """What stands between two fences.

    Attributes:
        tag: the first word behind the opening fence, in small letters; empty where there is none.
        text: the lines between, without the indentation of the opening fence.
        closed: False when the text ended before the closing fence.
    """

    tag: str
    text: str
    closed: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """The program that a response submits.

    Attributes:
        language: its language, as the sandbox names it; empty where there is no program.
        source: its text.
        candidates: how many blocks could have been it; the last of them is.
        fault: why there is no program, in one line; empty where there is one.
    """

    language: str = ""
    source: str = ""
    candidates: int = 0
    fault: str = ""


def fenced_blocks(text: str) -> list[FencedBlock]:
    """Every block between lines of three or more backticks or tildes, as in CommonMark, but fences may be indented."""
    blocks: list[FencedBlock] = []
    fence, tag, indentation = "", "", 0
    lines: list[str] = []
    for line in text.split("\n"):
        stripped = line.strip()
        if not fence:
            fence, info = _opening(stripped)
            if fence:
                tag, indentation, lines = _tag(info), len(line) - len(line.lstrip()), []
        elif stripped.startswith(fence) and not stripped.strip(fence[0]):
            blocks.append(FencedBlock(tag, _joined(lines), closed=True))
            fence = ""
        else:
            margin = len(line) - len(line.lstrip())
            lines.append(line[min(indentation, margin) :].removesuffix("\r"))
    if fence:
        blocks.append(FencedBlock(tag, _joined(lines), closed=False))
    return blocks


def choose_program(response: str, language: str | None = None) -> Choice:
    """The program of a response: the last block in the language that is asked for.

    Blocks whose tag names that language come first; where there are none, those without a tag. Blocks of another language, and
    those whose tag is no language (`text`, `output`), are what a model explains with, and are never judged.

    Args:
        response: what stands after the thinking.
        language: that of the task, by name or alias; None takes any language that the sandbox knows.

    Raises:
        UnknownLanguageError: there is no such language.
    """
    wanted = None if language is None else find_language(language)
    blocks = fenced_blocks(response)
    if not blocks:
        return Choice(fault="there is no code block")
    if not blocks[-1].closed:
        return Choice(fault="the last code block is not closed")
    tagged = [(spec, block) for block in blocks if (spec := _language_of(block.tag)) and _same(spec, wanted)]
    if wanted is None:  # a shell block shows how to start the program
        tagged = [(spec, block) for spec, block in tagged if spec.name != "bash"] or tagged
    untagged = [(wanted or find_language(DEFAULT_LANGUAGE), block) for block in blocks if not block.tag]
    candidates = tagged or untagged
    if not candidates:
        return Choice(fault=f"no code block is in {wanted.name if wanted else 'a language that can be judged'}")
    spec, block = candidates[-1]
    return Choice((wanted or spec).name, block.text, len(candidates), _fault(block.text))


def _fault(source: str) -> str:
    if len(source) > MAX_SOURCE_BYTES:
        return f"the program is longer than {MAX_SOURCE_BYTES // 1024} KB"
    try:
        source.encode("utf-8")
    except UnicodeEncodeError:
        return "the program is not valid Unicode"
    return ""


def _opening(stripped: str) -> tuple[str, str]:
    """The fence that a line opens, and what stands behind it; empty when it opens none."""
    mark = stripped[:1]
    if mark not in ("`", "~") or not stripped.startswith(mark * 3):
        return "", ""
    info = stripped.lstrip(mark)
    if mark == "`" and "`" in info:  # code within a line
        return "", ""
    return stripped[: len(stripped) - len(info)], info


def _tag(info: str) -> str:
    """`Python`, `{.python}`, `python:main.py` and `python title="a"` all say python."""
    words = info.strip().strip("{}.").replace(":", " ").replace(",", " ").split()
    return words[0].lower() if words else ""


def _language_of(tag: str) -> LanguageSpec | None:
    try:
        return find_language(tag) if tag else None
    except UnknownLanguageError:
        return None


def _same(spec: LanguageSpec, wanted: LanguageSpec | None) -> bool:
    """True for two standards of one language too: a tag rarely says which."""
    return wanted is None or spec.source_file == wanted.source_file


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
