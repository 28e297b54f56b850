"""Checks that a demo run learnt: `check_demo.py RUN --before-at-most 0.15 --after-at-least 0.5`. Exits 1 when it did not."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from r1env.runs.run import Run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--before-at-most", type=float, required=True)
    parser.add_argument("--after-at-least", type=float, required=True)
    arguments = parser.parse_args()
    rows = Run.open(arguments.run).metrics("rl")
    accuracy = [row["eval/accuracy"] for row in rows if row.get("eval/accuracy") is not None]
    print(f"greedy accuracy on unseen tasks: {accuracy[0]:.3f} -> {accuracy[-1]:.3f}")
    if accuracy[0] > arguments.before_at_most or accuracy[-1] < arguments.after_at_least:
        sys.exit(f"expected at most {arguments.before_at_most} before and at least {arguments.after_at_least} after")


if __name__ == "__main__":
    main()
