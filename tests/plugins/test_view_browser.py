"""`r1env view` and `report.html` in headless Chromium: what the script does, and what a person with a keyboard or a screen reader meets."""

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("duckdb", reason="r1env-view is not installed")
import uvicorn

from r1env.monitoring.report import write_report
from r1env.plugins import Plugins
from r1env.runs.run import Run
from r1env_view import store as store_module
from r1env_view.app import make_app

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium"),
]

PLAN = {
    "name": "demo",
    "preset": None,
    "stages": [{"name": name, "trainer": "grpo", "config": {"model": "tiny"}} for name in ("base", "rl")],
}
HOSTILE = '<script>document.title="owned"</script><img src=x onerror=\'document.title="owned"\'>\x00\u202e' + "x" * 1_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    run = Run.create(folder / "one", PLAN, seed=0)
    run.start_stage("base")
    run.log(1, {"loss": 2.0})
    run.log(2, {"loss": 1.0})
    run.finish_stage("base")
    run.start_stage("rl")
    run.log(0, {"eval/accuracy": 0.25})
    for step in range(1, 31):
        log_step(run, step)
    run.log_event(
        20,
        {
            "kind": "alert",
            "rule": "flat-groups",
            "metric": "mixed_groups",
            "seen": "<b>few</b> groups teach",
            "cause": "that",
            "remedy": "this",
        },
    )
    return run


def log_step(run: Run, step: int) -> None:
    run.log(
        step, {"reward": step / 30, "eval/accuracy": step / 30, "mixed_groups": 0.5, "clip_fraction": 0.0, "entropy": 1 / step}
    )
    row = {"task_id": "sum", "group": 0, "question": "2 + 2?", "prompt": "2 + 2?", "answer": "4", "tokens": 9}
    completions = [f"<think>{'I wait. ' * 20}</think>4, step {step}", "five", HOSTILE if step == 30 else "six", "seven"]
    run.log_rollouts(
        step,
        [
            {
                **row,
                "sample": sample,
                "completion": text,
                "reward": float(not sample),
                "correct": not sample,
                "status": "wrong" if sample else "ok",
                "advantage": 0.75 - bool(sample),
                "by_token": tokens_of(text) if step % 10 == 0 else None,
            }
            for sample, text in enumerate(completions)
        ],
    )


def tokens_of(text: str) -> dict[str, Any]:
    words = [text[place : place + 2] for place in range(0, min(len(text), 1_000), 2)]
    numbers = [-0.5 * place for place in range(len(words))]
    trained = [place != 0 for place in range(len(words))]
    return {"text": words, "trained": trained, "advantage": None, "logprob": numbers, "gap": numbers, "clipped": None}


@pytest.fixture(scope="module")
def address(folder: Path, run: Run) -> Iterator[str]:
    second = Run.create(folder / "two", PLAN, seed=1)
    second.start_stage("rl")
    for step in range(1, 6):
        log_step(second, step)
    with served(folder) as found:
        yield found


