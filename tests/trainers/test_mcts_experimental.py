"""Tree search over steps: it solves countdowns that one draw of the same policy does not, within its limits, the same way each time."""

from __future__ import annotations

import json

import pytest

from r1env.engines import SamplingParams
from r1env_logic.countdown import countdown_tasks
from r1env_trainers.experimental.tree_search import (
    BlindCountdown,
    EngineSteps,
    Limits,
    Node,
    Proposal,
    nodes,
    puct,
    search,
    write_trace,
)
from r1env_trainers.generate.engine import TransformersEngine
from r1env_trainers.model.load import load_model


def puzzles(count, numbers=3):
    source = countdown_tasks(numbers, split="test")
    metadata = (source.task(place, 0).metadata for place in range(count))
    return [BlindCountdown(tuple(one["numbers"]), one["target"]) for one in metadata]


def solved(result):
    return result.best is not None and result.best.reward == 1.0


def test_search_solves_countdowns_that_one_draw_does_not():
    found = puzzles(20)
    drawn = sum(puzzle.value((), seed) for seed, puzzle in enumerate(found))
    searched = [search(puzzle, Limits(simulations=150, max_children=18)) for puzzle in found]
    assert drawn <= 8
    assert sum(map(solved, searched)) >= 18
    for puzzle, result in zip(found, searched, strict=True):
        if solved(result):
            assert puzzle.left(result.best.steps) == [puzzle.target]


def test_with_a_narrow_extension_limit_search_ends_in_local_optima():
    found = puzzles(20)
    narrow = sum(solved(search(puzzle, Limits(simulations=150, max_children=2))) for puzzle in found)
    wide = sum(solved(search(puzzle, Limits(simulations=150, max_children=18))) for puzzle in found)
    assert narrow <= wide - 5


def test_the_same_seed_gives_the_same_tree_and_another_seed_another(tmp_path):
    (puzzle,) = puzzles(1, numbers=4)
    limits = Limits(simulations=30, max_children=5)
    traces = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_trace(tmp_path / name, search(puzzle, limits, seed))
        traces.append((tmp_path / name).read_text())
    assert traces[0] == traces[1] != traces[2]


def test_a_trace_is_a_node_a_line_parents_first_and_visits_add_up(tmp_path):
    (puzzle,) = puzzles(1, numbers=4)
    result = search(puzzle, Limits(simulations=40, max_children=6))
    write_trace(tmp_path / "trace.jsonl", result)
    rows = [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == list(range(len(rows)))
    assert rows[0] | {"parent": None, "step": None, "depth": 0, "visits": result.simulations} == rows[0]
    for row in rows[1:]:
        assert row["parent"] < row["id"]
        assert row["depth"] == rows[row["parent"]]["depth"] + 1
    for parent in rows:
        children = [row for row in rows if row["parent"] == parent["id"]]
        if children:
            # A walk that ends at a node gave it its children; all later ones go on.
            assert sum(row["visits"] for row in children) == parent["visits"] - 1
            assert sum(row["prior"] for row in children) == pytest.approx(1.0)


def test_a_search_stays_within_its_limits():
    class Endless:
        asked = 0

        def reward(self, steps):
            return None

        def propose(self, steps, count, seed):
            self.asked += 1
            return [Proposal(f"{seed}-{place}", 1.0) for place in range(100)]

        def value(self, steps, seed):
            return 1.0

    problem = Endless()
    result = search(problem, Limits(simulations=25, max_children=3, max_depth=2))
    tree = [node for _, _, node in nodes(result.root)]
    assert result.simulations == 25
    assert result.best is None
    assert problem.asked <= 25
    assert max(len(node.children) for node in tree) == 3
    assert max(len(node.steps) for node in tree) == 2


def test_a_dead_end_is_worth_nothing_and_stops_nothing():
    class DeadEnd:
        def reward(self, steps):
            return 1.0 if steps == ("good", "end") else None

        def propose(self, steps, count, seed):
            following = {(): ("bad", "good"), ("good",): ("end",)}
            return [Proposal(step, 1.0) for step in following.get(steps, ())]

        def value(self, steps, seed):
            return 0.5

    result = search(DeadEnd(), Limits(simulations=20))
    assert result.best is not None
    assert result.best.steps == ("good", "end")


def test_puct_by_hand():
    parent, child = Node((), visits=16), Node(("a",), prior=0.5, visits=3, total=1.5)
    assert puct(parent, child, 2.0) == 0.5 + 2.0 * 0.5 * 4 / 4
    assert puct(parent, Node(("b",), prior=0.5), 2.0) == 4.0


def test_limits_that_allow_nothing_are_refused():
    with pytest.raises(ValueError, match="must be 1 or more"):
        Limits(max_children=0)


def test_a_model_is_searched_over_the_lines_that_it_draws():
    problem = EngineSteps(
        engine=TransformersEngine(load_model("tiny")),
        prompt="sort 3142:",
        judge=lambda text: min(1.0, sum(character.isdigit() for character in text) / 20),
        is_finished=lambda text: len(text) >= 40,
        sampling=SamplingParams(temperature=1.0, top_p=1.0, max_new_tokens=20),
        delimiter="e",
    )
    limits = Limits(simulations=8, max_children=3, max_depth=12)
    results = [search(problem, limits, seed) for seed in (0, 0)]
    steps = [[node.steps for _, _, node in nodes(result.root)] for result in results]
    assert steps[0] == steps[1]
    assert len(steps[0]) > 3
    assert all(step.rstrip("e").count("e") == 0 for path in steps[0] for step in path if step.strip("e"))
