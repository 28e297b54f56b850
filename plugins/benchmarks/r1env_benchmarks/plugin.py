"""What this distribution gives to r1env."""

from __future__ import annotations

from typing import Any

from r1env import CommandSpec, EnvironmentSpec, RewardSpec, hookimpl


@hookimpl
def r1env_environments() -> list[EnvironmentSpec]:
    return [
        _math("gsm8k", "grade-school word problems", "data=FILE, or network for the hub", data="openai/gsm8k"),
        _math("svamp", "word problems with misleading details", "data=FILE with Body, Question, Answer"),
        _math("mawps", "simple word problems", "data=FILE with input, target"),
        _math("aime24", "the AIME of 2024, answers from 0 to 999", "data=FILE with problem, answer"),
        _own("math-jsonl", "math", "any questions with answers", "boxed"),
        _own("choice-jsonl", "choice", "any questions with options by letter", "boxed"),
        _code("humaneval", "complete a Python function", data="openai/openai_humaneval"),
        _code("mbpp", "write a Python function, of a sentence", data="google-research-datasets/mbpp"),
        _code("humaneval", "HumanEval with EvalPlus's tests", name="humaneval-plus", data="evalplus/humanevalplus"),
        _code("mbpp", "MBPP with EvalPlus's tests", name="mbpp-plus", data="evalplus/mbppplus", subset=None),
        _code("bigcodebench", "functions that use libraries", data="bigcode/bigcodebench"),
        _code("livecodebench", "contest problems by date", data="livecodebench/code_generation_lite"),
        _code("codeforces", "contest problems with their time and memory limits", data="open-r1/codeforces"),
        _own("code-jsonl", "code", "any problems with tests", "plain"),
    ]


@hookimpl
def r1env_commands() -> list[CommandSpec]:
    return [
        CommandSpec("rating", "r1env_benchmarks.ratings:rating_command", "Estimate Elo ratings from evaluations of Codeforces.")
    ]


@hookimpl
def r1env_rewards() -> list[RewardSpec]:
    return [
        RewardSpec("official", "r1env_benchmarks.official:Official", "a public evaluator's own rule, by its name"),
        RewardSpec("ifeval", "r1env_benchmarks.ifeval:IFEval", "1 where every instruction of an IFEval prompt is followed"),
    ]


def _math(name: str, summary: str, requires: str, **options: Any) -> EnvironmentSpec:
    return EnvironmentSpec(
        name,
        f"r1env_benchmarks.math:{name.replace('-', '_')}",
        reward="math",
        summary=summary,
        options=options,
        template="boxed",
        requires=requires,
    )


def _code(source: str, summary: str, name: str = "", **options: Any) -> EnvironmentSpec:
    return EnvironmentSpec(
        name or source,
        f"r1env_benchmarks.code:{source}",
        reward="code",
        summary=summary,
        options=options,
        kind="code",
        requires="r1env-code and a sandbox; data=FILE, or network for the hub",
    )


def _own(name: str, kind: str, summary: str, template: str) -> EnvironmentSpec:
    """Return the environment `data` of one kind of task."""
    needs = "r1env-code and a sandbox; " if kind == "code" else ""
    return EnvironmentSpec(
        name,
        "r1env.data.tasks:file_tasks",
        reward=kind,
        summary=summary,
        options={"kind": kind, "name": name},
        template=template,
        kind=kind,
        requires=f"{needs}data=FILE; map=question=…,answer=… where the layout is not known",
    )
