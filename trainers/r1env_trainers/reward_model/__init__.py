"""Reward models: a scalar head on a language model, trained on preferences (helpful) or labels (harmless).

Read `data` (what is learnt from), `select` (which pairs are kept), `losses`, `loop`; `score` is what a reward calls.
"""
