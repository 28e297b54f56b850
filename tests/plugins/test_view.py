"""What `r1env view` answers, without a browser: filters, pages, live news, and that texts stay texts."""

import json
import os
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from r1env.cli.main import make_app as make_program
from r1env.errors import UsageError
from r1env.evaluation.evaluate import EvaluationRow
from r1env.evaluation.run import EvaluationRun
from r1env.overview import overview
from r1env.plugins import installed
from r1env.runs.run import Run
from r1env.types import Score

pytest.importorskip("duckdb", reason="r1env-view is not installed")
from fastapi.testclient import TestClient

from r1env_view import store as store_module
from r1env_view.app import make_app
from r1env_view.store import Filter, Store, news

PLAN = {"name": "demo", "preset": None, "stages": [{"name": "rl", "trainer": "grpo", "config": {"model": "tiny"}}]}
HOSTILE = "</pre></script><script>alert(1)</script><img src=x onerror=alert(1)>\x00\x1b[31m\u202e" + "y" * 50_000
TOOLS = [
    {"role": "user", "content": "2 + 2?"},
    {
        "role": "assistant",
        "content": "<think>call it</think>",
        "tool_calls": [{"function": {"name": "add", "arguments": {"a": 2}}}],
    },
    {"role": "tool", "content": "4", "name": "add"},
]


def make_run(folder: Path, name: str, steps: int = 4) -> Run:
    """Each step: groups `easy` (right, wrong) and `hard` (unscored, timed out), the first with a tool call."""
    run = Run.create(folder / name, PLAN, seed=0)
    run.start_stage("rl")
    for step in range(1, steps + 1):
        run.log(step, {"reward": step / steps, "eval/accuracy": step / 10})
        common = {"environment": "add", "tokens": 5, "policy_version": step - 1}
        easy = {**common, "task_id": "easy", "group": 0, "question": "2 + 2?", "answer": "4"}
        hard = {**common, "task_id": "hard", "group": 1, "question": "hard?"}
        right = {
            "prompt": TOOLS,
            "turns": 2,
            "completion": f"<think>{'wait ' * 30}</think>It is 4, said at {step}.",
            "correct": True,
        }
        rows = [
            {
                **easy,
                **right,
                "sample": 0,
                "reward": 1.0,
                "status": "ok",
                "advantage": 0.5,
                "parts": {"math": 1.0},
                "reason": "math: equal",
            },
            {**easy, "sample": 1, "completion": "five", "correct": False, "reward": 0.0, "status": "wrong", "advantage": -0.5},
            {**hard, "sample": 0, "completion": HOSTILE, "status": "error", "reason": HOSTILE},
            {**hard, "sample": 1, "completion": "slow", "status": "timeout", "truncated": True},
        ]
        run.log_rollouts(step, rows)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_run(folder, "one").finish_stage("rl")
    make_run(folder, "two", steps=2)  # whose rollouts are in no shard yet
    evaluation = EvaluationRun.create(folder / "eval-add", {}, seed=0)
    row = EvaluationRow(
        task_id="easy",
        sample=0,
        prompt="2 + 2?",
        completion="in an evaluation",
        answer="4",
        score=Score(value=1.0),
        correct=True,
        length=3,
        finish_reason="stop",
    )
    evaluation.append("tiny", "add", [row])
    return folder


@pytest.fixture(scope="module")
def client(runs: Path) -> TestClient:
    return TestClient(make_app([runs]), base_url="http://localhost")


@pytest.fixture(scope="module")
def store(runs: Path) -> Store:
    return Store([runs])


def places(found: store_module.Found) -> list[tuple[str, int, str, int]]:
    return [(row["run"], row["step"], row["task_id"], row["sample"]) for row in found.rows]


def test_runs_and_evaluations_are_found_below_a_folder(store: Store) -> None:
    assert set(store.sources) == {"one", "two", "eval-add"}


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({}, 25),
        ({"runs": ("one",)}, 16),
        ({"verdict": "right"}, 7),
        ({"verdict": "wrong"}, 6),
        ({"verdict": "unscored"}, 12),
        ({"verdict": "timed out"}, 6),
        ({"verdict": "no such verdict"}, 0),
        ({"status": "error", "runs": ("two",)}, 2),
        ({"task": "easy", "step_from": 2, "step_to": 3, "runs": ("one",)}, 4),
        ({"kind": "eval"}, 1),
        ({"model": "tiny"}, 1),
        ({"reward_min": 0.5}, 7),
        ({"group": 1, "runs": ("one",)}, 8),
        ({"environment": "none"}, 0),
    ],
)
def test_a_filter_finds_what_it_says_in_shards_and_in_open_files(store: Store, wanted: dict[str, object], count: int) -> None:
    found = store.find(Filter(**wanted))
    assert (found.total, len(found.rows)) == (count, count)


