"""Take the pictures of the page and of the report that the README and `docs/view.md` show, from a run of the demo.

    r1env train r1-zero --preset tiny-cpu --output runs/demo --seed 0
    python tools/screenshots.py runs/demo

Needs r1env-view, Playwright and Chromium. A picture that is larger than `LARGEST` is an error, so that the repository stays small.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Page, sync_playwright

from r1env.monitoring.report import write_report
from r1env.runs.run import Run
from r1env_view.app import make_app
from r1env_view.store import Filter, Store

IMAGES = Path(__file__).parent.parent / "docs" / "images"
LARGEST = 150_000  # bytes
DESKTOP, PHONE = (1280, 800), (390, 760)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: `name`.png of an address, in light or dark."""

    name: str
    address: str
    size: tuple[int, int] = DESKTOP
    dark: bool = False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run of the demo")
    parser.add_argument("--output", type=Path, default=IMAGES)
    options = parser.parse_args()
    report = write_report(Run.open(options.run))
    options.output.mkdir(parents=True, exist_ok=True)
    with served(options.run) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        large = []
        for picture in [*pictures(options.run), Picture("demo-report", report.resolve().as_uri(), (1240, 760))]:
            context = browser.new_context(
                viewport={"width": picture.size[0], "height": picture.size[1]},
                color_scheme="dark" if picture.dark else "light",
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.goto(picture.address if "://" in picture.address else address + picture.address)
            settle(page)
            path = options.output / f"{picture.name}.png"
            page.screenshot(path=path)
            context.close()
            print(f"{path}: {path.stat().st_size:,} bytes")
            if path.stat().st_size > LARGEST:
                large.append(path)
        browser.close()
    for path in large:
        print(f"{path} is larger than {LARGEST:,} bytes", file=sys.stderr)
    return int(bool(large))


def pictures(path: Path) -> list[Picture]:
    """Return the pictures of a run: of a step in its middle whose tokens are stored, and there of the group that is most evenly mixed."""
    store = Store([path])
    (name,) = store.sources
    steps = store.steps(name)
    stage, step = min(
        (place for place in steps if store.clipped(name, [rows_of(store, name, *place)[0]["row"]])),
        key=lambda place: abs(2 * steps.index(place) - len(steps)),
    )
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in rows_of(store, name, stage, step):
        groups.setdefault(row["group"], []).append(row)
    group = min(groups.values(), key=lambda rows: abs(2 * sum(row["correct"] for row in rows) - len(rows)))
    number = next(row["row"] for row in group if row["correct"])
    wrong = next(
        row["row"] for row in reversed(rows_of(store, name, stage, step)) if not row["correct"]
    )  # on the first page of the list
    listed = f"/rollouts?run={name}&kind=train&step_from={step}&step_to={step}&open={name}:{wrong}"
    return [
        Picture("view-charts-light", f"/?run={name}"),
        Picture("view-rollouts-light", listed),
        Picture("view-group-dark", f"/group/{name}/{number}?overlay=advantage", dark=True),
        Picture("view-step-light", f"/step/{name}/{stage}/{step}"),
        Picture("view-phone-dark", f"/?run={name}", PHONE, dark=True),
        Picture("view-phone-light", f"/rollout/{name}/{number}", PHONE),
    ]


def rows_of(store: Store, name: str, stage: str, step: int) -> list[dict[str, Any]]:
    return store.all(Filter(runs=(name,), stage=stage, kind="train", step_from=step, step_to=step, sort="oldest"))


def settle(page: Page) -> None:
    """Wait until charts are drawn and nothing is being fetched; the page of a run asks for news for ever, so that it is never idle."""
    page.wait_for_selector("canvas, article, .card, .phases, .rows, table")
    page.wait_for_timeout(1_000)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the page of a run on a free port; the value is its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app([folder]), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def chromium() -> str | None:
    """Return the system's Chromium; None for the one that Playwright has installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


if __name__ == "__main__":
    sys.exit(main())
