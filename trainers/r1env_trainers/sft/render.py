"""What SFT learns of a demonstration, down to the tokens: prompt and answer as the tokenizer's chat template writes them.

The prompt is exactly what the episode player shows the model (`r1env.rollout.encode_prompt`), so that a model is tuned on the tokens that
it meets in reinforcement learning and in evaluation. The answer is what the template adds to it, up to the end of the turn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from transformers import PreTrainedTokenizerBase

from r1env.envs.conversation import CALL_CLOSE, CALL_OPEN, Tool
from r1env.errors import UsageError
from r1env.prompts import THINK_CLOSE, THINK_OPEN, parse_response
from r1env.rollout import ChatTemplateError, encode_prompt, render_chat, reply_text
from r1env.types import Conversation, Message
from r1env_trainers.model.load import end_ids, token_ids


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A conversation and the assistant's answer to learn.

    Attributes:
        chat: whether it goes through the chat template.
        tools: that the assistant was offered.
        where: file and row, for error messages.
    """

    prompt: Conversation
    response: Message
    chat: bool = True
    tools: tuple[Tool, ...] = ()
    where: str = "a demonstration"


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids: what is read, what is learnt, and which rule of `write` was needed beyond the template itself ("" for none)."""

    prompt: list[int]
    response: list[int]
    repair: str = ""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


def encode(demonstration: Demonstration, tokenizer: PreTrainedTokenizerBase) -> Encoded:
    """Return the token ids of a demonstration; see `write` for the text that they are of.

    The response ends with the template's end of turn, and nothing behind it is learnt: generation has ended there. Where that end is
    no token of the tokenizer's (a plain prompt, a template that ends turns with a new line), the tokenizer's end of sequence follows.

    Raises:
        UsageError: the chat template cannot show the demonstration, or does not say which tokens are the assistant's.

    Example:
        >>> from r1env_trainers.model.tiny import build_tokenizer
        >>> tokenizer = build_tokenizer()
        >>> one = Demonstration(({"role": "user", "content": "1+2?"},), {"role": "assistant", "content": "3"})
        >>> tokenizer.decode(encode(one, tokenizer).response)
        '3<eos>'
    """
    written = write(demonstration, tokenizer)
    if written.marked is not None:
        return Encoded(*written.marked, written.repair)
    prompt = encode_prompt(tokenizer, demonstration.prompt, chat=demonstration.chat, tools=demonstration.tools)
    return Encoded(prompt, _response_ids(tokenizer, prompt, written), written.repair)


@dataclass(frozen=True, slots=True)
class Written:
    """The text of a demonstration.

    Attributes:
        prompt: up to where the assistant answers.
        response: the assistant's answer, and what the template writes after it.
        tail: what the template writes after an answer.
        repair: the rule that was needed; empty where the template alone wrote the answer.
        marked: token ids of prompt and response, where the template marks what it generates and no other way told them apart.
    """

    prompt: str
    response: str
    tail: str = ""
    repair: str = ""
    marked: tuple[list[int], list[int]] | None = None

    @property
    def tokens_at_most(self) -> int | None:
        """A bound on the number of tokens that needs no tokenizer; None for text that a tokenizer might expand.

        Each token of ASCII text is at least one character; the margin is for what a tokenizer adds at the ends.
        """
        return len(self.prompt) + len(self.response) + 8 if self.prompt.isascii() and self.response.isascii() else None


READ_THINKING = "reasoning_content under the key that the template reads"
THINKING_IN_TEXT = "thinking put into the content, between <think> tags"
CALLS_IN_TEXT = "tool calls put into the content, between <tool_call> tags"
NOT_TWICE = "<think> left out, which the template writes itself"
THINKING_KEPT = "thinking appended to the prompt, which the template drops from finished turns"
MARKS = "the template's generation marks: its prompt is not how it begins an answer"


def write(demonstration: Demonstration, tokenizer: PreTrainedTokenizerBase) -> Written:
    """Return what the template writes for the prompt, and what it adds for the answer.

    The rendering of prompt and answer must begin with that of the prompt, and what follows must show the whole answer: its content,
    its thinking, once, and its tool calls. Where it does not, these rules are tried in turn; `repair` names the one that was needed:

    1. The thinking under the key `thinking` or `reasoning`, which some templates read instead of `reasoning_content`.
    2. A `<think>` that the template writes as well is left out of the content.
    3. Thinking, and tool calls, that the template takes no notice of go into the content as text.
    4. Thinking that the template drops from every finished turn: the answer is appended to the prompt as the model would have
       generated it, less a `<think>` that the prompt ends with.
    5. The template's own `{% generation %}` marks.

    Raises:
        UsageError: none of them shows the whole answer; with the reason.
    """
    answer = demonstration.response
    if not (demonstration.chat and tokenizer.chat_template):
        shown = _folded(answer)
        repair = "" if shown is answer else (CALLS_IN_TEXT if answer.get("tool_calls") else THINKING_IN_TEXT)
        return Written("\n".join(message["content"] for message in demonstration.prompt), shown["content"], repair=repair)
    try:
        prompt = render_chat(tokenizer, demonstration.prompt, tools=demonstration.tools).text
        tail = reply_text(tokenizer, (), chat=True).text
    except ChatTemplateError as error:
        raise UsageError(f"{demonstration.where}: {error}") from error
    fault = ""
    for shown, repair in _variants(answer):
        try:
            conversation = (*demonstration.prompt, shown)
            whole = render_chat(tokenizer, conversation, tools=demonstration.tools, generation_prompt=False).text
        except ChatTemplateError as error:
            fault = fault or str(error)
            continue
        found = fault_of(prompt, whole, answer)
        if not found:
            return Written(prompt, whole[len(prompt) :], tail, repair)
        fault = fault or found
    if (by_hand := _appended(prompt, answer)) is not None:
        return Written(prompt, by_hand + tail, tail, THINKING_KEPT)
    if (marked := _marked(demonstration, tokenizer)) is not None:
        return Written(prompt, "", repair=MARKS, marked=marked)
    raise UsageError(f"{demonstration.where}: the tokenizer's chat template cannot show this answer: {fault}")


def fault_of(prompt: str, whole: str, answer: Message) -> str:
    """Return why the rendering `whole` of prompt and answer cannot be learnt from; empty where it can."""
    if not whole.startswith(prompt):
        at = next((i for i, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), len(whole))
        return (
            f"the finished conversation does not begin with the prompt: after {prompt[max(0, at - 20) : at]!r} stands "
            f"{whole[at : at + 20]!r}, and not {prompt[at : at + 20]!r}"
        )
    text = whole[len(prompt) :]
    thinking, content = parts_of(answer)
    if _squeezed(content) not in _squeezed(text):
        return "it leaves out or changes the content"
    if _squeezed(thinking) not in _squeezed(text):
        return "it leaves the thinking out"
    if text.count(THINK_OPEN) + _opens_thinking(prompt) > max(1, (answer["content"] + thinking).count(THINK_OPEN)):
        return "it opens the thinking twice"
    if _opens_thinking(prompt) and THINK_CLOSE not in text:
        return f"it opens the thinking of every answer ({THINK_OPEN}), and this answer has none; give it reasoning_content"
    for call in answer.get("tool_calls", ()):
        if call["function"]["name"] not in text:
            return "it leaves the tool calls out"
    return ""


def parts_of(answer: Message) -> tuple[str, str]:
    """Return the thinking of an answer and the rest of its content."""
    parsed = parse_response(answer["content"])
    thinking = "\n".join(filter(None, (answer.get("reasoning_content", ""), parsed.thinking or "")))
    return thinking.strip(), (parsed.response if parsed.closed else "").strip()


def _variants(answer: Message) -> Iterator[tuple[Message, str]]:
    """Yield the ways to put an answer to a template, with the rule that each is."""
    yield answer, ""
    content = answer["content"]
    if reasoning := answer.get("reasoning_content"):
        for key in ("thinking", "reasoning"):
            yield cast(Message, {**answer, key: reasoning}), READ_THINKING
    if content.lstrip().startswith(THINK_OPEN):
        yield cast(Message, {**answer, "content": _without_opening(content)}), NOT_TWICE
    folded = _folded(answer, calls=False)
    if folded is not answer:
        yield folded, THINKING_IN_TEXT
        yield cast(Message, {**folded, "content": _without_opening(folded["content"])}), THINKING_IN_TEXT
    if answer.get("tool_calls"):
        yield _folded(answer, thinking=False), CALLS_IN_TEXT
        if folded is not answer:
            yield _folded(answer), CALLS_IN_TEXT


def _folded(answer: Message, *, thinking: bool = True, calls: bool = True) -> Message:
    """Return the answer with its thinking and its tool calls in its content; the answer itself where it has neither."""
    shown: dict[str, Any] = dict(answer)
    if thinking and (reasoning := shown.pop("reasoning_content", None)):
        shown["content"] = f"{THINK_OPEN}\n{reasoning}\n{THINK_CLOSE}\n\n{shown['content']}"
    if calls and (asked := shown.pop("tool_calls", None)):
        written = [f"{CALL_OPEN}\n{_call_text(call['function'])}\n{CALL_CLOSE}" for call in asked]
        shown["content"] = "\n".join(filter(None, (shown["content"], *written)))
    return cast(Message, shown) if len(shown) < len(answer) else answer


def as_text(answer: Message) -> str:
    """Return an answer as one text: its thinking and its tool calls between tags."""
    return _folded(answer)["content"]


def _call_text(function: dict[str, Any]) -> str:
    return json.dumps({"name": function["name"], "arguments": function.get("arguments", {})}, ensure_ascii=False)


def _appended(prompt: str, answer: Message) -> str | None:
    """Return the answer as the model would have generated it after the prompt; None where only the template knows how to write it."""
    if answer.get("tool_calls"):
        return None
    text = as_text(answer)
    if THINK_CLOSE not in text:
        return None  # the template drops something else than thinking
    if not _opens_thinking(prompt):
        return text
    if not text.lstrip().startswith(THINK_OPEN):
        return None
    body = _without_opening(text)
    return body if prompt.endswith("\n") else "\n" * text.lstrip().startswith(f"{THINK_OPEN}\n") + body


def _opens_thinking(prompt: str) -> bool:
    return prompt.rstrip().endswith(THINK_OPEN)


def _without_opening(text: str) -> str:
    return text.lstrip().removeprefix(THINK_OPEN).removeprefix("\n")


def _squeezed(text: str) -> str:
    """Without white space, which templates trim and add."""
    return "".join(text.split())


def _marked(demonstration: Demonstration, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]] | None:
    """Prompt and response by the template's `{% generation %}` marks; None where it has none, or they miss a part of the answer."""
    if "generation" not in str(tokenizer.chat_template).replace("add_generation_prompt", ""):
        return None
    apply = cast("Callable[..., Any]", tokenizer.apply_chat_template)
    encoded = apply(
        [dict(message) for message in (*demonstration.prompt, demonstration.response)],
        tools=[tool.as_function() for tool in demonstration.tools] or None,
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    ids, mask = cast("tuple[list[int], list[int]]", (encoded["input_ids"], encoded["assistant_masks"]))
    end = max((place + 1 for place, marked in enumerate(mask) if marked), default=0)
    start = max((place + 1 for place in range(end) if not mask[place]), default=0)  # of the last marked stretch
    text = _squeezed(str(tokenizer.decode(ids[start:end])))
    if not end or any(_squeezed(part) not in text for part in parts_of(demonstration.response)):
        return None
    return ids[:start], ids[start:end]


# Where a response ends.


def _response_ids(tokenizer: PreTrainedTokenizerBase, prompt: list[int], written: Written) -> list[int]:
    """Return the tokens of the response up to the end of its turn."""
    ids = (
        _continuation(tokenizer, prompt, written.prompt, written.response)
        if written.tail
        else token_ids(tokenizer, written.response)
    )
    ends = end_ids(tokenizer, written.tail)
    last = max((place for place, token in enumerate(ids) if token in ends), default=-1)
    if last >= 0 and not str(tokenizer.decode(ids[last + 1 :])).strip():
        return ids[: last + 1]
    if written.tail and written.response.endswith(written.tail):
        text = written.response.removesuffix(written.tail) + written.tail.rstrip()
        ids = _continuation(tokenizer, prompt, written.prompt, text)
    return [*ids, tokenizer.eos_token_id] if isinstance(tokenizer.eos_token_id, int) else ids


def _continuation(tokenizer: PreTrainedTokenizerBase, prompt: list[int], prompt_text: str, text: str) -> list[int]:
    """Return the tokens of `text` behind the prompt; cut by themselves where the tokenizer would join the two across the border."""
    joined = token_ids(tokenizer, prompt_text + text)
    return joined[len(prompt) :] if joined[: len(prompt)] == prompt else token_ids(tokenizer, text)
