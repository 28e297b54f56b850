"""Evaluation: sample and score completions (`evaluate`), and compute statistics over them (`statistics`)."""

from r1env.evaluation.evaluate import Evaluation, EvaluationRow, evaluate
from r1env.evaluation.statistics import pass_at_k, wilson_interval

__all__ = ["Evaluation", "EvaluationRow", "evaluate", "pass_at_k", "wilson_interval"]
