"""What SFT learns under public chat templates, read back from the tokens."""

from __future__ import annotations

import pytest
from chat_templates import CHATML, DROPS_THINKING, LLAMA3, R1_DISTILL, tokenizer_of
from hypothesis import given, settings
from hypothesis import strategies as st

from r1env.data.layouts import Reading, example_of
from r1env.envs.conversation import Tool, parse_tool_calls
from r1env.errors import UsageError
from r1env.rollout import encode_prompt
from r1env_trainers.model.load import end_of_turn
from r1env_trainers.sft import render
from r1env_trainers.sft.render import Demonstration, encode
from r1env_trainers.sft.rows import demonstrations_of

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    },
}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": {"a": 50, "b": 98}}}
TOOL_TURN = [
    {"role": "user", "content": "50+98?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
]
TOOL_RESULT = [*TOOL_TURN, {"role": "tool", "tool_call_id": "c1", "name": "add", "content": "148"}]


def asked(answer, question="q"):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", **answer}]}


def demonstrations(row, train_on="last"):
    return demonstrations_of(example_of(row, reading=Reading(keep_instruction=True)), train_on)


def learnt(row, template, **options):
    """(what is read, what is learnt, the rule that was needed) of a row's only demonstration."""
    tokenizer = tokenizer_of(template, **options)
    (one,) = demonstrations(row)
    encoded = encode(one, tokenizer)
    assert encoded.prompt == encode_prompt(tokenizer, one.prompt, chat=one.chat, tools=one.tools)  # what RL shows
    return tokenizer.decode(encoded.prompt), tokenizer.decode(encoded.response), encoded.repair


def test_the_end_of_turn_is_the_template_s_and_not_the_tokenizer_s():
    row = asked({"content": "148"})
    assert learnt(row, CHATML) == ("<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n", "148<|im_end|>", "")
    assert learnt(row, LLAMA3)[1] == "148<|eot_id|>"
    assert end_of_turn(tokenizer_of(CHATML)) == tokenizer_of(CHATML).convert_tokens_to_ids("<|im_end|>")


def test_a_template_that_ends_turns_with_plain_text_is_followed_by_the_tokenizer_s_end():
    lines = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    assert learnt(asked({"content": "148"}), lines) == ("user: q\nassistant: ", "148<|endoftext|>", "")
    assert end_of_turn(tokenizer_of(lines)) is None


def test_raw_text_and_base_models_end_with_the_tokenizer_s_end():
    row = {"prompt": "1+1=", "completion": "2"}
    assert learnt(row, None) == ("1+1=", "2<|endoftext|>", "")
    assert learnt({**row, "chat": False}, CHATML) == ("1+1=", "2<|endoftext|>", "")


def test_an_unknown_character_at_the_end_does_not_pass_for_the_end():
    assert learnt({"prompt": "1", "completion": "∞"}, None)[1] == "<unk><|endoftext|>"


THOUGHT = {"reasoning_content": "add them", "content": "148"}


def test_thinking_that_the_template_reads_is_written_by_it():
    prompt, response, rule = learnt(asked(THOUGHT), DROPS_THINKING)
    assert prompt.endswith("<|im_start|>assistant\n<think>\n")
    assert (response, rule) == ("add them\n</think>\n\n148<|im_end|>", "")


def test_thinking_that_the_template_takes_no_notice_of_goes_into_the_content():
    for template, end in ((CHATML, "<|im_end|>"), (LLAMA3, "<|eot_id|>")):
        _, response, rule = learnt(asked(THOUGHT), template)
        assert (response, rule) == (f"<think>\nadd them\n</think>\n\n148{end}", render.THINKING_IN_TEXT)


def test_thinking_under_another_key_is_offered_under_it():
    thinking = LLAMA3.replace("m.content | trim", "(m.thinking ~ '|' if m.thinking else '') ~ m.content")
    _, response, rule = learnt(asked(THOUGHT), thinking)
    assert response == "add them|148<|eot_id|>"
    assert rule in ("", render.READ_THINKING)  # transformers 5 offers it by itself


@pytest.mark.parametrize("content", ["<think>\nadd\n</think>\n\n148", "<think>add</think>148"])
def test_a_thinking_block_is_never_doubled(content):
    prompt, response, rule = learnt(asked({"content": content}), DROPS_THINKING)
    assert (prompt + response).count("<think>") == 1
    assert response.startswith("add")
    assert rule == ("" if "\n" in content else rule)
    # a template that opens the thinking for everybody and does not look into the content
    opens = CHATML.replace("<|im_start|>assistant\n", "<|im_start|>assistant\n<think>\n").replace(
        "<|im_start|>{{ m.role }}\n", "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}<think>\n{% endif %}"
    )
    prompt, response, rule = learnt(asked({"content": content}), opens)
    assert (prompt + response).count("<think>") == 1
    assert rule == render.NOT_TWICE


def test_an_answer_that_does_not_think_is_refused_where_the_template_opens_the_thinking_of_every_answer():
    with pytest.raises(
        UsageError, match=r"the row: the tokenizer's chat template cannot show this answer: .*does not begin with the prompt"
    ):
        learnt(asked({"content": "148"}), DROPS_THINKING)


@pytest.mark.parametrize(
    "answer", [{"content": "<think>\nadd\n</think>\n\n148"}, {"content": "148", "reasoning_content": "add"}]
)
def test_thinking_that_the_template_drops_from_finished_turns_is_appended_as_the_model_would_have_written_it(answer):
    prompt, response, rule = learnt(asked(answer), R1_DISTILL)
    assert prompt == "<|user|>q<|assistant|><think>\n"
    assert (response, rule) == ("add\n</think>\n\n148<|endoftext|>", render.THINKING_KEPT)


def test_earlier_turns_are_as_the_template_shows_them():
    messages = [
        *asked({"content": "<think>\nadd\n</think>\n\n148"})["messages"],
        *asked({"content": "<think>\nb\n</think>\n\n2"}, "r")["messages"],
    ]
    prompt, response, _ = learnt({"messages": messages}, DROPS_THINKING)
    assert (
        prompt
        == "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n148<|im_end|>\n<|im_start|>user\nr<|im_end|>\n<|im_start|>assistant\n<think>\n"
    )
    assert response == "b\n</think>\n\n2<|im_end|>"


def test_a_turn_that_only_calls_a_tool_is_learnt_as_the_template_writes_it():
    prompt, response, rule = learnt({"messages": TOOL_TURN, "tools": [ADD]}, CHATML)
    assert '"name": "add"' in prompt
    assert response == '<tool_call>\n{"name": "add", "arguments": {"a": 50, "b": 98}}\n</tool_call><|im_end|>'
    assert rule == ""
    assert parse_tool_calls(response)[0]["function"] == CALL["function"]


def test_a_tool_call_that_the_template_takes_no_notice_of_goes_into_the_content():
    prompt, response, rule = learnt({"messages": TOOL_TURN, "tools": [ADD]}, LLAMA3)
    assert "You can call these tools" in prompt  # nor does it take notice of tools
    assert parse_tool_calls(response)[0]["function"] == CALL["function"]
    assert rule == render.CALLS_IN_TEXT


def test_arguments_are_objects_or_texts_as_the_template_needs_them():
    joins = CHATML.replace("{{ call.function.arguments | tojson }}", "{{ '' + call.function.arguments }}")
    prints = CHATML.replace("{{ call.function.arguments | tojson }}", "{{ call.function.arguments }}")
    as_text = [TOOL_TURN[0], {**TOOL_TURN[1], "tool_calls": [{"function": {"name": "add", "arguments": '{"a": 50, "b": 98}'}}]}]
    for template in (CHATML, joins, prints):
        for messages in (TOOL_TURN, as_text):
            assert '"arguments": {"a": 50, "b": 98}' in learnt({"messages": messages}, template)[1]


def test_tools_may_be_json_text_as_tables_have_them():
    with_text = {"messages": TOOL_TURN, "tools": '[{"name": "add", "description": "Add."}]'}
    assert '"name": "add"' in learnt(with_text, CHATML)[0]


def test_the_reply_of_a_tool_is_read_and_the_answer_to_it_learnt():
    row = {"messages": [*TOOL_RESULT, {"role": "assistant", "content": "It is 148."}]}
    prompt, response, _ = learnt(row, CHATML)
    assert "<tool_response>\n148\n</tool_response>" in prompt
    assert response == "It is 148.<|im_end|>"
    prompt, response, _ = learnt(row, LLAMA3)  # which raises on role tool
    assert "<|start_header_id|>user<|end_header_id|>\n\n<tool_response>\n148\n</tool_response><|eot_id|>" in prompt
    assert response == "It is 148.<|eot_id|>"


def test_parts_of_text_are_one_text():
    parts = [{"type": "text", "text": "14"}, {"type": "text", "text": "8"}]
    assert learnt(asked({"content": parts}), CHATML)[1] == "148<|im_end|>"
    with pytest.raises(UsageError, match="images and audio cannot be read"):
        learnt(asked({"content": [{"type": "image_url", "image_url": "x"}]}), CHATML)


def test_keys_without_a_value_are_no_keys():
    empty = {"tool_calls": None, "reasoning_content": None, "name": None, "content": "148"}
    assert learnt(asked(empty), CHATML)[1] == "148<|im_end|>"


def test_prompt_and_completion_may_be_conversations():
    row = {"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "148"}]}
    assert learnt(row, CHATML) == learnt(asked({"content": "148"}), CHATML)


MARKED = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>>{% generation %}{{ m.content }}<|endoftext|>{% endgeneration %}"
    "{% else %}<|user|>{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def test_the_template_s_own_marks_say_what_is_learnt_where_its_prompt_does_not():
    marked = MARKED.replace("<|assistant|>{% endif %}", "<|assistant|>!{% endif %}")
    tokenizer = tokenizer_of(marked)
    (one,) = demonstrations(asked({"content": "148"}))
    encoded = encode(one, tokenizer)
    assert tokenizer.decode(encoded.prompt) == "<|user|>q<|assistant|>>"
    assert (tokenizer.decode(encoded.response), encoded.repair) == ("148<|endoftext|>", render.MARKS)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (
            MARKED.replace("{% generation %}", "")
            .replace("{% endgeneration %}", "")
            .replace("|>{% endif %}", "|>!{% endif %}"),
            "does not begin with the prompt",
        ),
        (
            "{% for m in messages %}<|user|>{{ m.content | replace('a', 'x') }}{% endfor %}{% if add_generation_prompt %}{% endif %}",
            "leaves out or changes the content",
        ),
        ("{{ raise_exception('no') }}", "cannot show the conversation: TemplateError: no"),
        (
            "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
            "does not show what the model said",
        ),
    ],
)
def test_a_template_that_cannot_show_the_answer_is_refused_with_the_row_and_the_reason(template, reason):
    with pytest.raises(UsageError, match=f"the row: the tokenizer's chat template .*{reason}"):
        learnt(asked({"content": "abc"}), template)


