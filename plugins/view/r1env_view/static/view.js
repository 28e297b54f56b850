// The page's script: charts that grow while a run goes on, and the list of rollouts without reloading. Everything else is plain HTML.
"use strict";

const $ = (selector, root = document) => root.querySelector(selector);
const { el, colour } = Charts; // charts.js

// Light and dark: the system's, until the button is pressed.
const system = matchMedia("(prefers-color-scheme: dark)");
const applyTheme = () => {
  document.documentElement.dataset.theme = localStorage.getItem("r1env-theme") ?? (system.matches ? "dark" : "light");
  document.dispatchEvent(new Event("theme"));
};
system.addEventListener("change", applyTheme);
applyTheme();

document.addEventListener("DOMContentLoaded", () => {
  $("#theme").addEventListener("click", () => {
    localStorage.setItem("r1env-theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    applyTheme();
  });
  $("#keys").addEventListener("click", () => $("#help").showModal());
  if ($("#charts-page")?.dataset.config) charts(JSON.parse($("#charts-page").dataset.config));
  if ($("#browser")) browser();
  tokens();
  picker();
  views();
  keys();
});

const seconds = () => (document.hidden ? 5 : Number(document.documentElement.dataset.tick)); // between two questions for what is new

function live(text, lost) {
  const shown = $("#live");
  shown.hidden = false;
  if (shown.textContent !== text) shown.textContent = text;
  shown.classList.toggle("lost", lost);
}

// Choosing other runs keeps the filters, the stage and the smoothing.
function picker() {
  const form = $(".picker form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const query = new URLSearchParams(location.pathname === new URL(form.action).pathname ? location.search : "");
    for (const name of ["run", "open", "page", "search_from", "found", "view"]) query.delete(name);
    for (const [name, value] of new FormData(form)) query.append(name, value);
    location.href = `${form.action}?${query}`;
  });
}

// Runs that have begun since the page was made: they can be picked, and a link leads to the newest.
function offer(sources) {
  const list = $(".picker form");
  for (const { name, evaluation } of sources) {
    const label = el("label");
    label.append(Object.assign(document.createElement("input"), { type: "checkbox", name: "run", value: name }), ` ${name} `);
    if (evaluation) label.append(el("small", "", "evaluation"));
    list.insertBefore(label, $("button", list));
    list.dataset.sources = Number(list.dataset.sources) + 1;
  }
  const newest = sources.at(-1);
  Object.assign($("#begun"), { hidden: false, href: `/?${new URLSearchParams({ run: newest.name })}`, textContent: `new: ${newest.name}` });
}

// Charts.

