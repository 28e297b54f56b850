"""Group relative policy optimisation (DeepSeekMath, arXiv 2402.03300; DeepSeek-R1, arXiv 2501.12948).

Read `loop.py` beside the paper. First half of a step, `collect`: `tasks` (which), `episodes` (played, as tokens), `experience` (scored).
Second half, `update`: `targets` (rows and their advantages); `advantages`, `losses` and `kl` hold the formulas. Settings: `rollout_config`
(shared with other trainers), `config`, `presets`; docs/grpo.md has them in one table.
"""
