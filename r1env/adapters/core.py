"""From a stack's items to scores, and what becomes of a score without a value where a stack knows only numbers."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from r1env.config import validate
from r1env.data.layouts import Reading, example_of, language_of, mapped, plain_data, recognise
from r1env.data.rows import ColumnMap
from r1env.errors import DataError, UnknownNameError, UsageError
from r1env.importing import is_reference, load_object
from r1env.plugins import Plugins, installed
from r1env.prompts import END_TOKENS, THINK_CLOSE, THINK_OPEN
from r1env.rewards import Isolation, Reward
from r1env.rubrics import (
    AnyRubric,
    RewardChoice,
    Rubric,
    RubricSpec,
    WeightedReward,
    as_rubric,
    find_rubric,
    is_reward,
    name_accuracy,
    refuse_group_rewards,
    resolve_rubric,
)
from r1env.scoring import score as score_rollouts
from r1env.scoring.pool import ScoringPool, pack_reward
from r1env.types import Conversation, Message, Rollout, Score, Status, Task, TaskKind

logger = logging.getLogger(__name__)

T = TypeVar("T")

ERROR = "error"
"""The metric that is 1 where there was no score, else 0."""


def rubric_spec(given: RubricSpec | Mapping[str, Any] | str, plugins: Plugins | None = None) -> RubricSpec | Rubric:
    """Return the rubric that is given as a mapping or by name; see `find_rubric`. A reward's name makes a rubric of one.

    Raises:
        UsageError: it is no rubric; the message names the first fault.
    """
    if isinstance(given, RubricSpec):
        return given
    if not isinstance(given, str):
        return validate(RubricSpec, given, where="rubric")
    plugins = plugins or installed()
    if given in plugins.provided("rubrics") or Path(given).is_file():
        return find_rubric(given, plugins)
    if is_reference(given) and not is_reward(found := load_object(given, "rubric or reward")):
        return as_rubric(found, given)
    return RubricSpec(name=given, rewards=(RewardChoice(reward=given),))


def load_rubric(
    given: AnyRubric,
    *,
    accuracy: str = "math",
    reserved: Collection[str] = (),
    one_by_one: str = "",
    plugins: Plugins | None = None,
) -> Rubric:
    """Return what scores, checked as far as possible before the first rollout.

    Args:
        given: see `AnyRubric`. A reward becomes a rubric of one.
        accuracy: the reward that `accuracy` stands for.
        reserved: names that the stack has for its own; no part may be called so.
        one_by_one: name of a stack that hands over one response at a time, where a reward of scope `group` cannot work.
        plugins: where names are looked up; by default what is installed.

    Raises:
        UsageError: an unknown name, a part with a reserved name, a group reward where there are no groups, or a reward that cannot be
            sent to a worker.
    """
    if isinstance(given, Reward):
        rubric = Rubric(given.name, [WeightedReward(given)])
    elif isinstance(given, Rubric):
        rubric = given
    else:
        rubric = _resolve(given, accuracy, plugins or installed())
    for key in rubric.part_keys:
        if key in reserved:
            raise UsageError(f"a reward cannot be called {key!r} here: that name is taken; rename it")
    if one_by_one:
        refuse_group_rewards(rubric, one_by_one)
    for item in rubric.rewards:
        if item.reward.isolation is Isolation.PROCESS:
            pack_reward(item.reward)  # raises now what would otherwise cost every rollout its score
    return rubric


def rubric_from_environment() -> tuple[Rubric, float]:
    """Return the rubric and the number for a score without a value, for stacks that name a function and give it no options.

    The variables are R1ENV_RUBRIC (default `zero`), R1ENV_ACCURACY (`math`) and R1ENV_UNSCORED (0.0).

    Raises:
        UsageError: an unknown name, or a number that is none.
    """
    given = os.environ.get("R1ENV_UNSCORED", "0.0")
    try:
        unscored = float(given)
    except ValueError as error:
        raise UsageError(f"R1ENV_UNSCORED is {given!r}; it must be a number") from error
    loaded = load_rubric(os.environ.get("R1ENV_RUBRIC", "zero"), accuracy=os.environ.get("R1ENV_ACCURACY", "math"))
    return loaded, check_unscored(unscored)


def score_items(
    items: Sequence[T], to_rollout: Callable[[T], Rollout], rubric: Rubric, *, pool: ScoringPool | None = None
) -> list[Score]:
    """Return a score for each item, in order, in one call of the rewards. Raises nothing on account of an item or of a reward.

    An item that makes no rollout gets a score without a value, as does everything when the scoring itself breaks down.

    Args:
        pool: workers to use instead of those of the process.
    """
    rollouts: list[Rollout] = []
    failures: dict[int, Score] = {}
    for place, item in enumerate(items):
        try:
            rollouts.append(to_rollout(item))
        except Exception as error:  # noqa: BLE001 - a row that cannot be read costs its own score, not the training job
            failures[place] = _failure(rubric, "cannot read the row", error)
    try:
        scores = iter(score_rollouts(rollouts, rubric, pool=pool))
    except Exception as error:  # noqa: BLE001 - the stack has no answer to an exception but to end the job
        scores = iter([_failure(rubric, "scoring broke down", error)] * len(rollouts))
    together = [failures[place] if place in failures else next(scores) for place in range(len(items))]
    _log_failures(together)
    return together


def numbers(score: Score, rubric: Rubric, unscored: float) -> dict[str, float]:
    """`error` and every part: finite numbers under the same keys, whatever happened. A part without a value becomes `unscored`."""
    parts = {key: score.parts.get(key, math.nan) for key in rubric.part_keys}
    return {
        ERROR: float(score.value is None),
        **{key: part if math.isfinite(part) else unscored for key, part in parts.items()},
    }


def leading(score: Score, rubric: Rubric, unscored: float) -> float:
    """Return how right the answer was, apart from its form: the part of the rubric's first reward, within 0 and 1.

    Stacks filter groups by it, and plot it as the accuracy.
    """
    part = score.parts.get(rubric.rewards[0].reward.name, math.nan)
    return min(1.0, max(0.0, part if math.isfinite(part) else unscored))


def check_unscored(unscored: float) -> float:
    """Return the number for a score without a value.

    Raises:
        UsageError: it is not finite.
    """
    if not math.isfinite(unscored):
        raise UsageError(f"unscored is {unscored}; it must be finite, for this stack cannot carry anything else")
    return float(unscored)


def _resolve(given: RubricSpec | Mapping[str, Any] | str, accuracy: str, plugins: Plugins) -> Rubric:
    spec = rubric_spec(given, plugins)
    try:
        return resolve_rubric(name_accuracy(spec, accuracy), plugins.reward)
    except UnknownNameError as error:
        if error.name == spec.name:  # a name alone, which may have been meant for either
            known = [*plugins.provided("rubrics"), *plugins.provided("rewards")]
            raise UnknownNameError("rubric or reward", error.name, known, hint="(or give the path of a YAML file)") from error
        raise


def _failure(rubric: Rubric, what: str, error: Exception) -> Score:
    reason = f"{what}: {type(error).__name__}: {error}".splitlines()[0]
    return Score.failure(Status.ERROR, reason, parts=rubric.part_keys)


def _log_failures(scores: Sequence[Score]) -> None:
    failed = [score for score in scores if score.failed]
    if failed:
        counts = ", ".join(f"{count} {status}" for status, count in Counter(score.status.value for score in failed).items())
        logger.warning("no score for %d of %d rollouts (%s): %s", len(failed), len(scores), counts, failed[0].reason[:200])


# A row of another stack's data set as a `Rollout`, and a `Task` as a field of such a row. Pure functions.
#
# Stacks carry a row as columns, as an `extra_info` mapping, or as one label text, and libraries in between fill gaps with None and turn
# lists into arrays. A task that was written with `task_field` arrives whole through all of that; other rows are read by their
# field names.

TASK_FIELD = "r1env_task"
"""Name of the field that carries a whole task, as JSON text."""

ID_FIELDS = ("id", "task_id", "index")


def task_field(task: Task) -> str:
    """Return the whole task as JSON text, to be put into a row under `TASK_FIELD`. In ASCII, since text may hold lone surrogates.

    What JSON has no form for comes back as what it has: tuples as lists, keys as text.

    Raises:
        TypeError: its metadata or tests hold something that is no data.
    """
    return json.dumps(task.model_dump())


def task_of(prompt: object, fields: Mapping[str, Any], *, answer_field: str | None = None) -> Task:
    """Return the task of a row.

    A row with `TASK_FIELD` is that task. Any other is read by its layout (see `r1env.data.layouts`), which is recognised by its columns: the
    reference, the tests, the options and the kind. Every column goes to the metadata too: plain data as it is, arrays as lists, other
    objects as None. What a row has in place of a reference or of tests may be meant for a reward of the user's own: if it cannot be read, the
    task has none, which is logged, and a reward that needs it leaves the rollout without a score.

    Args:
        prompt: text or messages, as the model saw them.
        fields: the row's other columns.
        answer_field: the path of the reference answer, where the columns do not say it by themselves.

    Raises:
        TypeError, ValueError: the prompt is neither text nor messages, or `TASK_FIELD` holds no task.
    """
    if fields.get(TASK_FIELD):
        carried = fields[TASK_FIELD]
        return Task.model_validate(json.loads(carried) if isinstance(carried, str) else carried)
    conversation = conversation_of(prompt if isinstance(prompt, str) else plain_data(prompt))
    plain = plain_data(dict(fields))
    row = {**plain, "prompt": [dict(message) for message in conversation]}
    if "ground_truth" in plain and "reward_model" not in plain:  # verl hands the reference over without what was around it
        row["reward_model"] = {"ground_truth": plain["ground_truth"]}
    layout = mapped(ColumnMap({"question": "prompt", "answer": answer_field})) if answer_field else recognise(row)
    try:
        example = example_of(row, layout, reading=Reading(keep_instruction=True, needs_question=False))
    except DataError as error:
        _warn_once(str(error))
        return Task(id=_id(plain, conversation, None), prompt=conversation, metadata=plain)
    answer, derived = example.answer, {key: value for key, value in example.metadata.items() if key not in row}
    if layout.answer_is == "first" and answer is not None:  # in which order the model saw the options is not known here
        answer = example.metadata["options"][answer]
        derived.pop("options", None)
    return Task(
        id=_id(plain, conversation, answer),
        prompt=conversation,
        answer=answer,
        tests=example.tests,
        kind=example.kind or TaskKind.CHAT,
        language=language_of(row),
        metadata={**{key: value for key, value in plain.items() if example.columns.get(key) != "tests"}, **derived},
    )


@functools.lru_cache(maxsize=64)
def _warn_once(fault: str) -> None:
    logger.warning("a row without a reference or tests that can be read: %s", fault)


def rollout_of(task: Task, completion: object, token_ids: Sequence[int] | None = None) -> Rollout:
    """Return the rollout of a task.

    Args:
        completion: the model's text; or the messages after the prompt, of which the last by the assistant is the completion.
        token_ids: of all that follows the prompt; kept where that is the completion alone.

    Raises:
        TypeError, ValueError: the completion is neither text nor messages.
    """
    tokens = None if token_ids is None else tuple(token_ids)
    if isinstance(completion, str):
        return Rollout(task=task, completion=completion, token_ids=tokens)
    messages = conversation_of(completion)
    turns = [message["content"] for message in messages if message["role"] == "assistant"]
    return Rollout(
        task=task,
        completion=turns[-1] if turns else "",
        messages=(*task.prompt, *messages),
        token_ids=tokens if len(messages) == 1 else None,
    )


def _id(fields: Mapping[str, Any], prompt: Conversation, answer: str | None) -> str:
    """Return the row's own, else one that follows from what is asked, so that it is the same in every run."""
    for name in ID_FIELDS:
        if isinstance(fields.get(name), str | int):
            return str(fields[name])
    asked = json.dumps([prompt, answer])
    return hashlib.blake2b(asked.encode(), digest_size=8).hexdigest()