function charts(config) {
  const runs = Object.fromEntries(config.runs.map((name, number) => [name, { name, number, rows: [], events: [] }]));
  const told = Object.fromEntries([...config.runs, ...config.evaluations].map((name) => [name, [0, 0]])); // the positions up to which they are known
  let overview = "";
  const address = new URL(location.href);
  const state = { stage: config.stage, smooth: Number(address.searchParams.get("smooth") ?? 0), range: rangeOf(address.searchParams.get("range")) };
  const drawn = new Map(); // place and title → chart, with the shape of its lines
  const several = config.runs.length > 1;
  const PLACE = new Set(["stage", "step", "time"]);
  if (!$("#overview")) return wait();
  if (!config.runs.length) return void tick();

  $("#smooth").value = state.smooth;
  $("#smooth").addEventListener("input", (event) => { state.smooth = Number(event.target.value); keep("smooth", state.smooth || ""); draw(); });
  $("#stage").addEventListener("change", (event) => { state.stage = event.target.value; state.range = null; keep("range", ""); keep("stage", state.stage); draw(); });
  $("#zoom-out").addEventListener("click", () => { state.range = null; keep("range", ""); draw(); });
  $("#more").addEventListener("toggle", draw);
  document.addEventListener("theme", () => { clear(); draw(); });
  addEventListener("resize", () => drawn.forEach(Charts.resize));

  function keep(name, value) {
    const url = new URL(location.href);
    value === "" ? url.searchParams.delete(name) : url.searchParams.set(name, value);
    history.replaceState(null, "", url);
  }

  async function ask() {
    const query = new URLSearchParams({ overview, sources: $(".picker form").dataset.sources });
    for (const [name, at] of Object.entries(told)) query.append("at", `${name}@${at.join(",")}`);
    const answer = await fetch(`/tick?${query}`);
    if (!answer.ok) throw new Error(answer.statusText);
    return answer.json();
  }

  // Until there is a run or an evaluation.
  async function wait() {
    try {
      if ((await ask()).sources.length) return location.reload();
      live("waiting for a run", false);
    } catch (error) {
      live("connection lost", true);
    }
    setTimeout(wait, 1000 * seconds());
  }

  async function tick() {
    try {
      const news = await ask();
      let changed = false;
      for (const [name, { rows, events, at, reset }] of Object.entries(news.runs)) {
        told[name] = at;
        const run = runs[name];
        if (!run) continue; // an evaluation
        if (reset) Object.assign(run, { rows: [], events: [] });
        changed ||= reset || rows.length > 0 || events.length > 0;
        for (const row of rows) run.rows.push(row); // a spread of 100,000 arguments would be refused
        for (const event of events) run.events.push(event);
      }
      if (changed) draw();
      if (news.overview) { replace($("#overview"), news.overview.html); overview = news.overview.name; }
      if (news.sources.length) offer(news.sources);
      swatches();
      live("live", false);
    } catch (error) {
      live("connection lost", true);
    }
    setTimeout(tick, 1000 * seconds());
  }

  function swatches() {
    for (const mark of document.querySelectorAll("[data-swatch]")) {
      mark.hidden = !several;
      if (several) mark.style.background = colour(runs[mark.dataset.swatch]?.number ?? 7);
    }
  }

  // A run's stages, one after another: where each begins on the axis.
  function stagesOf(run) {
    const stages = new Map();
    for (const row of run.rows) stages.set(row.stage, Math.max(stages.get(row.stage) ?? 0, row.step));
    const offsets = new Map();
    let offset = 0;
    for (const [name, last] of stages) {
      if (state.stage && name !== state.stage) continue;
      offsets.set(name, offset);
      offset += last;
    }
    return offsets;
  }

  // Of a metric of a run: its points {x, y}, the starts of lines in them, and the stages that have some. A later row of the same step counts.
  function series(run, offsets, metric) {
    const points = new Map();
    for (const row of run.rows) {
      const value = row[metric];
      if (value != null && offsets.has(row.stage)) points.set(offsets.get(row.stage) + row.step, [value, row.stage]);
    }
    const xs = [...points.keys()].sort((a, b) => a - b), starts = [];
    let last = null, before = null;
    const ys = xs.map((x) => {
      const [value, stage] = points.get(x);
      if (before !== null && stage !== before) { starts.push(x); last = null; }
      before = stage;
      return (last = last === null ? value : state.smooth * last + (1 - state.smooth) * value);
    });
    return { x: xs, y: ys, starts, stages: new Set([...points.values()].map(([, stage]) => stage)) };
  }

  const belongs = (chart, metric) => chart.metrics.some((wanted) => metric === wanted || (wanted.endsWith("/") && metric.startsWith(wanted)));

  function labels(names) {
    const heads = new Set(names.map((name) => name.split("/")[0]));
    return names.map((name) => (heads.size === 1 && names.length > 1 ? name.slice(name.indexOf("/") + 1) || name : name));
  }

  function draw() {
    const members = Object.values(runs);
    const metrics = [...new Set(members.flatMap((run) => run.rows.flatMap((row) => Object.keys(row))))].filter((name) => !PLACE.has(name));
    const offsets = new Map(members.map((run) => [run, stagesOf(run)]));
    stageChoice(members);
    alerts(members);
    const flat = [];
    const shown = new Set();
    for (const chart of config.charts) {
      const own = chart.metrics.flatMap((wanted) => metrics.filter((name) => belongs({ metrics: [wanted] }, name)));
      own.forEach((name) => shown.add(name));
      tile($("#charts"), chart, own, members, offsets, flat);
    }
    const rest = metrics.filter((name) => !shown.has(name)).sort();
    $("#more").hidden = rest.length === 0;
    if ($("#more").open) for (const name of rest) tile($("#more-charts"), { title: name, note: "", metrics: [name], signed: true }, [name], members, offsets, []);
    $("#flat").hidden = flat.length === 0;
    $("#flat").textContent = `Always zero, not drawn: ${flat.join(", ").toLowerCase()}.`;
    $("#controls").hidden = drawn.size === 0;
    $("#zoom-out").hidden = state.range === null;
  }

  function stageChoice(members) {
    const names = [...new Set(members.flatMap((run) => run.rows.map((row) => row.stage)))];
    const select = $("#stage");
    select.parentElement.hidden = names.length < 2;
    for (const name of names) if (![...select.options].some((option) => option.value === name)) select.add(new Option(name, name));
    select.value = state.stage;
  }

  function alerts(members) {
    const box = $("#alerts");
    const found = members.flatMap((run) => run.events.filter((event) => event.kind === "alert").map((event) => [run, event]));
    box.hidden = found.length === 0;
    box.replaceChildren(...found.map(([run, event]) => {
      const line = el("p");
      line.append(el("b", "", event.rule), ` ${several ? run.name + ", " : ""}${event.stage}, step ${event.step}: ${event.seen}. `, el("span", "hint", `Likely ${event.cause}. To try: ${event.remedy}.`));
      return line;
    }));
  }

  // Draw a chart, or let it grow; one without values has no tile.
  function tile(parent, chart, names, members, offsets, flat) {
    const lines = members.flatMap((run) => {
      const own = names.map((metric) => ({ run, metric, data: series(run, offsets.get(run), metric) })).filter((line) => line.data.x.length);
      const texts = labels(own.map((line) => line.metric));
      return own.map(({ metric, data }, place) => ({
        run, metric, ...data,
        label: several ? (own.length > 1 ? `${run.name} ${texts[place]}` : run.name) : own.length > 1 ? texts[place] : "",
        colour: several ? run.number : place,
        dash: several ? place : 0,
        level: metric === "eval/accuracy", // the accuracy before training
      }));
    });
    const key = `${parent.id} ${chart.title}`;
    const before = drawn.get(key);
    if (!lines.length || (!chart.signed && lines.every((line) => line.y.every((value) => value === 0)))) {
      if (lines.length) flat.push(chart.title);
      before?.box.remove();
      drawn.delete(key);
      return;
    }
    const figure = { ...chart, lines, marks: marks(members, offsets, lines) };
    const shape = JSON.stringify([state.stage, lines.map((line) => line.label)]);
    if (before?.shape === shape) {
      Charts.update(before, figure, state.range !== null);
      return;
    }
    const box = before?.box ?? el("section", "chart");
    if (!before) place(parent, box, chart);
    drawn.set(key, Object.assign(Charts.draw(box, figure, { heading: "h2", range: () => state.range, selected: zoom, clicked: openStep }), { shape }));
  }

  // In the order of the configuration, whenever a chart's first value comes.
  function place(parent, box, chart) {
    const order = config.charts.findIndex((one) => one.title === chart.title);
    box.dataset.order = order < 0 ? config.charts.length : order;
    const after = [...parent.children].find((one) => Number(one.dataset.order) > Number(box.dataset.order));
    parent.insertBefore(box, after ?? null);
  }

  // Where stages begin, and what the monitor said of these metrics. Of several runs, a stage that not all of them begin at the same step
  // has the colour of its run, and alerts are only in the list above the charts.
  function marks(members, offsets, lines) {
    const begin = new Map(); // stage and place → the runs in which it begins there
    for (const run of members) {
      if (offsets.get(run).size < 2) continue;
      for (const [name, x] of offsets.get(run)) {
        if (!lines.some((line) => line.run === run && line.stages.has(name))) continue; // it says nothing of this chart
        const mark = begin.get(`${x} ${name}`) ?? { x, name, runs: [] };
        begin.set(`${x} ${name}`, { ...mark, runs: [...mark.runs, run] });
      }
    }
    const found = [...begin.values()].map(({ x, name, runs: own }) => ({ x, label: name, colour: own.length === members.length ? null : own[0].number }));
    if (several) return found;
    const [run] = members, stages = offsets.get(run);
    for (const event of run.events) {
      if (event.kind !== "alert" || !stages.has(event.stage) || !lines.some((line) => line.metric === event.metric)) continue;
      found.push({ x: stages.get(event.stage) + event.step, label: event.rule, warn: true });
    }
    return found;
  }

  function zoom(range) {
    state.range = range;
    keep("range", range.map((end) => Number(end.toPrecision(6))).join(","));
    drawn.forEach((chart) => chart.plot.setScale("x", { min: range[0], max: range[1] }));
    $("#zoom-out").hidden = false;
  }

  // The rollouts of a step.
  function openStep(x, figure) {
    const query = new URLSearchParams();
    let found = null;
    for (const run of new Set(figure.lines.map((line) => line.run))) {
      query.append("run", run.name);
      for (const [stage, offset] of stagesOf(run)) if (x >= offset) found = [stage, Math.round(x - offset)];
    }
    if (!found) return;
    if (!several) {
      location.href = `/step/${encodeURIComponent(config.runs[0])}/${encodeURIComponent(found[0])}/${found[1]}`;
      return;
    }
    query.set("stage", found[0]);
    query.set("step_from", found[1]);
    query.set("step_to", found[1]);
    location.href = `/rollouts?${query}`;
  }

  function clear() {
    drawn.forEach((chart) => { chart.plot.destroy(); chart.box.remove(); });
    drawn.clear();
    swatches();
  }

  tick();
}

