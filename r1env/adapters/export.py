"""The files that a stack's command line wants: a rubric as plain data with one line that makes a reward of it, and a data set."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from r1env.adapters import openrlhf, trl, verl
from r1env.data.rows import import_pyarrow
from r1env.data.sources import iterate
from r1env.envs.environment import Environment
from r1env.errors import UnknownNameError, UsageError
from r1env.rubrics import RewardChoice, RubricSpec

_TRL = """\
# Reward for TRL (run with $tested_with). Written by `r1env export`; edit RUBRIC as you like.
#
# In Python:
#     from $module import reward
#     trainer = GRPOTrainer(model, reward_funcs=reward, ...)
# On the command line, started in this folder:
#     trl grpo --reward_funcs $module.reward ...
#
# Rows are read by the layout of their columns, worked solutions included: see docs/data.md. A completion that cannot be scored gets
# None, and TRL leaves it out of its group.

from r1env.adapters.trl import reward_function

$rubric

reward = reward_function(RUBRIC)
"""

_VERL = """\
# Reward for verl (run with $tested_with). Written by `r1env export`; edit RUBRIC as you like.
#
# Flags:
#     reward.custom_reward_function.path=$path
#     reward.custom_reward_function.name=compute_score
# For GDPO also:
#     algorithm.gdpo_reward_keys=$parts
#
# A response that cannot be scored gets UNSCORED, with `error` = 1 beside it.

from r1env.adapters.verl import reward_function

$rubric
UNSCORED = 0.0

compute_score = reward_function(RUBRIC, unscored=UNSCORED)
"""

_OPENRLHF = """\
# Reward for OpenRLHF (run with $tested_with). Written by `r1env export`; edit RUBRIC as you like.
#
# Flags:
#     --reward.remote_url $path --data.label_key label
#
# The label is the reference answer, or what `r1env.adapters.openrlhf.label_of(task)` writes. A response that cannot be scored gets
# UNSCORED, with `error` = 1 among the logs.

from r1env.adapters.openrlhf import reward_function

$rubric
UNSCORED = 0.0

reward_func = reward_function(RUBRIC, unscored=UNSCORED)
"""

STACKS: Mapping[str, tuple[str, str]] = {
    "trl": (_TRL, trl.TESTED_WITH),
    "verl": (_VERL, verl.TESTED_WITH),
    "openrlhf": (_OPENRLHF, openrlhf.TESTED_WITH),
}
"""What can be exported to: the template, and the release it was run with."""


def render(stack: str, spec: RubricSpec, *, path: Path, parts: Sequence[str]) -> str:
    """Return the text of the reward file.

    Args:
        stack: a key of `STACKS`.
        spec: the rubric, with every reward named (see `scorer.name_accuracy`).
        path: where the file will be.
        parts: the keys of the rubric's parts.

    Raises:
        UnknownNameError: no such stack.
        UsageError: the stacks could not import a file of that name.
    """
    if stack not in STACKS:
        raise UnknownNameError("stack", stack, STACKS)
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise UsageError(f"{path} cannot be imported; call it like a Python module, such as reward.py")
    template, tested_with = STACKS[stack]
    return Template(template).substitute(
        tested_with=tested_with,
        rubric=_literal(spec),
        path=shlex.quote(str(path.absolute())),
        module=path.stem,
        parts=shlex.quote(f"[{','.join(parts)}]"),
    )


def write_rows(stack: str, environment: Environment, path: Path, limit: int | None = None) -> int:
    """Write the tasks of an environment as a data set for the stack, and return how many there are.

    Each row has the prompt as the environment's template writes it, and passes the complete task to the reward.

    Args:
        path: JSON Lines, or Parquet if its name ends in `.parquet`.
        limit: number of tasks; None writes all.

    Raises:
        UsageError: the tasks never end and there is no limit, or the file cannot be written.
    """
    row_of = {"trl": trl.row_of, "verl": verl.row_of, "openrlhf": openrlhf.row_of}[stack]
    rows = (
        {**row_of(task), "prompt": [dict(message) for message in environment.open(task).messages]}
        for task in iterate(environment.source, limit)
    )
    count = 0
    try:
        if path.suffix == ".parquet":
            arrow = import_pyarrow()
            table = arrow.Table.from_pylist(list(rows))
            arrow.parquet.write_table(table, path)
            return int(table.num_rows)
        with path.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row) + "\n")
                count += 1
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
    return count


def _literal(spec: RubricSpec) -> str:
    lines = "".join(f"        {_line(choice)},\n" for choice in spec.rewards)
    abstaining = "" if spec.on_none == "unscored" else f'    "on_none": {json.dumps(spec.on_none)},\n'
    return f'RUBRIC = {{\n    "name": {json.dumps(spec.name)},\n    "rewards": [\n{lines}    ],\n{abstaining}}}'


def _line(choice: RewardChoice) -> str:
    options = f', "options": {dict(choice.options)!r}' if choice.options else ""
    return f'{{"reward": {json.dumps(choice.reward)}, "weight": {choice.weight!r}{options}}}'
