// Charts of a run, drawn with uPlot: for report.html and for the page of `r1env view`. Colours and fonts are custom properties of the page.
"use strict";

const Charts = (() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const el = (tag, cls, text) => Object.assign(document.createElement(tag), { className: cls ?? "", textContent: text ?? "" });
  const colour = (number) => css(`--s${number % 8}`);
  const DASHES = [undefined, [5, 4], [2, 3], [8, 3, 2, 3]];
  const HEIGHT = 204;

  // Draw a figure in an empty element and return the chart.
  //
  // figure: {title, note, lines, marks, share, signed, percent, log, categories, unit}. A line is {label, x, y} and may have low and high
  // (ends of an interval), starts (x before which the line has a gap), dots (no line between the points), colour, dash, and level (a dotted line at its first value). A mark is
  // {x, label, warn, colour}, a vertical line.
  // more: {heading} is the tag of the title; {range, selected, clicked} let the page zoom all its charts at once and follow a click on a step.
  function draw(box, figure, more = {}) {
    box.replaceChildren(el(more.heading ?? "h3", "", figure.title), el("p", "hint", figure.note), el("div", "legend"), el("div", "plot"));
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", figure.title);
    const chart = { box, figure, more };
    chart.plot = new uPlot(options(chart), data(figure), box.querySelector(".plot"));
    legend(chart);
    return chart;
  }

  // Show other values of the same lines.
  function update(chart, figure, keepRange) {
    chart.figure = figure;
    chart.plot.setData(data(figure), !keepRange);
    legend(chart);
  }

  const data = (figure) => (figure.lines.length === 1 ? broken(figure.lines[0]) : uPlot.join(figure.lines.map(broken)));

  // A line's points, with a gap before each of its starts: nothing is known between the stages that log a metric.
  function broken({ x, y, starts }) {
    if (!starts?.length) return [x, y];
    const found = [[], []];
    let next = 0;
    x.forEach((at, place) => {
      if (place && at >= starts[next]) { // at both ends: between the points of other lines, uPlot draws up to the gap's first point
        found[0].push(x[place - 1] + 0.01, at - 0.01);
        found[1].push(null, null);
      }
      while (at >= starts[next]) next++;
      found[0].push(at);
      found[1].push(y[place]);
    });
    return found;
  }

  const size = (box) => ({ width: Math.max(200, box.clientWidth - 26), height: HEIGHT });
  const number = (value) => (value === 0 ? "0" : Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(4))));
  const shown = (figure, value) => (value == null ? "–" : figure.percent ? `${number(100 * value)} %` : number(value));
  const place = (figure, x) => (figure.categories ? figure.categories[x] ?? "" : number(x));
  const colourOf = (figure, line) => colour(line.colour ?? figure.lines.indexOf(line));

  function options(chart) {
    const { box, figure, more } = chart;
    const stroke = css("--muted"), grid = css("--line");
    const axis = { stroke, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, size: 4 }, font: `11px ${css("--sans")}` };
    const across = figure.categories
      ? { splits: () => figure.categories.map((_, at) => at), values: (plot, ticks) => ticks.map((at) => clipped(figure.categories[at])) }
      : figure.log ? { values: (plot, ticks) => ticks.map((tick) => (Math.log2(tick) % 1 ? "" : number(tick))) } : {};
    return {
      ...size(box),
      cursor: { sync: more.range ? { key: "steps" } : undefined, points: { size: 6 }, drag: { x: Boolean(more.selected), y: false } },
      scales: {
        x: { time: false, ...(figure.log ? { distr: 3, log: 2 } : {}), range: (plot, low, high) => more.range?.() ?? ends(figure, low, high) },
        y: { range: (plot, low, high) => bounds(figure, low, high) },
      },
      axes: [{ ...axis, size: 28, label: figure.unit ?? "step", labelSize: 15, labelFont: axis.font, labelGap: -2, ...across }, { ...axis, size: 46, values: (plot, ticks) => ticks.map((value) => shown(figure, value)) }],
      series: [{}, ...figure.lines.map((line) => ({
        label: line.label,
        stroke: colourOf(figure, line),
        width: 1.75,
        dash: DASHES[(line.dash ?? 0) % DASHES.length],
        paths: line.dots ? () => null : undefined,
        points: { show: line.dots || line.x.length < 40, size: line.dots ? 7 : 4, fill: line.dots ? colourOf(figure, line) : undefined },
      }))],
      legend: { show: false },
      hooks: {
        draw: [(plot) => extras(plot, chart)],
        setCursor: [() => legend(chart)],
        setSelect: [(plot) => {
          if (!more.selected || plot.select.width < 4) return;
          const range = [plot.select.left, plot.select.left + plot.select.width].map((at) => plot.posToVal(at, "x"));
          plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          setTimeout(() => more.selected(range));
        }],
        ready: [(plot) => {
          let down = 0;
          plot.over.addEventListener("mousedown", (event) => { down = event.clientX; });
          plot.over.addEventListener("click", (event) => {
            if (more.clicked && plot.cursor.idx != null && Math.abs(event.clientX - down) < 3) more.clicked(plot.data[0][plot.cursor.idx], chart.figure);
          });
        }],
      },
    };
  }

  const clipped = (text) => (text.length > 12 ? `${text.slice(0, 11)}…` : text);

  function ends(figure, low, high) {
    if (low == null) return [0, 1];
    if (figure.categories) return [-0.6, figure.categories.length - 0.4];
    if (figure.log) return [low / 1.2, high * 1.2];
    if (low === high) return [low - 1, high + 1];
    const begin = Math.max(...(figure.marks ?? []).filter((mark) => !mark.warn && mark.x <= low).map((mark) => mark.x));
    return [low - begin < 0.05 * (high - low) ? begin : low, high]; // with the mark of a stage whose first value is that of step 1
  }

  function bounds(figure, low, high) {
    if (low === null) return [0, 1];
    for (const line of figure.lines) for (const end of line.high ?? []) high = Math.max(high, end);
    if (figure.share) return [0, Math.max(1.02, high)];
    if (!figure.signed) return [0, high > 0 ? high * 1.06 : 1];
    const space = (high - low || Math.abs(high) || 1) * 0.06;
    return [Math.min(low - space, 0), Math.max(high + space, 0)];
  }

  // Marks, starting levels and intervals, on top of the lines.
  function extras(plot, { figure }) {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    const stroke = (from, to) => { ctx.beginPath(); ctx.moveTo(...from); ctx.lineTo(...to); ctx.stroke(); };
    ctx.save();
    ctx.font = `${11 * ratio}px ${css("--sans")}`;
    ctx.lineWidth = ratio;
    ctx.textAlign = "left"; // uPlot leaves it as its axes need it
    ctx.textBaseline = "alphabetic";
    const rows = [];
    for (const mark of figure.marks ?? []) {
      const at = plot.valToPos(mark.x, "x", true);
      if (at < bbox.left || at > bbox.left + bbox.width) continue;
      ctx.strokeStyle = ctx.fillStyle = mark.colour == null ? css(mark.warn ? "--warn" : "--muted") : colour(mark.colour);
      ctx.setLineDash([3 * ratio, 3 * ratio]);
      stroke([at, bbox.top], [at, bbox.top + bbox.height]);
      const width = ctx.measureText(mark.label).width;
      const left = Math.min(at + 4 * ratio, bbox.left + bbox.width - width);
      let row = rows.findIndex((end) => end < left); // the first row whose labels end before this one begins
      if (row < 0) row = rows.length;
      rows[row] = left + width + 6 * ratio;
      if (row > 3) continue;
      const line = bbox.top + (11 + 12 * row) * ratio;
      ctx.setLineDash([]);
      ctx.strokeStyle = css("--panel"); // an edge, so that the text can be read over the curves
      ctx.lineWidth = 4 * ratio;
      ctx.strokeText(mark.label, left, line);
      ctx.lineWidth = ratio;
      ctx.fillText(mark.label, left, line);
    }
    for (const line of figure.lines) {
      ctx.strokeStyle = colourOf(figure, line);
      if (line.level && line.y.length) {
        const y = plot.valToPos(line.y[0], "y", true);
        ctx.setLineDash([ratio, 4 * ratio]);
        stroke([bbox.left, y], [bbox.left + bbox.width, y]);
      }
      ctx.setLineDash([]);
      if (line.low) line.x.forEach((x, at) => {
        const [across, low, high] = [plot.valToPos(x, "x", true), plot.valToPos(line.low[at], "y", true), plot.valToPos(line.high[at], "y", true)];
        stroke([across, low], [across, high]);
        for (const y of [low, high]) stroke([across - 3 * ratio, y], [across + 3 * ratio, y]);
      });
    }
    ctx.restore();
  }

  // The values under the cursor, or the newest ones.
  function legend({ box, figure, plot }) {
    if (!plot) return;
    const at = plot.cursor.idx;
    const items = figure.lines.slice(0, 8).map((line, index) => {
      const values = plot.data[index + 1];
      let value = at == null ? line.y.at(-1) : values[at];
      if (value == null && at != null) for (let back = at; back >= 0 && value == null; back--) value = values[back];
      const item = el("span");
      const mark = el("span", "swatch");
      mark.style.background = colourOf(figure, line);
      const valued = !(figure.categories && at == null); // of categories, the last one is no newest one
      item.append(mark, line.label ? `${line.label} ` : "", el("b", "", valued ? shown(figure, value) : ""));
      return item;
    });
    if (figure.lines.length > 8) items.push(el("span", "", `and ${figure.lines.length - 8} more`));
    if (at != null) items.unshift(el("span", "", `${figure.unit ?? "step"} ${place(figure, plot.data[0][at])}`));
    box.querySelector(".legend").replaceChildren(...items);
  }

  const resize = (chart) => chart.plot.setSize(size(chart.box));

  return { draw, update, resize, colour, css, el };
})();
