"""What this distribution gives to r1env."""

from __future__ import annotations

from typing import Any

from r1env import EnvironmentSpec, hookimpl


@hookimpl
def r1env_environments() -> list[EnvironmentSpec]:
    return [
        _math("gsm8k", "grade-school word problems", "data=FILE, or network for the hub", data="openai/gsm8k"),
        _math("svamp", "word problems with misleading details", "data=FILE with Body, Question, Answer"),
        _math("mawps", "simple word problems", "data=FILE with input, target"),
        _math("aime24", "the AIME of 2024, answers from 0 to 999", "data=FILE with problem, answer"),
        _math("math-jsonl", "any questions with answers", "data=FILE; question_field and answer_field name its fields"),
        EnvironmentSpec(
            "choice-jsonl",
            "r1env_benchmarks.choice:choice_jsonl",
            reward="choice",
            summary="any questions with options by letter",
            template="boxed",
            kind="choice",
            requires="data=FILE with question, options, answer; question_field, options_field and answer_field name its fields",
        ),
        _code("humaneval", "complete a Python function", data="openai/openai_humaneval"),
        _code("mbpp", "write a Python function, of a sentence", data="google-research-datasets/mbpp"),
        _code("livecodebench", "contest problems by date", data="livecodebench/code_generation_lite"),
        _code("codeforces", "contest problems with their time and memory limits", data="open-r1/codeforces"),
        _code("code-jsonl", "any problems with tests"),
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


def _code(name: str, summary: str, **options: Any) -> EnvironmentSpec:
    where = "data=FILE, or network for the hub" if options else "data=FILE with prompt, tests"
    return EnvironmentSpec(
        name,
        f"r1env_benchmarks.code:{name.replace('-', '_')}",
        reward="code",
        summary=summary,
        options=options,
        kind="code",
        requires=f"r1env-code and a sandbox; {where}",
    )
