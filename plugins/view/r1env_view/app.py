"""The page as a FastAPI application: HTML rendered here, JSON for charts, and no state that is not in the address.

Texts of models and data sets reach the browser escaped, and a content security policy forbids every script and style that is not a file
of this package.
"""

from __future__ import annotations

import difflib
import hashlib
import hmac
import itertools
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import jinja2
from fastapi import FastAPI, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from pydantic import ValidationError

from r1env.errors import R1EnvError, UsageError
from r1env.monitoring.report import CHARTS, LONGEST, Piece, mark, visible
from r1env_view.store import EVALUATION, FACETS, PAGE, SORTS, TASK_SORTS, VERDICTS, Filter, Store, View, news

COOKIE = "r1env_view"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
STATIC = {
    "view.css": ("r1env_view", "text/css"),
    "view.js": ("r1env_view", "text/javascript"),
    "charts.js": ("r1env.monitoring", "text/javascript"),  # these three are in the report, too
    "uPlot.min.css": ("r1env.monitoring", "text/css"),
    "uPlot.iife.min.js": ("r1env.monitoring", "text/javascript"),
}
"""Name of a file → the package whose folder `static` has it, and its type."""
LARGEST_VIEW = 20_000  # bytes of a view that is saved
TICK_SECONDS = 1.0  # between two looks of the page for news
FOLDED = 60  # characters of thinking from which on it is folded
GROUPS_SHOWN = 256  # completions of a group, and groups of a step, on one page
TOKENS_SHOWN = 4_000  # of a completion, where each is coloured
TASKS_SHOWN = 200  # on one page
SHORT = 40  # characters of a name in a filter
FURTHEST_PAGE = 10**9  # that DuckDB can count to
STEPS_SHOWN = 6  # of a prompt whose completions are shown; the timeline has all of them
WORDS_COMPARED = 3_000  # of each text in a difference, whose cost grows with their product


