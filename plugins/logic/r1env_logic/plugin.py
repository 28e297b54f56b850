"""The rewards, environments and suite that r1env-logic provides."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from r1env import EnvironmentSpec, Fixture, RewardSpec, SuiteSpec, UsageError, hookimpl

if TYPE_CHECKING:  # listing plugins imports neither
    from r1env.envs.suite import Member
    from r1env.plugins import Plugins

PROCEDURAL = {
    "knights-knaves": "find out who tells the truth, from what 2 to 8 people say",
    "zebra": "find out who lives where, from clues about 3 to 5 houses",
    "countdown": "reach a target with 3 to 7 numbers",
    "cipher": "decipher words with a known key",
    "base-arithmetic": "add, subtract and multiply in bases from 2 to 16",
    "sorting": "sort 5 to 15 numbers or words",
    "graph-path": "find a shortest way among 5 to 15 towns",
    "boolean-logic": "evaluate 4 to 9 formulas",
    "dates": "move a date by days and weeks, 1 to 6 times",
}
"""Families of `r1env_logic.families`, which a listing does not import, with their summaries."""

MISSING_LIBRARY = "the library reasoning-gym, which is not installed: pip install 'r1env-logic[reasoning-gym]'"
MISSING_SEARCH = "the library bm25s, which is not installed: pip install 'r1env-logic[search]'"


@hookimpl
def r1env_rewards() -> list[RewardSpec]:
    return [
        RewardSpec("exact", "r1env_logic.answers:exact", "1 if the answer block holds the reference answer to the letter"),
        RewardSpec("integer", "r1env_logic.answers:integer", "1 if the final answer is the reference integer"),
        RewardSpec(
            "short_answer",
            "r1env_logic.answers:ShortAnswer",
            "1 if a name, word, date or number matches a reference (SQuAD)",
        ),
        RewardSpec("countdown", "r1env_logic.countdown:countdown", "1 if the expression uses the numbers and hits the target"),
        RewardSpec("procedural", "r1env_logic.families:procedural", "1 if the answer solves the task of a procedural family"),
        RewardSpec("reasoning-gym", "r1env_logic.gym_tasks:ReasoningGym", "1 if reasoning-gym's own scorer gives full marks"),
        RewardSpec(
            "courteous", "r1env_logic.bilingual.small_talk:courteous", "1 if small talk is answered politely and rightly"
        ),
    ]


@hookimpl
def r1env_environments() -> list[EnvironmentSpec]:
    sorting = [
        EnvironmentSpec(
            f"sort-{digits}",
            "r1env_logic.sorting:sorting_tasks",
            reward="exact",
            summary=f"sort {digits} digits",
            options={"digits": digits},
            kind="logic",
            fixture=Fixture(),
        )
        for digits in (4, 5)
    ]
    addition = [
        EnvironmentSpec(
            f"add-{digits}digit",
            "r1env_logic.arithmetic:addition_tasks",
            reward="integer",
            summary=f"add two numbers of {digits} digit{'s' if digits > 1 else ''}",
            options={"digits": digits},
            reward_options={"policy": "lenient"},
            fixture=Fixture(),
        )
        for digits in (1, 2, 3)
    ]
    families = [
        EnvironmentSpec(
            name,
            "r1env_logic.families:family_tasks",
            reward="procedural",
            summary=f"{summary}; level=1, 1-3 or auto",
            options={"family": name, "level": 1},
            kind="math" if name in ("base-arithmetic", "dates") else "logic",
            fixture=Fixture(),
        )
        for name, summary in PROCEDURAL.items()
    ]
    return [
        *sorting,
        *addition,
        *families,
        EnvironmentSpec(
            "column-addition",
            "r1env_logic.arithmetic:column_addition_tasks",
            reward="integer",
            summary="add two numbers of 2 to 4 digits, working it out",
            options={"fewest": 2, "most": 4},
            template="tagged",
            fixture=Fixture(),
        ),
        EnvironmentSpec(
            "countdown-3",
            "r1env_logic.countdown:countdown_tasks",
            reward="countdown",
            summary="reach a target with three numbers and + - *",
            options={"count": 3},
            kind="logic",
            fixture=Fixture(),
        ),
        EnvironmentSpec(
            "guess-number",
            "r1env_logic.guessing:guessing_tasks",
            reward="integer",
            summary="guess a number in up to 7 turns; each guess is answered by higher or lower",
            options={"highest": 100},
            reward_options={"policy": "lenient"},
            max_turns=7,
            other="r1env_logic.guessing:HigherOrLower",
            kind="logic",
            fixture=Fixture(),
        ),
        EnvironmentSpec(
            "calculator",
            "r1env_logic.tools:calculator_tasks",
            reward="integer",
            summary="evaluate a long expression with the tool calculator",
            options={"terms": 4, "digits": 4},
            max_turns=6,
            other="r1env_logic.tools:Calculator",
            fixture=Fixture(),
        ),
        EnvironmentSpec(
            "price-list",
            "r1env_logic.tools:price_tasks",
            reward="integer",
            summary="what two things cost together, with the tools price and calculator",
            options={"style": "chat"},
            max_turns=6,
            other="r1env_logic.tools:PriceList",
            fixture=Fixture(),
        ),
        EnvironmentSpec(
            "search",
            "r1env_logic.search:search_tasks",
            reward="short_answer",
            summary="answer questions about a collection of texts, with the tools search and read",
            max_turns=8,
            other="r1env_logic.search:Searcher",
            kind="short",
            requires="" if find_spec("bm25s") else MISSING_SEARCH,
            fixture=Fixture() if find_spec("bm25s") else None,
        ),
        EnvironmentSpec(
            "secret-word",
            "r1env_logic.words:word_tasks",
            reward="exact",
            summary="find a word of five letters in six guesses; each is answered letter by letter",
            max_turns=6,
            other="r1env_logic.words:SecretWord",
            kind="logic",
            fixture=Fixture(),
        ),
        EnvironmentSpec(
            "reasoning-gym",
            "r1env_logic.gym_tasks:reasoning_gym_tasks",
            reward="reasoning-gym",
            summary="any dataset of the library reasoning-gym: dataset=NAME",
            options={"dataset": "chain_sum"},
            template="tagged",
            kind="logic",
            # Looked up, not imported: the library takes two seconds of CPU, and a listing must stay cheap.
            requires="" if find_spec("reasoning_gym") else MISSING_LIBRARY,
            fixture=Fixture() if find_spec("reasoning_gym") else None,
        ),
        EnvironmentSpec(
            "bilingual-sort",
            "r1env_logic.bilingual.tasks:sort_tasks",
            reward="exact",
            summary="sort digits, asked in English or Chinese",
            kind="logic",
            fixture=Fixture(),
        ),
        EnvironmentSpec(
            "bilingual-addition",
            "r1env_logic.bilingual.tasks:addition_tasks",
            reward="integer",
            summary="add two numbers, asked in English or Chinese",
            fixture=Fixture(),
        ),
        EnvironmentSpec(
            "bilingual-countdown",
            "r1env_logic.bilingual.tasks:countdown_tasks",
            reward="countdown",
            summary="reach a target with + - *, asked in English or Chinese",
            kind="logic",
            fixture=Fixture(),
        ),
        EnvironmentSpec(
            "small-talk",
            "r1env_logic.bilingual.small_talk:small_talk_tasks",
            reward="courteous",
            summary="greet, name a digit, repeat words, in English or Chinese",
            kind="chat",
            fixture=Fixture(right="r1env_logic.bilingual.small_talk:courteous_reply"),
        ),
    ]


@hookimpl
def r1env_suites() -> list[SuiteSpec]:
    return [
        SuiteSpec(
            "bilingual",
            {"bilingual-sort": 1.0, "bilingual-addition": 1.0, "bilingual-countdown": 1.0},
            "three small reasoning tasks, asked in English or Chinese",
        ),
        SuiteSpec(
            "r1", r1_members, "mathematics, code, logic and general tasks in the proportions of R1's training; needs no data"
        ),
    ]


R1_SHARES = {
    "math": (26.0, ("base-arithmetic", "dates", "column-addition")),
    "code": (8.0, ("bugfix",)),
    "logic": (
        15.0,
        ("knights-knaves", "zebra", "countdown", "cipher", "sorting", "graph-path", "boolean-logic"),
    ),
    "general": (5.0, ("small-talk",)),
}
"""Category → its weight, and its environments, which share the weight equally.

The weights of mathematics, bug fixes and logic are the thousands of prompts of DeepSeek-R1 (arXiv 2501.12948v2, table 4). The 17 thousand
contest problems and the questions of general preference have no procedural counterpart; `small-talk` stands for the latter, with a
weight of our own choice.
"""


def r1_members(plugins: Plugins) -> list[Member]:
    """Return the members of the suite `r1`; procedural families take all their easier levels, 1 to 3.

    Raises:
        UsageError: r1env-code, which has the environment `bugfix`, is not installed.
    """
    from r1env.envs.suite import Member

    if "bugfix" not in plugins.provided("environments"):
        raise UsageError("the suite 'r1' has the environment 'bugfix' of another distribution: pip install r1env-code")
    return [
        Member(name, weight / len(names), {"level": "1-3"} if name in PROCEDURAL else {})
        for weight, names in R1_SHARES.values()
        for name in names
    ]
