"""Finds the program in a model's response: fenced blocks, their language tags, and which of them is the answer.

Linear in the length of the text, as the text is a model's and may be hostile; it is read as text, never parsed as a program.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from r1env_sandbox.languages import LanguageSpec, UnknownLanguageError, find_language

DEFAULT_LANGUAGE = "python"
"""That of a block without a tag, where the task does not say."""

MAX_SOURCE_BYTES = 256 * 1024
"""Four times what contests accept; more is a loop of the model, not a program."""


MAX_LINES_OF_A_STRING = 500
"""How far the end of a string is looked for, behind a fence in it."""


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
    """Return every block between lines of three or more backticks or tildes, as in CommonMark, but fences may be indented.

    A fence inside a string of a Python program does not close its block, if another fence behind the string does; outside of one, a
    line that begins with it does, whatever else the line says. A fence at the very end that opens a block of nothing is a closing
    one too many, and no block.
    """
    lines = text.split("\n")
    blocks: list[FencedBlock] = []
    number = 0
    while number < len(lines):
        fence, info = _opening(lines[number].strip())
        number += 1
        if not fence:
            continue
        tag, opening = _tag(info), lines[number - 1]
        end = _end_of_block(lines, number, fence, tag)
        closed = end is not None
        inside = lines[number : len(lines) if end is None else end]
        indentation = len(opening) - len(opening.lstrip())
        body = [line[min(indentation, len(line) - len(line.lstrip())) :].removesuffix("\r") for line in inside]
        if closed or tag or any(body):
            blocks.append(FencedBlock(tag, _joined(body), closed))
        number = len(lines) if end is None else end + (not _opens_a_block(lines[end]))
    return blocks


def livecodebench_code(response: str) -> str:
    """Return what stands between the last two lines with three backticks (LiveCodeBench); empty where there are fewer such lines."""
    lines = response.split("\n")
    fences = [place for place, line in enumerate(lines) if "```" in line]
    return "\n".join(lines[fences[-2] + 1 : fences[-1]]) if len(fences) > 1 else ""


def simple_evals_code(response: str) -> str:
    """Return the first block that is tagged `python`, or the whole response where there is none (simple-evals, for HumanEval)."""
    found = re.search(r"```python\n(.*?)```", response, re.DOTALL)
    return found[1] if found else response


def choose_program(response: str, language: str | None = None, needed: Collection[str] = ()) -> Choice:
    """Return the program of a response: the last block in the language that is asked for.

    Blocks whose tag names that language come first; where there are none, those without a tag. Blocks of another language, and
    those whose tag is no language (`text`, `output`), are what a model explains with, and are never judged. Nor is a block that
    shows how the program is used: it defines none of the names that are needed, where another does, or calls what only an earlier
    block defines.

    Args:
        response: what stands after the thinking.
        language: that of the task, by name or alias; None takes any language that the sandbox knows.
        needed: names that the tests ask the program for.

    Raises:
        UnknownLanguageError: there is no such language.
    """
    wanted = None if language is None else find_language(language)
    blocks = fenced_blocks(response)
    if not blocks:
        return Choice(fault="there is no code block")
    if not blocks[-1].closed and (blocks[-1].tag or len(blocks) == 1):
        return Choice(fault="the last code block is not closed")
    blocks = [block for block in blocks if block.closed]  # an untagged fence behind a whole program opens nothing
    tagged = [(spec, block) for block in blocks if (spec := _language_of(block.tag)) and _same(spec, wanted)]
    if wanted is None:  # a shell block shows how to start the program
        tagged = [(spec, block) for spec, block in tagged if spec.name != "bash"] or tagged
    untagged = [(wanted or find_language(DEFAULT_LANGUAGE), block) for block in blocks if not block.tag]
    candidates = tagged or untagged
    if not candidates:
        return Choice(fault=f"no code block is in {wanted.name if wanted else 'a language that can be judged'}")
    candidates = [(spec, block) for spec, block in candidates if needed and defines(block.text, needed)] or candidates
    _drop_shown_uses(candidates)
    spec, block = candidates[-1]
    return Choice((wanted or spec).name, block.text, len(candidates), _fault(block.text))


def _drop_shown_uses(candidates: list[tuple[LanguageSpec, FencedBlock]]) -> None:
    """Take off the last Python blocks as long as they call what only an earlier one defines: they would fail by themselves."""
    defined = [{match.group(1) for match in _DEFINITION.finditer(block.text) if match.group(1)} for _, block in candidates]
    earlier = Counter(name for names in defined for name in names)
    while len(candidates) > 1 and candidates[-1][0].name == "python":
        source = candidates[-1][1].text
        earlier.subtract(defined.pop())
        called = {name for name in _CALL.findall(source) if earlier[name] > 0}
        if not called or not called - bound_names(source):
            return
        candidates.pop()


def defines(source: str, names: Collection[str]) -> bool:
    """Return whether a Python program has a line that begins to define one of these names, or imports it."""
    return any(found in names for match in _DEFINITION.finditer(source) for found in match.group(1, 2) if found)


def bound_names(source: str) -> set[str]:
    """Return names that a Python program seems to define or import, anywhere."""
    imported = (name for match in _IMPORT.finditer(source) for name in re.findall(r"\w+", match.group(1)))
    return {found for match in _DEFINITION.finditer(source) for found in match.group(1, 2) if found} | set(imported)


def _fault(source: str) -> str:
    if len(source) > MAX_SOURCE_BYTES:
        return f"the program is longer than {MAX_SOURCE_BYTES // 1024} KB"
    try:
        source.encode("utf-8")
    except UnicodeEncodeError:
        return "the program is not valid Unicode"
    return ""


_DEFINITION = re.compile(
    r"^[ \t]*(?:(?:async[ \t]+def|def|class)[ \t]+(\w+)|(\w+)[ \t]*(?::[^=\n]{0,200})?=(?!=))", re.MULTILINE
)
_CALL = re.compile(r"(?<![\w.])(\w+)\(")
_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+[\w.]+[ \t]+)?import[ \t]+(\([^)]{0,2000}\)|[^\n]{0,2000})", re.MULTILINE)


def _end_of_block(lines: list[str], start: int, fence: str, tag: str) -> int | None:
    """Return the line that closes a block; None when none does."""
    inside_a_string = None  # the first fence that would close the block, were it not in a string that may never end
    strings = _Strings() if _is_python(tag) else None
    for number in range(start, len(lines)):
        stripped = lines[number].strip()
        if inside_a_string is not None and number - inside_a_string > MAX_LINES_OF_A_STRING:
            break
        if stripped.startswith(fence) and not stripped.strip(fence[0]):
            if strings is None or not strings.within:
                return number
            inside_a_string = number if inside_a_string is None else inside_a_string
        elif strings is not None and not strings.within and inside_a_string is None and stripped.startswith(fence):
            return number  # no line of Python begins so: the block was not closed, or something stands behind its end
        elif inside_a_string is not None and strings is not None and not strings.within and _opening(stripped)[1]:
            break  # another block begins outside of every string: the quotes of this one do not match
        if strings is not None:
            strings.read(lines[number])
    return inside_a_string


def _opens_a_block(line: str) -> bool:
    """Return whether a line that ends a block begins another."""
    return _language_of(_tag(_opening(line.strip())[1])) is not None


class _Strings:
    """Whether a Python program, read line by line, is within a string of many lines.

    Attributes:
        within: the three quotes that will end the string; empty outside of one.
    """

    def __init__(self) -> None:
        self.within = ""

    def read(self, line: str) -> None:
        position = 0
        while position < len(line):
            if self.within:
                end = _unescaped(line, self.within, position)
                if end < 0:
                    return
                position, self.within = end + 3, ""
                continue
            found = _QUOTE_OR_COMMENT.search(line, position)
            if found is None or found.group() == "#":
                return
            position = found.end()
            if len(found.group()) == 3:
                self.within = found.group()
                continue
            end = _unescaped(line, found.group(), position)
            if end < 0:
                return
            position = end + 1


_QUOTE_OR_COMMENT = re.compile("'''|\"\"\"|['\"#]")


def _unescaped(line: str, quotes: str, position: int) -> int:
    """Return where a string ends; -1 when not in this line."""
    while position < len(line):
        if line[position] == "\\":
            position += 2
        elif line.startswith(quotes, position):
            return position
        else:
            position += 1
    return -1


def _is_python(tag: str) -> bool:
    spec = _language_of(tag or DEFAULT_LANGUAGE)
    return spec is not None and spec.name == "python"


def _opening(stripped: str) -> tuple[str, str]:
    """Return the fence that a line opens, and what stands behind it; empty when it opens none."""
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
    """Return True for two standards of one language too: a tag rarely says which."""
    return wanted is None or spec.source_file == wanted.source_file


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
