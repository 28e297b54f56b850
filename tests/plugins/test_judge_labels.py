"""Preference pairs from a judge: votes in both orders, a leaning to one side that cancels, and a command that can be stopped."""

from __future__ import annotations

import json

import pytest
from chat_stub import fails, serving, verdict
from typer.testing import CliRunner

import r1env
from r1env.cli.main import make_app
from r1env_judge.label_pairs import LEADS, labelled_pair, lead_of_first, vote_orders
from r1env_trainers.reward_model.config import RewardModelConfig
from r1env_trainers.reward_model.data import open_examples


def likes_the_good(handler):
    """A judge that finds the response with the z, wherever it is shown."""
    first, second = ("z" in handler.section(name) for name in "AB")
    verdict(verdict="A=B" if first == second else "A>>B" if first else "B>>A")(handler)


def label(tmp_path, stub, *extra):
    arguments = ["label-pairs", "--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.jsonl")]
    arguments += ["--url", stub.url, "--model", "m", "--set", "attempts=1", *extra]
    result = CliRunner().invoke(make_app(r1env.installed()), arguments)
    out = tmp_path / "out.jsonl"
    return result, [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def write_pairs(tmp_path, count=6):
    rows = [
        {"prompt": f"q{n}", "domain": "chat", "responses": ["<think>z</think>bad", "<think></think>z good"]}
        for n in range(count)
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_each_order_is_shown_to_half_of_the_votes_and_which_is_random():
    orders = [tuple(vote_orders(4, f"0:{n}")) for n in range(100)]
    assert all(sum(order) == 2 for order in orders)
    assert len(set(orders)) == 6
    assert vote_orders(4, "0:7") == vote_orders(4, "0:7")


@pytest.mark.parametrize("favourite", LEADS)
def test_a_judge_that_goes_by_the_place_alone_prefers_neither(favourite):
    orders = vote_orders(4, "0")
    leads = [lead_of_first(favourite, swapped) for swapped in orders]
    assert labelled_pair({}, "one", "other", leads, orders)["margin"] == 0


def test_the_preferred_response_is_the_chosen_one_and_votes_are_told_from_its_side():
    row = labelled_pair({"id": "1"}, "one", "other", [-2, -1, 1, -2], [False, True, False, True])
    assert (row["chosen"], row["rejected"], row["votes"], row["margin"]) == ("other", "one", [2, 1, -1, 2], 1.0)


def test_pairs_are_judged_by_their_responses_and_become_what_the_trainer_reads(tmp_path):
    write_pairs(tmp_path)
    with serving(likes_the_good) as stub:
        result, rows = label(tmp_path, stub)
        assert result.exit_code == 0, result.stderr
        assert len(stub.requests) == 24
    assert {row["chosen"] for row in rows} == {"<think></think>z good"}
    assert all((row["votes"], row["domain"]) == ([2, 2, 2, 2], "chat") for row in rows)
    config = RewardModelConfig(
        model="tiny", data=str(tmp_path / "out.jsonl"), eval={"share": 0}, pairs={"balance_lengths": False}
    )
    assert [pair.chosen for pair in open_examples(config).train] == ["z good"] * 6


def test_what_could_not_be_judged_is_not_written_and_a_second_call_judges_only_that(tmp_path):
    write_pairs(tmp_path)

    def sometimes(handler):
        (fails(500) if "q3" in handler.material else likes_the_good)(handler)

    with serving(sometimes) as stub:
        result, rows = label(tmp_path, stub)
        assert result.exit_code == 1
        assert "1 pairs have no votes" in result.stderr
        assert "status 500" in result.stderr
        assert sorted(row["prompt"] for row in rows) == ["q0", "q1", "q2", "q4", "q5"]
    with serving(likes_the_good) as stub:
        result, rows = label(tmp_path, stub)
        assert result.exit_code == 0
        assert len(stub.requests) == 4
        assert sorted(row["prompt"] for row in rows) == [f"q{n}" for n in range(6)]


@pytest.mark.parametrize(
    ("row", "extra", "complaint"),
    [
        ({"prompt": "q", "responses": ["one"]}, [], "line 1: responses"),
        ({"prompt": "q", "responses": ["a", "b"]}, ["--votes", "3"], "even number"),
        ({"prompt": "q", "responses": ["a", "b"]}, ["--set", "concurency=3"], "did you mean concurrency?"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_is_asked(tmp_path, row, extra, complaint):
    (tmp_path / "in.jsonl").write_text(json.dumps(row))
    with serving(likes_the_good) as stub:
        result, rows = label(tmp_path, stub, *extra)
        assert (result.exit_code, rows, stub.requests) == (2, [], [])
    assert complaint in result.stderr
