"""The episode player: the same tokens in training and evaluation, one rule for a full context, and who ended an episode."""

from __future__ import annotations

import itertools

import pytest
import torch
from chat_templates import CHATML, GEMMA, LEAVES_OUT, LLAMA2, LLAMA3, NUMBERED, WANTS_THINKING, tokenizer_of
from chat_templates import DROPS_THINKING as OPENS_THINKING
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env import rollout
from r1env.data.sources import ListSource
from r1env.engines import SamplingParams, ScriptedEngine, derive_seed
from r1env.envs.conversation import ToolEnv
from r1env.envs.environment import Environment, Episode
from r1env.envs.suite import make_suite
from r1env.errors import TrainingStoppedError, UsageError
from r1env.evaluation import evaluate
from r1env.plugins import installed
from r1env.rollout import (
    ChatTemplateError,
    encode_prompt,
    has_room,
    play,
    render_chat,
    reply_text,
    sample_rollouts,
    stop_when_scoring_fails,
)
from r1env.rubrics import Rubric, WeightedReward
from r1env.types import Completion, EndedBy, FinishReason, Score, Status, Task
from r1env_trainers.model.load import load_model
from r1env_trainers.model.tiny import build_tokenizer
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.rollouts import collect

# Like the templates of Qwen3 and R1: the thinking of earlier turns is left out.
DROPS_THINKING = (
    "{% for m in messages %}{% if m.role == 'assistant' and not loop.last %}{{ m.content.split('</think>')[-1] }}"
    "{% else %}{{ m.content }}{% endif %}=\n{% endfor %}{% if add_generation_prompt %}?{% endif %}"
)


class Scripted:
    """A `TokenEngine` that says the texts of a script, a turn each, and notes what it was asked."""

    def __init__(self, *turns: str, max_length: int | None = None) -> None:
        self.tokenizer = build_tokenizer()
        self.tokenizer.chat_template = DROPS_THINKING
        self.max_length = max_length
        self.turns, self.asked, self.params = turns, [], []

    def generate_tokens(self, prompts, params, on_finished=None):
        text = self.turns[min(len(self.asked), len(self.turns) - 1)]
        self.asked.append([list(prompt) for prompt in prompts])
        self.params.append(params)
        completions = [self._completion(prompt, text, params) for prompt in prompts for _ in range(params.n)]
        if on_finished is not None:
            on_finished(range(len(completions)), completions)
        return completions

    def generate(self, prompts, params):
        raise AssertionError("a token engine is not asked for conversations")

    def close(self):
        """Nothing to free."""

    def _completion(self, prompt, text, params):
        room = params.max_new_tokens if self.max_length is None else self.max_length - len(prompt)
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        reason = FinishReason.STOP if len(ids) <= min(room, params.max_new_tokens) else FinishReason.LENGTH
        ids = ids[: min(room, params.max_new_tokens)]
        said = self.tokenizer.decode(ids, skip_special_tokens=True)
        return Completion(text=said, finish_reason=reason, token_ids=tuple(ids), logprobs=(-0.5,) * len(ids))


class SayAgain:
    """Asks again, so many times."""

    def __init__(self, times: int, says: str = "+") -> None:
        self.times, self.says = times, says

    def reply(self, task, messages):
        return self.says if len(messages) < 2 * self.times else None


@r1env.reward(name="any_text")
def any_text(completion):
    return 1.0


def environment(max_turns=1, dialogue=None, template="plain", prompt="12", tasks=4):
    source = ListSource([Task(id=str(i), prompt=prompt) for i in range(tasks)])
    rubric = Rubric("r", [WeightedReward(any_text)])
    other = None if dialogue is None else lambda: dialogue
    return Environment("e", source, rubric, "any_text", installed().template(template), max_turns=max_turns, other=other)


def one_episode(engine, max_new_tokens=40, **settings):
    found = environment(**settings)
    (trajectory,) = play([(found, found.task(0))], engine, SamplingParams(max_new_tokens=max_new_tokens))
    return trajectory


THOUGHTS = ("<think>7</think>5", "<think>3</think>4", "<think>12</think>6")