def test_sorting_puts_rollouts_without_a_number_last(store: Store) -> None:
    rows = store.find(Filter(runs=("one",), sort="lowest advantage")).rows
    assert [row["advantage"] for row in rows][:5] == [-0.5] * 4 + [0.5]
    assert rows[-1]["advantage"] is None


def test_text_is_searched_for_within_the_filter_and_in_any_case(store: Store) -> None:
    found = store.find(Filter(text="IT IS 4", runs=("one", "two"), step_from=2))
    assert places(found) == [("one", 4, "easy", 0), ("one", 3, "easy", 0), ("one", 2, "easy", 0), ("two", 2, "easy", 0)]
    assert store.find(Filter(text="in an evaluation")).total == 1
    assert store.find(Filter(text="it is 4", verdict="wrong")).total == 0


def test_a_search_that_runs_out_of_time_goes_on_from_where_it_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "SEARCH_SECONDS", 0.0)
    monkeypatch.setattr(store_module, "SEARCH_PIECE", 3)
    seen, at, requests = list[tuple[str, int, str, int]](), 0, 0
    while at is not None:
        found = store.find(Filter(text="slow", runs=("one",)), search_from=at)
        seen += places(found)
        at, requests = found.next, requests + 1
    assert requests == 6
    assert [step for _, step, _, _ in seen] == [4, 3, 2, 1]


@pytest.mark.parametrize(
    "wanted",
    [Filter(), Filter(verdict="wrong", step_from=2), Filter(kind="train", reward_max=0.5), Filter(task="hard", status="error")],
)
def test_each_choice_says_how_many_rollouts_it_leaves(store: Store, wanted: Filter) -> None:
    facets = store.facets(wanted)
    assert facets["kind"]
    for name, values in facets.items():
        for value, count in values:
            choice: dict[str, Any] = {name: value}
            found = store.find(replace(wanted, **choice))
            assert (found.total, len(found.rows)) == (count, count), (name, value)


def test_facets_count_what_each_choice_would_show(store: Store) -> None:
    facets = store.facets(Filter(runs=("one",), status="ok"))
    assert dict(facets["status"]) == {"ok": 4, "wrong": 4, "error": 4, "timeout": 4}
    assert dict(facets["verdict"]) == {"right": 4}
    histogram = store.rewards(Filter(runs=("one",)))
    assert (len(histogram), histogram[0], histogram[20][1], sum(count for _, count in histogram)) == (21, (0.0, 4), 4, 8)


def test_what_a_run_writes_is_seen_at_the_next_refresh_and_a_rewind_too(tmp_path: Path) -> None:
    run = make_run(tmp_path, "live", steps=1)
    store = Store([tmp_path])
    assert store.find(Filter()).total == 4
    position = run.position()
    run.log_rollouts(2, [{"completion": "new", "task_id": "new"}])
    store.refresh()
    assert [row["task_id"] for row in store.find(Filter()).rows][:2] == ["new", "hard"]
    run.finish_stage("rl")  # the rows move from the open file to a shard
    store.refresh()
    assert store.find(Filter()).total == 5
    run.rewind(position)
    store.refresh()
    assert store.find(Filter()).total == 4
    make_run(tmp_path, "later", steps=1)
    store._scanned = 0.0
    store.refresh()
    assert set(store.sources) == {"live", "later"}


