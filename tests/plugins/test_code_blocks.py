"""The program that a response submits is its last code block in the language that was asked for."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.testing.hostile import HOSTILE_TEXTS
from r1env_code.blocks import MAX_SOURCE_BYTES, choose_program, fenced_blocks
from r1env_sandbox.languages import UnknownLanguageError


def block(text, tag="python", fence="```"):
    return f"{fence}{tag}\n{text}\n{fence}\n"


def test_the_last_block_is_submitted():
    choice = choose_program("First:\n" + block("a = 1") + "Better:\n" + block("a = 2"))
    assert (choice.language, choice.source, choice.candidates, choice.fault) == ("python", "a = 2\n", 2, "")


@pytest.mark.parametrize(
    "tag", ["python", "Python", "py", "python3", "{.python}", "python:main.py", 'python title="a"', " python "]
)
def test_a_tag_may_be_written_in_many_ways(tag):
    assert choose_program(block("a = 1", tag) + block("#include <x>", "cpp"), "python").source == "a = 1\n"


def test_blocks_of_another_language_and_of_none_are_never_submitted():
    response = block("a = 1") + block("int main() {}", "cpp") + block("42", "text") + block("pip install x", "bash")
    assert choose_program(response, "python").source == "a = 1\n"
    assert choose_program(response, "c++").source == "int main() {}\n"
    assert choose_program(response, "rust").fault == "no code block is in rust"


def test_untagged_blocks_count_only_where_no_block_is_tagged():
    assert choose_program(block("a = 1") + block("42", ""), "python").source == "a = 1\n"
    assert choose_program(block("int main() {}", ""), "cpp").source == "int main() {}\n"
    assert choose_program(block("a = 1", "")).language == "python"


def test_without_a_task_language_the_tag_decides_and_a_shell_block_is_no_answer():
    response = block("int main() {}", "cpp") + block("g++ main.cpp", "bash")
    assert choose_program(response).language == "cpp"
    assert choose_program(block("echo 1", "bash")).language == "bash"


def test_the_standard_is_the_tasks_where_the_tag_does_not_say():
    assert choose_program(block("int main() {}", "cpp"), "c++20").language == "cpp20"


@pytest.mark.parametrize(
    ("response", "fault"),
    [
        ("", "there is no code block"),
        ("def add(a, b): return a + b", "there is no code block"),
        ("use `print` or ```print```", "there is no code block"),
        ("```python\nprint(1)", "the last code block is not closed"),
        (block("a = 1") + "```python\nprint(", "the last code block is not closed"),
        (block("a = 1", "haskell"), "no code block is in a language that can be judged"),
        (block("a = '\ud800'"), "the program is not valid Unicode"),
        (block("a" * (MAX_SOURCE_BYTES + 1)), f"the program is longer than {MAX_SOURCE_BYTES // 1024} KB"),
    ],
)
def test_a_response_without_a_program_is_told_why(response, fault):
    assert choose_program(response).fault == fault


def test_a_fence_may_be_indented_longer_or_of_tildes():
    assert choose_program("1. So:\n   ```python\n   if a:\n       b()\n   ```\n").source == "if a:\n    b()\n"
    assert choose_program("````python\n```\nnot the end\n```\n````").source == "```\nnot the end\n```\n"
    assert choose_program(block("a = 1", fence="~~~")).source == "a = 1\n"
    assert choose_program("```python\r\na = 1\r\n```\r\n").source == "a = 1\n"


def test_a_language_that_there_is_not_is_named_with_those_there_are():
    with pytest.raises(UnknownLanguageError, match="unknown language 'cobol'; known: python, c, cpp"):
        choose_program(block("a"), "cobol")


@pytest.mark.parametrize("stray", ["```", "```\n", "\n```\n\n", "```\n\nThat is it.\n", "~~~\n", "   ```\n"])
def test_a_closing_fence_too_many_changes_nothing(stray):
    choice = choose_program(block("a = 1") + "\n" + stray)
    assert (choice.source, choice.fault) == ("a = 1\n", "")


@pytest.mark.parametrize(
    "source",
    [
        "s = '''\n```\n'''\nprint(7)",
        'def f(x):\n    """Doubles.\n\n    ```python\n    f(2)\n    ```\n    """\n    return 2 * x',
        'def f(x):\n    """\n```\nf(1)\n```\nand\n```\nf(2)\n```\n"""\n    return x',
        'x = "it\'s"  # don\'t\ns = r"""\\\n```\n"""',
        "s = \"'''\"\nt = '\\''\nu = '''\\'''\n```\n'''",
    ],
)
def test_a_fence_in_a_string_does_not_end_the_program(source):
    choice = choose_program("So:\n" + block(source) + "It prints:\n" + block("7", "text"), "python")
    assert (choice.source, choice.fault) == (source + "\n", "")


@pytest.mark.parametrize("broken", ["s = '''oops", 's = """oops\nprint(1)', "# it's ''' fine"])
def test_quotes_that_do_not_match_take_nothing_from_the_next_block(broken):
    assert choose_program(block(broken) + "Better:\n" + block("a = 2")).source == "a = 2\n"
    assert choose_program(block(broken) + "Better:\n" + block('def f():\n    """Twice."""')).source.startswith("def f")
    assert choose_program(block(broken)).source == broken + "\n"


def test_a_block_of_python_ends_where_a_line_begins_with_a_fence():
    assert choose_program("```python\na = 1\n``` That is all.\n").source == "a = 1\n"
    assert choose_program("```python\na = 1\nBetter:\n```python\na = 2\n```\n").source == "a = 2\n"
    assert choose_program("```python\na = 1\n```cpp\nint a;\n```\n", "cpp").source == "int a;\n"
    assert choose_program("```python\na = 1\n```python\na = 2\n").fault == "the last code block is not closed"


def test_a_usage_example_is_not_the_program():
    program = "import math\n\ndef area(r):\n    return math.pi * r * r"
    for example in ("print(area(2))", "from math import pi\nassert area(1) == pi", "r = 3\narea(r)  # 28.27"):
        assert choose_program(block(program) + "For example:\n" + block(example)).source == program + "\n"
        assert (
            choose_program(block(program) + block(example, "text") + block(example), "python", {"area"}).source
            == program + "\n"
        )
    assert choose_program(block("x = 1") + block("print(x)")).source == "print(x)\n"  # no call: it may be another program


def test_the_last_block_that_defines_what_the_tests_need_is_submitted():
    first, second = "def f(x):\n    return x", "def f(x):\n    return 2 * x"
    assert choose_program(block(first) + block(second) + block("y = 3"), "python", {"f"}).source == second + "\n"
    assert choose_program(
        block("class Solution:\n    def g(self): pass") + block("y = 3"), None, {"Solution"}
    ).source.startswith("class")
    assert choose_program(block("f = lambda x: x") + block("y: int = 3"), None, {"f"}).source.startswith("f = ")
    assert choose_program(block("y = 3") + block("z = 4"), None, {"f"}).source == "z = 4\n"
    assert choose_program(block("def f(x): pass") + block("def f(x) return"), None, {"f"}).source == "def f(x) return\n"


def test_many_blocks_and_fences_are_read_in_linear_time():
    for part in (block("f()"), block("s = '''"), block("def f(): pass"), "```python\n", block('"""'), "a = b = c = d\n"):
        text = block("def f(): pass") + part * (200_000 // len(part))
        began = time.process_time()
        choose_program(text, "python", {"f"})
        assert time.process_time() - began < 5


@given(
    st.lists(
        st.sampled_from(["```", "~~~", "`", "python", "\n", " ", "x", "\r", "\ud800", "````", "'''", '"""', "\\", "#"]),
        max_size=30,
    ).map("".join)
)
def test_no_text_makes_it_raise_and_every_line_lies_in_one_block_at_most(response):
    blocks = fenced_blocks(response)
    assert sum(len(found.text.split("\n")) - 1 for found in blocks) <= len(response.split("\n"))
    assert all(found.closed for found in blocks[:-1])
    choice = choose_program(response)
    assert bool(choice.fault) or choice.source in [found.text for found in blocks]


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
def test_hostile_texts_are_read_in_one_pass(text):
    assert choose_program(text).fault or len(text) < MAX_SOURCE_BYTES
