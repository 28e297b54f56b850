"""GRPO as a user runs it: it learns, resumes bit by bit, and treats failures as it promises. Small models, real training."""

from __future__ import annotations

import ast
import inspect
import json
import math
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from training_runs import assert_bit_for_bit, at_step, interrupted, told, trained

import r1env
from r1env.envs.suite import make_suite
from r1env.errors import TrainingStoppedError, UsageError
from r1env.preflight import PreflightError
from r1env.recipes import check_plan, execute, plan_training
from r1env.runs.run import Run
from r1env_logic.curriculum import Curriculum
from r1env_logic.sorting import sorting_tasks
from r1env_trainers.generate.engine import LocalEngine, Sampler
from r1env_trainers.model.checkpoint import list_checkpoints
from r1env_trainers.model.load import load_model
from r1env_trainers.model.session import make_optimizer
from r1env_trainers.rl import loop
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.rollouts import collect
from r1env_trainers.rl.trainer import GRPOTrainer
from r1env_trainers.rl.update import update

SMALL = {
    "steps": 6,
    "sampling.prompts_per_step": 4,
    "sampling.group_size": 4,
    "eval.every": 3,
    "eval.limit": 8,
    "checkpoint.every": 2,
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def plan_grpo(**settings):
    return plan_training("grpo", preset="tiny-cpu", overrides={**SMALL, "rubric": "accuracy", **settings})


@pytest.mark.slow
def test_r1_zero_in_miniature_learns(tmp_path):
    plan = plan_training(
        "r1-zero",
        preset="tiny-cpu",
        overrides={"base": {"steps": 200}, "rl": {"steps": 40, "eval.every": 40, "eval.limit": 128}},
    )
    run = trained(plan, tmp_path / "run")
    accuracy = [row["eval/accuracy"] for row in run.metrics("rl") if "eval/accuracy" in row]
    assert accuracy[0] < 0.2
    assert accuracy[-1] > accuracy[0] + 0.2


@pytest.mark.parametrize("trainer", ["grpo", "sft"])
def test_a_run_that_was_interrupted_and_resumed_is_bit_for_bit_the_uninterrupted_one(tmp_path, trainer):
    rubric = tmp_path / "rubric.yaml"
    rubric.write_text("name: digits\nrewards: [{reward: 'training_runs:digits'}, {reward: accuracy}]\n")
    if trainer == "grpo":
        plan = plan_grpo(rubric=str(rubric), optim={"mini_batches": 2})
    else:
        plan = plan_training("sft", preset="tiny-cpu", overrides={"steps": 6, "optim.batch_size": 8, "checkpoint.every": 2})
    whole = trained(plan, tmp_path / "whole")
    resumed = interrupted(plan, tmp_path / "broken", at_step(5))
    assert [path.name for path in list_checkpoints(resumed.path / "checkpoints" / trainer)] == ["step-000002", "step-000004"]
    execute(plan, resumed)
    assert_bit_for_bit(resumed, whole, trainer)
    assert any(row.get("grad_norm") for row in told(whole))


class Stairs:
    """Digits to sort, one more at each level."""

    size = None
    splits = ("train", "test")

    def __init__(self, split="train"):
        self._split, self._curriculum = split, Curriculum(levels=6, window=8)

    def split(self, name):
        return Stairs(name)

    def task(self, index, seed=0):
        return sorting_tasks(2 + self._curriculum.level, self._split, style="compact").task(index, seed)

    def observe(self, task, success):
        self._curriculum.observe(len(task.answer) - 2, success)

    def state(self):
        return self._curriculum.state()

    def restore(self, state):
        self._curriculum.restore(state or Curriculum(levels=6).state())

    def metrics(self):
        return {"level": float(self._curriculum.level)}


STAIRS = r1env.EnvironmentSpec("stairs", Stairs, reward="exact", summary="")


def test_a_curriculum_follows_the_verdicts_and_its_level_is_saved_with_the_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(
        loop, "solved", lambda experience, _: [("stairs", rollout.task, 1.0) for rollout in experience.rollouts]
    )
    settings = {"steps": 4, "sampling.prompts_per_step": 2, "eval.every": 0}
    plan = plan_grpo(env=f"{__name__}:STAIRS", **settings)
    whole = trained(plan, tmp_path / "whole")
    assert [row["env/stairs/level"] for row in whole.metrics()] == [2, 3, 4, 5]
    resumed = interrupted(plan, tmp_path / "broken", at_step(3))
    execute(plan, resumed)
    assert_bit_for_bit(resumed, whole, "grpo")


def test_a_reward_that_raises_costs_its_own_rollouts_only(tmp_path):
    rubric = tmp_path / "rubric.yaml"
    rubric.write_text(f"name: fragile\nrewards: [{{reward: '{__name__}:fragile'}}]\n")
    plan = plan_grpo(rubric=str(rubric), max_failed=1.0, eval={"every": 0})
    run = trained(plan, tmp_path / "run")
    unscored = [row["unscored"] for row in run.metrics()]
    assert len(unscored) == SMALL["steps"]
    assert 0 < sum(unscored) < SMALL["steps"] * 16
    assert all(math.isfinite(row["loss"]) for row in run.metrics())


def test_training_stops_when_scoring_fails_too_often(tmp_path):
    rubric = tmp_path / "rubric.yaml"
    rubric.write_text(f"name: fragile\nrewards: [{{reward: '{__name__}:fragile'}}]\n")
    plan = plan_grpo(rubric=str(rubric), max_failed=0.01, eval={"every": 0})
    with pytest.raises(TrainingStoppedError, match=r"scoring failed for \d+% .* ValueError: cannot bear a 7"):
        trained(plan, tmp_path / "run")


@r1env.reward(name="fragile")
def fragile(completion):
    if "7" in completion:
        raise ValueError("cannot bear a 7")
    return float(len(completion))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env": "sort-44"}, "unknown environment 'sort-44'; did you mean 'sort-4'"),
        ({"rubric": "zeroo"}, "unknown rubric 'zeroo'; did you mean 'zero'"),
        ({"model": "tinny"}, "unknown model 'tinny'; did you mean 'tiny'"),
        ({"template": "r1zero"}, "unknown prompt template 'r1zero'; did you mean 'r1-zero'"),
        ({"env_options": {"digit": 4}}, "does not take these options"),
        ({"eval.env_options": {"split": "dev"}}, "split"),
    ],
)
def test_what_cannot_work_is_said_before_training(settings, message):
    with pytest.raises(UsageError) as caught:
        check_plan(plan_grpo(**settings))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said_before_training():
    with pytest.raises(UsageError, match="torch sees no GPU here"):
        check_plan(plan_grpo(device="cuda"))