def test_a_resumed_run_that_repeats_as_many_rollouts_shows_the_new_ones(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run", steps=1)
    position = run.position()
    run.log_rollouts(2, [{"completion": "open", "task_id": "before"}])
    store = Store([tmp_path])
    run.rewind(position)
    run.log_rollouts(2, [{"completion": "open", "task_id": "after"}])
    store.refresh()
    assert [row["task_id"] for row in store.find(Filter()).rows][:2] == ["after", "hard"]


def test_the_overview_follows_a_growing_log_and_a_rewound_one(tmp_path: Path) -> None:
    run, store = make_run(tmp_path, "run", steps=2), Store([tmp_path])

    def numbers() -> tuple[object, ...]:
        store._overviews.clear()
        found = store.overview("run")
        assert found is not None
        assert found == overview(run.path)  # which reads everything anew
        return found.step, found.reward, found.accuracy_first, found.accuracy_best, found.accuracy_last

    assert numbers() == (2, 1.0, 0.1, 0.2, 0.2)
    position = run.position()
    run.log(3, {"reward": 0.5, "eval/accuracy": 0.15})
    run.log(4, {"loss": 0.5})
    assert numbers() == (4, 0.5, 0.1, 0.2, 0.15)
    run.rewind(position)
    assert numbers() == (2, 1.0, 0.1, 0.2, 0.2)
    run.finish_stage("rl")
    run.start_stage("more")
    run.log(1, {"eval/accuracy": 0.05})
    assert numbers() == (1, 1.0, 0.05, 0.05, 0.05)


def test_news_are_only_what_came_since_and_everything_after_a_rewind(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run", steps=2)
    first = news(run.path, (0, 0))
    assert [row["step"] for row in first.rows] == [1, 2]
    assert news(run.path, first.position).rows == []
    run.log(3, {"reward": 1.0})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"half": ')
    second = news(run.path, first.position)
    assert ([row["step"] for row in second.rows], second.reset) == ([3], False)
    os.truncate(run.path / "metrics.jsonl", 0)
    run.log(1, {"reward": 0.0})
    third = news(run.path, second.position)
    assert ([row["step"] for row in third.rows], third.reset) == ([1], True)
    os.truncate(run.path / "metrics.jsonl", 0)
    for step in (7, 8, 9):
        run.log(step, {"loss": 0.5})  # longer than before already
    fourth = news(run.path, third.position)
    assert ([row["step"] for row in fourth.rows], fourth.reset) == ([7, 8, 9], True)


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


PAGES = [
    "/",
    "/?run=one&run=two",
    "/?run=eval-add",
    "/rollouts",
    "/rollouts?run=one&verdict=unscored&open=one:2",
    "/rollouts?run=one&text=alert",
    "/rollouts?step_from=x&sort=none&page=7",
    "/rollout/one/0",
    "/rollout/one/2",
    "/rollout/two/2",
    "/rollout/eval-add/0",
    "/group/one/2",
    "/group/eval-add/0",
    "/task?run=one&run=two&task=hard",
    "/tasks",
    "/tasks?run=one&run=two&run=eval-add&kind=train&sort=no such order",
    "/tasks?run=one&environment=none",
    "/rollouts?page=99999999999999999999&step_from=99999999999999999999&group=-1&reward_min=nan&search_from=-1&text=a",
    "/rollouts?page=99999999999999999999",
    "/rollouts?page=-1&reward_min=inf&reward_max=-inf",
    "/tasks?step_to=99999999999999999999",
    "/task?run=one&run=two&task=easy&environment=add",
    "/compare?a=one:0&b=two:2",
    "/step/one",
    "/step/one/rl/1?groups=unscored",
    "/step/two/rl/2",
]


@pytest.mark.parametrize("address", PAGES)
def test_every_page_is_whole_and_no_text_of_a_model_becomes_markup(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    tags = Tags(answer.text).tags
    assert [attributes["src"] for tag, attributes in tags if tag == "script"] == [
        "/static/uPlot.iife.min.js",
        "/static/charts.js",
        "/static/view.js",
    ]
    assert not [
        tag
        for tag, attributes in tags
        if tag == "img" or "style" in attributes or any(name.startswith("on") for name in attributes)
    ]
    assert "\x00" not in answer.text
    assert "\u202e" not in answer.text
    if "alert(1)" in answer.text:
        assert "&lt;script&gt;alert(1)" in answer.text


def test_a_long_completion_is_cut_on_the_page_and_whole_as_plain_text(client: TestClient) -> None:
    page = client.get("/rollout/one/2").text
    assert page.count("y" * 1000) < 25
    assert "as plain text" in page
    raw = client.get("/raw/one/2")
    assert raw.text == HOSTILE
    assert raw.headers["content-type"].startswith("text/plain")
    assert raw.headers["x-content-type-options"] == "nosniff"


def test_a_rollout_shows_its_turns_its_tools_and_why_it_was_scored_so(client: TestClient) -> None:
    page = client.get("/rollout/one/0").text
    for text in (
        "math: equal",
        "advantage <b>+0.500</b>",
        "tool add",
        "tool calls",
        "thinking, 165 characters",
        "<mark>wait</mark>",
        "reference",
    ):
        assert text in page, text


def test_a_group_shows_all_its_completions_with_advantages(client: TestClient) -> None:
    page = client.get("/group/one/1").text
    assert re.findall(r'aria-label="advantage ([+-][\d.]+)"', page) == ["+0.500", "-0.500"]
    assert "2 completions of one prompt" in page


def test_a_task_shows_its_verdicts_over_the_steps_of_both_runs(client: TestClient) -> None:
    page = client.get("/task?run=one&run=two&task=easy").text
    assert page.count('class="cell right"') == 6
    assert page.count('class="cell wrong"') == 6
    assert "<mark>2</mark>" in page  # said at 4, and at 2


def test_a_rollout_without_a_reward_is_unscored_whatever_its_checker_says(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", PLAN, seed=0)
    run.start_stage("rl")
    run.log_rollouts(1, [{"completion": "c", "correct": False, "status": "no_answer"}])
    page = TestClient(make_app([tmp_path]), base_url="http://localhost").get("/rollouts?verdict=unscored").text
    assert '<span class="verdict unscored">unscored</span>' in page


def test_tasks_on_which_two_runs_differ_most_come_first(tmp_path: Path) -> None:
    verdicts = {
        "one": {"same": [True], "better": [False, False], "half": [True, False]},
        "two": {"same": [True], "better": [True], "half": [True]},
    }
    for name, tasks in verdicts.items():
        run = Run.create(tmp_path / name, PLAN, seed=0)
        run.start_stage("rl")
        rows = [{"task_id": task, "completion": "", "correct": right} for task, of_task in tasks.items() for right in of_task]
        run.log_rollouts(1, [*rows, {"task_id": "unjudged", "completion": ""}])
    store = Store([tmp_path])
    found = store.tasks(Filter(runs=("one", "two")), "largest difference", 3)
    assert [(one.task_id, one.spread) for one in found] == [("better", 1.0), ("half", 0.5), ("same", 0.0)]
    assert found[1].by_run == ((2, 0.5), (1, 1.0))
    (last,) = [one for one in store.tasks(Filter(runs=("one", "two")), "lowest", 9) if one.task_id == "unjudged"]
    assert (last.by_run, last.spread) == (((1, None), (1, None)), None)
    page = TestClient(make_app([tmp_path]), base_url="http://localhost").get("/tasks?run=one&run=two").text
    assert page.index(">better</a>") < page.index(">half</a>") < page.index(">same</a>")
    assert (
        'href="/task?task=better&amp;environment=&amp;run=one&amp;run=two"' in page
        or 'href="/task?task=better&amp;run=one&amp;run=two"' in page
    )
    assert "100.0 points" in page


def test_a_step_tells_what_became_of_each_group(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", PLAN, seed=0)
    run.start_stage("rl")
    tokens = {"text": ["a", "\u202e", "c"], "trained": None, "advantage": None, "logprob": [-1.0] * 3, "gap": [0.0] * 3}
    groups = {
        "mixed": [(1.0, 0.5), (0.0, -0.5), (None, None)],
        "flat": [(0.1, 0.0), (0.1, 0.0)],
        "refused": [(1.0, None), (1.0, None)],
        "broken": [(None, None)],
    }
    rows = [
        {
            **{"task_id": name, "group": group, "sample": sample, "completion": "c", "reward": reward, "advantage": advantage},
            "by_token": {**tokens, "clipped": [True, False, True] if advantage else None},
        }
        for group, (name, members) in enumerate(groups.items())
        for sample, (reward, advantage) in enumerate(members)
    ]
    run.log_rollouts(1, rows)
    run.rollout_store.seal()  # some are in a shard, some are not
    run.log(2, {"reward": 0.5, "clip_fraction": 0.25})
    run.log_rollouts(2, rows[3:])
    client = TestClient(make_app([tmp_path]), base_url="http://localhost")
    page = client.get("/step/run/rl/1").text
    table = [re.sub(r"<[^>]+>", " ", line).split() for line in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)][1:]
    ends = [" ".join(line[-6:]) for line in table]
    assert [line[0] for line in table] == list(groups)
    assert ends[0].endswith("4 learned from, 1 left out")  # tokens clipped, and what became of it
    for end, fate in zip(ends[1:], ("all equal", "left out", "unscored"), strict=True):
        assert end.endswith(fate)
    second = client.get("/step/run").text  # the newest
    assert "25.0 % of tokens" in second
    assert 'id="before" href="/step/run/rl/1"' in second
    assert 'id="after"' not in second
    only = client.get("/step/run/rl/1?groups=unscored").text
    assert ">broken</a>" in only
    assert ">mixed</a>" not in only
    shown = re.search(r'data-tokens="([^"]+)"', client.get("/rollout/run/0").text)
    assert shown is not None
    data = json.loads(unescape(shown[1]))
    assert (data["text"], data["clipped"], data["whole"]) == (["a", "[U+202E]", "c"], [True, False, True], 0.5)
    assert client.get("/step/run/rl/9").status_code == 404


def test_a_view_is_saved_shown_under_its_link_and_removed(tmp_path: Path) -> None:
    make_run(tmp_path, "run", steps=1)
    client = TestClient(make_app([tmp_path]), base_url="http://localhost:8765")
    asked = {"address": "/rollouts?run=run&verdict=wrong&open=run:1", "title": "<b>these</b>", "note": "why\u202e?"}
    saved = client.post("/views", json=asked)
    assert saved.status_code == 201
    link = client.get(saved.json()["link"], follow_redirects=False)
    assert link.headers["location"] == f"{asked['address']}&view={saved.json()['id']}"
    again = TestClient(make_app([tmp_path]), base_url="http://localhost:8765")  # it is in a file beside the runs
    page = again.get("/views").text
    assert "&lt;b&gt;these&lt;/b&gt;" in page
    assert "why[U+202E]?" in page
    assert again.get(f"/views/{saved.json()['id']}").json()["note"] == asked["note"]
    assert again.delete(f"/views/{saved.json()['id']}").json() == {"removed": True}
    assert client.get(saved.json()["link"]).status_code == 404


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"json": {"address": "https://evil.example/"}}, 422),
        ({"json": {"address": "//evil.example/rollouts"}}, 422),
        ({"json": {"address": "/rollouts\n"}}, 422),
        ({"json": {"address": "/view/1"}}, 422),  # a view of a view could go round for ever
        ({"json": {"address": "/", "more": 1}}, 422),
        ({"json": {"address": "/", "note": "x" * 30_000}}, 413),
        ({"content": "no json", "headers": {"content-type": "application/json"}}, 422),
        ({"content": '{"address": "/"}', "headers": {"content-type": "text/plain"}}, 415),  # as a form of another site sends it
        ({"json": {"address": "/"}, "headers": {"origin": "https://evil.example"}}, 403),
    ],
)
def test_what_is_no_view_and_what_another_site_sends_is_not_saved(
    request_: dict[str, object], status: int, tmp_path: Path
) -> None:
    client = TestClient(make_app([tmp_path]), base_url="http://localhost:8765")
    assert client.post("/views", **request_).status_code == status
    assert not list(tmp_path.iterdir())


