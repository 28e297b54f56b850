"""Process rewards and tree search over steps: what DeepSeek-R1 tried and reports as unsuccessful (arXiv 2501.12948, 4.2).

They work on toys, and docs/what-did-not-work.md says why they did not at scale. No trainer or recipe uses them, and names may change in any
release; importing the package says so once.

`process_rewards` cuts completions into steps, judges the steps, and uses the judgement for RL or to choose among finished completions.
`tree_search` is MCTS over steps that are drawn from a model.
"""

import warnings


class ExperimentalWarning(FutureWarning):
    """Something is here to be tried, not to be built on."""


warnings.warn(
    "r1env_trainers.experimental may change in any release; process rewards and MCTS are reported not to scale "
    "(DeepSeek-R1, section 4.2)",
    ExperimentalWarning,
    stacklevel=2,
)