def make_app(places: Sequence[Path], *, token: str = "") -> FastAPI:
    """Return the application over some run and evaluation folders.

    Args:
        token: that the address must have once (`?token=…`); a cookie keeps it. Without one only this machine is answered: requests
            whose Host header names another are refused, so that no web site can read the page through a name of its own.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    store, render = Store(places), _renderer()

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = _refusal(request, token)
        if response is None:
            response = await call_next(request)
            if token and (given := request.query_params.get("token")):
                response.set_cookie(COOKIE, given, httponly=True, samesite="strict")
        response.headers.update(HEADERS)
        return response

    @app.exception_handler(R1EnvError)
    def fault(_: Request, error: Exception) -> HTMLResponse:
        page = render("fault.html.j2", store=store, selected=(), message=str(error))
        return HTMLResponse(page, 404 if isinstance(error, UsageError) else 500)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in STATIC:
            return PlainTextResponse("not found", 404)
        package, kind = STATIC[name]
        return Response((files(package) / "static" / name).read_bytes(), media_type=kind)

    @app.get("/")
    def charts(run: Annotated[list[str] | None, Query()] = None, stage: str = "") -> HTMLResponse:
        store.refresh()
        selected = _selected(store, run)
        config = {
            "charts": [asdict(chart) for chart in CHARTS],
            "runs": [name for name in selected if not store.source(name).evaluation],
            "evaluations": [name for name in selected if store.source(name).evaluation],
            "stage": stage,
        }
        return HTMLResponse(render("charts.html.j2", store=store, selected=selected, config=config, stage=stage))

    @app.get("/tick")
    def tick(at: Annotated[list[str] | None, Query()] = None, overview: str = "", sources: int = 0) -> JSONResponse:
        """Return what is new.

        Args:
            at: RUN@METRICS,EVENTS for each run and evaluation that is shown: the positions up to which the page has been told.
            overview: name of the table that the page has; it is sent only if it has changed.
            sources: how many runs and evaluations the page knows.
        """
        store.look_for_sources()
        found = {}
        for name, first, second in (_position(one) for one in at or ()):
            told = news(store.source(name).path, (first, second))
            found[name] = {"rows": told.rows, "events": told.events, "at": told.position, "reset": told.reset}
        table = render("_overview.html.j2", store=store, selected=tuple(found))
        digest = hashlib.sha256(table.encode()).hexdigest()[:16]
        return JSONResponse(
            {
                "runs": found,
                "overview": None if digest == overview else {"html": table, "name": digest},
                "sources": [{"name": one.name, "evaluation": one.evaluation} for one in list(store.sources.values())[sources:]],
            }
        )

    @app.get("/count")
    def count(request: Request) -> JSONResponse:
        """Return how many rollouts a filter has now, its text aside, so that an open list can say that there are more."""
        store.refresh()
        return JSONResponse({"rollouts": store.count(filter_of(request.query_params.multi_items(), store))})

    @app.get("/rollouts")
    def rollouts(request: Request, page: int = 0, search_from: int = 0, found: int = 0, open: str = "") -> HTMLResponse:  # noqa: A002 - in the address
        """Return the list of rollouts; `found` is how many a text search had found before `search_from`."""
        store.refresh()
        wanted = filter_of(request.query_params.multi_items(), store)
        page, search_from = max(0, min(page, FURTHEST_PAGE)), max(0, search_from)
        here = store.find(wanted, page=page, search_from=search_from)
        opened = None
        if open:
            name, number = _place(open)
            opened = store.rollouts(name, [number])[0]
        whole = request.headers.get("x-fragment") != "list"
        return HTMLResponse(
            render(
                "rollouts.html.j2" if whole else "_list.html.j2",
                store=store,
                selected=wanted.runs,
                wanted=wanted,
                found=here,
                found_before=found,
                excerpts=store.excerpts(here.rows),
                facets=store.facets(wanted),
                rewards=store.rewards(wanted),
                page=page,
                opened=opened,
                address=Address(wanted),
            )
        )

    @app.get("/rollout/{name}/{number}")
    def rollout(request: Request, name: str, number: int) -> HTMLResponse:
        (row,) = store.rollouts(name, [number])
        part = request.headers.get("x-fragment") == "rollout"
        template = "_rollout.html.j2" if part else "rollout.html.j2"
        return HTMLResponse(render(template, store=store, selected=(name,), row=row))

    @app.get("/raw/{name}/{number}")
    def raw(name: str, number: int) -> PlainTextResponse:
        """Return a completion as plain text, whole."""
        (row,) = store.rollouts(name, [number])
        return PlainTextResponse(row["completion"])

    @app.get("/group/{name}/{number}")
    def group(name: str, number: int) -> HTMLResponse:
        """Return the page of the group that a rollout belongs to."""
        (row,) = store.rollouts(name, [number])
        rows = store.group_of(name, row)[:GROUPS_SHOWN]
        whole = store.rollouts(name, [one["row"] for one in rows])
        return HTMLResponse(render("group.html.j2", store=store, selected=(name,), row=row, rows=whole, opened=number))

    @app.get("/task")
    def task(task: str, run: Annotated[list[str] | None, Query()] = None, environment: str = "") -> HTMLResponse:
        """Return the page of one task: its completions over the steps of each run."""
        store.refresh()
        selected = _selected(store, run)
        columns = [column for name in selected if (column := _history(store, name, task, environment))]
        if not columns:
            raise UsageError(f"no rollout of the task {task!r} in {', '.join(selected) or 'any run'}")
        return HTMLResponse(
            render(
                "task.html.j2",
                store=store,
                selected=selected,
                task=task,
                environment=environment,
                columns=columns,
                difference=_difference(*(column.shown[-1]["completion"] for column in columns)) if len(columns) == 2 else None,
            )
        )

    @app.get("/tasks")
    def tasks(request: Request, run: Annotated[list[str] | None, Query()] = None, sort: str = "") -> HTMLResponse:
        """Return the page of the tasks of one run, the hardest first, or of several, with those first on which they differ most."""
        store.refresh()
        selected = _selected(store, run)
        if not selected:
            raise UsageError("there is no run or evaluation here yet")
        wanted = replace(filter_of(request.query_params.multi_items(), store), runs=selected, text="", sort="newest")
        if sort not in TASK_SORTS:
            sort = "lowest" if len(selected) == 1 else "largest difference"
        rows = store.tasks(wanted, sort, TASKS_SHOWN + 1)
        return HTMLResponse(
            render(
                "tasks.html.j2",
                store=store,
                selected=selected,
                wanted=wanted,
                sort=sort,
                rows=rows[:TASKS_SHOWN],
                more=len(rows) > TASKS_SHOWN,
                facets=store.facets(wanted),
            )
        )

    @app.get("/step/{name}")
    def newest_step(name: str) -> Response:
        store.refresh()
        steps = store.steps(name)
        if not steps:
            raise UsageError(f"run {name!r} has no training step with rollouts yet")
        stage, number = steps[-1]
        return RedirectResponse(f"/step/{quote(name)}/{quote(stage)}/{number}", 303)

    @app.get("/step/{name}/{stage}/{number}")
    def step(name: str, stage: str, number: int, groups: str = "") -> HTMLResponse:
        """Return the page of a training step: what was sampled, how it was scored, and what the update made of it."""
        store.refresh()
        replayed = replay(store, name, stage, number)
        return HTMLResponse(render("step.html.j2", store=store, selected=(name,), step=replayed, groups=groups))

    @app.get("/compare")
    def compare(a: str, b: str) -> HTMLResponse:
        """Return the page of the difference between two rollouts, each RUN:ROW."""
        one, other = (store.rollouts(name, [number])[0] for name, number in (_place(a), _place(b)))
        page = render(
            "compare.html.j2",
            store=store,
            selected=(one["run"], other["run"]),
            rows=(one, other),
            difference=_difference(one["completion"], other["completion"]),
        )
        return HTMLResponse(page)

    @app.post("/views")
    async def save(request: Request) -> Response:
        """Keep an address with a title and a note; return its short link. Scripts may use it as the page does."""
        if (refusal := _foreign_post(request)) is not None:
            return refusal
        body = await request.body()
        if len(body) > LARGEST_VIEW:
            return JSONResponse({"error": f"a view has at most {LARGEST_VIEW:,} bytes"}, 413)
        try:
            view = View.model_validate_json(body)
        except ValidationError as error:
            return JSONResponse(
                {"error": "; ".join(f"{one['loc'][0] if one['loc'] else 'view'}: {one['msg']}" for one in error.errors())}, 422
            )
        try:
            saved = store.views.add(view)
        except UsageError as error:
            return JSONResponse({"error": str(error)}, 500)
        except OSError as error:
            return JSONResponse({"error": f"cannot write {store.views.path}: {error.strerror}"}, 507)
        return JSONResponse({"id": saved.id, "link": f"/view/{saved.id}", "address": saved.address}, 201)

    @app.get("/views")
    def views() -> HTMLResponse:
        return HTMLResponse(render("views.html.j2", store=store, selected=(), views=store.views.all()))

    @app.get("/views/{identifier}")
    def view(identifier: str) -> JSONResponse:
        found = store.views.get(identifier)
        return JSONResponse({} if found is None else found.model_dump(), 404 if found is None else 200)

    @app.delete("/views/{identifier}")
    def remove(request: Request, identifier: str) -> Response:
        if (refusal := _foreign_post(request)) is not None:
            return refusal
        return JSONResponse({"removed": store.views.remove(identifier)})

    @app.get("/view/{identifier}")
    def shared(identifier: str) -> Response:
        """Go to the address of a view that was saved."""
        found = store.views.get(identifier)
        if found is None:
            raise UsageError(f"there is no saved view {identifier!r}; it may have been removed")
        return RedirectResponse(found.address + ("&" if "?" in found.address else "?") + urlencode({"view": identifier}), 303)

    @app.get("/health")
    def health() -> JSONResponse:
        return JSONResponse({"ok": True, "sources": list(store.sources)})

    return app


def _refusal(request: Request, token: str) -> Response | None:
    """Return the answer to a request that is not allowed; None for one that is."""
    host = request.headers.get("host", "")
    if token:
        given = request.query_params.get("token") or request.cookies.get(COOKIE, "")
        if not hmac.compare_digest(given.encode(), token.encode()):
            return PlainTextResponse("open the address that `r1env view` printed: it has the token\n", 403)
        if request.query_params.get("token"):  # out of the address, so that it is not copied with a link
            rest = [(key, value) for key, value in request.query_params.multi_items() if key != "token"]
            response = RedirectResponse(request.url.path + (f"?{urlencode(rest)}" if rest else ""), 303)
            response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return response
        return None
    if host.rpartition(":")[0] not in LOOPBACK and host not in LOOPBACK:
        return PlainTextResponse("this page answers to localhost only\n", 403)
    return None


def _foreign_post(request: Request) -> Response | None:
    """Return the refusal of a request that another web site made this browser send; None for one that may change something."""
    origin = request.headers.get("origin", "")
    if origin and origin.partition("://")[2] != request.headers.get("host", ""):
        return PlainTextResponse("only this page and programs on this machine may save views\n", 403)
    if request.method == "POST" and request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return PlainTextResponse("send JSON, with content-type: application/json\n", 415)  # a form of another site cannot
    return None


# What addresses say.


def filter_of(pairs: Sequence[tuple[str, str]], store: Store) -> Filter:
    """Return the filter that an address asks for. What cannot be read, such as a step that is no number, does not filter."""
    given: dict[str, Any] = {}
    runs = tuple(value for key, value in pairs if key == "run" and value in store.sources)
    for key, value in pairs:
        if key in _NUMBERS:
            given[key] = _number_of(_NUMBERS[key], value)
        elif key in _TEXTS and value:
            given[key] = value[:1_000]
    return Filter(runs=runs or tuple(store.sources), **given)


_NUMBERS: Mapping[str, type[int] | type[float]] = {
    "step_from": int,
    "step_to": int,
    "group": int,
    "reward_min": float,
    "reward_max": float,
}
_TEXTS = frozenset({*FACETS, "verdict", "task", "text", "sort"})


def _number_of(kind: type[int] | type[float], text: str) -> int | float | None:
    try:
        return kind(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Address:
    """Makes addresses of the list from a filter, each with something changed."""

    wanted: Filter

    def __call__(self, **changes: Any) -> str:
        values: dict[str, Any] = {one.name: getattr(self.wanted, one.name) for one in fields(Filter)} | changes
        pairs = [("run", name) for name in values.pop("runs")]
        pairs += [
            (key, str(value)) for key, value in values.items() if value not in ("", None) and (key, value) != ("sort", "newest")
        ]
        return "/rollouts?" + urlencode(pairs)


def _selected(store: Store, given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the runs that an address names; without any, the newest run, or else the newest evaluation."""
    named = tuple(name for name in given or () if name in store.sources)
    if named:
        return named
    runs = [name for name, source in store.sources.items() if not source.evaluation]
    return tuple((runs or list(store.sources))[-1:])