def test_saved_views_that_cannot_be_read_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / ".r1env-views.json").write_text("damaged")
    client = TestClient(make_app([tmp_path]), base_url="http://localhost:8765")
    answer = client.post("/views", json={"address": "/"})
    assert answer.status_code == 500
    assert "correct or remove the file" in answer.json()["error"]
    assert (tmp_path / ".r1env-views.json").read_text() == "damaged"


def test_links_keep_the_filter(client: TestClient) -> None:
    page = client.get("/rollouts?run=one&task=easy&step_from=2&sort=oldest").text
    assert 'href="/rollouts?run=one&amp;verdict=wrong&amp;task=easy&amp;step_from=2&amp;sort=oldest"' in page
    assert 'href="/rollouts?run=one&amp;step_from=2&amp;sort=oldest"' in page  # without the task


def test_the_list_alone_is_sent_where_only_it_changes(client: TestClient) -> None:
    part = client.get("/rollouts?run=one", headers={"x-fragment": "list"}).text
    assert "<html" not in part
    assert part.count('class="row"') == 16


def test_a_tick_has_the_new_metrics_and_the_overview(client: TestClient) -> None:
    answer = client.get("/tick?at=one%400,0").json()
    assert [row["step"] for row in answer["runs"]["one"]["rows"]] == [1, 2, 3, 4]
    assert "40.0 %" in answer["overview"]["html"]
    at = ",".join(map(str, answer["runs"]["one"]["at"]))
    again = client.get(f"/tick?at=one%40{at}&overview={answer['overview']['name']}&sources=3").json()
    assert (again["runs"]["one"]["rows"], again["overview"], again["sources"]) == ([], None, [])


