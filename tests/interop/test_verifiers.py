"""verifiers' released package plays our environments, and we play its tasksets."""

from __future__ import annotations

import json

import pytest
from scripted_model import scripted_model

pytestmark = [pytest.mark.nightly]


def evaluate(environment, taskset, url, *settings):
    """Run `vf-eval` offline; return its episodes."""
    command = [
        "-m",
        "stub",
        "--client.base-url",
        url,
        "--client.api-key-var",
        "STUB_KEY",
        "--no-push",
        "--no-rich",
        "-o",
        "out",
    ]
    environment.run("vf-eval", taskset, *command, "--env.player.runtime.type", "subprocess", *settings)
    (traces,) = (environment.folder / "out").glob("*/traces.jsonl")
    return [json.loads(line) for line in traces.read_text("utf-8").splitlines()]


def test_vf_eval_plays_our_environment_turn_by_turn_with_our_rubric(interop):
    environment = interop("verifiers")
    options = ["--env.taskset.environment", "guess-number", "--env.taskset.num-tasks", "8", "-n", "8", "-r", "1"]
    with scripted_model() as url:
        episodes = evaluate(environment, "r1env-verifiers", url, *options)
    assert len(episodes) == 8
    for episode in episodes:
        (trace,) = episode["traces"]
        secret = int(json.loads(episode["task"]["data"]["r1env_task"])["answer"])
        turns = sum(node["sampled"] for node in trace["nodes"])
        assert episode["ok"]
        # The model says 0, 1, 2, …: it wins at the secret, if that comes within seven turns.
        assert (trace["rewards"]["rubric"]["score"], turns) == ((1.0, secret + 1) if secret < 7 else (0.0, 7))


def test_a_score_without_a_value_is_a_failed_trace_and_no_zero(interop):
    environment = interop("verifiers")
    (environment.folder / "rewards.yaml").write_text("name: mine\nrewards:\n  - reward: abstains.py:abstain\n")
    (environment.folder / "abstains.py").write_text("def abstain(completion):\n    return None\n")
    with scripted_model() as url:
        (episode,) = evaluate(environment, "r1env-verifiers", url, "--env.taskset.rubric", "rewards.yaml", "-n", "1", "-r", "1")
    assert not episode["ok"]
    assert episode["traces"][0]["rewards"]["rubric"] is None


TASKSET = """
import verifiers.v1 as vf

class Data(vf.TaskData):
    secret: int = 0

class Riddle(vf.Task[Data]):
    @vf.reward(weight=0.5)
    async def polite(self, trace) -> float:
        return float("please" in trace.last_reply)

class Config(vf.TasksetConfig):
    count: int = 3

class Seats(vf.EnvConfig):
    player: vf.AgentConfig = vf.AgentConfig()

class Game(vf.Env[Seats]):
    async def run(self, task, agents):
        async with agents.player.interaction(task) as talk:
            reply = await talk.turn()
            while not reply.terminated and str(task.data.secret) not in reply.last_reply:
                if "quit" in reply.last_reply:
                    raise RuntimeError("the player has left")
                reply = await talk.turn("wrong")
        talk.trace.record_reward("won", 1.0)

class Riddles(vf.Taskset[Riddle, Config]):
    def load(self):
        for number in range(self.config.count):
            yield Riddle(Data(prompt="Which number?", system_prompt="Be brief.", secret=number), self.config.task)

__all__ = ["Riddles", "Game"]
"""

PLAY = """
import json
import r1env
from r1env.engines import SamplingParams, ScriptedEngine
from r1env.rollout import play

environment = r1env.make_environment("verifiers:riddles", count=2)
found = [environment.source.size]
for text in ("1 please", "0", "quit"):
    tasks = [(environment, environment.task(index)) for index in range(environment.source.size)]
    rollouts = [one.episode.rollout() for one in play(tasks, ScriptedEngine(text), SamplingParams())]
    scores = r1env.score(rollouts, environment.rubric)
    found.append([[score.value, len(rollout.turns), rollout.error] for score, rollout in zip(scores, rollouts)])
for place in ({"package": "os", "options": "{}", "index": 1}, {"package": "riddles", "index": 2}):  # a client of a server sends tasks
    episode = environment.open(environment.task(0).model_copy(update={"metadata": {"verifiers": place}}))
    found.append(episode.error)
    episode.close()
print(json.dumps(found))
"""


def test_we_play_a_taskset_of_theirs_with_its_own_rewards(interop):
    environment = interop("verifiers")
    (environment.folder / "riddles.py").write_text(TASKSET)
    (environment.folder / "play.py").write_text(PLAY)
    size, polite, zero, leaving, other_package, no_place = json.loads(environment.run("python", "play.py").splitlines()[-1])
    assert size == 2
    assert polite[1] == [1.5, 1, ""]
    assert zero[0] == [1.0, 1, ""]
    assert zero[1][:2] == [None, 64]  # it never guesses right, and a limit ends the episode: nothing was judged
    assert leaving[0][0] is None
    assert "the player has left" in leaving[0][2]
    assert other_package == ""  # the environment's own package is played, whatever the task names
    assert "names no place from 0 to 1" in no_place


def test_an_exported_package_has_its_environment_fixed(interop):
    environment = interop("verifiers")
    environment.run("python", "-m", "r1env", "verifiers", "export", "--env", "sort-4", "--output", "r1env-mine")
    (environment.folder / "r1env_mine").symlink_to(environment.folder / "r1env-mine/r1env_mine")
    with scripted_model() as url:
        episodes = evaluate(environment, "r1env-mine", url, "-n", "2", "-r", "1")
    assert [json.loads(episode["task"]["data"]["r1env_task"])["kind"] for episode in episodes] == ["logic", "logic"]
    assert [episode["traces"][0]["rewards"]["rubric"]["score"] for episode in episodes] == [0.0, 0.0]
