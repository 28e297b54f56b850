"""Decoding a batch of completions in step: what a batch promises, and the three ways to run one.

`transformers.py` takes any model; `llama.py` takes Llama-shaped ones on any device; `graphs.py` runs the latter on a GPU as
CUDA graphs with the kernels of `kernels.py`. `choose.py` picks, `draw.py` is how a token is drawn.
"""
