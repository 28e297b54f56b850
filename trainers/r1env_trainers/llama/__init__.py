"""A light forward pass of Llama-shaped models over the weights of a transformers module.

`support.py` says which modules it may stand in for, and checks its numbers against theirs; `weights.py` reads their weights;
`layers.py` is the network; `attention.py` is attention over packed sequences; `sharing.py` packs rows with the same prompt so that
it goes through once; `forward.py` puts them together. No padding is ever computed outside attention, and nothing is copied that a
gradient would have to find its way through.
"""