def test_an_impossible_batch_shape_is_refused():
    with pytest.raises(UsageError, match="4 prompts x 4 completions = 16 rollouts do not divide into 3 mini-batches"):
        plan_grpo(optim={"mini_batches": 3})


@pytest.fixture
def experience():
    config = GRPOConfig(**{**GRPOConfig.presets["tiny-cpu"].settings, **SMALL, "optim.lr": 1e-3, "optim.warmup_steps": 0})
    loaded = load_model("tiny", seed=0)
    suite = make_suite("sort-4", rubric="accuracy", style="compact")
    batch = collect(suite, loaded, LocalEngine(Sampler(loaded)), config, step=0)
    batch.rewards[:] = torch.randn(batch.rewards.shape, generator=torch.Generator().manual_seed(0))
    return config, loaded, batch


def stepped(loaded, batch, config, reference=None):
    """The weights after one update of a fresh copy, and its metrics."""
    copy = load_model("tiny", seed=0)
    metrics = update(copy, make_optimizer(copy, config), batch, config, 0, reference)
    return torch.cat([parameter.detach().flatten() for parameter in copy.model.parameters()]), metrics


def test_micro_batches_do_not_change_the_update(experience):
    config, loaded, batch = experience
    whole, _ = stepped(loaded, batch, config)
    parts, _ = stepped(loaded, batch, config.updated({"optim.micro_batch_size": 3}))
    before = torch.cat([parameter.detach().flatten() for parameter in loaded.model.parameters()])
    moved = (whole - before).norm()
    assert moved > 0.1
    assert (whole - parts).norm() < 0.02 * moved


def test_the_first_update_of_an_on_policy_batch_clips_nothing_and_matches_the_sampler(experience):
    config, loaded, batch = experience
    _, metrics = stepped(loaded, batch, config)
    assert metrics["clip_fraction"] == 0
    assert metrics["logprob_gap"] < 1e-5
    assert metrics["grad_norm"] > 0


def test_the_kl_to_the_starting_model_is_zero_at_the_start_and_grows(experience):
    config, loaded, batch = experience
    config = config.updated({"algo.kl_coef": 0.1})
    _, metrics = stepped(loaded, batch, config, reference=load_model("tiny", seed=0))
    assert metrics["kl"] == pytest.approx(0, abs=1e-6)
    _, metrics = stepped(loaded, batch, config, reference=load_model("tiny", seed=1))
    assert metrics["kl"] > 0.001


def test_a_completion_that_earned_the_mean_of_its_group_still_counts_in_the_denominator(experience):
    config, loaded, batch = experience
    batch.rewards[:] = torch.tensor([1.0, 0.5, 0.5, 0.0])
    _, metrics = stepped(
        loaded, batch, config.updated({"algo.advantage": "dr_grpo", "algo.loss_aggregation": "seq-mean-token-mean"})
    )
    with_it = metrics["grad_norm"]
    batch.rewards[:, 1:3] = math.nan  # unscored: out of the statistics and out of the denominator
    _, metrics = stepped(
        loaded, batch, config.updated({"algo.advantage": "dr_grpo", "algo.loss_aggregation": "seq-mean-token-mean"})
    )
    assert metrics["grad_norm"] == pytest.approx(2 * with_it, rel=1e-3)