// FROM,TO in an address as numbers; null for what is none.
function rangeOf(text) {
  const ends = (text ?? "").split(",").map(Number);
  return ends.length === 2 && ends.every(Number.isFinite) && ends[0] < ends[1] ? ends : null;
}

// Put HTML of this server in an element. Texts in it are escaped already, and the content security policy lets no script in it run.
function replace(target, html) {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  target.replaceChildren(...parsed.body.childNodes);
}

// The list of rollouts: links and the form change it in place, and the address with it.

const PAGE = 50; // rollouts of a page
const MOST_ROWS = 2000; // in a list that grows; then its link leads to the next page
const fetching = {};

async function load(address, into, fragment) {
  fetching[fragment]?.abort();
  fetching[fragment] = new AbortController();
  try {
    const answer = await fetch(address, { headers: { "x-fragment": fragment }, signal: fetching[fragment].signal });
    replace(into, await answer.text());
    return true;
  } catch (error) {
    if (error.name !== "AbortError") replace(into, "<p class=\"empty\">The server does not answer. Is r1env view still running?</p>");
    return false;
  }
}

function browser() {
  const list = $("#list"), detail = $("#detail"), filters = $("#filters");
  const narrow = matchMedia("(max-width: 800px)");

  async function go(address, push = true) {
    const url = new URL(address, location.href);
    const open = new URL(location.href).searchParams.get("open");
    if (push && open && !url.searchParams.has("open")) url.searchParams.set("open", open);
    if (push) history.pushState(null, "", url);
    if (await load(url, list, "list")) goOn();
  }

  // What comes next is added at the end of the list: when its link is scrolled to, and of a text search at once until a page is full.
  const seen = new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) more($("#next", list)); }, { rootMargin: "300px" });

  function goOn() {
    seen.disconnect();
    const on = $("#search-on", list), next = $("#next", list), shown = list.querySelectorAll(".row").length;
    if (on && shown < PAGE) more(on);
    else if (next && shown < MOST_ROWS && !narrow.matches) seen.observe(next); // where it is narrow, the rollout is below the list
  }

  async function more(link) {
    const before = $(".summary", list); // another list has another one
    const fresh = el("div");
    if (!link || !(await load(link.href, fresh, "list")) || $(".summary", list) !== before) return;
    const rows = $("#rows", list), added = $("#rows", fresh);
    if (!rows) list.replaceChildren(...fresh.childNodes);
    else {
      const there = new Set([...list.querySelectorAll(".row")].map((row) => row.dataset.open)); // new rollouts push others to the next page
      if (added) rows.append(...[...added.children].filter((item) => !there.has($(".row", item).dataset.open)));
      before.replaceWith($(".summary", fresh));
      $(".pages", list)?.remove();
      $(".summary", list).dataset.total = before.dataset.total;
      const pages = $(".pages", fresh);
      if (pages) {
        $("span", pages).textContent = `${rows.children.length} shown`;
        $("#previous", pages)?.remove();
        rows.after(pages);
      }
    }
    goOn();
  }

  function submit() {
    const query = new URLSearchParams([...new FormData(filters)].filter(([, value]) => value !== ""));
    if (query.get("sort") === "newest") query.delete("sort");
    go(`/rollouts?${query}`);
  }

  // The form keeps what the links have chosen.
  function follow(address) {
    const query = new URL(address, location.href).searchParams;
    filters.querySelectorAll('input[type="hidden"]').forEach((input) => input.remove());
    for (const [name, value] of query) {
      if (filters.elements[name] && filters.elements[name].type !== "hidden") continue;
      if (["open", "page", "search_from"].includes(name)) continue;
      filters.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
    }
  }

  filters.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  for (const name of ["sort", "step_from", "step_to"]) filters.elements[name].addEventListener("change", submit);
  let typing = 0;
  $("#search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(submit, 300); });
  addEventListener("popstate", () => location.reload());
  list.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    if (link.dataset.open) show(link);
    else if (link.id === "fresh") { go(location.href, false); list.parentElement.scrollTo(0, 0); }
    else { follow(link.href); go(link.href); list.parentElement.scrollTo(0, 0); }
  });
  list.addEventListener("show", (event) => show(event.target));

  async function show(row) {
    list.querySelector("[aria-current]")?.removeAttribute("aria-current");
    row.setAttribute("aria-current", "true");
    row.scrollIntoView({ block: "nearest" });
    const url = new URL(location.href);
    url.searchParams.set("open", row.dataset.open);
    history.replaceState(null, "", url);
    if (await load(row.href, detail, "rollout")) detail.scrollTo(0, 0);
    if (narrow.matches) detail.scrollIntoView();
  }

  // Says how many rollouts have come since the list was made. They are put in when asked for, so that it does not move while it is read.
  async function count() {
    const summary = $(".summary", list), fresh = $("#fresh", list);
    if (fresh) {
      try {
        const answer = await fetch(`/count${location.search}`);
        if (!answer.ok) throw new Error(answer.statusText);
        const more = (await answer.json()).rollouts - Number(summary.dataset.total);
        fresh.hidden = more === 0;
        if (more) fresh.textContent = more > 0 ? `show ${more.toLocaleString("en")} new` : "show the list as it is now"; // a resumed run drops some
        live("live", false);
      } catch (error) {
        live("connection lost", true);
      }
    }
    setTimeout(count, 2000 * seconds());
  }

  goOn();
  count();
}

