"""docs/troubleshooting.md: every failure that it lists is made to happen by a test that there is."""

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
