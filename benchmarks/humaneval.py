"""How sharp the code reward is on HumanEval or MBPP: every canonical solution must be paid, and with one line changed hardly any.

    python benchmarks/humaneval.py --data HumanEval.jsonl.gz [--seed 0]
    python benchmarks/humaneval.py --set mbpp --data mbpp.jsonl

The changed line is drawn from those of the function's body where a change is likely to matter: a comparison, an operator, a number, a
truth value or a returned value becomes another. Some changes change nothing, and the set's tests miss others; both are listed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import r1env
from r1env.data import read_rows
from r1env.data.programs import called_function
from r1env_benchmarks.code import humaneval, mbpp

OTHER_COMPARISON = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
OTHER_OPERATOR = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv}


def mutants(function: ast.FunctionDef) -> Iterator[tuple[int, ast.FunctionDef]]:
    """Copies of a function with one thing changed, and the line of the change."""
    for place in range(sum(1 for _ in ast.walk(function))):
        mutant = copy.deepcopy(function)
        node = list(ast.walk(mutant))[place]
        if changed(node):
            yield getattr(node, "lineno", 0), mutant


def changed(node: ast.AST) -> bool:
    """Change a node in place, if it is of a kind whose change is likely to matter."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OTHER_COMPARISON:
        node.ops[0] = OTHER_COMPARISON[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp) and type(node.op) in OTHER_OPERATOR:
        node.op = OTHER_OPERATOR[type(node.op)]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        node.value = not node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        node.value += 1
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        node.value = ast.Constant(None)
    else:
        return False
    return True


def with_one_line_changed(source: str, name: str, rng: random.Random) -> tuple[int, str]:
    """The source with a random line of the function `name` changed, and the number of that line."""
    tree = ast.parse(source)
    position = next(n for n, node in enumerate(tree.body) if isinstance(node, ast.FunctionDef) and node.name == name)
    function = tree.body[position]
    assert isinstance(function, ast.FunctionDef)
    line, mutant = rng.choice([found for found in mutants(function) if found[0] > function.lineno])
    tree.body[position] = mutant
    return line, ast.unparse(ast.fix_missing_locations(tree))


def canonical_solution(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """The name of a row of either set, its program, and the function that the tests call."""
    if "canonical_solution" in row:
        return row["task_id"], row["prompt"] + row["canonical_solution"], row["entry_point"]
    return f"mbpp/{row['task_id']}", row["code"], called_function(row["test_list"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument(
        "--set", choices=("humaneval", "mbpp"), default="humaneval", help="layout of the data (default: %(default)s)"
    )
    parser.add_argument("--data", type=Path, required=True, help="HumanEval.jsonl.gz, or a file of MBPP's")
    parser.add_argument("--seed", type=int, default=0, help="of the lines that are changed (default: %(default)s)")
    arguments = parser.parse_args()
    rng, code = random.Random(arguments.seed), r1env.get_reward("code")
    source = humaneval(arguments.data) if arguments.set == "humaneval" else mbpp(arguments.data)
    rows = read_rows(arguments.data)
    canonical, changes = [], []
    for index, row in enumerate(rows):
        name, program, function = canonical_solution(row)
        changes.append((name, *with_one_line_changed(program, function, rng)))
        canonical.append(r1env.Rollout(task=source.task(index), completion=f"```python\n{program}\n```"))
    mutated = [
        r1env.Rollout(task=source.task(index), completion=f"```python\n{program}\n```")
        for index, (_, _, program) in enumerate(changes)
    ]
    accepted = [score.value for score in r1env.score(canonical, code)]
    verdicts = r1env.score(mutated, code)
    if None in accepted or any(score.value is None for score in verdicts):
        raise SystemExit(f"not judged: {next(score.reason for score in verdicts if score.value is None)}")
    print(f"canonical solutions accepted: {accepted.count(1.0)} of {len(rows)}")
    print(f"with one line changed refused: {sum(score.value == 0.0 for score in verdicts)} of {len(rows)}")
    passed = [f"{name} line {line}" for (name, line, _), score in zip(changes, verdicts, strict=True) if score.value]
    print(f"changed and accepted: {', '.join(passed) or 'none'}")


if __name__ == "__main__":
    main()
