"""Rewards that ask a model: reward models in this process, and generative judges behind an OpenAI-compatible server.

`rewards` holds the three rewards. Below them: `local` (a reward-model folder) and `server` (one HTTP client: retries, deadlines,
bounds, cache); `fence` and `verdicts` (what a judge is shown, and what is believed of what it says); `prompts`. Beside them
`votes` and `label_pairs`: preference data from a judge.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
