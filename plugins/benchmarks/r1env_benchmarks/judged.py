"""Benchmarks that a model judges: the rewards `simpleqa` and `pairwise`, and the length-controlled win rate of AlpacaEval 2.

The judge is asked through the client of r1env-judge, which fences what it shows and accepts nothing but a verdict of the right form.

    >>> comparisons = [Comparison(0.9, 200), Comparison(0.2, -150), Comparison(0.8, 300), Comparison(0.6, 20), Comparison(0.5, 0)]
    >>> 0.0 < length_controlled_win_rate(comparisons) < 1.0
    True
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import typer

import r1env
from r1env import Rollout, Score, Status, UsageError
from r1env.evaluation.run import EvaluationRun
from r1env_judge import prompts
from r1env_judge.label_pairs import Preference, lead_of_first
from r1env_judge.rewards import LIMITS, MAX_CHARACTERS, judge_server
from r1env_judge.verdicts import NoVerdictError, Verdict

if TYPE_CHECKING:
    Floats = npt.NDArray[np.float64]

# Short facts: SimpleQA and Chinese SimpleQA.

_GRADE = """\
You grade the response to a question of fact against a reference answer, which is right. Look only at what the response finally says.
It is CORRECT when it contains everything important of the reference and nothing that contradicts it; spelling, capitals, order, language \
and hedging words change nothing, and a number needs to agree to the last digit that the reference shows.
It is INCORRECT when any statement in it contradicts the reference, even a hedged one.
It is NOT_ATTEMPTED when the important part is not given and nothing contradicts the reference."""


class Grade(Verdict):
    """A grade by the three classes of SimpleQA."""

    grade: Literal["CORRECT", "INCORRECT", "NOT_ATTEMPTED"]


@r1env.reward(name="simpleqa", isolation="async", parts=("not_attempted",), limits=LIMITS)
class SimpleQA:
    """1 where a judge finds the response correct, 0 where it is incorrect or does not attempt an answer (Wei et al., arXiv 2411.04368).

    The part `not_attempted` tells the two apart. With the means of both over all tasks, `correct_given_attempted` and `f1` follow: see
    `simpleqa_metrics`. A response that is empty is not attempted, and the judge is not asked.

    Args:
        model, url: name of the judge, and URL of the OpenAI-compatible server that has it.
        api_key_env: environment variable with the server's key.
        server: further settings of the server, by name.
        max_characters: longest text that the judge is shown; a longer one gets no value.
        prefilled: the prompt ended with `<think>`.
    """

    def __init__(
        self,
        model: str = "",
        url: str | None = None,
        api_key_env: str | None = None,
        server: Mapping[str, Any] | None = None,
        max_characters: int = MAX_CHARACTERS,
        prefilled: bool = False,
    ) -> None:
        self._judge = judge_server("simpleqa", model, url, api_key_env, server)
        self._max_characters, self._prefilled = max_characters, prefilled

    async def __call__(self, rollout: Rollout) -> Score:
        task = rollout.task
        if not task.answer:
            return Score.failure(Status.UNPARSEABLE, "the task has no reference answer", parts=("not_attempted",))
        response = r1env.parse_response(rollout.completion, prefilled=self._prefilled).summary
        if not response:
            return Score(value=0.0, parts={"not_attempted": 1.0}, status=Status.NO_ANSWER, reason="there is no response")
        sections = {"QUESTION": task.question, "REFERENCE": task.answer, "RESPONSE": response}
        try:
            messages, ticket = prompts.request(
                _GRADE, sections, '"grade": "CORRECT", "INCORRECT" or "NOT_ATTEMPTED"', self._max_characters
            )
            verdict = await self._judge.verdict(messages, ticket, Grade)
        except NoVerdictError as error:
            return Score.failure(error.status, str(error), parts=("not_attempted",))
        right, attempted = verdict.grade == "CORRECT", verdict.grade != "NOT_ATTEMPTED"
        status = Status.OK if right else Status.WRONG if attempted else Status.NO_ANSWER
        return Score(value=float(right), parts={"not_attempted": float(not attempted)}, status=status, reason=verdict.grade)


def simpleqa_metrics(correct: float, not_attempted: float) -> dict[str, float]:
    """Return the two further metrics of SimpleQA for the shares of answers that are correct and not attempted.

    `f1` is the harmonic mean of `correct_given_attempted` and `correct`.

    >>> simpleqa_metrics(correct=0.3, not_attempted=0.5)["correct_given_attempted"]
    0.6
    """
    attempted = 1.0 - not_attempted
    given = correct / attempted if attempted > 0 else 0.0
    return {"correct_given_attempted": given, "f1": 2 * given * correct / (given + correct) if given + correct else 0.0}


# Preference: AlpacaEval and Arena-Hard.

PAIRWISE_PARTS = ("wins", "games", "length", "baseline_length")
STRONG_WEIGHT = 3
"""Arena-Hard counts `>>` three times."""


@r1env.reward(name="pairwise", isolation="async", parts=PAIRWISE_PARTS, limits=LIMITS)
class Pairwise:
    """The share of comparisons with a baseline that a response wins, in [0, 1]; a judge sees the two in both orders.

    The baseline is the task's metadata `baseline`. Each order is a game: won 1, drawn 0.5, lost 0. With `strong=true`, as in Arena-Hard,
    a clear victory or defeat counts as three games. The parts `wins` and `games` add up over tasks to Arena-Hard's win rate;
    `length` and `baseline_length`, in characters, are what length control needs (`r1env win-rate`). The judge sees neither thinking.
    An empty response loses every game, and the judge is not asked.

    Args:
        strong: count `>>` three times.
        model, url, api_key_env, server, max_characters, prefilled: as for `simpleqa`.
    """

    def __init__(
        self,
        model: str = "",
        url: str | None = None,
        api_key_env: str | None = None,
        server: Mapping[str, Any] | None = None,
        strong: bool = False,
        max_characters: int = MAX_CHARACTERS,
        prefilled: bool = False,
    ) -> None:
        self._judge = judge_server("pairwise", model, url, api_key_env, server)
        self._strong, self._max_characters, self._prefilled = strong, max_characters, prefilled

    async def __call__(self, rollout: Rollout) -> Score:
        baseline = rollout.task.metadata.get("baseline")
        if not isinstance(baseline, str) or not baseline.strip():
            return Score.failure(Status.UNPARSEABLE, "the task has no 'baseline' to compare with", parts=PAIRWISE_PARTS)
        response = r1env.parse_response(rollout.completion, prefilled=self._prefilled).summary
        shown = r1env.parse_response(baseline).summary
        lengths = {"length": float(len(response)), "baseline_length": float(len(shown))}
        if not response:
            parts = {"wins": 0.0, "games": 2.0, **lengths}
            return Score(value=0.0, parts=parts, status=Status.NO_ANSWER, reason="there is no response after the thinking")
        try:
            leads = await asyncio.gather(*(self._lead(rollout, response, shown, swapped) for swapped in (False, True)))
        except NoVerdictError as error:
            return Score.failure(error.status, str(error), parts=PAIRWISE_PARTS)
        weights = [STRONG_WEIGHT if self._strong and abs(lead) == 2 else 1 for lead in leads]
        wins = math.fsum(
            weight * (1.0 if lead > 0 else 0.5 if lead == 0 else 0.0) for lead, weight in zip(leads, weights, strict=True)
        )
        value = wins / sum(weights)
        parts = {"wins": wins, "games": float(sum(weights)), **lengths}
        return Score(
            value=value,
            parts=parts,
            status=Status.OK if value > 0 else Status.WRONG,
            reason=f"leads by {leads[0]} and {leads[1]}",
        )

    async def _lead(self, rollout: Rollout, response: str, baseline: str, swapped: bool) -> int:
        """Return the lead of the response, from -2 to 2; `swapped`: the baseline is shown first."""
        first, second = (baseline, response) if swapped else (response, baseline)
        messages, ticket = prompts.preference(rollout.task.prompt, first, second, self._max_characters)
        verdict = await self._judge.verdict(messages, ticket, Preference)
        return lead_of_first(verdict.verdict, swapped)


# Length control.

FOLDS = 5
GAMED_WEIGHT = 0.2
"""The weight of all gamed comparisons of an instruction together, of which there are two (AlpacaEval's regularisation)."""
NEWTON_STEPS = 100
STRENGTHS = np.logspace(-4, 4, 10)
"""The inverse strengths of the penalty among which cross-validation chooses, as scikit-learn's LogisticRegressionCV has them."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One instruction's outcome.

    Attributes:
        preference: the probability that the model's response is preferred, in [0, 1].
        length_difference: characters of the model's response minus those of the baseline's.
        difficulty: of the instruction, where it is known (AlpacaEval publishes one for each of its own); how hard it is for models to win.
        gamed: a comparison of the baseline's own concise or verbose answers, which only keeps the effect of length in bounds.
    """

    preference: float
    length_difference: float
    difficulty: float = 0.0
    gamed: bool = False


def length_controlled_win_rate(comparisons: Iterable[Comparison]) -> float:
    """Return the win rate that a model would have if its responses were as long as the baseline's, in [0, 1].

    Dubois et al. (2024, arXiv 2404.04475): a logistic regression of the preference on tanh(difference of lengths / its standard
    deviation), the difficulty of the instruction, and a constant for the model; no other intercept. The penalty is L1, its strength chosen
    by 5-fold cross-validation. The win rate is the mean prediction with the difference of lengths set to 0.

    AlpacaEval's own numbers also use its published difficulties and gamed comparisons; give both to get those.

    Raises:
        UsageError: there are fewer than five comparisons, or a preference is not in [0, 1].
    """
    rows = list(comparisons)
    own = np.array([not row.gamed for row in rows], dtype=bool)
    if own.sum() < FOLDS:
        raise UsageError(f"length control needs at least {FOLDS} comparisons, and there are {own.sum()}")
    preference = np.array([row.preference for row in rows])
    if not np.all((preference >= 0) & (preference <= 1)):
        raise UsageError("a preference is a probability, from 0 to 1")
    difference = np.array([row.length_difference for row in rows], dtype=np.float64)
    spread = difference[own].std(ddof=1)
    scaled = np.divide(difference, spread, out=np.zeros_like(difference), where=spread > 0)
    difficulty = np.array([row.difficulty for row in rows])
    features = np.column_stack([np.tanh(scaled), difficulty, own.astype(np.float64)])  # [rows, 3]
    weights = np.where(own, 1.0, GAMED_WEIGHT / 2)

    folds = (len(rows) - 1 - np.arange(len(rows))) % FOLDS
    losses = np.zeros(len(STRENGTHS))
    for fold in range(FOLDS):
        kept, held = folds != fold, folds == fold
        for place, coefficients in enumerate(_fits(features[kept], preference[kept], weights[kept])):
            losses[place] += _log_loss(features[held] @ coefficients, preference[held], weights[held]).mean()
    best = int(np.argmin(losses))
    coefficients = _fits(features, preference, weights)[best]
    even = features[own].copy()
    even[:, 0] = 0.0
    return float(_logistic(even @ coefficients).mean())


def _fits(features: Floats, preference: Floats, weights: Floats) -> list[Floats]:
    """Return the coefficients for each of `STRENGTHS`: the minimum of the L1 norm plus the strength times the weighted log loss.

    Proximal Newton steps with a line search (Yuan et al., 2012, as in liblinear), warm-started from one strength to the next.
    """
    found, coefficients = [], np.zeros(features.shape[1])
    for strength in STRENGTHS:
        for _ in range(NEWTON_STEPS):
            values = features @ coefficients
            chance = _logistic(values)
            gradient = strength * features.T @ (weights * (chance - preference))
            curvature = strength * (features * (weights * chance * (1 - chance))[:, None]).T @ features
            step = _newton_step(coefficients, gradient, curvature + 1e-9 * np.eye(len(coefficients)))
            size, before = 1.0, np.abs(coefficients).sum() + strength * _log_loss(values, preference, weights).sum()
            while size > 1e-6:
                moved = coefficients + size * step
                after = np.abs(moved).sum() + strength * _log_loss(features @ moved, preference, weights).sum()
                if after <= before:
                    coefficients = moved
                    break
                size /= 2
            if size <= 1e-6 or np.max(np.abs(size * step)) < 1e-7:
                break
        found.append(coefficients)
    return found


def _newton_step(coefficients: Floats, gradient: Floats, curvature: Floats) -> Floats:
    """Return the step to the minimum of the L1 norm plus a quadratic, by coordinate descent."""
    step = np.zeros_like(coefficients)
    for _ in range(50):
        largest = 0.0
        for place in range(len(step)):
            slope = gradient[place] + curvature[place] @ step
            scale = curvature[place, place]
            target = coefficients[place] + step[place] - slope / scale
            change = math.copysign(max(abs(target) - 1 / scale, 0.0), target) - coefficients[place] - step[place]
            step[place] += change
            largest = max(largest, abs(change))
        if largest < 1e-9:
            break
    return step


def _logistic(values: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -values))


