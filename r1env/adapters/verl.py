"""The reward function for verl (`reward.custom_reward_function`).

verl knows numbers only: a score without a value becomes **the number `unscored` (0.0 unless set), with `error` = 1** beside it.
Name this module itself on the command line,

    reward.custom_reward_function.path=pkg://r1env.adapters.verl
    +reward.custom_reward_function.reward_kwargs.rubric=zero
    +reward.custom_reward_function.reward_kwargs.unscored=0.0

or a file of your own that says `compute_score = reward_function(...)`; `r1env export --to verl` writes one.

verl runs eight reward processes (`reward.num_workers`), each with scoring workers of its own: set R1ENV_WORKERS, two are plenty. Or let
all of them ask one reward server (`r1env serve`):

    reward.custom_reward_function.path=pkg://r1env.adapters.verl
    reward.custom_reward_function.name=remote_compute_score
    +reward.custom_reward_function.reward_kwargs.url=http://rewards:8000
"""

from __future__ import annotations

import functools
import http.client
import json
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from r1env.adapters.core import (
    ERROR,
    TASK_FIELD,
    check_unscored,
    leading,
    load_rubric,
    numbers,
    rollout_of,
    score_items,
    task_field,
    task_of,
)
from r1env.data.layouts import plain_data
from r1env.errors import UsageError
from r1env.rubrics import AnyRubric, Rubric
from r1env.runs.files import to_json
from r1env.types import Rollout, Score, Task

TESTED_WITH = "verl 0.9.1"

logger = logging.getLogger(__name__)

RESERVED = frozenset({"score", "acc", ERROR, "reward", "data_source", "reward_model", "extra_info", "uid", "index"})
"""Names in verl's batch. Each key of our result becomes one of them."""

PROMPT_FIELDS = ("prompt", "question")
"""Where `extra_info` may hold the prompt, which verl does not pass."""

ComputeScore = Callable[..., dict[str, float]]


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    rubric: str = "zero",
    accuracy: str = "math",
    unscored: float = 0.0,
    **kwargs: Any,
) -> dict[str, float]:
    """Score one response, as verl calls it. The last three named arguments are `reward_kwargs`; see `reward_function`."""
    compute = _made_once(rubric, accuracy, unscored)
    return compute(data_source, solution_str, ground_truth, extra_info, **kwargs)


def remote_compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    url: str,
    timeout: float = 300.0,
    unscored: float = 0.0,
    **_: Any,
) -> dict[str, float]:
    """Score one response on a reward server (`r1env serve`); `url`, `timeout` and `unscored` are `reward_kwargs`.

    A server that is busy or away is asked again, for `timeout` seconds altogether; then the response has no score: `unscored`, and
    `error` = 1.

    Args:
        url: of the server, such as `http://rewards:8000`, or `http://rewards:8000/token/TOKEN` where it wants a token.

    Raises:
        UsageError: the server cannot be reached for its first answer, or refuses the request; the job would have no rewards at all.
    """
    remote = _remote(url, timeout)
    request = {
        "solution_str": solution_str,
        "ground_truth": plain_data(ground_truth),
        "extra_info": plain_data({**(extra_info or {})}),
    }
    request["data_source"] = data_source
    try:
        return dict(remote.ask("/verl", request))
    except TimeoutError as error:
        logger.warning("no score from %s: %s", remote.host, error)
        parts = dict.fromkeys(remote.part_keys, unscored)
        return {"score": unscored, "acc": min(1.0, max(0.0, unscored)), ERROR: 1.0, **parts}


