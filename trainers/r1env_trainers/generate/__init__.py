"""Generation: token ids in, sampled token ids and their log-probs out.

`engine.py` samples with this process's weights, over the decoders of `batches.py` (any model, static batching) and `graphs.py` (continuous
batching on a GPU with CUDA graphs, the kernels of `kernels.py` and the KV cache of `cache.py`). `vllm.py` samples with vLLM; `choose.py`
picks an engine for a trainer, from the torch-free `options.py`.
"""
