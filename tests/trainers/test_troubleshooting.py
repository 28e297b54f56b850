"""docs/troubleshooting.md: every failure that it lists is made to happen by a test that there is."""

import itertools
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "troubleshooting.md"


def test_every_failure_of_the_page_is_made_to_happen_by_a_test():
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 20
    for row in rows:
        (named,) = re.findall(r"`(test_\w+\.py)::(test_\w+)` \|$", row)
        file, test = named
        (path,) = TESTS.rglob(file)
        assert re.search(rf"^def {test}\(", path.read_text("utf-8"), re.MULTILINE), named


def source(root):
    """The code below a folder, each text that is written on several lines in one."""
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text("utf-8") for path in root.rglob("*.py")))


def words(text):
    return re.findall(r"[a-z_]+", re.sub(r"%[.\d]*[sdgf]", " ", text.lower()))


def test_the_messages_of_the_page_are_those_that_the_code_prints():
    folders = [TESTS.parent / "r1env", TESTS.parent / "trainers", TESTS.parent / "plugins"]
    printed = f" {' '.join(words(' '.join(map(source, folders))))} "
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")][1:]
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row.split(" | ")[1])]
    assert len(messages) >= 20
    for message in messages:
        # Names and numbers stand where the code has placeholders, so a message is compared by its pairs of words.
        # One of a few words is little else.
        pairs = [" ".join(pair) for pair in itertools.pairwise(words(message))]
        known = [pair for pair in pairs if f" {pair} " in printed]
        assert len(pairs) < 5 or len(known) >= 0.6 * len(pairs), (message, sorted(set(pairs) - set(known)))
