"""Parsers of tool calls on hostile text, and what becomes of the calls: answered in words, encoded once, never a crash."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from r1env import EnvironmentSpec, Task, hookimpl
from r1env import builtin as core
from r1env.data.sources import ListSource
from r1env.engines import SamplingParams
from r1env.envs.conversation import MAX_CALLS, ToolEnv, parse_llama_calls, parse_tool_calls
from r1env.envs.environment import make_environment
from r1env.plugins import Plugins, Provenance
from r1env.rollout import play
from r1env.testing import check_tool_parser
from r1env.types import Completion
from r1env_trainers.model import tiny

PARSERS = {"hermes": parse_tool_calls, "llama": parse_llama_calls}
PIECES = (
    *(
        "<tool_call>",
        "</tool_call>",
        "<|python_tag|>",
        "<|eom_id|>",
        "{",
        "}",
        "[",
        "]",
        ";",
        ",",
        ":",
        '"',
        "\\",
        "\\ud800",
        "\ud800",
        "\x00",
    ),
    *('"name"', '"arguments"', '"parameters"', '"echo"', '"text"', "NaN", "1e999", "1", "null", " ", "\n"),
    *('{"name": "echo", "', "<tool_call></tool_call>", '{"name": "echo", "parameters": {"text": "a"}}'),
)
TEXTS = st.text() | st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_keeps_the_contract(name):
    check_tool_parser(name)


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@settings(max_examples=150)
@given(TEXTS)
@example('{"name":' * 60_000)
@example('<tool_call>{"name": "echo", "arguments": ' + '{"a":' * 60_000)
@example('{"name": "echo", "parameters": ' + "9" * 5000 + "}")
def test_whatever_is_written_is_read_into_calls_that_can_be_logged_and_shown(parse, text):
    calls = parse(text)
    assert len(calls) <= MAX_CALLS + 1
    json.dumps(calls, ensure_ascii=False, allow_nan=False).encode()
    for call in calls:
        function = call["function"]
        assert isinstance(function["name"], str)
        assert isinstance(function["arguments"], dict) or function["error"]


ARGUMENTS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), inner, max_size=3)
        ),
        max_leaves=5,
    ),
    max_size=3,
).filter(lambda arguments: "</tool_call>" not in json.dumps(arguments, ensure_ascii=False))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["echo", "sell it"]), ARGUMENTS), min_size=1, max_size=3), st.booleans())
def test_calls_that_are_written_well_are_read_as_objects(calls, ascii_only):
    functions = [{"name": name, "arguments": arguments} for name, arguments in calls]
    hermes = "I will. " + " and ".join(
        f"<tool_call>\n{json.dumps(one, ensure_ascii=ascii_only)}\n</tool_call>" for one in functions
    )
    llama = "; ".join(
        json.dumps({"name": one["name"], "parameters": one["arguments"]}, ensure_ascii=ascii_only) for one in functions
    )
    assert [call["function"] for call in parse_tool_calls(hermes)] == functions
    for text in (llama, f"<|python_tag|>{llama}<|eom_id|>"):
        assert [call["function"] for call in parse_llama_calls(text)] == functions


@pytest.mark.parametrize("text", ["", "It is 5.", "{1, 2}", '{"answer": 5}', 'See {"name": "echo", "parameters": {}}', "[1]"])
def test_a_text_that_begins_otherwise_calls_nothing_in_the_form_of_llama(text):
    assert parse_llama_calls(text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"name": "echo", "parameters": {"text": "a"', "not a JSON object"),
        ('{"name": "echo", "parameters": {}} and so on', "text behind it"),
        ('{"name": "echo", "parameters": "a"}', "parameters is no JSON object"),
        ("<|python_tag|>print(1)", "not a JSON object"),
        ('{"name": 5}', "it has no name"),
        ('{"name": "echo", "parameters": {"text": NaN}}', "it is not JSON"),
        ('{"name": "echo", "parameters": {"text": "\\ud800"}}', "surrogate pair"),
        ('{"name": "no such", "parameters": {}}', "there is no tool 'no such'; there are: echo"),
        ('{"name": "echo", "parameters": {"wrong": 1}}', "TypeError"),
    ],
)
def test_a_call_that_fails_is_answered_in_words(text, said):
    env = environment(tool_parser="llama")
    episode = env.open(env.task(0))
    episode.submit(Completion(text=text))
    assert said in episode.replies[-1]["content"]
    assert not episode.error
    episode.submit(Completion(text="5"))
    assert episode.done


@pytest.mark.parametrize("name", PARSERS)
def test_calls_beyond_the_limit_are_not_made_and_the_model_is_told(name):
    one = {
        "hermes": "<tool_call>{}</tool_call>".format('{"name": "echo", "arguments": {"text": "a"}}'),
        "llama": '{"name": "echo", "parameters": {"text": "a"}};',
    }
    env = environment(tool_parser=name)
    episode = env.open(env.task(0))
    episode.submit(Completion(text=one[name] * (MAX_CALLS + 8)))
    said = [reply["content"] for reply in episode.replies]
    assert said[:MAX_CALLS] == ["a"] * MAX_CALLS
    assert len(said) == MAX_CALLS + 1
    assert "were not made" in said[-1]
    episode.close()


def test_a_tool_whose_result_cannot_be_written_is_answered_in_words():
    def endless() -> object:
        """Return a list that contains itself."""
        found: list[object] = []
        found.append(found)
        return found

    episode = environment(functions=[endless]).open(TASK)
    episode.submit(Completion(text='<tool_call>{"name": "endless"}</tool_call>'))
    assert "ValueError" in episode.replies[-1]["content"]
    episode.close()


def test_a_reply_that_no_tokenizer_takes_is_repaired_and_the_log_says_so(caplog):
    def broken_name() -> str:
        """Return the name of a file as `os.fsdecode` makes it."""
        return "caf\udce9"

    episode = environment(functions=[broken_name]).open(TASK)
    episode.submit(Completion(text='<tool_call>{"name": "broken_name"}</tool_call>'))
    assert episode.replies[-1]["content"] == "caf\ufffd"
    assert "1 characters of an environment's message" in caplog.text
    episode.close()


# What the model sampled stays as it sampled it.


TOKENIZER = tiny.build_tools()[1]


class Scribbler:
    """An engine that takes and returns tokens: each turn is the next of these texts, in any of the ways to cut it into tokens."""

    max_length = 4000

    def __init__(self, texts, cuts):
        self.tokenizer = TOKENIZER
        self._turns = [self._ids(text, cut) for text, cut in zip(texts, cuts, strict=True)]
        self.turns, self.prompts = list(self._turns), []

    def _ids(self, text, cut):
        """Ids of the text cut in two at a place, which is not how the tokenizer would write it where a merged token is cut."""
        pieces = [text[: cut % (len(text) + 1)], text[cut % (len(text) + 1) :]]
        return tuple(
            token for piece in pieces if piece for token in self.tokenizer(piece, add_special_tokens=False)["input_ids"]
        ) or (3,)

    def generate_tokens(self, prompts, params, on_finished=None):
        self.prompts += prompts
        ids = self._turns.pop(0) if self._turns else tuple(self.tokenizer("5")["input_ids"])
        one = Completion(text=self.tokenizer.decode(ids), token_ids=ids, logprobs=(0.0,) * len(ids), finish_reason="stop")
        if on_finished is not None:
            on_finished([0], [one])
        return [one]

    def generate(self, prompts, params):
        raise AssertionError("it takes tokens")

    def close(self):
        pass


CALL = '<tool_call>{"name": "echo", "arguments": {"text": "ab"}}</tool_call>'


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([CALL, CALL + CALL, "<tool_call>{", f"hm. {CALL}", "<tool_call>[]</tool_call>x"]),
            st.integers(0, 200),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_the_history_is_never_rendered_again(turns):
    engine = Scribbler(*zip(*turns, strict=True))
    env = environment()
    [one] = play([(env, env.task(0))], engine, SamplingParams(max_new_tokens=200))
    for earlier, later in zip(engine.prompts, engine.prompts[1:], strict=False):
        assert later[: len(earlier)] == earlier
    played = [*engine.turns, tuple(engine.tokenizer("5")["input_ids"])][
        : len(engine.prompts)
    ]  # a call that is cut up may be none
    sampled = [token for token, drawn in zip(one.ids, one.sampled, strict=True) if drawn]
    assert sampled == [token for turn in played for token in turn]


TASK = Task(id="t", prompt="5?", answer="5")


def echo(text: str) -> str:
    """Return the text."""
    return text


def environment(functions=(echo,), **options):
    class Plugin:
        @hookimpl
        def r1env_environments(self):
            return [
                EnvironmentSpec(
                    "echo",
                    lambda: ListSource([TASK]),
                    reward="environment",
                    summary="",
                    max_turns=8,
                    other=lambda: ToolEnv(functions),
                )
            ]

    plugins = Plugins({Provenance("core", "r1env", "0"): core, Provenance("p", "p", "0"): Plugin()})
    return make_environment("echo", plugins=plugins, **options)