def test_training_and_evaluation_show_the_model_the_same_tokens_whatever_the_template_does_to_earlier_turns():
    options = {"highest": 9, "style": "compact"}
    task = r1env.make_environment("guess-number", **options).task(9)  # never guessed, so every episode has all its turns

    class OneTask(ListSource):
        def __init__(self):
            super().__init__([task])

    def alone(environment):
        return Environment(**{**vars(environment), "source": OneTask()})

    suite = make_suite("guess-number", **options)
    suite.environments = tuple(map(alone, suite.environments))
    training, evaluation = Scripted(*THOUGHTS), Scripted(*THOUGHTS)
    sampling = {"prompts_per_step": 1, "group_size": 2, "max_new_tokens": 40}
    torch.set_num_threads(1)
    experience = collect(
        suite, load_model("tiny"), training, GRPOConfig(model="tiny", env="guess-number", sampling=sampling), step=0
    )
    evaluate(suite.environments[0], evaluation, SamplingParams(max_new_tokens=40))

    read_in_training = [training.asked[0][0], *(prompts[0] for prompts in training.asked[1:])]
    read_in_evaluation = [prompts[0] for prompts in evaluation.asked]
    assert len(read_in_training) > 2
    assert read_in_training == read_in_evaluation

    sampled = evaluation.tokenizer(THOUGHTS[0], add_special_tokens=False)["input_ids"]
    opening = read_in_evaluation[0]
    assert read_in_evaluation[1][: len(opening) + len(sampled)] == [*opening, *sampled]
    # The template alone would have shown something else, and what was learnt from is what was read.
    messages = experience.rollouts[0].messages[:3]
    assert encode_prompt(evaluation.tokenizer, messages, chat=True) != read_in_evaluation[1]
    row = experience.tokens.completion_ids[0][experience.tokens.present[0]].tolist()
    assert [*opening, *row][: len(read_in_evaluation[-1])] == read_in_evaluation[-1]


def test_later_turns_only_append():
    engine = Scripted("<think>1</think>2")
    trajectory = one_episode(engine, max_turns=4, dialogue=SayAgain(4))
    read = [prompts[0] for prompts in engine.asked]
    assert len(read) == 4
    assert all(later[: len(earlier)] == earlier for earlier, later in itertools.pairwise(read))
    assert trajectory.tokens[: len(read[-1])] == read[-1]
    assert len(trajectory.ids) == len(trajectory.sampled) == len(trajectory.logprobs)
    drawn = [token for token, by_model in zip(trajectory.ids, trajectory.sampled, strict=True) if by_model]
    assert engine.tokenizer.decode(drawn) == "<think>1</think>2" * 4


@pytest.mark.parametrize(
    ("settings", "max_new_tokens", "ended_by", "truncated"),
    [
        ({}, 40, EndedBy.MODEL, False),
        ({}, 1, EndedBy.LIMIT, True),
        ({"max_turns": 3, "dialogue": SayAgain(2)}, 40, EndedBy.ENVIRONMENT, False),
        ({"max_turns": 2, "dialogue": SayAgain(2)}, 40, EndedBy.ENVIRONMENT, False),
        ({"max_turns": 2, "dialogue": SayAgain(9)}, 40, EndedBy.LIMIT, False),
    ],
)
def test_a_rollout_says_who_ended_it(settings, max_new_tokens, ended_by, truncated):
    trajectory = one_episode(Scripted("123"), max_new_tokens, **settings)
    assert trajectory.episode.rollout().ended_by is ended_by
    assert trajectory.truncated is truncated


def test_an_engine_that_fails_ended_the_episode():
    episode = Episode(Task(id="a", prompt="?"), ())
    episode.submit(Completion(text="", finish_reason=FinishReason.ERROR))
    assert episode.rollout().ended_by is EndedBy.ERROR


def test_an_evaluation_row_says_who_ended_the_episode():
    found = evaluate(environment(), Scripted("123"), SamplingParams(max_new_tokens=2), limit=1)
    assert [row.ended_by for row in found.rows] == [EndedBy.LIMIT]


@given(length=st.integers(6, 60), says=st.text("0123456789+", min_size=1, max_size=12), turn=st.integers(1, 12))
def test_no_episode_outgrows_the_context_and_each_is_scored(length, says, turn):
    engine = Scripted("1" * turn, max_length=length)
    trajectory = one_episode(engine, max_turns=5, dialogue=SayAgain(5, says))
    assert len(trajectory.tokens) <= length
    assert all(len(prompt) < length for prompts in engine.asked for prompt in prompts)
    rollout = trajectory.episode.rollout()
    assert rollout.messages[-1]["role"] == "assistant"  # a reply that the model never read is not in the transcript
    if rollout.ended_by is EndedBy.LIMIT and len(rollout.turns) < 5:
        assert trajectory.truncated
    else:
        assert rollout.ended_by is EndedBy.ENVIRONMENT


