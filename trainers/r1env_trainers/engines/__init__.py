"""Engines beside `transformers`, and how a trainer gets the one that its settings name.

`vllm_options.py` is torch-free, for configs; `vllm_sampler.py` draws tokens with vLLM in this process; `vllm.py` is the engine plugin
around it; `training.py` chooses for a trainer.
"""
