"""`check_environment`: the contract of an environment, executable. Gymnasium is imported when it runs, not before."""

from __future__ import annotations

import inspect
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from r1env.data.sources import iterate
from r1env.envs.conversation import ConversationEnv, Episode, StepResult, Tool
from r1env.envs.environment import make_environment
from r1env.envs.suite import fixture_completions, missing_for
from r1env.errors import NoSplitError
from r1env.importing import is_reference
from r1env.plugins import installed
from r1env.scoring import score
from r1env.types import Completion, EndedBy, Message, Rollout, Task

if TYPE_CHECKING:
    import gymnasium

    from r1env.envs.environment import Environment

SEED = 7
NUM_ENVS = 3
SPLIT_TASKS = 200  # of each split are compared
STEPS = 6  # enough for two episodes of a single-turn environment and the resets between them
ACTIONS = (
    "<think>so</think><answer>1</answer>",
    "<think>so</think> The answer is \\boxed{1}.",
    "",
    "no tags at all",
)


def check_environment(env_id: str, **options: Any) -> None:
    """Check that an environment keeps the contract, single and vectorised.

    Gymnasium's own checker passes, its warnings taken as errors. One seed always gives the same tasks. The vectorised form
    shows and scores, under seed `s`, what single environments under the seeds `s`, `s + 1`, … show and score. The splits `train`
    and `test`, where there are two, have no task in common.

    Of an environment of several turns: no text of a model makes it fail, broken tool calls and calls with arguments out of the tools' schemas
    included; tools are described; the same turns bring the same replies, also beside another episode of the same task; and `close` is
    called once, however an episode ends.

    Args:
        env_id: a registered id (`r1env/sort-4`), or `module:attribute` or `file.py:attribute` of an `EnvironmentSpec`.
        options: as for `gymnasium.make`.

    Raises:
        AssertionError: a promise is broken.
    """
    from gymnasium.utils.env_checker import check_env

    env = _single(env_id, options)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # the category of Gymnasium's checker
        warnings.filterwarnings("ignore", ".*render fps.*")  # a text has no frames
        try:
            check_env(env.unwrapped, skip_render_check=is_reference(env_id))  # other modes need an id
        except UserWarning as warning:
            raise AssertionError(f"{env_id}: {warning}") from warning
    env.close()
    _check_seeds(env_id, options)
    _check_vector(env_id, options)
    _check_splits(env_id, options)
    _check_episodes(env_id, options)


def check_fixture(name: str) -> None:
    """Check the fixture of an environment: its checker pays the right completion of each task, and does not pay the wrong one.

    Args:
        name: of an installed environment whose spec has a `fixture`.

    Raises:
        AssertionError: there is no fixture, what it needs is missing, or a completion is not scored as the fixture says.

    Example:
        >>> check_fixture("sort-4")
    """
    fixture = installed().environment(name).fixture
    assert fixture is not None, f"environment {name!r} has no fixture"
    assert not (missing := missing_for(fixture)), f"the fixture of {name!r} cannot be checked here: {missing}"
    environment = make_environment(name, **fixture.options)
    tasks = list(iterate(environment.source, fixture.tasks))
    pairs = [fixture_completions(task, fixture) for task in tasks]
    # One call: a rubric with a sandbox or a judge starts it once.
    rollouts = [Rollout(task=task, completion=text) for task, pair in zip(tasks, pairs, strict=True) for text in pair]
    scores = score(rollouts, environment.rubric)
    for rollout, found, expected in zip(rollouts, scores, [True, False] * len(tasks), strict=True):
        paid = found.parts.get(environment.accuracy, math.nan)
        shown = f"fixture of {name!r}, task {rollout.task.id!r}: the completion {rollout.completion[:100]!r}"
        assert not math.isnan(paid), f"{shown} has no score: {found.reason}"
        assert (paid >= 1.0) is expected, f"{shown} is {'not ' * expected}paid ({paid:g}): {found.reason}"