def test_every_episode_is_reported_once_those_that_a_full_context_ended_too():
    found = environment(max_turns=5, dialogue=SayAgain(5), tasks=3)
    told = []
    tasks = [(found, found.task(index)) for index in range(3)]
    played = play(tasks, Scripted("123", max_length=10), SamplingParams(n=2), lambda done: told.extend(map(id, done)))
    assert sorted(told) == sorted(map(id, played))
    assert all(trajectory.episode.ended_by is EndedBy.LIMIT for trajectory in played)


def test_a_prompt_that_leaves_no_room_is_refused_by_the_name_of_its_task():
    with pytest.raises(UsageError, match=r"the prompt of task '0' has \d+ tokens and leaves no room .* of 3"):
        one_episode(Scripted("1", max_length=3), prompt="123456")


def test_there_is_room_for_one_token_behind_one_less_than_the_context():
    assert has_room(9, 10)
    assert not has_room(10, 10)
    assert has_room(10**9, None)


def test_stop_texts_of_the_template_are_added_and_each_call_has_a_seed_of_its_own():
    engine = Scripted("12")
    found = environment(max_turns=3, dialogue=SayAgain(3), template="r1-zero")
    play([(found, found.task(0))], engine, SamplingParams(stop=("END",), seed=5, n=2))
    assert [params.stop for params in engine.params] == [("END", "</answer>")] * 3
    assert not any(params.chat for params in engine.params)
    assert [params.n for params in engine.params] == [2, 1, 1]
    assert engine.params[0].seed == 5
    assert len({params.seed for params in engine.params}) == 3


def test_an_engine_that_knows_text_only_is_asked_for_conversations_and_it_is_logged(caplog):
    asked = []

    def say(conversation):
        asked.append([message["content"] for message in conversation])
        return "<think>1</think>2"

    found = environment(max_turns=2, dialogue=SayAgain(2))
    with caplog.at_level("INFO", logger="r1env.rollout"):
        ((rollout,),) = sample_rollouts(found, ScriptedEngine(say), [found.task(0)], SamplingParams())
    assert asked == [["12"], ["12", "<think>1</think>2", "+"]]
    assert (len(rollout.turns), rollout.token_ids, rollout.ended_by) == (2, None, EndedBy.ENVIRONMENT)
    assert "ScriptedEngine knows text only" in caplog.text


def test_scoring_that_fails_too_often_stops_with_the_commonest_reason():
    failed = [Score.failure(Status.TIMEOUT, reason) for reason in ("slow", "slow", "gone")]
    scores = [*failed, Score(value=1.0)]
    stop_when_scoring_fails(scores, 0.75, "the rollouts")
    stop_when_scoring_fails([], 0.0, "the rollouts")
    with pytest.raises(TrainingStoppedError, match=r"75% of the rollouts \(limit 50%, setting max_failed\).*: slow"):
        stop_when_scoring_fails(scores, 0.5, "the rollouts")


def test_an_evaluation_stops_where_its_caller_set_a_limit():
    @r1env.reward(name="broken")
    def broken(completion):
        raise RuntimeError("no judge")

    found = environment()
    found = Environment(**{**vars(found), "rubric": Rubric("r", [WeightedReward(broken)]), "accuracy": "broken"})
    assert evaluate(found, ScriptedEngine("1"), SamplingParams()).unscored == 4
    with pytest.raises(TrainingStoppedError, match="no judge"):
        evaluate(found, ScriptedEngine("1"), SamplingParams(), max_failed=0.5)


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4))
def test_a_derived_seed_fits_a_signed_integer_and_depends_on_its_parts_alone(parts):
    assert 0 <= derive_seed(*parts) < 2**63
    assert derive_seed(*parts) == derive_seed(*parts)
    assert derive_seed(*parts) != derive_seed(*parts, 1)


def test_the_old_name_of_the_sampling_parameters_warns():
    import r1env.engines

    with pytest.warns(DeprecationWarning, match="SamplingParams"):
        assert r1env.engines.Sampling is SamplingParams


# Chat templates of others, which may raise on what they do not know.


def add(a: int, b: int) -> int:
    "Add two whole numbers."
    return a + b


CALL = '<tool_call>{"name": "add", "arguments": {"a": 50, "b": 98}}</tool_call>'