def test_a_tick_names_the_runs_and_evaluations_that_the_page_does_not_know(tmp_path: Path) -> None:
    client = TestClient(make_app([tmp_path]), base_url="http://localhost")
    assert client.get("/tick").json()["sources"] == []
    make_run(tmp_path, "first", steps=1)
    EvaluationRun.create(tmp_path / "second", {}, seed=0)
    client = TestClient(make_app([tmp_path]), base_url="http://localhost")
    assert {one["name"]: one["evaluation"] for one in client.get("/tick").json()["sources"]} == {"first": False, "second": True}
    assert len(client.get("/tick?sources=1").json()["sources"]) == 1


def test_an_open_list_learns_how_many_rollouts_its_filter_has_now(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run", steps=1)
    client = TestClient(make_app([tmp_path]), base_url="http://localhost")
    assert 'data-total="2"' in client.get("/rollouts?run=run&task=easy").text
    run.log_rollouts(2, [{"completion": "new", "task_id": "easy"}, {"completion": "new", "task_id": "other"}])
    assert client.get("/count?run=run&task=easy&open=run:1").json() == {"rollouts": 3}


@pytest.mark.parametrize(
    "address",
    [
        "/rollout/none/0",
        "/rollout/one/99",
        "/task?task=none",
        "/compare?a=one&b=one:1",
        "/tick?at=one",
        "/rollout/one/99999999999999999999",
        "/rollout/one/-1",
        "/group/one/99999999999999999999",
        "/step/one/rl/99999999999999999999",
        "/step/eval-add",
        "/compare?a=one:0&b=one:99999999999999999999",
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404
    assert "Not found" in answer.text


def test_only_this_machine_is_answered_without_a_token(runs: Path) -> None:
    app = make_app([runs])
    assert TestClient(app, base_url="http://evil.example").get("/rollout/one/0").status_code == 403
    for host in ("localhost:8765", "127.0.0.1:8765", "[::1]:8765", "localhost"):
        assert TestClient(app, base_url=f"http://{host}").get("/health").status_code == 200


def test_with_a_token_the_address_needs_it_once(runs: Path) -> None:
    client = TestClient(make_app([runs], token="secret"), base_url="http://gpu-box:8765")
    assert client.get("/rollouts").status_code == 403
    assert client.get("/rollouts?token=wrong").status_code == 403
    first = client.get("/rollouts?token=secret&verdict=right", follow_redirects=False)
    assert (first.status_code, first.headers["location"]) == (303, "/rollouts?verdict=right")
    assert client.get("/rollouts").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--host", "0.0.0.0"], "give --token new"), (["no-such-folder"], "no-such-folder is not a folder")],
)
def test_wrong_usage_is_one_line(arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    result = CliRunner().invoke(make_program(installed()), ["view", *arguments])
    assert result.exit_code == 2
    assert message in result.output
    with pytest.raises(UsageError, match="there is no run 'none' here; there are none"):
        Store([tmp_path / "runs"]).source("none")


def test_runs_lists_runs_and_evaluations_with_their_best_numbers(runs: Path) -> None:
    program = make_program(installed())
    shown = CliRunner().invoke(program, ["runs", str(runs)])
    assert shown.exit_code == 0
    (line,) = (line for line in shown.output.splitlines() if "/one" in line)
    assert re.search(r"finished +rl +4 +1 +10\.0 ?% → 40\.0 ?% +40\.0 ?%", line)
    rows = json.loads(CliRunner().invoke(program, ["runs", str(runs), "--json"]).output)
    assert {(Path(row["path"]).name, row["kind"], row["state"]) for row in rows} == {
        ("one", "run", "finished"),
        ("two", "run", "running"),
        ("eval-add", "evaluation", "running"),
    }
    assert "no run or evaluation" in CliRunner().invoke(program, ["runs", str(runs / "one" / "rollouts")]).output
