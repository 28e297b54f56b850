"""The report: complete in itself, and safe whatever a model wrote."""

import importlib.util
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from r1env.errors import UsageError
from r1env.hooks import ReportSpec, hookimpl
from r1env.monitoring.report import write_report
from r1env.plugins import Plugins, Provenance
from r1env.runs.run import Run

HOSTILE = '</script><script>alert("x")</script><img src=http://evil.example/x.png onerror=alert(1)>\x00\x1b\u202e\ud800'
PLAN = {
    "name": "demo",
    "preset": "tiny",
    "stages": [
        {"name": "base", "trainer": "sft", "config": {"model": "tiny-model", "seed": 7}},
        {"name": "rl", "trainer": "grpo", "config": {"model": "stage:base", "seed": 7, "env": "sort-4"}},
    ],
}
NO_PLUGINS = Plugins({})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run", PLAN, seed=7, command=["r1env", "train", "<u>demo</u>"])
    run.start_stage("base")
    run.log(1, {"loss": 2.0, "lr": 1e-3})
    run.finish_stage("base")
    run.start_stage("rl")
    run.log(0, {"eval/accuracy": 0.05})
    run.log(1, {"reward": 0.1, "parts/<i>bold</i>": 0.1, "odd": float("nan")})
    run.log(1, {"eval/accuracy": 0.95})
    score = {"reward": None, "parts": {"math": None}, "status": "timeout", "reason": HOSTILE}
    for step in (0, 1):
        run.log_rollouts(step, [{"task_id": "7", "prompt": HOSTILE, "completion": HOSTILE, "answer": HOSTILE, **score}])
    run.finish_stage("rl")
    return run


class Page(HTMLParser):
    """What a browser would see: tags with attributes, text outside scripts, and the scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data


def page_of(run: Run, plugins: Plugins = NO_PLUGINS) -> Page:
    return Page(write_report(run, plugins=plugins).read_text("utf-8"))


def test_hostile_text_is_shown_and_never_becomes_markup(run: Run) -> None:
    page = page_of(run)
    assert not [tag for tag, _ in page.tags if tag in ("img", "u", "i", "iframe", "link")]
    assert 'alert("x")' in page.text
    assert not [script for script in page.scripts if script.startswith("alert")]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_control_characters_are_spelt_out(run: Run) -> None:
    text = write_report(run, plugins=NO_PLUGINS).read_text("utf-8")
    assert "[U+202E]" in text
    assert not {"\x00", "\x1b", "\u202e"} & set(text.split("<script>")[0])


def test_nothing_is_fetched_from_anywhere(run: Run) -> None:
    page = page_of(run)
    for tag, attributes in page.tags:
        assert not {"src", "href", "srcset", "data", "action"} & attributes.keys(), tag
    style = re.search(r"<style>(.*?)</style>", (run.path / "report.html").read_text("utf-8"), re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    policy = next(attributes["content"] for tag, attributes in page.tags if tag == "meta" and "http-equiv" in attributes)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_every_chart_has_lines_and_reward_and_accuracy_come_first(run: Run) -> None:
    page = page_of(run)
    figures = [json.loads(script) for script in page.scripts if script.startswith("{")]
    assert len(figures) == len([1 for tag, attributes in page.tags if attributes.get("class") == "chart"])
    assert [figure["title"] for figure in figures] == [
        *("Reward", "Accuracy"),  # over all stages
        *("Learning rate", "Loss"),  # of the stage `base`
        *("Reward", "Accuracy", "Parts of the reward"),
    ]
    assert all(line["x"] for figure in figures for line in figure["lines"])


def test_a_report_stays_small_however_long_the_run_and_its_completions(tmp_path: Path) -> None:
    stages = [{"name": f"s{number}", "trainer": "grpo", "config": {"model": "tiny"}} for number in range(3)]
    run = Run.create(tmp_path / "run", {"name": "long", "preset": None, "stages": stages}, seed=0)
    metrics = {f"seconds/{name}": 1 / 3 for name in "abcdefgh"}
    for stage in stages:
        run.start_stage(stage["name"])
        rows = [
            {"stage": stage["name"], "step": step, "time": 0.0, **metrics, "reward": 1 / (step + 3)} for step in range(3_000)
        ]
        with (run.path / "metrics.jsonl").open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        for step in range(5):
            run.log_rollouts(step, [{"task_id": str(task), "completion": "x" * 20_000} for task in (0, 1, 2, 3) for _ in "ab"])
        run.finish_stage(stage["name"])
    assert write_report(run, plugins=NO_PLUGINS).stat().st_size < 1_000_000


def test_before_and_after_are_the_first_and_the_last_evaluation(run: Run) -> None:
    text = " ".join(page_of(run).text.split())
    assert "rl 5.0 % 95.0 % +90.0 points 0 and 1" in text


def test_alerts_stand_with_their_stage_and_are_escaped(run: Run) -> None:
    alert = {"kind": "alert", "rule": "hollow-reward", "metric": "reward", "seen": HOSTILE, "cause": "that", "remedy": "this"}
    again = Run.open(run.path)
    again.start_stage("rl")
    again.rewind(run.position())
    again.log_event(1, alert)
    page = page_of(again)
    assert "hollow-reward at step 1" in " ".join(page.text.split())
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_the_header_says_what_was_run(run: Run) -> None:
    text = page_of(run).text
    for expected in ("demo · tiny", "base → rl", "tiny-model", "sort-4", "r1env train <u>demo</u>"):
        assert expected in text


def test_a_run_without_steps_has_a_report_too(tmp_path: Path) -> None:
    assert page_of(Run.create(tmp_path / "run", PLAN, seed=0)).text.count("No steps yet.") == 2


def test_a_missing_library_is_a_usage_error_that_names_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jinja2" else found(name))
    with pytest.raises(UsageError, match=r"jinja2.*pip install r1env\[report\]"):
        write_report(run, plugins=NO_PLUGINS)


def good_section(run: Run) -> str:
    return f"<p id='mine'>{len(run.metrics())} rows</p>"


def broken_section(run: Run) -> str:
    raise RuntimeError("<script>boom</script>")


class Sections:
    @staticmethod
    @hookimpl
    def r1env_reports() -> list[ReportSpec]:
        return [
            ReportSpec("Mine", "report_sections:good_section", ""),
            ReportSpec("Broken", "report_sections:broken_section", ""),
        ]


def test_plugins_add_sections_and_a_broken_one_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("report_sections")
    vars(module).update(good_section=good_section, broken_section=broken_section)
    monkeypatch.setitem(sys.modules, "report_sections", module)
    page = page_of(run, Plugins({Provenance("sections", "r1env-sections", "0.3"): Sections}))
    assert ("p", {"id": "mine"}) in page.tags
    assert "4 rows" in page.text
    assert "r1env-sections 0.3 (sections) failed: RuntimeError: <script>boom</script>" in page.text
