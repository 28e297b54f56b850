"""TRL's released trainer takes our functions: two optimiser steps on a CPU, and its log says what we say."""

from __future__ import annotations

import math

import pytest

from r1env.adapters.trl import reward_function, reward_functions

pytestmark = pytest.mark.slow  # importing TRL alone takes ten seconds on a cold machine

COMPLETIONS = ("<think>a</think><answer>5</answer>", "<answer>5</answer>", "<think>a</think><answer>6</answer>", "no idea")
MATH, FORMAT = (1.0, 1.0, 0.0, 0.0), (1.0, 0.0, 1.0, 0.0)
ROWS = [{"prompt": "2+3=", "answer": "5"}, {"prompt": "what?", "answer": None}]  # the second has nothing to compare with


@pytest.fixture
def train(monkeypatch, tmp_path):
    """Train a fresh tiny model for two steps of two prompts with four completions each. Returns the trainer."""
    trl = pytest.importorskip("trl", reason="TRL is not installed (requirements/dev.txt)")
    torch = pytest.importorskip("torch")
    datasets = pytest.importorskip("datasets")
    from r1env_trainers.model.tiny import build

    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")

    def run(functions, *, scripted, weights=None):
        model, tokenizer = build()
        args = trl.GRPOConfig(
            output_dir=str(tmp_path),
            use_cpu=True,
            bf16=False,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            max_steps=2,
            logging_steps=1,
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=16,
            reward_weights=weights,
        )

        def say_the_lines(prompts, trainer):
            lines = [tokenizer(COMPLETIONS[place % 4] + "<eos>")["input_ids"] for place in range(len(prompts))]
            asked = [tokenizer(prompt)["input_ids"] for prompt in prompts]
            return {"prompt_ids": asked, "completion_ids": lines, "logprobs": [[0.0] * len(line) for line in lines]}

        trainer = trl.GRPOTrainer(
            model=model,
            processing_class=tokenizer,
            reward_funcs=functions,
            train_dataset=datasets.Dataset.from_list(ROWS * 2),
            args=args,
            rollout_func=say_the_lines if scripted else None,
        )
        trainer.train()
        return trainer

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield run
    torch.set_num_threads(threads)


def test_two_steps_with_math_and_format_log_our_values_and_leave_a_none_out(train):
    functions = reward_functions("zero")
    trainer = train(functions, scripted=True, weights=[function.weight for function in functions])
    steps = trainer.state.log_history[:2]
    assert [step["step"] for step in steps] == [1, 2]
    for step in steps:
        assert step["rewards/math/mean"] == 0.5  # over the four that have a reference, not over eight
        assert step["rewards/format/mean"] == 0.5
        assert step["unscored/math"] == 0.5
        assert step["unscored/format"] == 0.0
        assert step["reward"] == pytest.approx((sum(MATH) + 0.1 * 2 * sum(FORMAT)) / 8)
        assert step["grad_norm"] > 0
    logged = trainer._logs
    answered = [place for place, prompt in enumerate(logged["prompt"]) if prompt == "2+3="]
    assert [logged["rewards"]["math"][place] for place in answered] == list(MATH)
    assert all(math.isnan(value) for place, value in enumerate(logged["rewards"]["math"]) if place not in answered)
    assert list(logged["rewards"]["format"]) == [*FORMAT, *FORMAT]


def test_one_function_for_the_whole_rubric_leaves_the_unscored_out_of_the_group(train):
    trainer = train(reward_function("zero"), scripted=True)
    step = trainer.state.log_history[0]
    assert step["rewards/zero/mean"] == step["reward"] == pytest.approx((sum(MATH) + 0.1 * sum(FORMAT)) / 4)
    assert (step["parts/math"], step["parts/format"], step["unscored/zero"]) == (0.5, 0.5, 0.5)
    unscored = [math.isnan(value) for value in trainer._logs["rewards"]["zero"]]
    assert [value == 0.0 for value, left_out in zip(trainer._logs["advantages"], unscored, strict=True) if left_out] == [
        True
    ] * 4


def test_the_models_own_samples_are_scored(train):
    trainer = train(reward_functions("zero"), scripted=False)
    assert len(trainer._logs["rewards"]["format"]) == 8
    assert all(verdict.startswith(("ok", "bad_format")) for verdict in trainer._logs["extra"]["format_verdict"])
