"""Which models the light forward pass may stand in for. Anything else goes through transformers."""

from __future__ import annotations

import logging
import weakref
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaForCausalLM
from transformers.models.mistral.modeling_mistral import MistralForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2ForCausalLM
from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM

from r1env_trainers.llama.attention import Packing
from r1env_trainers.llama.forward import packed_hidden_states

logger = logging.getLogger(__name__)

CLASSES: tuple[type[PreTrainedModel], ...] = (LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, MistralForCausalLM)
ROTARY = {"default", "linear", "llama3", "yarn"}
"""Rotary embeddings whose angles do not depend on how long the sequence is."""
TOLERANCE = 1e-2
"""How far the log-probs of the trial may lie from transformers', both in float32: rounding is a tenth of it at most, a missing term
many times more. In bfloat16 nothing could be told: on the ids of the trial, which are no text, transformers' own log-probs of
SmolLM2-135M differ from its float32 ones by up to 25."""

_known: weakref.WeakKeyDictionary[PreTrainedModel, bool] = weakref.WeakKeyDictionary()


def is_llama(model: PreTrainedModel) -> bool:
    """True where the light forward pass takes the model and, tried on it, gives transformers' numbers. Decided once a model."""
    if model not in _known:
        _known[model] = obstacle(model) is None and _agrees(model)
    return _known[model]


def obstacle(model: PreTrainedModel) -> str | None:
    """Why the light forward pass cannot take a model; None where it can."""
    if type(model) not in CLASSES:
        return f"{type(model).__name__} is not one of {', '.join(one.__name__ for one in CLASSES)}"
    config: Any = model.config
    if config.hidden_act != "silu":
        return f"activation {config.hidden_act!r}, not 'silu'"
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return f"a sliding window of {config.sliding_window}"
    rotary = (getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}).get(
        "rope_type", "default"
    )
    if rotary not in ROTARY:
        return f"rotary embedding {rotary!r}"
    body: Any = model.model
    for layer in body.layers:
        attention, mlp = layer.self_attn, layer.mlp
        inputs = (attention.q_proj, attention.k_proj, attention.v_proj)
        others = (attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj)
        if wrapped := next((one for one in (*inputs, *others) if type(one) is not nn.Linear), None):
            return f"a projection is a {type(wrapped).__name__}, not a plain Linear"
        if any(one.bias is not None for one in others) or len({one.bias is None for one in inputs}) == 2:
            return "biases outside queries, keys and values"
    return None


@torch.no_grad()
def _agrees(model: PreTrainedModel) -> bool:
    """Try both forwards on two short sequences. A later version of transformers may have changed what a class computes."""
    ids = torch.arange(2, 18, device=model.device) % model.config.vocab_size
    packing = Packing.of([8, 8], model.device)
    theirs = model(ids.view(2, 8), use_cache=False).logits.float().log_softmax(-1).flatten(0, 1)
    head = model.get_output_embeddings().weight
    logits = packed_hidden_states(model, ids, packing, torch.float32) @ head.T.float()
    gap = float((logits.log_softmax(-1) - theirs).abs().amax())
    allowed = TOLERANCE * max(1.0, float(theirs.abs().amax()) / 10)
    if not gap <= allowed:
        logger.warning("%s: own forward pass is off by %.2g; using transformers' instead", type(model).__name__, gap)
    return gap <= allowed
