"""`inspect eval` runs our environments with Inspect's mock model."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.nightly]

TASKS = """
from inspect_ai import task
from r1env.adapters.inspect_ai import environment_task

@task
def guess(limit: int = 8):
    return environment_task("guess-number", limit=limit, template="plain")

@task
def unscored(limit: int = 2):
    return environment_task("sort-4", rubric="abstains.py:abstain", limit=limit)
"""

READ = """
import glob, json
from inspect_ai.log import read_eval_log

log = read_eval_log(glob.glob("logs/*")[0])
(score,) = log.results.scores
samples = [
    [sample.metadata["r1env_task"], len([m for m in sample.messages if m.role == "assistant"]), list(sample.scores.values())[0].as_float()
     if list(sample.scores.values())[0].value == list(sample.scores.values())[0].value else None]
    for sample in log.samples
]
print(json.dumps([log.status, score.scored_samples, score.unscored_samples, samples]))
"""

MODEL = """
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai import eval
import tasks, sys

def numbers():
    while True:  # every sample hears 0, 1, 2, ...: it is asked one at a time
        output = ModelOutput.from_content("mockllm/model", "<think>a</think><answer>3</answer>")
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # else it counts tokens with a download
        yield output

log = eval(getattr(tasks, sys.argv[1])(), model=get_model("mockllm/model", custom_outputs=numbers()), log_dir="logs", display="none", max_samples=1)
"""


def evaluate(environment, name):
    for file, text in {"tasks.py": TASKS, "read.py": READ, "model.py": MODEL}.items():
        (environment.folder / file).write_text(text)
    (environment.folder / "abstains.py").write_text("def abstain(completion):\n    return None\n")
    environment.run("python", "model.py", name)
    return json.loads(environment.run("python", "read.py").splitlines()[-1])


def test_a_dialogue_is_played_and_scored_by_its_own_checker(interop):
    status, scored, unscored, samples = evaluate(interop("inspect"), "guess")
    assert (status, scored, unscored) == ("success", 8, 0)
    for task, turns, value in samples:
        won = json.loads(task)["answer"] == "3"
        assert (turns, value) == ((1, 1.0) if won else (7, 0.0))


def test_a_score_without_a_value_is_unscored_and_no_zero(interop):
    status, scored, unscored, _ = evaluate(interop("inspect"), "unscored")
    assert (status, scored, unscored) == ("success", 0, 2)
