"""The conformance kit: what every plugin's tests call, ours included.

    from r1env.testing import Example, check_environment, check_reward

    def test_the_reward_keeps_the_contract():
        check_reward("short", [Example("yes", value=1.0), Example("no " * 500, value=0.0)])

    def test_the_environment_keeps_the_contract():
        check_environment("r1env/my-env", data="fixture.jsonl")

Both raise `AssertionError` with a sentence that says which promise was broken, on which text.
"""

from r1env.testing.environments import check_environment
from r1env.testing.hostile import HOSTILE_TEXTS, hostile_completions
from r1env.testing.rewards import Example, check_reward

__all__ = ["HOSTILE_TEXTS", "Example", "check_environment", "check_reward", "hostile_completions"]
