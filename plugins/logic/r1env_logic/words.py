"""`secret-word`: find a word of five letters in at most six guesses, each of which is answered letter by letter.

The last guess is judged by the reward `exact`. Each turn is also paid for new letters in their places, in the part `environment`, so that a rubric with
this part rewards progress before the first word is found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from r1env import Message, Task, TaskKind, parse_response
from r1env.data.sources import ListSource, Split, split_of
from r1env.envs.conversation import StepResult, Tool

PLACED = 0.05
"""What a turn is paid for each letter that it puts into its place beyond the most that an earlier guess of the episode had."""
_WORDS = (
    "about above actor adult agent alarm album apple arena baker basic beach began bench birth black blade blame blank blast blind block blood board bonus "
    "brain brave bread break brick brief bring broad brown brush build cabin cable candy cargo carry catch cause chain chair chalk charm chart cheap check "
    "chest chief child clean clear climb clock close cloud coach coast count court cover craft cream crime cross crowd crown curve cycle daily dance depth "
    "dirty doubt draft drama dream dress drink drive eager early earth eight elbow empty enjoy equal event exact extra faith false fancy favor fence fever "
    "field fight final flame flash fleet float flood floor flour fluid focus force forty found frame fresh front fruit funny ghost giant glass globe glory "
    "grace grade grain grand grant grass green group guard guess guest guide habit happy harsh heart heavy honey horse hotel house human ideal image index "
    "inner issue ivory jelly joint judge juice knife known label labor large laser later laugh layer learn lemon level light limit liver local logic lucky "
    "lunch magic major maple march match mayor medal metal meter minor mixed model money month moral motor mount mouse mouth music nerve never night noble "
    "noise north novel nurse ocean offer onion opera orbit order organ outer owner paint panel paper party patch pause peace pearl phase phone photo piano "
    "pilot pitch place plain plane plant plate point porch pound power press price pride print prize proof proud queen quick quiet radio raise range rapid "
    "ratio reach ready right rival river robot rough round route royal salad scale scene score sense serve seven shade shape share sharp sheep shelf shell "
    "shift shine shirt shock shore short shown sight silly skill sleep slice smart smile smoke solid sound south space spare spark speak speed spice spoon "
    "sport staff stage stain stair stamp stand start state steam steel stick stone store storm story strip study sugar sunny super sweet table taste teach "
    "tenth thick thing think third tiger tight title toast today topic torch total touch tough tower track trade trail train treat trial tribe truck trust "
    "truth twice uncle under union upper urban usual value video visit vital voice waste watch water wheel white whole woman world worth wound wrist young"
)
WORDS = tuple(_WORDS.split())
QUESTION = (
    "I am thinking of an English word of five letters. Guess it in at most six guesses. I answer each guess letter by letter: + for a letter in its place, ? for "
    "a letter that is elsewhere in the word, - for a letter that is not in it. Write your guess in small letters, as <answer>word</answer>."
)


def word_tasks(split: Split = "all") -> ListSource:
    """Return a task for each word of the list. All ask the same question; splits divide the words.

    Args:
        split: `train`, `test` or `all`; no word of one is in the other.
    """
    tasks = [Task(id=f"secret-word-{word}", prompt=QUESTION, answer=word, kind=TaskKind.LOGIC) for word in WORDS]
    return ListSource([task for task in tasks if split in ("all", split_of(task.id))])


class SecretWord:
    """Answers a guess letter by letter, and ends the episode when the word is found. It reads guesses as the reward `exact` does."""

    tools: Sequence[Tool] = ()

    def reset(self, task: Task) -> Sequence[Message]:
        self._word = task.answer or ""
        self._placed = 0
        return task.prompt

    async def step(self, message: Message) -> StepResult:
        guess = (parse_response(message["content"]).answer or "").strip()
        if not re.fullmatch("[a-z]{5}", guess):
            return StepResult([{"role": "user", "content": "That is no guess. Write five letters as <answer>word</answer>."}])
        marks = mark_letters(guess, self._word)
        placed, self._placed = self._placed, max(self._placed, marks.count("+"))
        reply: Message = {"role": "user", "content": f"{guess}: {marks}"}
        return StepResult([reply], reward=PLACED * (self._placed - placed), done=guess == self._word)

    async def close(self) -> None:
        pass


def mark_letters(guess: str, word: str) -> str:
    """Return a mark for each letter of a guess: + in its place, ? elsewhere in the word, - not in the word.

    A letter that the guess has more often than the word gets as many marks as the word has of it: in its place first, then from the left.

    Example:
        >>> mark_letters("eerie", "theme")
        '?---+'
    """
    marks = ["+" if a == b else "-" for a, b in zip(guess, word, strict=True)]
    left = Counter(b for a, b in zip(guess, word, strict=True) if a != b)
    for place, letter in enumerate(guess):
        if marks[place] == "-" and left[letter]:
            marks[place] = "?"
            left[letter] -= 1
    return "".join(marks)