def _place(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition(":")
    if not number.isdecimal():
        raise UsageError(f"{text!r} names no rollout; write RUN:ROW")
    return name, int(number)


def _position(text: str) -> tuple[str, int, int]:
    name, _, rest = text.partition("@")
    first, _, second = rest.partition(",")
    if not (first.isdecimal() and second.isdecimal()):
        raise UsageError(f"{text!r} is no position; write RUN@METRICS,EVENTS")
    return name, int(first), int(second)


# One task over the steps of a run, and differences.


@dataclass(frozen=True, slots=True)
class History:
    """A task in one run.

    Attributes:
        steps: (stage, kind, step) → the rollouts of the step, in the columns of the store.
        shown: rollouts whose texts are shown, the first of some of the steps, oldest first.
    """

    run: str
    steps: dict[tuple[str, str, int], list[dict[str, Any]]]
    shown: list[dict[str, Any]]


def _history(store: Store, name: str, task: str, environment: str) -> History | None:
    rows = store.all(Filter(runs=(name,), task=task, environment=environment, sort="oldest"))
    if not rows:
        return None
    steps: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for row in rows:
        steps.setdefault((row["stage"], row["kind"], row["step"]), []).append(row)
    places = list(steps)
    if len(places) > STEPS_SHOWN:
        places = [places[round(at * (len(places) - 1) / (STEPS_SHOWN - 1))] for at in range(STEPS_SHOWN)]
    return History(name, steps, store.rollouts(name, [steps[place][0]["row"] for place in places]))


# A training step, told again.

FATES: Mapping[str, str] = {
    "learned from": "the rewards differ, so the update learned from the group",
    "all equal": "every rollout has the same reward, so that all advantages are 0",
    "left out": "dynamic sampling or the length limit left the whole group out of the update",
    "unscored": "no rollout has a score",
}
"""What became of a group → why."""


@dataclass(frozen=True, slots=True)
class Group:
    """The rollouts of a prompt in a step.

    Attributes:
        fate: a key of `FATES`.
        dropped: rollouts without an advantage, where the group has others.
        clipped: tokens that the update clipped; None where the step's tokens are not stored.
    """

    rows: list[dict[str, Any]]
    fate: str
    dropped: int
    clipped: int | None

    @property
    def rewards(self) -> list[float]:
        return [row["reward"] for row in self.rows if row["reward"] is not None]


@dataclass(frozen=True, slots=True)
class Step:
    """A training step of a run.

    Attributes:
        metrics: what the run logged of it.
        before, after, first, last: (stage, step) of other steps with rollouts; None at an end.
        place: (number of this step among them from 1, how many there are).
    """

    run: str
    stage: str
    number: int
    rows: list[dict[str, Any]]
    groups: list[Group]
    metrics: Mapping[str, Any]
    before: tuple[str, int] | None
    after: tuple[str, int] | None
    first: tuple[str, int]
    last: tuple[str, int]
    place: tuple[int, int]


def replay(store: Store, name: str, stage: str, number: int) -> Step:
    """Return a training step.

    Raises:
        UsageError: the run has no rollouts of it.
    """
    rows = store.all(Filter(runs=(name,), stage=stage, kind="train", step_from=number, step_to=number, sort="oldest"))
    steps = store.steps(name)
    if not rows:
        raise UsageError(f"run {name!r} has no rollouts of step {number} of the stage {stage!r}")
    clipped = store.clipped(name, [row["row"] for row in rows])
    members: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        members.setdefault((row["environment"], row["group"] if row["group"] is not None else row["row"]), []).append(row)
    place = steps.index((stage, number))
    logged = [one for one in news(store.source(name).path, (0, 0)).rows if (one["stage"], one["step"]) == (stage, number)]
    return Step(
        run=name,
        stage=stage,
        number=number,
        rows=rows,
        groups=[_group(of_one, clipped) for of_one in members.values()],
        metrics={key: value for one in logged for key, value in one.items()},
        before=steps[place - 1] if place else None,
        after=steps[place + 1] if place + 1 < len(steps) else None,
        first=steps[0],
        last=steps[-1],
        place=(place + 1, len(steps)),
    )


def _group(rows: list[dict[str, Any]], clipped: Mapping[int, int]) -> Group:
    rewards = [row["reward"] for row in rows if row["reward"] is not None]
    advantages = [row["advantage"] for row in rows if row["advantage"] is not None]
    if not rewards:
        fate = "unscored"
    elif not advantages:
        fate = "left out"
    else:
        fate = "learned from" if any(advantages) else "all equal"
    counts = [clipped[row["row"]] for row in rows if row["row"] in clipped]
    return Group(rows, fate, len(rows) - len(advantages) if advantages else 0, sum(counts) if counts else None)


def _difference(one: str, other: str) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
    """Return both texts cut into pieces, with whether the other text lacks the piece."""
    first, second = (re.findall(r"\s+|\w+|[^\w\s]", text)[:WORDS_COMPARED] for text in (one, other))
    left, right = list[tuple[str, bool]](), list[tuple[str, bool]]()
    for tag, a, b, c, d in difflib.SequenceMatcher(None, first, second).get_opcodes():
        left.append(("".join(first[a:b]), tag != "equal"))
        right.append(("".join(second[c:d]), tag != "equal"))
    return left, right


# Templates and what they call.


def _renderer() -> Callable[..., str]:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (files("r1env_view") / "templates" / name).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        visible=visible,
        number=_number,
        percent=_percent,
        count=_count,
        seconds=_seconds,
        indented=_indented,
        date=_date,
        when=_when,
        short=_short,
    )
    environment.globals.update(
        TICK_SECONDS=TICK_SECONDS,
        TASK_SORTS=TASK_SORTS,
        blocks=_blocks,
        verdict=_verdict,
        query=_query,
        SORTS=SORTS,
        VERDICTS=VERDICTS,
        FACETS=FACETS,
        PAGE=PAGE,
        LONGEST=LONGEST,
        FOLDED=FOLDED,
        FATES=FATES,
        GROUPS_SHOWN=GROUPS_SHOWN,
        token_data=_token_data,
    )

    def render(name: str, **values: Any) -> str:
        return environment.get_template(name).render(**values)

    return render