// Tokens of completions, coloured by what the update saw of them. The address keeps which overlay is chosen.

const OVERLAYS = {
  advantage: { signed: true, value: (data, at) => (data.trained?.[at] === false ? null : data.advantage?.[at] ?? data.whole), scale: (most) => `advantage, from −${most} (red) to ${most} (green)` },
  trained: { value: (data, at) => (data.trained?.[at] === false ? 0 : 1), plain: true, scale: () => "underlined: not written by the model, so not trained on" },
  logprob: { value: (data, at) => -(data.logprob?.[at] ?? NaN), most: () => 5, scale: () => "the stronger the colour, the less probable; strongest from −5 nats" },
  gap: { signed: true, value: (data, at) => data.gap?.[at] ?? null, scale: (most) => `trainer's minus sampler's log-probability, from −${most} (red) to ${most} (green) nats` },
  clipped: { value: (data, at) => Number(data.clipped?.[at] ?? false), plain: true, scale: (_, count) => (count ? `${count} tokens clipped, outlined` : "no token was clipped") },
};

function tokens() {
  const shown = () => new URL(location.href).searchParams.get("overlay") ?? "";
  const draw = () => {
    const name = OVERLAYS[shown()] ? shown() : "";
    for (const select of document.querySelectorAll("[data-overlay]")) select.value = name;
    const boxes = [...document.querySelectorAll("[data-tokens]")];
    const overlay = OVERLAYS[name];
    const told = boxes.map((box) => JSON.parse(box.dataset.tokens));
    const values = overlay ? told.map((data) => data.text.map((_, at) => overlay.value(data, at))) : [];
    const most = overlay?.most?.() ?? (values.flat().reduce((far, value) => Math.max(far, Math.abs(value ?? 0) || 0), 0) || 1);
    boxes.forEach((box, number) => {
      box.hidden = !overlay;
      box.nextElementSibling.hidden = Boolean(overlay);
      if (overlay && box.dataset.drawn !== name) paint(box, told[number], values[number], overlay, most);
      box.dataset.drawn = name;
    });
    const count = values.flat().filter(Boolean).length;
    for (const hint of document.querySelectorAll("[data-scale]")) hint.textContent = overlay ? overlay.scale(Number(most.toPrecision(3)), count) : "";
  };
  const choose = (name) => {
    const url = new URL(location.href);
    name ? url.searchParams.set("overlay", name) : url.searchParams.delete("overlay");
    history.replaceState(null, "", url);
    draw();
  };
  document.addEventListener("change", (event) => { if (event.target.matches("[data-overlay]")) choose(event.target.value); });
  document.addEventListener("turn", () => { const names = ["", ...Object.keys(OVERLAYS)]; choose(names[(names.indexOf(shown()) + 1) % names.length]); });
  document.addEventListener("click", (event) => {
    const one = event.target.closest(".by-token span");
    if (one) one.parentElement.parentElement.querySelector("output").textContent = one.title;
  });
  new MutationObserver((records) => { if (records.some((record) => [...record.addedNodes].some((node) => node.querySelector?.("[data-tokens]")))) draw(); }).observe($("#main"), { childList: true, subtree: true });
  draw();
}

