"""`r1env play`: turns from the keyboard or a file, and a score at the end."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import r1env
from r1env.cli.main import make_app


def play(*arguments, typed=""):
    return CliRunner().invoke(make_app(r1env.installed()), ["play", *arguments], input=typed)


def test_a_person_plays_until_the_environment_ends_the_episode():
    answer = r1env.make_environment("guess-number").task(2).answer
    result = play(
        "guess-number", "--index", "2", typed=f'<answer>-1</answer>\n"<think>\\na</think><answer>{answer}</answer>"\n'
    )
    assert result.exit_code == 0, result.output
    assert "[user]" in result.output
    assert "ended by the environment after 2 turns\nscore 1" in result.output


def test_a_script_plays_and_the_result_is_json(tmp_path):
    script = tmp_path / "turns.txt"
    script.write_text('"quoted" words\n', "utf-8")
    result = play("sort-4", "--script", str(script), "--json")
    found = json.loads(result.output)
    assert (found["turns"], found["score"]["value"]) == (1, 0.0)
    assert found["messages"][-1]["content"] == '"quoted" words'


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["guess-number"], "given up after 0 turns"),
        (["guess-number", "--script", "/nowhere"], "cannot read"),
        (["no-such-env"], "unknown environment"),
    ],
)
def test_what_cannot_be_played_is_said(arguments, said):
    result = play(*arguments)
    assert result.exit_code == 2
    assert said in result.output
