"""Prompt templates, which render a task as messages for the model, and the parsing of responses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from r1env.errors import UsageError
from r1env.types import Conversation, Task, fault_of_messages

R1_ZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., "
    "<think> reasoning process here </think> <answer> answer here </answer>. User: {question}. Assistant:"
)
"""DeepSeek-R1, table 1: the prompt of R1-Zero. A plain completion prompt, not a chat."""

BOXED = "{question}\nPlease reason step by step, and put your final answer within \\boxed{{}}."
"""The instruction that DeepSeek-R1's authors recommend for mathematics."""

TAGGED = (
    "{question}\nThink first inside <think> </think>, then give only the final answer inside <answer> </answer>, "
    "like this: <think> reasoning </think> <answer> 42 </answer>"
)


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """A prompt template.

    Attributes:
        render: a function that takes a task and returns the messages for the model.
        stop: strings that end a completion. They remain part of its text.
        chat: False for a plain completion prompt, which must not be wrapped in a chat template.
    """

    name: str
    render: Callable[[Task], Conversation]
    stop: tuple[str, ...] = ()
    chat: bool = True

    def messages(self, task: Task) -> Conversation:
        """Return the messages for a task.

        Raises:
            UsageError: `render` raised, or did not return messages.
        """
        try:
            messages = self.render(task)
        except Exception as error:
            raise UsageError(f"template {self.name!r} raised {type(error).__name__}: {error}, on task {task.id!r}") from error
        if fault := fault_of_messages(messages):
            raise UsageError(f"template {self.name!r} returned {fault}, on task {task.id!r}")
        return tuple(messages)


def _in_last_user_message(pattern: str) -> Callable[[Task], Conversation]:
    def render(task: Task) -> Conversation:
        *earlier, last = task.prompt
        return (
            *earlier,
            {"role": last["role"], "content": pattern.format(question=last["content"])},
        )

    return render


PLAIN_TEMPLATE = PromptTemplate("plain", lambda task: task.prompt)
R1_ZERO_TEMPLATE = PromptTemplate("r1-zero", _in_last_user_message(R1_ZERO), stop=("</answer>",), chat=False)


def _boxed(task: Task) -> Conversation:
    """Ask for a box, unless the prompt does that already in its own words: a row of a data set may."""
    asked = task.prompt[-1]["content"]
    return task.prompt if "\\boxed" in asked else _in_last_user_message(BOXED)(task)


BOXED_TEMPLATE = PromptTemplate("boxed", _boxed)
TAGGED_TEMPLATE = PromptTemplate("tagged", _in_last_user_message(TAGGED), stop=("</answer>",))


def as_template(found: Any, name: str) -> PromptTemplate:
    """Return the object that a plugin or a user calls `name` as a template.

    It may be a `PromptTemplate`, a function that takes a `Task` and returns messages, or a string with `{question}`, which replaces the
    last message.

    Raises:
        UsageError: it is none of these.

    Example:
        >>> template = as_template("{question} Answer briefly.", "brief")
        >>> template.render(Task(id="1", prompt="2 + 2?"))[0]["content"]
        '2 + 2? Answer briefly.'
    """
    if isinstance(found, PromptTemplate):
        return found
    if isinstance(found, str) and "{question}" in found:
        try:
            found.format(question="")
        except (KeyError, IndexError, ValueError) as error:
            raise UsageError(
                f"template {name!r}: {{question}} is the only field; write other braces twice, {{{{ and }}}} ({error!r})"
            ) from error
        return PromptTemplate(name, _in_last_user_message(found))
    if callable(found):
        return PromptTemplate(name, found)
    raise UsageError(f"{name!r} is a {type(found).__name__}, not a PromptTemplate, a function, or a text with {{question}}")


# Reads thinking, answer and summary out of a completion, once for every reward.
#
# All functions are linear in the length of the text and use no regular expressions: the text is a model's and may be hostile.

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
ANSWER_OPEN, ANSWER_CLOSE = "<answer>", "</answer>"

END_TOKENS = (
    "<|im_end|>",  # ChatML: Qwen, SmolLM
    "<|endoftext|>",  # GPT-2, Qwen base
    "<|eot_id|>",  # Llama 3
    "<|eom_id|>",
    "<|end_of_text|>",
    "<｜end▁of▁sentence｜>",  # DeepSeek
    "<end_of_turn>",  # Gemma
    "<eos>",
    "</s>",  # Llama 2, Mistral
    "<|end|>",  # Phi
    "<|return|>",  # gpt-oss
)
"""Tokens that end a turn or a text, as tokenizers spell them."""


@dataclass(frozen=True, slots=True)
class ParsedResponse:
    """The parts of one completion.

    Attributes:
        thinking: the text inside the thinking block, or None if there is no block.
        response: the text after the thinking block; the whole completion if there is no block; empty if the block was never closed.
        answer: the stripped content of `<answer>…</answer>` in the response, if there is exactly one such block.
        closed: False if a thinking block was opened and never closed.
    """

    thinking: str | None
    response: str
    answer: str | None
    closed: bool

    @property
    def summary(self) -> str:
        """The response without its answer tags, which R1 calls the summary and shows to the user."""
        return self.response.replace(ANSWER_OPEN, "").replace(ANSWER_CLOSE, "").strip()


def parse_response(completion: str, *, prefilled: bool = False) -> ParsedResponse:
    """Split a completion into its thinking block and the response.

    Args:
        completion: the model's text.
        prefilled: the prompt already ended with `<think>`, so the text starts inside the block.
    """
    text = with_prefill(completion, prefilled)
    start = text.find(THINK_OPEN)
    end = text.rfind(THINK_CLOSE)
    if start < 0 and end < 0:
        return ParsedResponse(None, text, answer_block(text), closed=True)
    if end < start or end < 0:
        return ParsedResponse(text[start + len(THINK_OPEN) :], "", None, closed=False)
    opening = start + len(THINK_OPEN) if 0 <= start < end else 0
    response = text[end + len(THINK_CLOSE) :]
    return ParsedResponse(text[opening:end], response, answer_block(response), closed=True)


def with_prefill(completion: str, prefilled: bool) -> str:
    """Return the completion with the `<think>` that the prompt ended with, unless the completion has its own."""
    return THINK_OPEN + completion if prefilled and not completion.lstrip().startswith(THINK_OPEN) else completion


def answer_block(text: str) -> str | None:
    """Return the stripped content of the only `<answer>…</answer>` block, or None if there is none or more than one."""
    if text.count(ANSWER_OPEN) != 1 or text.count(ANSWER_CLOSE) != 1:
        return None
    start = text.index(ANSWER_OPEN) + len(ANSWER_OPEN)
    end = text.index(ANSWER_CLOSE)
    return text[start:end].strip() if end >= start else None