@contextmanager
def served(folder: Path) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app([folder]), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Opens a page; at the end nothing may have been written to the console."""
    faults: list[str] = []
    contexts = []

    def open_page(path: str, *, address: str = address, **settings: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(address + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def test_charts_are_drawn_marked_and_grow_while_the_run_goes_on(visit: Callable[..., Any], run: Run) -> None:
    page = visit("/?run=one")
    page.wait_for_selector(".chart canvas")
    titles = page.locator(".chart h2").all_inner_texts()
    assert titles[:2] == ["Reward", "Accuracy"]  # the first of `CHARTS` that have values, and no empty tile
    assert "Clipped tokens" not in titles
    assert "clipped tokens" in page.locator("#flat").inner_text()
    assert "<b>few</b> groups teach" in page.locator("#alerts").inner_text()
    blank = "c => !c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(value => value)"
    assert not any(canvas.evaluate(blank) for canvas in page.locator(".chart canvas").all())
    legend = page.locator(".chart", has_text="mean over the scored").locator(".legend b")
    assert legend.inner_text() == "1"
    began = time.monotonic()
    run.log(31, {"reward": 0.123})
    sync_api.expect(legend).to_have_text("0.123", timeout=8_000)
    assert time.monotonic() - began < 8.0  # 2 s where the processors are free
    page.select_option("#stage", "rl")
    assert "stage=rl" in page.url


def test_runs_are_drawn_over_each_other(visit: Callable[..., Any]) -> None:
    page = visit("/?run=one&run=two&smooth=0.5")
    page.wait_for_selector(".chart canvas")
    assert page.locator(".chart").first.locator(".legend").inner_text().split()[::2][:2] == ["one", "two"]
    assert page.locator("#smooth").input_value() == "0.5"


def test_rollouts_are_read_filtered_and_followed_with_the_keyboard(visit: Callable[..., Any]) -> None:
    page = visit("/rollouts?run=one")
    page.keyboard.press("j")
    page.wait_for_selector("article.rollout")
    first = page.url
    assert "open=one" in first
    page.keyboard.press("k")
    page.keyboard.press("/")
    page.keyboard.type("step 7")
    sync_api.expect(page.locator(".row")).to_have_count(1)
    assert "text=step" in page.url
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    thinking = page.locator("#detail details.thinking")
    sync_api.expect(page.locator("#detail .facts").first).to_contain_text("step 7")
    assert thinking.get_attribute("open") is None
    page.keyboard.press("h")
    assert thinking.get_attribute("open") is not None
    page.keyboard.press("g")
    sync_api.expect(page.locator(".card")).to_have_count(4)
    page.go_back()
    sync_api.expect(page.locator("#search")).to_have_value("step 7")  # the address keeps the state
    sync_api.expect(page.locator("#detail .facts").first).to_contain_text("step 7")
    page.keyboard.press("t")
    page.wait_for_url("**/task**")  # until it is loaded: the keys are the script's
    page.wait_for_selector(".timeline")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()


def test_chips_change_the_list_in_place_and_two_rollouts_are_compared(visit: Callable[..., Any]) -> None:
    page = visit("/rollouts?run=one")
    page.locator(".chip", has_text="right").first.click()
    sync_api.expect(page.locator(".summary")).to_contain_text("30 rollouts")
    assert "verdict=right" in page.url
    page.locator(".row").nth(0).click()
    page.wait_for_selector("[data-mark]")
    page.locator("[data-mark]").click()
    page.locator(".row").nth(3).click()
    sync_api.expect(page.locator("#detail .facts").first).to_contain_text("step 27")
    page.locator("[data-mark]").click()
    page.wait_for_url("**/compare**")
    assert page.locator(".difference mark").all_inner_texts() == ["30", "27"]


def test_a_list_grows_while_it_is_scrolled_and_a_search_finds_all(visit: Callable[..., Any]) -> None:
    page = visit("/rollouts?run=one")
    sync_api.expect(page.locator(".row")).to_have_count(50)
    while page.locator("#next").count():
        before = page.locator(".row").count()
        page.locator(".row").last.scroll_into_view_if_needed()
        page.locator(".listing").evaluate("box => box.scrollTo(0, box.scrollHeight)")
        page.wait_for_function("before => document.querySelectorAll('.row').length > before", arg=before)
    addresses = page.locator(".row").evaluate_all("rows => rows.map(row => row.dataset.open)")
    assert addresses == [f"one:{number}" for number in range(119, -1, -1)]


def test_tokens_are_coloured_by_what_the_update_saw_and_the_address_keeps_it(visit: Callable[..., Any]) -> None:
    page = visit("/group/one/116?overlay=advantage")  # of step 30
    spans = page.locator(".card").first.locator(".by-token span")
    colour = "e => getComputedStyle(e).backgroundColor"
    assert spans.nth(0).get_attribute("class") == "read"  # not trained on, and without an advantage
    assert spans.nth(0).evaluate(colour) == "rgba(0, 0, 0, 0)"
    assert spans.nth(1).evaluate(colour) != "rgba(0, 0, 0, 0)"
    assert spans.nth(1).evaluate(colour) != page.locator(".card").nth(1).locator(".by-token span").nth(1).evaluate(colour)
    assert page.locator(".card .text").first.is_hidden()
    page.select_option("[data-overlay]", "clipped")
    assert "overlay=clipped" in page.url
    assert page.locator("[data-scale]").inner_text() == "no token was clipped"
    spans.nth(1).click()
    assert "token 2 of" in page.locator(".card").first.locator("output").inner_text()
    page.keyboard.press("o")  # the last overlay is followed by the text
    assert "overlay" not in page.url
    assert page.locator(".card .text").first.is_visible()
    assert page.title() != "owned"


def test_steps_are_replayed_one_after_another(visit: Callable[..., Any]) -> None:
    page = visit("/step/one")
    assert page.locator("h1").inner_text() == "rl, step 30"
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/step/one/rl/29")
    sync_api.expect(page.locator(".phases h2")).to_have_text(["Sampled", "Scored", "Compared", "Learned"])
    page.locator(".groups a.cell").first.click()
    page.wait_for_url("**/rollout/**")
    page.keyboard.press("s")
    page.wait_for_url("**/step/one/rl/29")


def test_a_view_is_saved_with_a_note_that_its_link_shows(visit: Callable[..., Any], address: str) -> None:
    page = visit("/rollouts?run=one&verdict=wrong")
    page.locator("#save").click()
    page.locator("#save-form [name=title]").fill("<b>Wrong</b>")
    page.locator("#save-form [name=note]").fill("look at these")
    page.locator("#save-now").click()
    link = page.locator("#save-answer a").get_attribute("href")
    page.goto(address + link)
    sync_api.expect(page.locator("#saved")).to_contain_text("<b>Wrong</b>")
    assert "verdict=wrong" in page.url
    page.goto(address + "/views")
    page.locator("[data-remove]").first.click()
    sync_api.expect(page.locator("[data-view]")).to_have_count(0)


def test_hostile_completions_are_text(visit: Callable[..., Any]) -> None:
    page = visit("/rollouts?run=one&step_from=30&open=one:118")
    assert "<script>" in page.locator("#detail .completion").inner_text()
    assert page.title() != "owned"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#detail img").count() == 0
    page.goto(page.url.split("/rollouts")[0] + "/group/one/118")
    assert page.locator(".card").count() == 4
    assert page.title() != "owned"


@pytest.mark.parametrize(
    "path",
    [
        "/?run=one&run=two",
        "/rollouts?run=one&open=one:0",
        "/group/one/0",
        "/task?run=one&run=two&task=sum",
        "/tasks?run=one&run=two",
        "/step/one/rl/30",
        "/group/one/116?overlay=logprob",
        "/rollout/one/116",
    ],
)
def test_pages_fit_a_phone_and_axe_finds_nothing_serious(visit: Callable[..., Any], path: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = visit(path, viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.wait_for_selector("canvas, article, .card, .phases, .runs")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for theme in ("dark", "light"):
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        found = [one for one in axe.run(page).response["violations"] if one["impact"] in ("serious", "critical")]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found] == []
        page.locator("#theme").click()


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_the_report_opens_from_a_file_without_a_network(chromium: Any, run: Run, width: int, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    report = write_report(run, plugins=Plugins({}))
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, offline=True)
    page = context.new_page()
    requests, faults = list[str](), list[str]()
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(report.as_uri())
    page.wait_for_selector(".chart canvas")
    assert page.locator(".chart h3").all_inner_texts()[:2] == ["Reward", "Accuracy"]
    blank = "c => !c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(value => value)"
    assert not any(canvas.evaluate(blank) for canvas in page.locator("canvas").all())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.title() != "owned"
    found = [one for one in axe.run(page).response["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found] == []
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"  # paper is white
    assert (requests, faults) == ([report.as_uri()], [])
    context.close()


def test_runs_that_begin_later_are_found_and_an_open_list_offers_its_new_rollouts(
    visit: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "RESCAN_SECONDS", 0.0)
    with served(tmp_path) as address:
        page = visit("/", address=address)
        sync_api.expect(page.locator("#live")).to_have_text("waiting for a run")
        first = Run.create(tmp_path / "first", PLAN, seed=0)
        first.start_stage("rl")
        log_step(first, 1)
        page.wait_for_selector(".chart canvas")
        Run.create(tmp_path / "second", PLAN, seed=0)
        sync_api.expect(page.locator("#begun")).to_have_text("new: second")
        page.goto(f"{address}/rollouts?run=first&verdict=wrong")
        page.locator(".row").nth(1).click()
        log_step(first, 2)
        page.locator("#fresh").click(timeout=20_000)
        sync_api.expect(page.locator(".row")).to_have_count(6)
        assert "open=first" in page.url
        page.locator(".picker summary").click()
        page.locator(".picker [value=second]").check()
        page.locator(".picker button").click()
        page.wait_for_url("**run=second**")
        assert "verdict=wrong" in page.url
