"""Harbor's task folders: what is read, what is refused, and episodes in real containers."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env_sandbox import Sandbox
from r1env_sandbox.harbor import HarborEpisode, HarborTaskError, Outcome, check_task, load_task, read_rewards

TOML = """
schema_version = "1.4"
[task]
name = "ours/greeting"
[agent]
timeout_sec = 4
[verifier]
timeout_sec = 5
[verifier.env]
WORD = "${WORD:-hello}"
[environment]
memory_mb = 256
"""
DOCKERFILE = """
FROM ubuntu:24.04
# RUN nothing
WORKDIR /app
ENV NAME="world" LANG=C.UTF-8
COPY data/name.txt \\
    seeds/
COPY run.sh .
RUN apt-get install -y cowsay
"""
TEST = """#!/bin/bash
cd /app
if [ "$(cat out.txt)" = "$WORD $NAME" ]; then echo 1 > /logs/verifier/reward.txt; else echo 0 > /logs/verifier/reward.txt; fi
exit 3
"""


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def folder(tmp_path):
    files = {
        "task.toml": TOML,
        "instruction.md": "Write the greeting into out.txt.\n",
        "environment/Dockerfile": DOCKERFILE,
        "environment/data/name.txt": "world",
        "environment/run.sh": "#!/bin/sh\necho run\n",
        "tests/test.sh": TEST,
        "solution/solve.sh": 'echo "hello $(cat /app/seeds/name.txt)" > /app/out.txt\n',
    }
    write(tmp_path, files)
    (tmp_path / "environment/run.sh").chmod(0o755)
    return tmp_path


def test_a_folder_is_read(folder):
    task = load_task(folder)
    assert (task.name, task.instruction) == ("ours/greeting", "Write the greeting into out.txt.")
    assert task.files == {"seeds/name.txt": (b"world", False), "run.sh": (b"#!/bin/sh\necho run\n", True)}
    assert task.environment == {"NAME": "world", "LANG": "C.UTF-8"}
    assert task.verifier_environment == {"WORD": "hello"}
    assert (task.agent_seconds, task.verifier_seconds, task.memory_mb) == (4, 5, 256)


def test_what_is_not_followed_is_said(folder):
    notes = load_task(folder).notes
    assert "not built" in notes[0]
    assert "RUN apt-get install -y cowsay" in notes[1]


def test_without_limits_harbors_own_hold(folder):
    write(folder, {"task.toml": 'version = "1.0"\n'})
    task = load_task(folder)
    assert (task.agent_seconds, task.verifier_seconds, task.name) == (None, 600, folder.name)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"task.toml": "[agent"}, "task.toml"),
        ({"task.toml": "agent = 3"}, "not a table"),
        ({"task.toml": "[agent]\ntimeout_sec = -1"}, "timeout_sec"),
        ({"task.toml": "[agent]\ntimeout_sec = nan"}, "timeout_sec"),
        ({"task.toml": "[agent]\ntimeout_sec = true"}, "timeout_sec"),
        ({"task.toml": '[environment.env]\nKEY = "${OPENAI_API_KEY}"'}, "OPENAI_API_KEY"),
        ({"task.toml": '[[steps]]\nname = "one"'}, "several steps"),
        ({"task.toml": "[environment]\ngpus = 1"}, "GPUs"),
        ({"task.toml": '[verifier]\nenvironment_mode = "separate"'}, "environment of the verifier's own"),
        ({"environment/docker-compose.yaml": "services: {}"}, "docker-compose"),
        ({"instruction.md": " \n"}, "it is empty"),
        ({"environment/Dockerfile": "FROM x\nCOPY absent.txt /app/"}, "no such file"),
        ({"environment/Dockerfile": "FROM x\nCOPY run.sh /etc/run.sh"}, "/etc/run.sh is not in"),
        ({"environment/Dockerfile": "FROM x\nCOPY run.sh /app/../etc/run.sh"}, "/etc/run.sh is not in"),
        ({"environment/Dockerfile": "FROM x\nWORKDIR /srv"}, "/srv is not in"),
        ({"environment/Dockerfile": "FROM x\nCOPY --from=builder /a /app"}, "cannot follow"),
    ],
)
def test_what_cannot_be_played_is_refused_with_its_cause(folder, files, said):
    with pytest.raises(HarborTaskError, match=said):
        load_task(write(folder, files))


@pytest.mark.parametrize("name", ["task.toml", "instruction.md", "tests/test.sh"])
def test_a_file_that_is_missing_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(HarborTaskError, match=name):
        load_task(folder)


def test_a_link_is_refused(folder):
    (folder / "tests" / "secret").symlink_to("/etc/passwd")
    with pytest.raises(HarborTaskError, match="a link"):
        load_task(folder)


@pytest.mark.parametrize(
    ("name", "text", "reward"),
    [
        ("reward.txt", b" 0.5\n", 0.5),
        ("reward.txt", b"-1e-3", -0.001),
        ("reward.json", b'{"reward": 1, "style": 0.5}', 1),
        ("reward.json", b'{"passed": 0.25}', 0.25),
    ],
)
def test_rewards_that_can_be_read(name, text, reward):
    assert read_rewards(name, text)["reward"] == reward


@pytest.mark.parametrize("text", [b"", b"nan", b"inf", b"1 2", b"one", b"1_0", b"0x1", b"1e999", "١".encode(), b"9" * 5000])
def test_text_that_is_no_reward(text):
    with pytest.raises(ValueError, match=r"empty|number"):
        read_rewards("reward.txt", text)


@pytest.mark.parametrize(
    "text",
    [b"[1]", b"{}", b"1", b'{"reward": true}', b'{"reward": NaN}', b'{"a": 1, "b": 0}', b'{"reward": "1"}', b"{" * 10**5],
)
def test_json_that_is_no_reward(text):
    with pytest.raises(ValueError, match=r"number|JSON|reward"):
        read_rewards("reward.json", text)


@given(st.binary(max_size=60), st.sampled_from(["reward.json", "reward.txt"]))
def test_a_reward_is_a_finite_number_or_refused(text, name):
    with contextlib.suppress(ValueError):
        assert all(math.isfinite(value) for value in read_rewards(name, text).values())


def test_which_errors_leave_a_valid_reward():
    assert {outcome for outcome in Outcome if outcome.valid} == {Outcome.GRADED, Outcome.AGENT_TIMEOUT, Outcome.AGENT_ERROR}
    assert {outcome for outcome in Outcome if outcome.retry} == {Outcome.STAGING_FAILED, Outcome.ENVIRONMENT_LOST}


@pytest.fixture(scope="module")
def sandbox(engine):
    with Sandbox(1) as sandbox:
        yield sandbox


docker = [pytest.mark.docker, pytest.mark.slow]


class TestInContainers:
    pytestmark = docker

    def test_the_solution_scores_one_and_doing_nothing_does_not(self, folder, sandbox):
        check = check_task(load_task(folder), sandbox)
        assert check.faults == ()
        assert (check.solution.reward, check.nothing.reward) == (1, 0)

    def test_a_task_that_pays_for_nothing_is_found(self, folder, sandbox):
        write(folder, {"tests/test.sh": "#!/bin/sh\necho 1 > /logs/verifier/reward.txt\n", "solution/solve.sh": "exit 5\n"})
        (fault,) = check_task(load_task(folder), sandbox).faults
        assert "doing nothing scores 1" in fault

    def test_an_agent_neither_finds_the_tests_nor_writes_the_reward(self, folder, sandbox):
        with HarborEpisode(load_task(folder), sandbox) as episode:
            done = episode.exec(
                "./run.sh; ls /tests; echo 1 > /logs/verifier/reward.txt; mkdir -p /judge/verifier/logs; echo $NAME"
            )
            assert done.stdout == b"run\nworld\n"
            result = episode.verify()
        assert (result.outcome, result.reward) == (Outcome.GRADED, 0)

    def test_an_agent_without_time_is_graded_all_the_same(self, folder, sandbox):
        with HarborEpisode(load_task(folder), sandbox) as episode:
            episode.exec("echo hello world > out.txt; sleep 30", timeout_s=20)
            assert episode.exec("rm out.txt") is None
            result = episode.verify()
        assert (result.outcome, result.reward) == (Outcome.AGENT_TIMEOUT, 1)
        assert "4 s" in result.reason

    @pytest.mark.parametrize(
        ("test", "outcome", "said"),
        [
            ("#!/bin/sh\necho no reward\n", Outcome.REWARD_MISSING, "no reward"),
            ("#!/bin/no-shell\n", Outcome.REWARD_MISSING, "no reward file"),
            ("#!/bin/sh\necho nan > /logs/verifier/reward.txt\n", Outcome.REWARD_UNREADABLE, "'nan'"),
            ("#!/bin/sh\necho 1 > /logs/verifier/reward.txt; sleep 60\n", Outcome.VERIFIER_TIMEOUT, "1 s"),
        ],
    )
    def test_tests_that_say_nothing_leave_no_reward(self, folder, sandbox, test, outcome, said):
        write(folder, {"tests/test.sh": test, "task.toml": TOML.replace("timeout_sec = 5", "timeout_sec = 1")})
        with HarborEpisode(load_task(folder), sandbox) as episode:
            result = episode.verify()
        assert (result.outcome, result.reward) == (outcome, None)
        assert said in result.reason

    def test_reward_json_comes_before_reward_txt(self, folder, sandbox):
        script = (
            '#!/bin/sh\necho 0 > /logs/verifier/reward.txt\necho \'{"reward": 1, "style": 0.5}\' > /logs/verifier/reward.json\n'
        )
        write(folder, {"tests/test.sh": script})
        with HarborEpisode(load_task(folder), sandbox) as episode:
            result = episode.verify(agent_error="the context was full")
        assert (result.outcome, result.rewards) == (Outcome.AGENT_ERROR, {"reward": 1, "style": 0.5})

    def test_a_container_that_is_lost_is_worth_another_try(self, folder, sandbox):
        with HarborEpisode(load_task(folder), sandbox) as episode:
            episode.close()
            assert episode.exec("true") is None
            assert episode.verify().outcome is Outcome.ENVIRONMENT_LOST
