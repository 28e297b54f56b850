"""Group relative policy optimisation (DeepSeekMath, arXiv 2402.03300; DeepSeek-R1, arXiv 2501.12948).

Read `loop.py` beside the paper; `advantages.py`, `losses.py` and `kl.py` hold the formulas.
"""
