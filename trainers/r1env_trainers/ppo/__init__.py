"""Proximal policy optimisation with a critic (Schulman et al., arXiv 1707.06347; InstructGPT, arXiv 2203.02155), to compare GRPO with.

The first half of a step is GRPO's (`r1env_trainers.grpo.collect`). The second half: `gae` (advantages of tokens), `losses` (of the critic),
`critic` (the model that values), `update` (one batch of rollouts). `loop` is the program, `config` its settings.
"""
