"""The files that a job reads: prompts with their tasks, the settings, the agent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from r1env.adapters.core import TASK_FIELD, task_field
from r1env.envs.environment import Environment
from r1env.envs.suite import Suite
from r1env.runs.files import replace_text, to_json
from r1env.types import Task
from r1env_trainers.model.tokens import encode_prompt
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.loop import draw_tasks, read_pass_rates, within
from r1env_trainers.rl.metrics import evaluation_suite, training_suite

AGENT = """\
# Written by r1env for `--train.agent_func_path`: plays the environments of this folder's config.json.
from openrlhf.utils.agent import AgentExecutorBase

from r1env_trainers.openrlhf.episodes import EpisodeExecutor


class AgentExecutor(EpisodeExecutor, AgentExecutorBase):
    def __init__(self) -> None:
        super().__init__({folder!r})
"""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        longest: of an episode's prompt, in tokens.
        turns: the most that an environment has.
    """

    longest: int
    turns: int


def write_prompts(train: Path, evaluation: Path | None, config: GRPOConfig, tokenizer: PreTrainedTokenizerBase) -> Written:
    """Write a row for every prompt of the training, and for every task of the evaluation.

    The tasks are those of the backend `local`, drawn under the seed; OpenRLHF puts them in an order of its own.
    """
    suite = training_suite(config)
    keep = None
    if config.filter.pass_rates is not None:
        keep = within(read_pass_rates(config.filter.pass_rates), config.filter.min_pass_rate, config.filter.max_pass_rate)
    drawn = draw_tasks(suite, 0, config.steps * config.sampling.prompts_per_step, config.seed, keep).tasks
    longest = _write(train, "train", suite, drawn, tokenizer)
    if evaluation is not None:
        held_out = evaluation_suite(config)
        tasks = [
            (environment, task) for environment in held_out.environments for task in _first(environment, config.eval.limit)
        ]
        longest = max(longest, _write(evaluation, "eval", held_out, tasks, tokenizer))
    return Written(longest, max(environment.max_turns for environment in suite.environments))


def write_agent(path: Path, folder: Path) -> None:
    """Write the agent file for the job in `folder`."""
    replace_text(path, AGENT.format(folder=str(folder)))


def _write(
    path: Path, split: str, suite: Suite, tasks: Iterable[tuple[Environment, Task]], tokenizer: PreTrainedTokenizerBase
) -> int:
    """Write the rows; returns the longest prompt in tokens."""
    places = {id(environment): place for place, environment in enumerate(suite.environments)}
    longest, lines = 0, []
    for environment, task in tasks:
        ids = encode_prompt(tokenizer, environment.open(task).messages, chat=environment.template.chat)
        longest = max(longest, len(ids))
        lines.append(to_json(row_of(str(tokenizer.decode(ids)), environment.name, task, split, places[id(environment)])) + "\n")
    replace_text(path, "".join(lines))
    return longest


def row_of(prompt: str, environment_name: str, task: Task, split: str, environment: int) -> Mapping[str, Any]:
    """A row of a prompt file. The label carries the task whole, and where it belongs.

    OpenRLHF tells the evaluation's environments apart by `datasource`.
    """
    label = f'{{"split": "{split}", "environment": {environment}, "{TASK_FIELD}": {task_field(task)}}}'
    return {"prompt": prompt, "label": label, "datasource": environment_name}


def _first(environment: Environment, limit: int) -> list[Task]:
    size = environment.source.size
    return [environment.task(index) for index in range(limit if size is None else min(limit, size))]
