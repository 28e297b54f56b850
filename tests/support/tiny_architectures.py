"""Random models of a few thousand weights, one of each architecture that docs/models.md lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

VOCABULARY = 70  # that of the tokenizer of `tiny`, and a few more
WINDOW = 8
SIZES: Mapping[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
MOE: Mapping[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
MLA: Mapping[str, Any] = {
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
LINEAR: Mapping[str, Any] = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}

ATTENTION: Mapping[str, Mapping[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": WINDOW},
    "mixtral": {"num_local_experts": 4, "sliding_window": None, "num_experts_per_tok": 2},
    "qwen2": {},
    "qwen3": {},
    "qwen3_moe": {"num_experts": 4, **MOE},
    "gemma2": {"sliding_window": WINDOW},
    "gemma3_text": {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128},
    "phi": {"num_key_value_heads": 2},
    "phi3": {"sliding_window": WINDOW},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "gpt_neox": {},
    "gpt_oss": {"num_local_experts": 4, "sliding_window": WINDOW, "num_experts_per_tok": 2},
    "olmo3": {"sliding_window": WINDOW},
    "smollm3": {},
    "glm4": {},
    "granite": {"logits_scaling": 2.0},
    "deepseek_v3": {**MOE, **MLA},
}
"""Dense and mixture-of-experts models whose caches are those of attention."""

HYBRID: Mapping[str, Mapping[str, Any]] = {
    "qwen3_5_text": LINEAR,
    "qwen3_next": {**LINEAR, "num_experts": 4, **MOE, "shared_expert_intermediate_size": 16},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "mamba": {"state_size": 4},
    "falcon_h1": {
        "mamba_d_ssm": 32,
        "mamba_n_heads": 4,
        "mamba_d_head": 8,
        "mamba_n_groups": 1,
        "mamba_d_state": 4,
        "mamba_chunk_size": 8,
    },
}
"""Models with linear attention, convolutions or state spaces, whose caches cannot be repeated or cut by rows."""


def build(name: str, **changes: Any) -> PreTrainedModel:
    """Make a model of an architecture with weights drawn under seed 0, large enough to matter."""
    settings = {**SIZES, **(ATTENTION | HYBRID)[name], **changes}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = CONFIG_MAPPING[name](**settings)
        config.use_mamba_kernels = False
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() >= 2:
                    weight.mul_(4)
    return model