# The model's text out of what a stack hands over: plain text, messages, content blocks, or prompt and response in one.
#
# Pure functions, linear in the length of the text, which is a model's and may be hostile.

REASONING_KEYS = ("reasoning_content", "thinking")
"""Where chat parsers put the thinking that they cut out of the content."""

SHORTEST_OVERLAP = 16
"""Characters of the prompt's end that must stand at the head of the query: fewer could be there by chance."""


def text_of(content: object) -> str:
    """Return a message's content as text: itself, or the text blocks of it joined; nothing for None.

    Raises:
        TypeError: it is neither.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and all(isinstance(block, Mapping) for block in content):
        return "".join(str(block["text"]) for block in content if block.get("text") is not None)
    raise TypeError(f"expected text or content blocks, got {type(content).__name__}")


def conversation_of(prompt: object) -> Conversation:
    """Messages with text content. A text is one user message; thinking that was cut out of a message is put back.

    Raises:
        TypeError: it is neither text nor messages.
    """
    if isinstance(prompt, str):
        return ({"role": "user", "content": prompt},)
    if isinstance(prompt, Sequence) and all(isinstance(message, Mapping) for message in prompt):
        return tuple(map(_message, prompt))
    raise TypeError(f"expected text or messages, got {type(prompt).__name__}")


def without_end_tokens(text: str, end_tokens: Sequence[str] = END_TOKENS) -> str:
    """Return the text without the end-of-turn tokens it closes with, and without white space between and after those."""
    kept = end = len(text)
    while True:
        while end and text[end - 1].isspace():
            end -= 1
        token = next((token for token in end_tokens if token and text.endswith(token, 0, end)), None)
        if token is None:
            return text[:kept]
        kept = end = end - len(token)


def after_prompt(query: str, prompt: str) -> str | None:
    """Return the response in a query that is prompt and response in one; None where the prompt cannot be found at its head.

    The prompt may come back changed by its way through the tokenizer: cut on the left to fit the context, or with other white
    space. So what is looked for is the longest end of the prompt with which the query begins, white space aside.
    """
    if query.startswith(prompt):
        return query[len(prompt) :]
    known = [character for character in prompt if _counts(character)]
    places = list(islice((place for place, character in enumerate(query) if _counts(character)), len(known)))
    overlap = _overlap(known, [query[place] for place in places])
    if overlap < min(len(known), SHORTEST_OVERLAP):
        return None
    return query[places[overlap - 1] + 1 :].lstrip() if overlap else query.lstrip()


def _message(message: Mapping[str, object]) -> Message:
    content = text_of(message.get("content"))
    for key in REASONING_KEYS:
        thinking = message.get(key)
        if isinstance(thinking, str) and thinking:
            content = f"{THINK_OPEN}\n{thinking}\n{THINK_CLOSE}\n{content}"
            break
    return {"role": str(message.get("role", "user")), "content": content}


def _counts(character: str) -> bool:
    """Return False for what a tokenizer may add, drop or break: white space, and the mark of half a character at a cut."""
    return not character.isspace() and character != "\ufffd"


def _overlap(ending: Sequence[str], beginning: Sequence[str]) -> int:
    """Length of the longest end of `ending` that `beginning` starts with (Knuth-Morris-Pratt)."""
    fallback = [0] * len(beginning)
    matched = 0
    for place in range(1, len(beginning)):
        while matched and beginning[place] != beginning[matched]:
            matched = fallback[matched - 1]
        matched += beginning[place] == beginning[matched]
        fallback[place] = matched
    matched = 0
    for character in ending:
        while matched and (matched == len(beginning) or character != beginning[matched]):
            matched = fallback[matched - 1]
        matched += bool(beginning) and matched < len(beginning) and character == beginning[matched]
    return matched
