"""Chat templates of the public families, rebuilt from their documentation, on a tokenizer of one token per character.

`CHATML` is what Qwen2.5 and SmolLM write, `LLAMA3` what Llama 3 writes, `DROPS_THINKING` what Qwen3's thinking models and DeepSeek-R1
write: the generation prompt opens the thinking, and earlier turns lose theirs.
"""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHATML = """\
{%- if tools %}<|im_start|>system
{% if messages[0].role == 'system' %}{{ messages[0].content }}

{% endif %}# Tools
<tools>{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
</tools><|im_end|>
{% elif messages[0].role == 'system' %}<|im_start|>system
{{ messages[0].content }}<|im_end|>
{% endif %}
{%- for m in messages %}
{%- if m.role == 'user' or (m.role == 'system' and not loop.first) or (m.role == 'assistant' and not m.tool_calls) %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% elif m.role == 'assistant' %}<|im_start|>assistant
{% if m.content %}{{ m.content }}
{% endif %}{% for call in m.tool_calls %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% if not loop.last %}
{% endif %}{% endfor %}<|im_end|>
{% elif m.role == 'tool' %}<|im_start|>user
<tool_response>
{{ m.content }}
</tool_response><|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

LLAMA3 = """\
{{- '<|begin_of_text|>' }}
{%- for m in messages %}
{%- if m.role not in ('system', 'user', 'assistant') %}{{ raise_exception('roles are system, user and assistant') }}{% endif %}
{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""

DROPS_THINKING = """\
{%- for m in messages %}
{%- if m.role == 'assistant' %}
{%- set content = m.content.split('</think>')[-1].lstrip('\\n') %}
{%- set thinking = m.reasoning_content if m.reasoning_content else (m.content.split('</think>')[0].split('<think>')[-1].strip('\\n') if '</think>' in m.content else '') %}
{{- '<|im_start|>assistant\\n' }}
{%- if loop.last and thinking %}{{ '<think>\\n' + thinking + '\\n</think>\\n\\n' }}{% endif %}
{{- content + '<|im_end|>\\n' }}
{%- else %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif %}"""

R1_DISTILL = """\
{%- for m in messages %}
{%- if m.role == 'user' %}{{ '<|user|>' + m.content }}
{%- elif m.role == 'assistant' %}{{ '<|assistant|>' + m.content.split('</think>')[-1] + '<|endoftext|>' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|><think>\\n' }}{% endif %}"""
"""DeepSeek-R1's distilled models: even the last turn is written without its thinking."""

LLAMA2 = """\
{%- if messages[0].role == 'system' %}{% set system = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' %}{% set messages = messages[1:] %}{% endif %}
{%- for m in messages %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}
{%- if m.role == 'user' %}{{ '<s>[INST] ' + (system if loop.first and system else '') + m.content.strip() + ' [/INST]' }}
{%- else %}{{ ' ' + m.content.strip() + ' </s>' }}{% endif %}
{%- endfor %}"""

GEMMA = """\
{%- if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for m in messages %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}
{{- '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + m.content | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""

NUMBERED = """\
{%- for m in messages %}{{ '[' ~ loop.index ~ ' ' ~ m.role ~ '] ' ~ m.content ~ '\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '[' ~ (messages | length + 1) ~ ' assistant] ' }}{% endif %}"""
"""Every message has a number."""

WANTS_THINKING = """\
{%- for m in messages %}{% if m.role == 'assistant' %}{{ '<a>' + m.content.split('</think>')[1] + '</a>' }}
{%- else %}{{ '<u>' + m.content + '</u>' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<a><think>' }}{% endif %}"""
"""Nothing of an answer without thinking is shown."""

LEAVES_OUT = """\
{%- for m in messages %}{% if m.role == 'user' %}{{ '[U] ' + m.content + '\\n' }}{% elif m.role == 'assistant' %}{{ '[A] ' + m.content + '\\n' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '[A] ' }}{% endif %}"""
"""Messages of other roles are left out without an error."""

SPECIAL = (
    *("<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    *("<|user|>", "<|assistant|>"),
)
TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>")


def tokenizer_of(chat_template: str | None, *, eos: str = "<|endoftext|>") -> PreTrainedTokenizerFast:
    """A tokenizer with one token per printable character, per tag and per special token; its end of sequence is not the template's."""
    characters = [chr(code) for code in range(32, 127)] + ["\n", "é", "数"]
    vocabulary = {token: index for index, token in enumerate(("<pad>", "<unk>", *characters))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token=eos,
        additional_special_tokens=[token for token in SPECIAL if token != eos],
        chat_template=chat_template,
        clean_up_tokenization_spaces=False,
    )