def _query(**values: Any) -> str:
    """Return a query string; a sequence repeats its key, and empty values are left out."""
    return urlencode([(key, value) for key, value in values.items() if value not in ("", None, ())], doseq=True)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _seconds(value: float) -> str:
    unit, factor = ("s", 1) if value >= 1 else ("ms", 1e3) if value >= 1e-3 else ("µs", 1e6)
    return f"{factor * value:.3g} {unit}"


def _date(value: float) -> str:
    return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _count(value: int) -> str:
    return f"{value:,}"


def _verdict(row: Mapping[str, Any]) -> str:
    """Return `timed out`, `unscored`, `right`, `wrong`, or `scored` where there is a reward and no checker."""
    if row["status"] == "timeout":
        return "timed out"
    if row["reward"] is None:
        return "unscored"  # whatever the checker says: the update does not see it
    return "scored" if row["correct"] is None else "right" if row["correct"] else "wrong"


def _when(row: Mapping[str, Any]) -> str:
    """Return the stage and the step of a rollout, in words."""
    if row["kind"] != "eval":
        return f"{row['stage']}, step {row['step']}"
    return row["stage"] if row["stage"] == EVALUATION else f"{row['stage']}, evaluation at step {row['step']}"


def _short(text: str) -> str:
    """Return the end of a long text, such as the path of a model."""
    return text if len(text) <= SHORT else f"…{text[1 - SHORT :]}"


def _blocks(text: str) -> Iterator[tuple[str, list[Piece]]]:
    """Yield (role, pieces) of the first `LONGEST` characters of a completion: its thinking, its answer, and the rest."""
    for role, pieces in itertools.groupby(mark(text[:LONGEST]), lambda piece: piece.role):
        yield role, list(pieces)


def _token_data(row: Mapping[str, Any]) -> str | None:
    """Return the tokens of a rollout as JSON for the script, the first `TOKENS_SHOWN` of them; None where they are not stored."""
    found = row["by_token"]
    if found is None:
        return None
    cut = {key: None if values is None else values[:TOKENS_SHOWN] for key, values in found.items()}
    cut["text"] = [visible(text) for text in found["text"][:TOKENS_SHOWN]]
    return json.dumps(cut | {"all": len(found["text"]), "whole": row["advantage"]}, ensure_ascii=False)


def _indented(text: str | None) -> str:
    """Return JSON with indents; a text that is no JSON as it is."""
    try:
        return json.dumps(json.loads(text or ""), indent=2, ensure_ascii=False)
    except ValueError:
        return text or ""
