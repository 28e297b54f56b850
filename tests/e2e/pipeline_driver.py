"""Runs or resumes a recipe: what the processes of `test_pipeline_resume.py` execute, with `folder` and `overrides` in its globals."""

from __future__ import annotations

from pathlib import Path

import torch

from r1env.recipes import execute, plan_training
from r1env.runs.run import Run

torch.set_num_threads(1)
path, changes = Path(folder), overrides  # type: ignore[name-defined]  # noqa: F821 - runpy puts them there
plan = plan_training("r1", preset="tiny-cpu", overrides=changes)
begun = (path / "state.json").exists()
execute(plan, Run.open(path) if begun else Run.create(path, plan.model_dump(mode="json"), seed=0))
