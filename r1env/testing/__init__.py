"""The conformance kit: what every plugin's tests call, ours included.

One test file for everything that a plugin provides::

    import pytest
    from r1env.testing import Example, plugin_checks

    EXAMPLES = {"short": [Example("yes", value=1.0), Example("no " * 500, value=0.0)]}

    @pytest.mark.parametrize("check", plugin_checks("my_package.plugin", examples=EXAMPLES), ids=str)
    def test_the_plugin_keeps_its_contracts(check):
        check()

`check_plugin` does the same in one call, and there is a function for each kind of thing: `check_environment("r1env/my-env")`,
`check_loss(my_loss)`. All raise `AssertionError` with a sentence that says which promise was broken, on what.
"""

from r1env.testing.environments import check_environment, check_fixture
from r1env.testing.hostile import HOSTILE_TEXTS, hostile_completions
from r1env.testing.learning import (
    check_advantage,
    check_kl_estimator,
    check_loss,
    check_loss_aggregation,
    check_policy_ratio,
)
from r1env.testing.plugins import (
    Check,
    check_plugin,
    check_rubric,
    check_template,
    check_tool_parser,
    plugin_checks,
)
from r1env.testing.rewards import Example, check_hostile_texts, check_reward

__all__ = [
    "HOSTILE_TEXTS",
    "Check",
    "Example",
    "check_advantage",
    "check_environment",
    "check_fixture",
    "check_hostile_texts",
    "check_kl_estimator",
    "check_loss",
    "check_loss_aggregation",
    "check_plugin",
    "check_policy_ratio",
    "check_reward",
    "check_rubric",
    "check_template",
    "check_tool_parser",
    "hostile_completions",
    "plugin_checks",
]
