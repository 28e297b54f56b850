"""Decoding completions: what a batch of them promises, and the three ways to run one.

`batch.py` is what the sampler sees. `transformers.py` takes any model and `llama.py` Llama-shaped ones on any device, both with
rows in step (`lockstep.py`). `graphs.py` runs the latter on a GPU as CUDA graphs with the kernels of `kernels.py`, over the cache of
`cache.py` whose slots `slots.py` gives out. `choose.py` picks, `draw.py` is how a token is drawn.
"""