def _log_loss(values: Floats, preference: Floats, weights: Floats) -> Floats:
    return weights * (np.logaddexp(0.0, values) - preference * values)


# The command.


def win_rate(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `r1env eval` wrote, with the reward `pairwise`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the win rate of an evaluation against its baseline, as counted and with length control (AlpacaEval 2).

    \b
    Example:
      r1env eval --env alpaca-eval -o judge.url=http://localhost:8000/v1 -o judge.model=qwen --output runs/alpaca
      r1env win-rate runs/alpaca
    """
    from r1env.cli.console import print_json, print_table

    results = [
        {"model": model, "environment": environment, **found}
        for (model, environment), found in win_rates(EvaluationRun.open(folder)).items()
    ]
    if as_json:
        print_json(results)
        return
    columns = ("model", "environment", "tasks", "unscored", "win rate", "length-controlled", "mean length", "of the baseline")
    print_table(columns, ([_shown(row[column]) for column in columns] for row in results))


def win_rates(run: EvaluationRun) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the win rates of an evaluation by (model, environment). Unscored completions are left out and counted.

    Raises:
        UsageError: no completion was compared with a baseline.
    """
    found: dict[tuple[str, str], list[Mapping[str, float] | None]] = {}
    for model, environment, row in run.rows():
        parts = {name.rpartition("/")[2]: value for name, value in row.score.parts.items() if name.startswith("pairwise/")}
        if parts:
            found.setdefault((model, environment), []).append(None if any(map(math.isnan, parts.values())) else parts)
    if not found:
        raise UsageError(f"{run.path}: no completion was scored by the reward 'pairwise'")
    return {key: _win_rates([one for one in rows if one is not None], rows.count(None)) for key, rows in found.items()}


def _win_rates(rows: Sequence[Mapping[str, float]], unscored: int) -> dict[str, Any]:
    if not rows:
        raise UsageError(f"none of {unscored} completions was judged")
    comparisons = [Comparison(row["wins"] / row["games"], row["length"] - row["baseline_length"]) for row in rows]
    return {
        "tasks": len(rows),
        "unscored": unscored,
        "win rate": math.fsum(row["wins"] for row in rows) / math.fsum(row["games"] for row in rows),
        "length-controlled": length_controlled_win_rate(comparisons) if len(rows) >= FOLDS else None,
        "mean length": math.fsum(row["length"] for row in rows) / len(rows),
        "of the baseline": math.fsum(row["baseline_length"] for row in rows) / len(rows),
    }


def _shown(value: Any) -> str:
    return (
        "too few"
        if value is None
        else f"{value:.3f}"
        if isinstance(value, float) and value <= 1
        else f"{value:.0f}"
        if isinstance(value, float)
        else str(value)
    )