function paint(box, data, values, overlay, most) {
  const words = el("pre");
  data.text.forEach((text, at) => {
    const one = el("span", "", text);
    const value = values[at];
    const strength = Math.sqrt(Math.min(1, Math.abs(value ?? 0) / most)); // the root, so that small values are seen beside a large one
    if (overlay.plain) one.className = overlay === OVERLAYS.clipped ? (value ? "clipped" : "") : value ? "" : "read";
    else if (strength > 0) one.style.background = `color-mix(in srgb, var(${overlay.signed ? (value > 0 ? "--good" : "--bad") : "--warn"}) ${Math.round(45 * strength)}%, transparent)`;
    if (data.trained?.[at] === false) one.classList.add("read");
    const say = (name, number) => (number == null ? "" : `, ${name} ${Number(number.toPrecision(4))}`);
    one.title = `token ${at + 1} of ${data.all}: ${JSON.stringify(text)}${say("advantage", OVERLAYS.advantage.value(data, at))}${say("log-probability", data.logprob?.[at])}${say("gap", data.gap?.[at])}${data.clipped?.[at] ? ", clipped" : ""}${data.trained?.[at] === false ? ", not trained on" : ""}`;
    words.append(one);
  });
  const foot = el("output", "hint", data.all > data.text.length ? `${data.all - data.text.length} more tokens` : data.gap ? "" : "The update did not use this rollout.");
  box.replaceChildren(words, foot);
}