def _single(env_id: str, options: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    import gymnasium

    from r1env.envs.gym import make

    return make(env_id, **options) if is_reference(env_id) else gymnasium.make(env_id, **options)


def _vector(env_id: str, options: dict[str, Any]) -> Any:
    import gymnasium

    from r1env.envs.gym import make_vec

    if is_reference(env_id):
        return make_vec(env_id, NUM_ENVS, **options)
    return gymnasium.make_vec(env_id, num_envs=NUM_ENVS, **options)


def _of_a_plugin(env_id: str) -> bool:
    """Return whether r1env knows the environment; another may be registered with Gymnasium by other means."""
    from r1env.plugins import installed

    return is_reference(env_id) or env_id.removeprefix("r1env/") in installed().provided("environments")


def _check_seeds(env_id: str, options: dict[str, Any]) -> None:
    envs = [_single(env_id, options) for _ in range(2)]
    for seed in (SEED, SEED + 1, SEED):  # coming back to a seed must bring back its tasks
        first, second = ([_reset(env, seed if n == 0 else None) for n in range(STEPS)] for env in envs)
        _require(first == second, f"{env_id}: two environments under the seed {seed} show different tasks")
        if seed == SEED:
            at_home = first
    _require(first == at_home, f"{env_id}: the seed {SEED} shows other tasks the second time")
    for env in envs:
        env.close()


def _check_vector(env_id: str, options: dict[str, Any]) -> None:
    vector = _vector(env_id, options)
    singles = [_single(env_id, options) for _ in range(NUM_ENVS)]
    observations, infos = vector.reset(seed=SEED)
    _require(observations in vector.observation_space, f"{env_id}: the vector's observations are not in its space")
    expected = [_reset(env, SEED + n) for n, env in enumerate(singles)]
    for n in range(NUM_ENVS):
        found = (observations[n], infos["task_id"][n])
        _require(found == expected[n], f"{env_id}: sub-environment {n} shows another task than the seed {SEED + n} alone")
    ended = [False] * NUM_ENVS
    for step in range(STEPS):
        actions = [ACTIONS[(step + n) % len(ACTIONS)] for n in range(NUM_ENVS)]
        observations, rewards, terminated, truncated, infos = vector.step(actions)
        for n, env in enumerate(singles):
            found_step = (observations[n], float(rewards[n]), bool(terminated[n]), bool(truncated[n]), infos["task_id"][n])
            _require(
                _same(found_step, _next(env, actions[n], ended[n])),
                f"{env_id}: step {step} of sub-environment {n} differs from that of a single environment",
            )
            ended[n] = bool(terminated[n])
    vector.close()
    for env in singles:
        env.close()


def _check_splits(env_id: str, options: dict[str, Any]) -> None:
    from r1env.envs.environment import make_environment

    if not _of_a_plugin(env_id):
        return
    options = {key: value for key, value in options.items() if key != "split"}
    try:
        train, test = (make_environment(env_id, split=name, **options) for name in ("train", "test"))
    except NoSplitError:
        return
    seen, held_out = (_first_tasks(environment) for environment in (train, test))
    common = seen.keys() & held_out.keys() or set(seen.values()) & set(held_out.values())
    _require(not common, f"{env_id}: the splits train and test share a task: {next(iter(common), '')}")


def _first_tasks(environment: Environment) -> dict[str, str]:
    """Return the ids of the first tasks, and what each asks and expects."""
    count = min(SPLIT_TASKS, environment.source.size or SPLIT_TASKS)
    tasks = (environment.task(index, SEED) for index in range(count))
    return {task.id: repr((task.prompt, task.answer)) for task in tasks}


def _check_episodes(env_id: str, options: dict[str, Any]) -> None:
    """What an environment of several turns promises about its episodes."""
    from r1env.envs.environment import make_environment

    if not _of_a_plugin(env_id):
        return
    environment = make_environment(env_id, **options)
    if environment.other is None:
        return
    made: list[_Spy] = []
    make_other = environment.other

    def spied() -> Any:
        other = make_other()
        if not isinstance(other, ConversationEnv):
            return other
        made.append(_Spy(other))
        return made[-1]

    watched = replace(environment, other=spied)
    task = environment.task(0, SEED)
    opened = watched.open(task)
    _require(not opened.error, f"{env_id}: {opened.error}, at the opening")
    _check_tools(env_id, opened.tools)
    texts = list(_turns_of_a_model(opened.tools))
    opened.close()
    _check_texts(env_id, watched, task, texts)
    alone = [_play(watched.open(task), texts[n:] + texts[:n]) for n in (0, 1)]
    beside = [watched.open(task) for _ in range(2)]
    for step in range(len(texts)):
        for n, episode in enumerate(beside):
            if not episode.done:
                episode.submit(Completion(text=texts[(step + n) % len(texts)]))
    for n, episode in enumerate(beside):
        episode.close()
        _require(
            _said(episode) == alone[n],
            f"{env_id}: two episodes of one task side by side bring other replies than each alone: they share state, or are random",
        )
    for spy in made:
        _require(spy.closed == 1, f"{env_id}: close was called {spy.closed} times for one episode")


class _Spy:
    """A `ConversationEnv` that hands everything to another one and counts the calls of `close`."""

    def __init__(self, env: ConversationEnv) -> None:
        self.tools = env.tools
        self.closed = 0
        self._env = env

    async def reset(self, task: Task) -> Sequence[Message]:
        opening = self._env.reset(task)
        return await opening if inspect.isawaitable(opening) else opening

    async def step(self, message: Message) -> StepResult:
        result = await self._env.step(message)
        if isinstance(result, StepResult):
            if result.reward is not None and not math.isfinite(result.reward):
                raise ValueError(f"the reward of a turn is {result.reward}")
            json.dumps(dict(result.info))  # it is logged
        return result

    async def close(self) -> None:
        self.closed += 1
        closing = self._env.close()
        if inspect.isawaitable(closing):
            await closing


def _check_tools(env_id: str, tools: Sequence[Tool]) -> None:
    names = [tool.name for tool in tools]
    _require(len(set(names)) == len(names), f"{env_id}: two tools have the same name: {', '.join(names)}")
    for tool in tools:
        what = f"{env_id}: the tool {tool.name!r}"
        _require(tool.name.isidentifier(), f"{what} has a name that is no identifier")
        _require(bool(tool.description.strip()), f"{what} has no description; write a docstring, the model reads it")
        _require(tool.parameters.get("type") == "object", f"{what}: its parameters must be the JSON schema of an object")
        try:
            json.dumps(tool.as_function())
        except TypeError as error:
            raise AssertionError(f"{what}: its schema is no JSON: {error}") from error


def _turns_of_a_model(tools: Sequence[Tool]) -> Iterator[str]:
    """Yield what a model may write: calls of each tool with arguments of the right and of the wrong types, broken calls, and texts."""
    values: Mapping[str, Any] = {"integer": 1, "number": 0.5, "boolean": True, "string": "a", "array": [], "object": {}}
    for tool in tools:
        properties = tool.parameters.get("properties", {})
        fitting = {name: values.get(schema.get("type", "string"), "a") for name, schema in properties.items()}
        for arguments in (fitting, dict.fromkeys(properties, "\ud800 no \x00"), dict.fromkeys(properties), {}, {"no_such": 1}):
            yield _call(tool.name, arguments)
        yield _call(tool.name, fitting) * 3
    if tools:
        yield _call("no_such_tool", {})
        yield "<tool_call>{not json</tool_call>"
        yield f'<tool_call>{{"name": "{tools[0].name}", "argu'
        yield f'<tool_call>{{"name": "{tools[0].name}", "arguments": "text"}}</tool_call>'
    yield from ("1", "", "no number at all", "\ud800\x00", "١٢ ² ½", "9" * 5000, "-1e999", "a" * 100_000, *ACTIONS)


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def _check_texts(env_id: str, environment: Environment, task: Task, texts: Sequence[str]) -> None:
    """Each text as the first turn of an episode, which must not fail."""
    for text in texts:
        episode = environment.open(task)
        episode.submit(Completion(text=text))
        _require(
            not episode.error, f"{env_id}: {episode.error}, when the model wrote {text[:80]!r}; answer it, or end the episode"
        )
        calls = {call["id"] for call in episode.messages[-1 - len(episode.replies)].get("tool_calls", ())}
        for reply in episode.replies:
            if reply["role"] == "tool":
                _require(reply.get("tool_call_id") in calls, f"{env_id}: a reply of role tool has no tool_call_id of a call")
        episode.close()


def _play(episode: Episode, texts: Sequence[str]) -> list[tuple[Any, ...]]:
    for text in texts:
        if not episode.done:
            episode.submit(Completion(text=text))
    episode.close()
    return _said(episode)


def _said(episode: Episode) -> list[tuple[Any, ...]]:
    if episode.turns == 0 or episode.ended_by is EndedBy.ERROR:
        return [(episode.error,)]
    return [(turn.replies, turn.reward) for turn in episode.rollout().turns]


def _reset(env: gymnasium.Env[Any, Any], seed: int | None) -> tuple[Any, str]:
    observation, info = env.reset(seed=seed)
    return observation, info["task_id"]


def _next(env: gymnasium.Env[Any, Any], action: str, ended: bool) -> tuple[Any, float, bool, bool, str]:
    """Return the single environment's step; or, after its end, the reset that the vector form makes of a step."""
    if ended:
        observation, task_id = _reset(env, None)
        return observation, 0.0, False, False, task_id
    observation, reward, terminated, truncated, info = env.step(action)
    return observation, float(reward), terminated, truncated, info["task_id"]


def _same(found: tuple[Any, float, bool, bool, str], expected: tuple[Any, float, bool, bool, str]) -> bool:
    rewards_agree = found[1] == expected[1] or (math.isnan(found[1]) and math.isnan(expected[1]))
    return rewards_agree and (found[0], *found[2:]) == (expected[0], *expected[2:])


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