def play_with_tools(template, *turns, n=1):
    engine = Scripted(*turns)
    engine.tokenizer = tokenizer_of(template)
    found = environment(max_turns=3)
    found = Environment(**{**vars(found), "other": lambda: ToolEnv([add])})
    played = play([(found, found.task(0))], engine, SamplingParams(n=n, max_new_tokens=200))
    return engine, played


def test_a_template_without_the_role_tool_is_shown_a_tool_s_reply_as_the_user_s():
    engine, (one,) = play_with_tools(LLAMA3, CALL, "148")
    second = engine.tokenizer.decode(engine.asked[1][0])
    assert "<|start_header_id|>user<|end_header_id|>\n\n<tool_response>\n148\n</tool_response><|eot_id|>" in second
    assert (one.tools_as_user, one.episode.error) == (1, "")
    _, (native,) = play_with_tools(CHATML, CALL, "148")
    assert native.tools_as_user == 0


def test_a_template_that_takes_no_notice_of_tools_describes_them_in_words():
    engine, _ = play_with_tools(LLAMA3, "148")
    opening = engine.tokenizer.decode(engine.asked[0][0])
    assert opening.startswith("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nYou can call these tools")
    without_system = LLAMA3.replace("('system', 'user', 'assistant')", "('user', 'assistant')")
    engine, _ = play_with_tools(without_system, "148")
    opening = engine.tokenizer.decode(engine.asked[0][0])
    assert opening.startswith("<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nYou can call these tools")
    engine, _ = play_with_tools(CHATML, "148")
    assert "You can call" not in engine.tokenizer.decode(engine.asked[0][0])


def test_a_template_that_raises_on_the_replies_costs_the_episode_and_not_the_call():
    raises = LLAMA3.replace("m.role not in", "(not loop.first and m.role == 'user') or m.role not in")
    _, played = play_with_tools(raises, CALL, "148", n=2)
    assert [one.episode.ended_by for one in played] == [EndedBy.ERROR] * 2
    assert "chat template cannot show the conversation: TemplateError: roles are system" in played[0].episode.rollout().error


def test_a_template_that_raises_on_the_opening_costs_the_task_s_episodes():
    engine, played = play_with_tools("{{ raise_exception('never') }}", "148", n=2)
    assert [one.episode.rollout().error[:32] for one in played] == ["the tokenizer's chat template ca"] * 2
    assert engine.asked == []
    assert all(one.prompt for one in played)


def test_the_end_of_a_turn_that_the_model_wrote_itself_is_not_written_again_before_a_tool_s_reply():
    engine, (one,) = play_with_tools(LLAMA3, CALL + "<|eot_id|>", "148<|eot_id|>")
    assert engine.tokenizer.decode(one.tokens).count("<|eot_id|><|eot_id|>") == 0


