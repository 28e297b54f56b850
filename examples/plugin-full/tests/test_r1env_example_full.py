"""What this plugin promises. Run it where the plugin is installed."""

from __future__ import annotations

import json

import pytest
import torch

import r1env
from r1env.envs.environment import make_environment
from r1env.testing import Example, plugin_checks
from r1env.types import Completion
from r1env_example_full.learning import rank_advantages, reinforce_loss

EXAMPLES = {
    "vault-opened": [Example("42", answer="42", value=1.0), Example("43", answer="42", value=0.0)],
    "terse": [Example("42", value=1.0), Example("no " * 50, value=0.0)],
    "varied": [Example("42", value=0.0)],  # alone in its group
}


@pytest.mark.parametrize("check", plugin_checks("r1env_example_full.plugin", examples=EXAMPLES), ids=str)
def test_everything_keeps_its_contract(check):
    check()


def test_a_look_costs_and_the_tool_answers():
    environment = make_environment("vault", rubric="vault", split="train")
    task = environment.task(0)
    episode = environment.open(task)
    call = {"name": "peek", "arguments": {"guess": -1}}
    episode.submit(Completion(text=f"<tool_call>{json.dumps(call)}</tool_call>"))
    assert episode.messages[-1]["content"] == "higher"
    episode.submit(Completion(text=task.answer))
    (found,) = r1env.score([episode.rollout()], environment.rubric)
    assert found.parts["environment"] == 0.5
    assert found.parts["vault-opened"] == 1.0


def test_ranks_and_the_loss_are_what_their_formulas_say():
    ranks = rank_advantages(torch.tensor([[0.0, 1.0, 2.0], [1.0, 1.0, float("nan")]]))
    assert ranks.tolist() == [[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    loss = reinforce_loss(torch.tensor([[-2.0]]), torch.tensor([[-1.0]]), torch.tensor([[0.5]]))
    assert loss.tolist() == [[1.0]]
