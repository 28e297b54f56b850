"""The reward, as it is installed, keeps r1env's contract and says what it should."""

from __future__ import annotations

import r1env
from r1env.testing import Example, check_reward


def test_the_reward_keeps_the_contract() -> None:
    examples = [
        Example("<think>a long thought</think>42", value=1.0),
        Example("<think>short</think>" + "word " * 60, value=0.5),
        Example("<think>short</think>" + "word " * 100, value=0.0),
        Example("<think>never finished", value=0.0),
    ]
    check_reward("brevity", examples)


def test_the_limit_is_an_option() -> None:
    reward = r1env.get_reward("brevity", limit=10)
    check_reward(reward, [Example("ten chars!", value=1.0), Example("ten chars!" * 2, value=0.0)])