def test_what_is_learnt_continues_what_the_player_shows_turn_after_turn():
    row = {"messages": [*TOOL_RESULT, {"role": "assistant", "content": "It is 148."}], "tools": [ADD]}
    for template in (CHATML, LLAMA3):
        tokenizer = tokenizer_of(template)
        for one in demonstrations(row, "all"):
            assert encode(one, tokenizer).prompt == encode_prompt(tokenizer, one.prompt, chat=True, tools=one.tools)


TEXT = st.text(st.sampled_from("ab <>|{}\n\\é数∞"), max_size=30)


@settings(max_examples=150, deadline=None)
@given(question=TEXT, content=TEXT.filter(str.strip), reasoning=st.none() | TEXT.filter(str.strip))
def test_any_answer_is_learnt_whole_or_refused(question, content, reasoning):
    message = {"role": "assistant", "content": content} | ({"reasoning_content": reasoning} if reasoning else {})
    one = Demonstration(({"role": "user", "content": question},), message)
    for template in (CHATML, LLAMA3, DROPS_THINKING, R1_DISTILL):
        tokenizer = tokenizer_of(template)
        try:
            encoded = encode(one, tokenizer)
        except UsageError:
            assert template in (DROPS_THINKING, R1_DISTILL)
            assert reasoning is None
            continue
        assert encoded.prompt == encode_prompt(tokenizer, one.prompt, chat=True)
        text = tokenizer.decode(encoded.response)
        known = "".join(content.replace("∞", "<unk>").split())
        assert known in "".join(text.split())
        assert "".join((reasoning or "").replace("∞", "<unk>").split()) in "".join(text.split())
        assert encoded.response[-1] == end_of_turn(tokenizer)
        assert sum(token == end_of_turn(tokenizer) for token in encoded.response) == 1


def test_a_tool_object_is_offered_as_it_is_to_the_player():
    tool = Tool("add", "Add.")
    (one,) = demonstrations({"messages": TOOL_TURN, "tools": [tool.as_function()]})
    assert one.tools == (tool,)


@pytest.mark.parametrize("text", ["<s>1?", "1?"])
def test_a_plain_prompt_begins_with_one_bos_and_ends_with_no_eos(text):
    from tokenizers.processors import TemplateProcessing

    from r1env_trainers.model.tiny import build_tokenizer

    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    ends = [("<s>", tokenizer.bos_token_id), ("<eos>", tokenizer.eos_token_id)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing("<s> $A <eos>", special_tokens=ends)
    ids = encode_prompt(tokenizer, ({"role": "user", "content": text},), chat=False)
    assert ids == [tokenizer.bos_token_id, *tokenizer("1?", add_special_tokens=False)["input_ids"]]
