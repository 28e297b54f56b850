"""A stranger's plugin: installed with pip into a virtual environment of its own, listed, and felt by a training run."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from r1env.runs.run import Run
from r1env_trainers.model.tiny import build

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/plugin-reward"
FULL = ROOT / "examples/plugin-full"


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of a second environment that sees this one's packages and has the examples installed beside them."""
    folder = tmp_path_factory.mktemp("second")
    venv.create(folder, with_pip=False, symlinks=True)
    interpreter = folder / "bin/python"
    site = subprocess.run(
        [interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    # Not a plain path: `addsitedir` also reads the .pth files there, which is how the editable packages are found.
    first = sysconfig.get_path("purelib")
    (Path(site) / "first.pth").write_text(f"import site; site.addsitedir({first!r})\n")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            interpreter,
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            EXAMPLE,
            FULL,
        ],
        check=True,
    )
    return interpreter


def r1env(python: Path, *arguments: object) -> str:
    command = [python, "-c", "from r1env.cli.main import main; main()", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_it_is_listed_with_its_distribution(python):
    (brevity,) = [row for row in json.loads(r1env(python, "plugins", "--json"))["plugins"] if row["name"] == "brevity"]
    assert (brevity["kind"], brevity["distribution"]) == ("reward", "r1env-example-reward")
    here = json.loads(r1env(Path(sys.executable), "plugins", "--json"))["plugins"]
    assert "brevity" not in [row["name"] for row in here]


@pytest.mark.slow
def test_it_changes_the_reward_of_a_training_run(python, tmp_path):
    common = (
        "train",
        "grpo",
        "--preset",
        "tiny-cpu",
        "--steps",
        2,
        "--quiet",
        "--set",
        "eval.every=0",
        "--set",
        "algo.track_kl=false",
    )
    r1env(python, *common, "--rubric", EXAMPLE / "rubric.yaml", "--output", tmp_path / "with")
    r1env(python, *common, "--output", tmp_path / "without")
    with_it, without = (Run.open(tmp_path / name).metrics()[0] for name in ("with", "without"))
    assert with_it["parts/brevity"] > 0
    assert "parts/brevity" not in without
    assert with_it["reward"] > without["reward"]
    manifest = json.loads((tmp_path / "with/manifest.json").read_text())
    assert "r1env-example-reward" in json.dumps(manifest)


def tiny_with_room(folder: Path) -> Path:
    """The model `tiny` with a context that has room for the description of a tool."""
    model, tokenizer = build()
    model.config.max_position_embeddings = tokenizer.model_max_length = 1024
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_plugin_with_one_of_everything_passes_its_tests_trains_evaluates_and_exports(python, tmp_path):
    assert "all of it can be imported" in r1env(python, "plugins", "--check")
    own_tests = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", FULL / "tests"], capture_output=True, text=True, check=False
    )
    assert own_tests.returncode == 0, own_tests.stdout[-3000:]
    settings = {
        "env_options": "{}",
        "algo.advantage": "rank",
        "algo.loss": "reinforce",
        "algo.loss_aggregation": "root-length",
        "algo.kl_estimator": "absolute",
        "algo.kl_coef": 0.01,
        "template": "please",
        "sampling.prompts_per_step": 2,
        "sampling.group_size": 4,
        "eval.every": 5,
        "eval.limit": 4,
        "algo.track_kl": "false",
    }
    chosen = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    run = tmp_path / "vault"
    where = (
        "--model",
        tiny_with_room(tmp_path / "start"),
        "--env",
        "vault",
        "--rubric",
        "vault",
        "--steps",
        5,
        "--quiet",
        "--output",
        run,
    )
    r1env(python, "train", "grpo", "--preset", "tiny-cpu", *where, *chosen)
    rows = [row for row in Run.open(run).metrics() if "reward" in row]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert {"parts/vault-opened", "parts/environment", "parts/varied", "parts/terse"} <= rows[0].keys()
    model = run / "checkpoints/grpo/model"
    found = json.loads(r1env(python, "eval", "--model", model, "--env", "vault", "--limit", 4, "--max-new-tokens", 8, "--json"))
    assert (found["split"], found["tasks"]) == ("test", 4)
    r1env(
        python,
        "export",
        "--to",
        "trl",
        "--rubric",
        "accuracy",
        "--accuracy",
        "vault-opened",
        "--output",
        tmp_path / "reward.py",
    )
    assert "vault-opened" in (tmp_path / "reward.py").read_text()
