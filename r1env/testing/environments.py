"""`check_environment`: the contract of an environment, executable. Gymnasium is imported when it runs, not before."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from r1env.errors import NoSplitError

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

    Args:
        env_id: a registered id (`r1env/sort-4`).
        options: as for `gymnasium.make`.

    Raises:
        AssertionError: a promise is broken.
    """
    import gymnasium
    from gymnasium.utils.env_checker import check_env

    env = gymnasium.make(env_id, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # the category of Gymnasium's checker
        warnings.filterwarnings("ignore", ".*render fps.*")  # a text has no frames
        try:
            check_env(env.unwrapped)
        except UserWarning as warning:
            raise AssertionError(f"{env_id}: {warning}") from warning
    env.close()
    _check_seeds(env_id, options)
    _check_vector(env_id, options)
    _check_splits(env_id, options)


def _check_seeds(env_id: str, options: dict[str, Any]) -> None:
    import gymnasium

    envs = [gymnasium.make(env_id, **options) for _ in range(2)]
    for seed in (SEED, SEED + 1, SEED):  # coming back to a seed must bring back its tasks
        first, second = ([_reset(env, seed if n == 0 else None) for n in range(STEPS)] for env in envs)
        _require(first == second, f"{env_id}: two environments under the seed {seed} show different tasks")
        if seed == SEED:
            at_home = first
    _require(first == at_home, f"{env_id}: the seed {SEED} shows other tasks the second time")
    for env in envs:
        env.close()


def _check_vector(env_id: str, options: dict[str, Any]) -> None:
    import gymnasium

    vector = gymnasium.make_vec(env_id, num_envs=NUM_ENVS, **options)
    singles = [gymnasium.make(env_id, **options) for _ in range(NUM_ENVS)]
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
    from r1env.plugins import installed

    if env_id.removeprefix("r1env/") not in installed().provided("environments"):
        return  # registered with Gymnasium by other means
    options = {key: value for key, value in options.items() if key != "split"}
    try:
        train, test = (make_environment(env_id, split=name, **options) for name in ("train", "test"))
    except NoSplitError:
        return
    seen, held_out = (_first_tasks(environment) for environment in (train, test))
    common = seen.keys() & held_out.keys() or set(seen.values()) & set(held_out.values())
    _require(not common, f"{env_id}: the splits train and test share a task: {next(iter(common), '')}")


def _first_tasks(environment: Environment) -> dict[str, str]:
    """The ids of the first tasks, and what each asks and expects."""
    count = min(SPLIT_TASKS, environment.source.size or SPLIT_TASKS)
    tasks = (environment.task(index, SEED) for index in range(count))
    return {task.id: repr((task.prompt, task.answer)) for task in tasks}


def _reset(env: gymnasium.Env[Any, Any], seed: int | None) -> tuple[Any, str]:
    observation, info = env.reset(seed=seed)
    return observation, info["task_id"]


def _next(env: gymnasium.Env[Any, Any], action: str, ended: bool) -> tuple[Any, float, bool, bool, str]:
    """The single environment's step; or, after its end, the reset that the vector form makes of a step."""
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
