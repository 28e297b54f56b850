"""Rewards that ask a model: reward models in this process, and generative judges behind an OpenAI-compatible server.

`rewards` holds the three rewards. They use `local` (a reward-model folder) or `server` (an HTTP client with retries, deadlines, bounds
and a cache), `prompts` (what a judge is shown) and `verdicts` (how its answer is read). `label_pairs` makes preference data.
"""

from r1env.moved import redirect

__all__ = ["__version__"]

__version__ = "0.1.0"

redirect({"r1env_judge.fence": "r1env_judge.prompts", "r1env_judge.votes": "r1env_judge.label_pairs"})
