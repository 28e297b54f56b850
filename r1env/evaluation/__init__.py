"""Evaluation: sample and score completions (`evaluate`), keep them in a folder (`run`), and compute statistics over them (`statistics`)."""

from r1env.evaluation.evaluate import Evaluation, EvaluationRow, accuracy_cell, evaluate
from r1env.evaluation.statistics import mean_interval, paired_difference, pass_at_k, wilson_interval

__all__ = [
    "Evaluation",
    "EvaluationRow",
    "accuracy_cell",
    "evaluate",
    "mean_interval",
    "paired_difference",
    "pass_at_k",
    "wilson_interval",
]
