"""Decoders of 0.4 to 1.8 million parameters with a character tokenizer: small enough to train on a CPU in a minute.

    tiny       0.4M, Llama-shaped
    tiny-1m    1.0M, Llama-shaped: the teacher of the whole R1 pipeline
    tiny-2m    1.8M, Llama-shaped: the teacher
    tiny-gpt2  0.4M, GPT-2: the student of another architecture
    tiny-tools 0.4M, Llama-shaped: calls tools as Hermes and Qwen do

The tags are single tokens, as in the recipe this follows; letters and digits are one token each. `tiny-1m`, `tiny-2m` and `tiny-gpt2`
have one vocabulary, which also has the Chinese characters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz+-*/=,;:.()%?! \n"
CHINESE = "零一二三四五六七八九先再进试不对了所以排序求和用得念说乐意"
"""What the two-language tasks of r1env-logic are written with, beside `CHARACTERS`; for the models that are to speak both."""

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
CALL_PARTS = (
    *("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
    *('{"name": "', '", "arguments": {"', '": "', '"}}'),
    *("price", "item", "calculator", "expression"),
)
"""Of `tiny-tools`: what tool calls are made of, one token each, as the merges of a real tokenizer would have it."""
PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
CONTEXT = 256
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
TOOLS_TEMPLATE = """\
{%- for tool in tools or [] %}{{ tool['function']['name'] }};{% endfor %}
{%- for message in messages %}
{%- if message['role'] == 'tool' %}<tool_response>{{ message['content'] }}</tool_response>
{%- else %}{{ message['content'] }}{% if message['role'] == 'assistant' %}<eos>{% endif %}
{%- endif %}
{%- endfor %}"""
"""Of `tiny-tools`: the names of the tools, and everything else as it is, with replies of tools and ends of turns marked."""


Built = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def build(seed: int = 0) -> Built:
    """Make a new `tiny` with weights drawn under `seed`, and its tokenizer. torch's global generator is unchanged."""
    tokenizer = build_tokenizer()
    return _drawn(LlamaForCausalLM, _llama_config(tokenizer, hidden=128, feed_forward=352, layers=2, heads=4), seed), tokenizer


def build_1m(seed: int = 0) -> Built:
    """Make a new `tiny-1m`, see `build`."""
    tokenizer = build_tokenizer(CHARACTERS + CHINESE)
    return _drawn(LlamaForCausalLM, _llama_config(tokenizer, hidden=160, feed_forward=480, layers=3, heads=5), seed), tokenizer


def build_2m(seed: int = 0) -> Built:
    """Make a new `tiny-2m`, see `build`."""
    tokenizer = build_tokenizer(CHARACTERS + CHINESE)
    return _drawn(LlamaForCausalLM, _llama_config(tokenizer, hidden=192, feed_forward=512, layers=4, heads=6), seed), tokenizer


def build_gpt2(seed: int = 0) -> Built:
    """Make a new `tiny-gpt2`, see `build`."""
    tokenizer = build_tokenizer(CHARACTERS + CHINESE)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=128,
        n_layer=2,
        n_head=4,
        n_positions=CONTEXT,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return _drawn(GPT2LMHeadModel, config, seed), tokenizer


def build_tools(seed: int = 0) -> Built:
    """Make a new `tiny-tools`, see `build`."""
    tokenizer = build_tokenizer(CHARACTERS + "'{}\"", tags=(*TAGS, *CALL_PARTS), chat_template=TOOLS_TEMPLATE)
    return _drawn(LlamaForCausalLM, _llama_config(tokenizer, hidden=128, feed_forward=352, layers=2, heads=4), seed), tokenizer


def _llama_config(
    tokenizer: PreTrainedTokenizerBase, *, hidden: int, feed_forward: int, layers: int, heads: int
) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=0.02,
    )


def _drawn(model_class: Callable[[Any], PreTrainedModel], config: PretrainedConfig, seed: int) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_class(config)


def build_tokenizer(
    characters: str = CHARACTERS, *, tags: Sequence[str] = TAGS, chat_template: str = CHAT_TEMPLATE
) -> PreTrainedTokenizerFast:
    """Make a tokenizer with one token per character and tag; anything else is unknown. Decoding returns the text exactly."""
    vocabulary = {token: index for index, token in enumerate((PAD, EOS, UNKNOWN, *characters))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in tags])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        chat_template=chat_template,
        model_max_length=CONTEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