function turn() {
  document.dispatchEvent(new Event("turn"));
}

// Saved views: an address with a title and a note, under a short link.

function views() {
  const dialog = $("#save-dialog"), form = $("#save-form"), answer = $("#save-answer");
  const hint = answer.textContent;
  $("#save").addEventListener("click", () => { form.reset(); answer.textContent = hint; dialog.showModal(); });
  form.addEventListener("submit", async (event) => {
    if (event.submitter?.id !== "save-now") return;
    event.preventDefault();
    const url = new URL(location.href);
    url.searchParams.delete("view");
    const view = { address: url.pathname + url.search, title: form.elements.title.value, note: form.elements.note.value };
    try {
      const told = await fetch("/views", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(view) });
      const saved = await told.json();
      if (!told.ok) throw new Error(saved.error);
      const link = Object.assign(el("a", "", new URL(saved.link, location.href).href), { href: saved.link });
      answer.replaceChildren("Saved: ", link);
      navigator.clipboard?.writeText(link.href).then(() => answer.append(", copied"), () => {}); // not allowed everywhere; the link is there to copy
    } catch (error) {
      answer.textContent = `Not saved: ${error.message}`;
    }
  });
  const shown = new URL(location.href).searchParams.get("view");
  if (shown) fetch(`/views/${encodeURIComponent(shown)}`).then(async (told) => {
    const saved = await told.json();
    if (saved.title) $("#saved").append(el("b", "", saved.title));
    if (saved.note) $("#saved").append(el("p", "", saved.note));
    $("#saved").hidden = !(saved.title || saved.note);
  });
  document.addEventListener("click", async (event) => {
    const item = event.target.closest?.("[data-remove]")?.closest("[data-view]");
    if (item && (await fetch(`/views/${item.dataset.view}`, { method: "DELETE" })).ok) item.remove();
  });
}

