"""Process rewards and tree search over steps: what DeepSeek-R1 tried and reports as unsuccessful (arXiv 2501.12948, 4.2).

They work on toys, and docs/what-did-not-work.md says why they did not at scale. No trainer or recipe uses them, and names may change in any
release; importing the package says so once.

`steps` cuts completions. Process rewards: `process_advantages` (for RL), `process_reward_model` (learns to judge steps), `rerank` (chooses
among finished completions). Search: `mcts`, over the steps that `engine_steps` draws from a model.
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