def talk(*contents: str, system: str = "") -> tuple:
    """A conversation: user and assistant in turn."""
    opening = ({"role": "system", "content": system},) if system else ()
    return (*opening, *({"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)))


REPLY = ({"role": "user", "content": "Higher."},)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (CHATML, "<|im_end|>\n<|im_start|>user\nHigher.<|im_end|>\n<|im_start|>assistant\n"),
        (LLAMA2, " </s><s>[INST] Higher. [/INST]"),
        (GEMMA, "<end_of_turn>\n<start_of_turn>user\nHigher.<end_of_turn>\n<start_of_turn>model\n"),
        (NUMBERED, "\n[5 user] Higher.\n[6 assistant] "),
        (OPENS_THINKING, "<|im_end|>\n<|im_start|>user\nHigher.<|im_end|>\n<|im_start|>assistant\n<think>\n"),
        (WANTS_THINKING, "</a><u>Higher.</u><a><think>"),
    ],
    ids=["chatml", "llama2", "gemma", "numbered", "drops thinking", "wants thinking"],
)
def test_a_reply_is_what_the_template_writes_after_the_conversation_so_far(template, expected):
    so_far = talk("Guess.", "<think>low</think>3", "No.", "<think>r1env-turn0.</think>5")
    tokenizer = tokenizer_of(template)
    assert reply_text(tokenizer, REPLY, chat=True, so_far=so_far).text == expected
    assert render_chat(tokenizer, (*so_far, *REPLY)).text.endswith(expected)


def test_a_template_that_wants_roles_in_turn_is_shown_neighbours_as_one_message():
    two = ({"role": "user", "content": "Higher."}, {"role": "user", "content": "You have 3 guesses."})
    shown = reply_text(tokenizer_of(LLAMA2), two, chat=True, so_far=talk("Guess.", "3"))
    assert (shown.text, shown.merged) == (" </s><s>[INST] Higher.\n\nYou have 3 guesses. [/INST]", 1)
    assert reply_text(tokenizer_of(CHATML), two, chat=True, so_far=talk("Guess.", "3")).merged == 0


def test_a_template_without_system_messages_is_shown_the_system_message_in_the_user_s():
    shown = render_chat(tokenizer_of(GEMMA), talk("Guess.", system="Be brief."))
    assert shown.text == "<start_of_turn>user\nBe brief.\n\nGuess.<end_of_turn>\n<start_of_turn>model\n"
    assert shown.merged == 1


def test_a_template_that_leaves_messages_out_is_shown_them_in_another_form():
    shown = render_chat(tokenizer_of(LEAVES_OUT), talk("Guess.", system="Be brief."))
    assert (shown.text, shown.merged) == ("[U] Be brief.\n\nGuess.\n[A] ", 1)
    engine, (one,) = play_with_tools(LEAVES_OUT, CALL, "148")
    assert (one.tools_as_user, one.episode.error) == (1, "")
    assert "[U] <tool_response>\n148\n</tool_response>\n[A] " in engine.tokenizer.decode(engine.asked[1][0])


def test_a_template_that_shows_the_last_message_alone_is_refused_where_there_are_more():
    tokenizer = tokenizer_of("[U]{{ messages[-1].content }}[A]")
    assert render_chat(tokenizer, talk("Guess.")).text == "[U]Guess.[A]"
    with pytest.raises(ChatTemplateError, match=r"it leaves out the message of role user 'Guess\.'"):
        render_chat(tokenizer, talk("Guess.", "3", "Higher."))


@pytest.mark.parametrize(
    "written", ["{{ m.content | tojson }}", "{{ m.content | trim }}", "{{ m.content.split() | join('  ') }}"]
)
@given(content=st.text('ab "\n\\ä<', min_size=1, max_size=20))
def test_a_message_that_is_shown_in_another_writing_is_not_taken_for_left_out(written, content):
    tokenizer = tokenizer_of("{% for m in messages %}[" + written + "]{% endfor %}")
    assert render_chat(tokenizer, ({"role": "tool", "content": content},)).tools_as_user == 0


def test_replies_after_a_stand_in_for_the_conversation_are_reported(caplog):
    once = "{% for m in messages %}{% if loop.index > 3 %}{{ raise_exception('too long') }}{% endif %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    rollout._warn_once.cache_clear()
    shown = reply_text(tokenizer_of(once), REPLY, chat=True, so_far=talk("Guess.", "3", "No.", "5"))
    assert shown.text == "\n[user] Higher.\n"
    assert "as after a conversation of one question: the tokenizer's chat template cannot show" in caplog.text


def test_tool_replies_reach_a_template_that_wants_roles_in_turn():
    engine, (one,) = play_with_tools(LLAMA2, CALL, "148")
    assert one.episode.error == ""
    assert "[INST] <tool_response>\n148\n</tool_response> [/INST]" in engine.tokenizer.decode(engine.asked[1][0])


def test_a_template_that_can_show_no_reply_costs_the_episode_its_score_with_the_reason():
    refusing = "{% for m in messages %}{% if m.role == 'assistant' %}{{ raise_exception('one turn only') }}{% endif %}{{ m.content }}{% endfor %}"
    engine = Scripted("50", "98")
    engine.tokenizer = tokenizer_of(refusing)
    found = Environment(**{**vars(environment(max_turns=3)), "other": lambda: lambda task, messages: "Again."})
    (one,) = play([(found, found.task(0))], engine, SamplingParams(max_new_tokens=5))
    assert "the tokenizer's chat template cannot show the conversation" in one.episode.error
    assert "one turn only" in one.episode.error


@given(st.lists(st.text("ab<>/th ink\n0.r1env-u", max_size=20), min_size=1, max_size=5), st.text(max_size=10))
def test_a_reply_is_found_whatever_was_written_before(contents, reply):
    so_far = talk(*contents, *(() if len(contents) % 2 == 0 else ("answer",)))
    shown = reply_text(tokenizer_of(CHATML), ({"role": "user", "content": reply},), chat=True, so_far=so_far)
    assert shown.text == f"<|im_end|>\n<|im_start|>user\n{reply}<|im_end|>\n<|im_start|>assistant\n"
