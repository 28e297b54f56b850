"""On-policy reinforcement learning: GRPO and its relatives (arXiv 2402.03300, 2501.12948), and PPO with a critic (arXiv 1707.06347).

Read `loop.py` beside the papers. `rollouts.py` plays and scores episodes, `update.py` is one policy update, and the formulas are pure
functions in `advantages.py` and `losses.py`. `critic.py` is PPO's value model. Settings: `config.py`, with named sets in `presets.py`.
"""