def reward_function(rubric: AnyRubric, *, accuracy: str = "math", unscored: float = 0.0) -> ComputeScore:
    """Return a `compute_score` with the rubric bound: synchronous, from any thread.

    It returns `score` (the rubric's value), `acc` (its first reward, which verl takes as the accuracy: DAPO filters by it), `error` and
    every part: numbers, finite, under the same keys whatever happens. Parts are what `algorithm.gdpo_reward_keys` names.

    Args:
        rubric: a preset, a YAML file, a reward's name, or any of these as objects.
        accuracy: the reward that `accuracy` stands for in the rubric.
        unscored: `score`, and any part, where there is no value.

    Raises:
        UsageError: an unknown name, a reward whose name verl has taken or whose scope is `group`, or an `unscored` that is not finite.
    """
    loaded, fallback = load_rubric(rubric, accuracy=accuracy, reserved=RESERVED, one_by_one="verl"), check_unscored(unscored)

    def compute(
        data_source: str, solution_str: str, ground_truth: Any, extra_info: Mapping[str, Any] | None = None, **_: Any
    ) -> dict[str, float]:
        """Score one response. What else verl may pass, a reward model's address and tokenizer, is not for rules."""
        item = (solution_str, {**(extra_info or {}), "data_source": data_source, "ground_truth": ground_truth})
        (score,) = score_items([item], rollout_of_solution, loaded)
        return answer(score, loaded, fallback)

    return compute


def answer(score: Score, rubric: Rubric, unscored: float) -> dict[str, float]:
    """Return what verl is told: `score`, `acc`, `error` and every part."""
    value = unscored if score.value is None else score.value
    return {"score": value, "acc": leading(score, rubric, unscored), **numbers(score, rubric, unscored)}


def rollout_of_solution(item: tuple[str, Mapping[str, Any]]) -> Rollout:
    """Return the rollout of a response and the fields of its row.

    Raises:
        TypeError, ValueError: the fields hold no task.
    """
    solution, fields = item
    prompt = next((fields[name] for name in PROMPT_FIELDS if fields.get(name) is not None), "")
    return rollout_of(task_of(prompt, fields), solution)


def row_of(task: Task, data_source: str = "r1env") -> dict[str, Any]:
    """Return a row of verl's parquet file that brings the task whole to the reward. `data_source` names the curve in its plots.

    To show the model another prompt (a template's rendering), replace `prompt`; the task keeps its own.
    """
    return {
        "data_source": data_source,
        "prompt": [dict(message) for message in task.prompt],
        "reward_model": {"style": "rule", "ground_truth": task.answer or ""},
        "extra_info": {"index": task.id, TASK_FIELD: task_field(task)},
    }


class _Remote:
    """A reward server. The keys of its parts are asked for once, so that an answer without a score has them too."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout
        self.host = urllib.parse.urlsplit(url).hostname or url  # for messages: the URL may hold the token
        try:
            self.part_keys: Sequence[str] = self.ask("/v1/rubric")["part_keys"]
        except TimeoutError as error:
            raise UsageError(f"the reward server at {self.host} cannot be reached: {error}") from error

    def ask(self, path: str, request: Mapping[str, Any] | None = None) -> Any:
        """Return the answer to a request.

        Raises:
            TimeoutError: there was none in time.
            UsageError: the server refuses the request.
        """
        data = None if request is None else to_json(request).encode()
        asked = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"})
        deadline, wait, last = time.monotonic() + self._timeout, 0.1, "no answer"
        while (left := deadline - time.monotonic()) > 0:
            try:
                with urllib.request.urlopen(asked, timeout=left) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                if error.code not in RETRIED:
                    raise UsageError(
                        f"the reward server at {self.host} refused a request: {error.code} {error.reason}"
                    ) from error
                last = f"{error.code} {error.reason}"
            except (OSError, http.client.HTTPException, ValueError) as error:  # refused, reset, cut off
                last = f"{type(error).__name__}: {error}"
            time.sleep(min(wait, max(0.0, deadline - time.monotonic())))
            wait = min(2 * wait, 5.0)
        raise TimeoutError(f"{last}, for {self._timeout:g} s")


RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_remote = functools.cache(_Remote)


@functools.cache
def _made_once(rubric: str, accuracy: str, unscored: float) -> ComputeScore:
    return reward_function(rubric, accuracy=accuracy, unscored=unscored)