// Keys, and the mark that two rollouts are compared by.

function keys() {
  const marked = () => sessionStorage.getItem("r1env-mark");
  const label = () => document.querySelectorAll("[data-mark]").forEach((button) => {
    const text = marked() === button.dataset.mark ? "marked" : marked() ? "compare with the marked one" : "mark to compare";
    if (button.textContent !== text) button.textContent = text; // writing it again would call the observer again, for ever
  });
  const press = (button) => {
    if (!button) return;
    const own = button.dataset.mark;
    if (marked() && marked() !== own) {
      const query = new URLSearchParams({ a: marked(), b: own });
      sessionStorage.removeItem("r1env-mark");
      location.href = `/compare?${query}`;
    } else if (marked()) sessionStorage.removeItem("r1env-mark");
    else sessionStorage.setItem("r1env-mark", own);
    label();
  };
  label();
  new MutationObserver(label).observe($("#main"), { childList: true, subtree: true });
  document.addEventListener("click", (event) => press(event.target.closest?.("[data-mark]")));

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("#help").open) return;
    if (event.target.matches?.("input, select, textarea")) { if (event.key === "Escape") event.target.blur(); return; }
    const rows = [...document.querySelectorAll(".row")];
    const at = rows.findIndex((row) => row.hasAttribute("aria-current"));
    const open = (place) => rows[place]?.dispatchEvent(new Event("show", { bubbles: true }));
    const link = (selector) => { const found = $(selector); if (found) found.click(); };
    const actions = {
      j: () => open(Math.min(rows.length - 1, at + 1)), k: () => open(Math.max(0, at - 1)),
      g: () => link('[data-key="g"]'), t: () => link('[data-key="t"]'), Enter: () => event.target === document.body && link('[data-key="Enter"]'),
      s: () => link('[data-key="s"]'), o: () => turn(), ArrowLeft: () => link("#before"), ArrowRight: () => link("#after"),
      x: () => press($("[data-mark]")),
      h: () => { const all = [...document.querySelectorAll("details.thinking")]; const close = all.some((one) => one.open); all.forEach((one) => { one.open = !close; }); },
      n: () => link("#next"), p: () => link("#previous"),
      "/": () => { event.preventDefault(); $("#search")?.focus(); },
      "?": () => $("#help").showModal(),
      c: () => link('.top nav a[href^="/?"]'), r: () => link('.top nav a[href^="/rollouts"]'), a: () => link('.top nav a[href^="/tasks"]'),
    };
    actions[event.key]?.();
  });
}
