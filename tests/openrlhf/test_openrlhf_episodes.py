"""Episodes played as OpenRLHF's rollout actors play them, against an engine that says what it was told to say."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from r1env_openrlhf.command import row_of
from r1env_openrlhf.episodes import CONFIG, SAMPLES, EpisodeExecutor, runs_of
from r1env_trainers.model.tiny import build_tokenizer
from r1env_trainers.rl.config import GRPOConfig

TOKENIZER = build_tokenizer()
RIGHT = "<think></think><answer>{answer}</answer>"


class Engine:
    """Says the given texts one after the other, the last one for ever; keeps what it was asked."""

    def __init__(self, *texts: str, seconds: float = 0.0, fails: bool = False) -> None:
        self.texts, self.seconds, self.fails = list(texts), seconds, fails
        self.asked: list[tuple[list[int], SimpleNamespace]] = []

    async def generate(self, prompt_token_ids, sampling_params, multi_modal_data=None):
        self.asked.append((list(prompt_token_ids), sampling_params))
        await asyncio.sleep(self.seconds)
        if self.fails:
            raise RuntimeError("the engine is gone")
        text = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
        ids = TOKENIZER(text, add_special_tokens=False)["input_ids"][: sampling_params.max_tokens]
        logprobs = [{token: SimpleNamespace(logprob=-0.5)} for token in ids] if sampling_params.logprobs is not None else None
        whole = len(ids) < sampling_params.max_tokens
        return SimpleNamespace(
            outputs=[SimpleNamespace(token_ids=ids, finish_reason="stop" if whole else "length", logprobs=logprobs)]
        )


@pytest.fixture
def play(tmp_path):
    """Plays one episode of the first task of an environment: (what OpenRLHF gets, the task, the engine)."""

    def played(engine: Engine, *, max_length=200, logprobs=None, split="train", options=None, **settings):
        config = GRPOConfig(
            **{"model": "tiny", "env": "sort-4", "sampling.max_new_tokens": 20, "rubric": "zero", **settings},
            sampling={"prompts_per_step": 1, "group_size": 2},
            backend="openrlhf",
            backend_options={"episode_seconds": 60.0, **(options or {})},
        )
        (tmp_path / CONFIG).write_text(config.model_dump_json())
        executor = EpisodeExecutor(tmp_path)
        environment = executor._environments[split][0]
        task = environment.task(0)
        row = row_of("prompt", environment.name, task, split, 0)
        engine.texts = [text.replace("{answer}", task.answer or "") for text in engine.texts]
        sampling = SimpleNamespace(max_tokens=20, logprobs=logprobs, stop=None)
        told = asyncio.run(executor.execute(row["prompt"], row["label"], sampling, max_length, TOKENIZER, engine))
        return told, task, executor

    return played


def test_a_right_answer_earns_its_reward_and_its_named_parts(play):
    told, _, _ = play(Engine(RIGHT), rubric="accuracy")
    assert (told["reward"], told["scores"]) == (1.0, 1.0)
    assert told["extra_logs"] == {
        "error": 0.0,
        "turns": 1.0,
        "parts/exact": 1.0,
        "scored/parts/exact": 1.0,
        "accuracy": 1.0,
        "scored/accuracy": 1.0,
        "value": 1.0,
        "scored/value": 1.0,
    }


def test_tokens_are_those_that_the_model_drew_and_only_they_are_learnt_from(play):
    engine = Engine("12")
    told, task, _ = play(engine, env_options={"style": "compact"})
    ((prompt, sampling),) = engine.asked
    ((start, end),) = told["action_ranges"]
    assert told["observation_tokens"][:start] == prompt
    assert TOKENIZER.decode(prompt) == task.prompt[-1]["content"]
    assert TOKENIZER.decode(told["observation_tokens"][start:end]) == "12"
    assert sampling.max_tokens == 20


def test_the_template_says_where_a_turn_stops(play):
    engine = Engine("12")
    play(engine, template="tagged", max_length=400)
    assert engine.asked[0][1].stop == ["</answer>"]
    assert engine.asked[0][1].include_stop_str_in_output


def test_a_turn_that_the_limit_cut_off_is_truncated(play):
    told, _, _ = play(Engine("1" * 50), **{"sampling.max_new_tokens": 5})
    assert told["truncated"] is True
    ((start, end),) = told["action_ranges"]
    assert end - start == 5


def test_log_probs_are_given_where_they_are_asked_for(play):
    told, _, _ = play(Engine("12"), logprobs=1)
    ((start, _),) = told["action_ranges"]
    assert told["rollout_log_probs"] == [0.0] * start + [-0.5] * 2
    assert play(Engine("12"))[0]["rollout_log_probs"] is None


def test_a_prompt_that_leaves_no_room_is_not_played_and_stays_unscored(play):
    engine = Engine("12")
    told, _, _ = play(engine, max_length=4, options={"unscored": -1.0})
    assert not engine.asked
    assert (told["reward"], told["extra_logs"]["error"]) == (-1.0, 1.0)
    assert len(told["observation_tokens"]) == 4


def test_an_evaluation_is_scored_by_accuracy_alone(play):
    told, _, _ = play(
        Engine("{answer}"), split="eval", **{"eval.every": 1}, rubric={"name": "r", "rewards": [{"reward": "format"}]}
    )
    assert told["reward"] == told["extra_logs"]["accuracy"]
    assert set(told["extra_logs"]) >= {"parts/format", "scored/parts/format"}  # the same keys as in training


GUESSING = {"env": "guess-number", "env_options": {"style": "compact"}, "rubric": "accuracy", "sampling.max_new_tokens": 6}


def test_turns_alternate_until_the_environment_ends_the_episode(play):
    told, _, _ = play(Engine("1", "2", "{answer}"), **GUESSING)
    assert told["reward"] == 1.0
    assert told["extra_logs"]["turns"] == 3.0
    assert [end - start for start, end in told["action_ranges"]][:2] == [1, 1]
    between = told["observation_tokens"][told["action_ranges"][0][1] : told["action_ranges"][1][0]]
    assert TOKENIZER.decode(between)  # what the environment said, left out of the loss


def test_an_episode_without_room_for_its_next_turn_ends_truncated_and_is_scored_as_it_is(play):
    told, _, _ = play(Engine("1"), max_length=12, options={"unscored": -1.0}, **GUESSING)
    assert (told["reward"], told["extra_logs"]["error"], told["truncated"]) == (0.0, 0.0, True)
    assert len(told["observation_tokens"]) <= 12


@pytest.mark.parametrize("fault", ["hang", "raises", "die"])
def test_a_faulty_reward_costs_its_rollout_and_not_the_job(play, fault, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    rubric = {"name": "r", "rewards": [{"reward": "accuracy"}, {"reward": f"openrlhf_faults:{fault}", "weight": 0.1}]}
    told, _, _ = play(Engine("12"), rubric=rubric, options={"unscored": -0.5})
    assert (told["reward"], told["extra_logs"]["error"]) == (-0.5, 1.0)


def test_an_engine_that_fails_costs_the_rollout(play):
    told, _, _ = play(Engine("12", fails=True))
    assert told["extra_logs"]["error"] == 1.0
    assert (
        sum(end - start for start, end in told["action_ranges"]) == 1
    )  # a token must be learnt from: OpenRLHF divides by their number


def test_an_episode_ends_at_its_deadline(play):
    begun = time.monotonic()
    told, _, _ = play(Engine("12", seconds=60), options={"episode_seconds": 0.2})
    assert told["extra_logs"]["error"] == 1.0
    assert time.monotonic() - begun < 30


def test_an_environment_that_does_not_reply_in_time_costs_the_rollout(play, monkeypatch):
    from r1env_logic.guessing import HigherOrLower

    monkeypatch.setattr(HigherOrLower, "reply", lambda *_: time.sleep(3))
    told, _, _ = play(Engine("1"), options={"reply_seconds": 0.1}, **GUESSING)
    assert told["extra_logs"]["error"] == 1.0


def test_every_rollout_is_kept(play, tmp_path):
    _, task, _ = play(Engine("12"))
    (file,) = (tmp_path / SAMPLES).iterdir()
    row = json.loads(file.read_text())
    assert (row["kind"], row["task_id"], row["completion"]) == ("train", task.id, "12")


@pytest.mark.parametrize(
    ("sampled", "expected"),
    [([], []), ([False], []), ([True], [(0, 1)]), ([False, True, True, False, True], [(1, 3), (4, 5)])],
)
def test_stretches_of_sampled_tokens_are_told_by_begin_and_end(sampled, expected):
    assert runs_of(sampled) == expected
