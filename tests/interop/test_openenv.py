"""OpenEnv's released client plays an environment of ours."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import r1env

pytestmark = [pytest.mark.nightly]

CLIENT = """
import json, sys
from openenv.core.generic_client import GenericEnvClient

url, answer = sys.argv[1:]
with GenericEnvClient(base_url=url).sync() as env:
    found = [env.reset(index=2).done]
    for text in ("<think>a</think><answer>-1</answer>", f"<think>a</think><answer>{answer}</answer>"):
        step = env.step({"text": text})
        found.append([step.reward, step.done, len(step.observation["messages"])])
    try:
        env.step({"words": "?"})
    except RuntimeError as error:
        found.append("VALIDATION_ERROR" in str(error))
    found.append(env.reset(seed=1).done)
print(json.dumps(found))
"""


def test_the_released_client_plays_an_episode(interop):
    environment = interop("openenv")
    (environment.folder / "client.py").write_text(CLIENT)
    answer = r1env.make_environment("guess-number").task(2).answer
    command = [sys.executable, "-m", "r1env", "serve", "--env", "guess-number", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            url = next(
                word for line in server.stderr if "running on" in line for word in line.split() if word.startswith("http")
            )
            told = environment.run("python", "client.py", url, str(answer))
        finally:
            server.terminate()
            server.stderr.close()
    assert json.loads(told.splitlines()[-1]) == [False, [None, False, 1], [1.0, True, 0], True, False]
