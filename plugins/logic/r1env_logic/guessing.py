"""Guessing a number in several turns: the smallest task that needs a dialogue."""

from __future__ import annotations

from r1env import Task, TaskKind
from r1env.data.sources import ListSource, Split, split_of
from r1env.types import Conversation
from r1env_logic.answers import final_text, read_integer
from r1env_logic.options import check_count, check_style

QUESTIONS = {
    "chat": (
        "I am thinking of a whole number from 0 to {highest}. Guess it; after each guess I say whether it is higher or lower. "
        "Write only the number."
    ),
    "compact": "g{highest}?",
}
REPLIES = {
    "chat": {"higher": "It is higher.", "lower": "It is lower.", "unread": "That is no number. Write only a number."},
    "compact": {"higher": "+", "lower": "-", "unread": "?"},
}


def guessing_tasks(highest: int = 100, style: str = "chat", split: Split = "all") -> ListSource:
    """Return a task for each number from 0 to `highest`. All ask the same question; splits divide the numbers to be guessed.

    Args:
        split: `train`, `test` or `all`; no number of one is in the other.
        style: `chat` asks in words; `compact` is `g9?`, answered by `+` and `-`, for tiny models.
    """
    check_count("highest", highest, 1, 10_000)
    check_style(style)
    question = QUESTIONS[style].format(highest=highest)
    tasks = [
        Task(
            id=f"guess-{number}-of-{highest}",
            prompt=question,
            answer=str(number),
            kind=TaskKind.LOGIC,
            metadata={"style": style},
        )
        for number in range(highest + 1)
    ]
    return ListSource([task for task in tasks if split in ("all", split_of(task.id))])


class HigherOrLower:
    """The other side of the dialogue: replies higher or lower, and nothing once the number is found. It reads guesses as the reward does."""

    def reply(self, task: Task, messages: Conversation) -> str | None:
        number = read_integer(task.answer or "")
        guess = read_integer(final_text(messages[-1]["content"], "lenient") or "")
        if number is None or guess == number:
            return None
        texts = REPLIES[task.metadata.get("style", "chat")]
        if guess is None:
            return texts["unread"]
        return texts["higher" if number > guess else "lower"]
