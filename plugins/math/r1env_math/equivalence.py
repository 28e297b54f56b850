"""Math-Verify behind two functions of ours. Call them in a worker that can be killed: SymPy may run for ever.

Math-Verify's own time limits are off: they use `signal.alarm`, which works in no thread and depends on the machine's load.
Answers are put to it as LaTeX only, so that they never reach its other reader, which passes them to Python's `eval`.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

Forms = tuple[Any, ...]
"""What Math-Verify read in a text: SymPy objects; empty where it could read nothing."""


@functools.lru_cache(maxsize=256)  # the reference answer is the same for a whole group of rollouts
def read(normalised: str) -> Forms:
    """Read a normalised answer as mathematics."""
    math_verify = load_library()
    config = [math_verify.LatexExtractionConfig(boxed_match_priority=0)]
    # Without a fallback: where it can read nothing, it would give the text as it left it, sometimes cut short.
    return tuple(math_verify.parse(f"\\boxed{{{normalised}}}", config, fallback_mode="no_fallback", parsing_timeout=None))


def equal(reference: Forms, answer: Forms) -> bool:
    """Whether the answer says the same as the reference. Not symmetric: the reference decides the form (`x=2` or `2`)."""
    verify = load_library().verify
    return bool(verify(list(reference), list(answer), allow_set_relation_comp=True, timeout_seconds=None))


@functools.cache
def load_library() -> Any:
    """The module `math_verify`, imported on the first call: it brings SymPy, which takes most of a second."""
    import math_verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its time limits are off; ours are on
    return math_verify