def test_a_batch_without_any_preference_changes_nothing(experience):
    config, loaded, batch = experience
    batch.rewards[:] = 1.0
    after, metrics = stepped(loaded, batch, config)
    before = torch.cat([parameter.detach().flatten() for parameter in loaded.model.parameters()])
    assert torch.equal(after, before)
    assert metrics["grad_norm"] == 0


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_checkpoint_whole_and_resuming_goes_on_from_it(tmp_path):
    script = textwrap.dedent(
        """
        import resource, sys
        from pathlib import Path
        from r1env.errors import RunError
        from r1env.recipes import execute, plan_training
        from r1env.runs.run import Run

        plan = plan_training("sft", preset="tiny-cpu", overrides={"steps": 4, "optim.batch_size": 4, "checkpoint.every": 1, "threads": 1})
        run = Run.create(Path(sys.argv[1]), plan.model_dump(mode="json"), seed=0)

        def fill_the_disk(event):
            if event.step == 3:  # from now on no file may grow beyond a kilobyte more than the logs have
                resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))

        run.subscribe(fill_the_disk)
        try:
            execute(plan, run)
        except RunError as error:
            print(error)
            sys.exit(7)
        """
    )
    folder = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert "older checkpoints are whole" in done.stdout
    run = Run.open(folder)
    assert [path.name for path in list_checkpoints(folder / "checkpoints/sft")] == ["step-000001", "step-000002"]
    assert not list((folder / "checkpoints/sft").glob(".*"))
    from r1env.config import load_yaml
    from r1env.recipes import Plan

    execute(Plan.model_validate(load_yaml(folder / "config.yaml")), run)
    assert [row["step"] for row in run.metrics()] == [1, 2, 3, 4]


def test_the_trainer_is_found_through_the_plugin_manager():
    spec = r1env.installed().trainer("grpo")
    from r1env.importing import import_target

    assert import_target(spec.target) is GRPOTrainer
    assert set(spec.presets) == set(GRPOConfig.presets)


def test_the_loop_can_be_read_beside_the_paper():
    """It imports at most a dozen modules of ours, and its main function comes first."""
    tree = ast.parse(inspect.getsource(loop))
    ours = {node.module for node in tree.body if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("r1env")}
    assert 0 < len(ours) <= 12
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert functions[0] == "train"


# Pre-flight: what would end a run at its second step, or make it worthless, is found before its first.


def question_file(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"env": "math-jsonl", "env_options": {"data": str(path)}, "eval.every": 0, "mixture": []}


LONG_QUESTION = {"question": "1 + 1? " * 60, "answer": "2"}


def test_a_prompt_beyond_the_context_stops_the_run_before_its_first_step(tmp_path):
    rows = [{"question": f"{n} + 1?", "answer": str(n + 1)} for n in range(11)]
    plan = plan_grpo(model="tiny-gpt2", **question_file(tmp_path / "q.jsonl", *rows, LONG_QUESTION))
    check_plan(plan)
    with pytest.raises(
        PreflightError, match=r"1 of 12 have a prompt that is too long, the first: .*q.jsonl, line 12: .* limit 255"
    ):
        trained(plan, tmp_path / "run")
    assert Run.open(tmp_path / "run").metrics() == []


def test_long_prompts_are_left_out_where_the_settings_say_so(tmp_path):
    rows = [{"question": f"{n} + 1?", "answer": str(n + 1)} for n in range(3)]
    settings = question_file(tmp_path / "q.jsonl", *rows, LONG_QUESTION)
    run = trained(plan_grpo(**settings, **{"filter.max_prompt_length": 200, "steps": 4}), tmp_path / "run")
    assert len(run.metrics()) == 4
    assert all(LONG_QUESTION["question"] not in row["prompt"] for row in run.rollouts())


def test_references_that_would_pay_nobody_stop_the_run(tmp_path):
    rows = [
        {"question": f"{n} + 1?", "answer": "We add the two numbers as we learnt it at school and write the result down."}
        for n in range(4)
    ]
    with pytest.raises(PreflightError, match=r"4 of 4 have a reference of many words, .* right answers would score 0"):
        trained(plan_grpo(**question_file(tmp_path / "q.jsonl", *rows)), tmp_path / "run")


def test_a_rubric_that_never_scores_stops_the_run(tmp_path):
    rubric = {"name": "mine", "rewards": [{"reward": "accuracy"}, {"reward": f"{Path(__file__)}:silent"}]}
    with pytest.raises(PreflightError, match="got no score from the reward 'silent'"):
        trained(plan_grpo(rubric=rubric), tmp_path / "run")


@r1env.reward(name="silent")
def silent(completion):
    """A reward with a bug: it never returns."""
