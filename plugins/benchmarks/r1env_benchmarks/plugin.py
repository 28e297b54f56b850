"""What this distribution gives to r1env."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from r1env import CommandSpec, EnvironmentSpec, Fixture, RewardSpec, SuiteSpec, TemplateSpec, hookimpl
from r1env_benchmarks.table import BENCHMARKS, Benchmark, Category

FIXTURES = Path(__file__).parent / "fixtures"
CODE_FIXTURES = Path(__file__).parent / "code_fixtures"


@hookimpl
def r1env_environments() -> list[EnvironmentSpec]:
    return [
        *map(_environment, BENCHMARKS.values()),
        _own("math-jsonl", "math", "any questions with answers", "boxed"),
        _own("choice-jsonl", "choice", "any questions with options by letter", "boxed"),
        _own("code-jsonl", "code", "any problems with tests", "plain"),
    ]


@hookimpl
def r1env_rewards() -> list[RewardSpec]:
    return [
        RewardSpec("benchmark", "r1env_benchmarks.rules:BenchmarkRule", "a public evaluator's own rule, by its name"),
        RewardSpec(
            "simpleqa", "r1env_benchmarks.judged:SimpleQA", "1 where a judge finds a short fact correct, by SimpleQA's grades"
        ),
        RewardSpec(
            "pairwise", "r1env_benchmarks.judged:Pairwise", "the share of comparisons with a baseline that a judge lets it win"
        ),
        RewardSpec("ifeval", "r1env_benchmarks.ifeval:IFEval", "1 where every instruction of an IFEval prompt is followed"),
    ]


@hookimpl
def r1env_templates() -> list[TemplateSpec]:
    return [
        TemplateSpec(
            "simple-evals-choice", "r1env_benchmarks.prompts:simple_evals_choice", "options, and a last line 'Answer: $LETTER'"
        ),
        TemplateSpec(
            "simple-evals-math", "r1env_benchmarks.prompts:simple_evals_math", "a problem, and a last line 'Answer: $ANSWER'"
        ),
        TemplateSpec(
            "simple-evals-drop", "r1env_benchmarks.prompts:simple_evals_drop", "a passage, a question, and a line 'Answer:'"
        ),
        TemplateSpec("mmlu-pro", "r1env_benchmarks.prompts:mmlu_pro", "options, and 'the answer is (X)' at the end"),
        TemplateSpec("olympiadbench", "r1env_benchmarks.prompts:olympiadbench", "the type of the answer, and a box for it"),
        TemplateSpec("c-eval", "r1env_benchmarks.prompts:c_eval", "Chinese: options, and the letter of one"),
        TemplateSpec("cluewsc", "r1env_benchmarks.prompts:cluewsc", "Chinese: a pronoun, and yes or no"),
    ]


@hookimpl
def r1env_suites() -> list[SuiteSpec]:
    return [
        SuiteSpec(
            "smoke-code", "r1env_benchmarks.code:small_members", "a few tasks of every code benchmark; judged in a sandbox"
        )
    ]


@hookimpl
def r1env_commands() -> list[CommandSpec]:
    return [
        CommandSpec(
            "rating", "r1env_benchmarks.ratings:rating_command", "Estimate Elo ratings from evaluations of Codeforces."
        ),
        CommandSpec("win-rate", "r1env_benchmarks.judged:win_rate", "Print win rates against a baseline, with length control."),
    ]


def _environment(about: Benchmark) -> EnvironmentSpec:
    options: dict[str, Any] = {"benchmark": about.name}
    if about.category is Category.CODE:
        options = {"data": about.hub}
    first = {Category.CODE: "r1env-code and a sandbox; ", Category.PREFERENCE: "a judge (judge.url, judge.model); "}
    rows = "data=FILE, or network for the hub" if about.hub else f"data=FILE with {about.columns}"
    return EnvironmentSpec(
        about.name,
        about.source,
        reward=about.reward,
        summary=f"{about.title} ({about.category}): {about.metric}; {about.licence}",
        options=options,
        reward_options=about.reward_options,
        template=about.prompt,
        kind=_kind(about),
        requires=first.get(about.category, "") + rows,
        fixture=_fixture(about),
    )


def _fixture(about: Benchmark) -> Fixture:
    """Return made-up rows in the benchmark's layout. Those of Arena-Hard hold the answers to compare with, too."""
    if about.category is Category.CODE:
        return Fixture({"data": str(CODE_FIXTURES / f"{about.name}.jsonl")}, needs="r1env_benchmarks.code:missing_sandbox")
    data = str(FIXTURES / f"{about.name}.jsonl")
    if about.category is Category.PREFERENCE:
        options = {"data": data, "baseline": data} if about.name == "arena-hard" else {"data": data}
        return Fixture(options, needs="r1env_judge.rewards:missing_judge")
    return Fixture({"data": data})


def _kind(about: Benchmark) -> str:
    kinds = {Category.MATHS: "math", Category.CODE: "code", Category.INSTRUCTIONS: "chat", Category.PREFERENCE: "chat"}
    return kinds.get(about.category) or ("choice" if about.reward == "choice" else "short")


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
