"""Prompt templates: how a task's question is put to the model, and where generation stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from r1env.errors import UnknownNameError
from r1env.tasks import Conversation, Task

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
    """A way to put a question.

    Attributes:
        render: task → messages shown to the model.
        stop: texts that end a completion; they are kept in it.
        chat: False for a plain completion prompt, which must not be wrapped in a chat template.
    """

    name: str
    render: Callable[[Task], Conversation]
    stop: tuple[str, ...] = ()
    chat: bool = True


def _in_last_user_message(pattern: str) -> Callable[[Task], Conversation]:
    def render(task: Task) -> Conversation:
        *earlier, last = task.prompt
        return (
            *earlier,
            {"role": last["role"], "content": pattern.format(question=last["content"])},
        )

    return render


TEMPLATES: Mapping[str, PromptTemplate] = {
    template.name: template
    for template in (
        PromptTemplate("plain", lambda task: task.prompt),
        PromptTemplate("r1-zero", _in_last_user_message(R1_ZERO), stop=("</answer>",), chat=False),
        PromptTemplate("boxed", _in_last_user_message(BOXED)),
        PromptTemplate("tagged", _in_last_user_message(TAGGED), stop=("</answer>",)),
    )
}


def get_template(name: str) -> PromptTemplate:
    """The template of that name, or `UnknownNameError`."""
    if name not in TEMPLATES:
        raise UnknownNameError("prompt template", name, TEMPLATES)
    return TEMPLATES[name]
