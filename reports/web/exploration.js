"use strict";
// The exploration's page: one filter, set by dragging in the plots or by fields, for the front, the parallel coordinates and the table.
(() => {
  const { metrics, parameters, points } = JSON.parse(document.getElementById("exploration-points").textContent);
  const byName = Object.fromEntries(metrics.map((metric) => [metric.name, metric]));
  const varying = parameters.filter((parameter) => parameter.varies);
  const all = points.map((_, index) => index);
  const element = (id) => document.getElementById(id);
  const ROWS = 100, HOVER_PARAMETERS = 12, DIMMED = 0.12;
  const form = element("filter");
  const fine = window.matchMedia("(pointer: fine)").matches;
  let version = 0, drawing = 0;

  // ranges: [least, largest] of a metric; choices: numbers of a parameter's choices; picked: points selected in the front's plot,
  // and outline: how.
  const state = { ranges: {}, choices: {}, picked: null, outline: [], sort: { key: "number", down: false }, open: new Set(), limit: ROWS };

  const text = (metric, index) => {
    const value = metric.values[index];
    return value === null ? "–" : number(value, metric.decimals);
  };
  const number = (value, decimals) =>
    value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  const escaped = (string) => string.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
  const made = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };

  // What the filter leaves

  const inRanges = (index) =>
    metrics.every((metric) => {
      const range = state.ranges[metric.name], value = metric.values[index];
      return !range || (value !== null && value >= range[0] && value <= range[1]);
    }) &&
    varying.every((parameter) => !state.choices[parameter.name] || state.choices[parameter.name].has(parameter.values[index])) &&
    (!element("only-feasible").checked || points[index].feasible) &&
    (!element("only-front").checked || points[index].front);
  const left = (index) => (!state.picked || state.picked.has(index)) && inRanges(index);
  const filtered = () =>
    state.picked || Object.keys(state.ranges).length || Object.keys(state.choices).length ||
    element("only-feasible").checked || element("only-front").checked;

  // The front

  const axis = { x: { select: element("axis-x"), log: element("log-x") }, y: { select: element("axis-y"), log: element("log-y") } };
  const metricOf = (which) => byName[axis[which].select.value];
  const positive = (metric) => metric.values.every((value) => value === null || value > 0);

  function hover(index) {
    const point = points[index];
    const shown = varying.slice(0, HOVER_PARAMETERS);
    return [
      `<b>point ${point.number}: ${escaped(point.design)}</b>`,
      ...metrics.map((metric) => `${escaped(metric.title)}: ${text(metric, index)}`),
      ...shown.map((parameter) => `${escaped(parameter.name)}: ${escaped(parameter.choices[parameter.values[index]])}`),
      ...(varying.length > shown.length ? [`and ${varying.length - shown.length} parameters more, in the table`] : []),
      ...(point.breaks ? [`breaks: ${escaped(point.breaks)}`] : []),
    ].join("<br>");
  }
  const hovers = all.map(hover);

  // From the best x on, a point is on the front of the two where its y is better than all before.
  function frontOfTwo(x, y) {
    const sign = (metric) => (metric.best === "max" ? -1 : 1);
    const order = all
      .filter((index) => points[index].feasible && x.values[index] !== null && y.values[index] !== null)
      .sort((a, b) => sign(x) * (x.values[a] - x.values[b]) || sign(y) * (y.values[a] - y.values[b]));
    let reached = Infinity;
    return order.filter((index) => {
      const better = sign(y) * y.values[index] < reached;
      if (better) reached = sign(y) * y.values[index];
      return better;
    });
  }

  function rangeOf(which) {
    const { values } = metricOf(which);
    const placed = (element("fit").checked ? all.filter(left) : all).map((index) => values[index]).filter((value) => value !== null);
    const [low, high] = placed.length ? [Math.min(...placed), Math.max(...placed)] : [1, 2];
    if (axis[which].log.checked) {
      const room = 0.06 * Math.log10(high / low) || 0.1;
      return [Math.log10(low) - room, Math.log10(high) + room];
    }
    const room = 0.06 * (high - low) || 0.05 * Math.abs(high) || 1;
    return [low - room, high + room];
  }

  function plotAxis(which) {
    const log = axis[which].log.checked, range = rangeOf(which);
    const common = { title: { text: escaped(metricOf(which).title), standoff: 10 }, range, type: log ? "log" : "linear", automargin: true, separatethousands: true, zeroline: false };
    const narrow = Skipstone.element("front").clientWidth < 560;
    if (!log) return narrow ? { ...common, nticks: 5 } : common;
    const [low, high] = range.map((value) => 10 ** value);
    // Under two octaves, ticks at 1, 2 and 5 are too few.
    return high / low < 4 ? { ...common, nticks: 6, tickformat: ",~r" } : { ...common, ...logTicks(low, high, which === "x" && narrow && high / low > 50) };
  }

  function logTicks(low, high, few = false) {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const step of few || high / low > 1000 ? [1] : [1, 2, 5]) {
        const value = step * 10 ** power;
        if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) ticks.push(value);
      }
    }
    return { tickvals: ticks, ticktext: ticks.map((value) => value.toLocaleString("en-US", { maximumSignificantDigits: 10 })) };
  }

  function limitLines(colour) {
    const line = { color: colour("bad"), width: 1.5, dash: "dash" };
    const shapes = [], annotations = [];
    for (const which of ["x", "y"]) {
      const metric = metricOf(which), [low, high] = rangeOf(which);
      for (const { op, limit } of metric.limits) {
        const at = axis[which].log.checked ? Math.log10(limit) : limit;
        if (!(at > low && at < high)) continue;
        const along = which === "x" ? { x0: limit, x1: limit, yref: "paper", y0: 0, y1: 1 } : { y0: limit, y1: limit, xref: "paper", x0: 0, x1: 1 };
        shapes.push({ type: "line", line, layer: "below", ...along });
        annotations.push({
          text: escaped(`${metric.word} ${op === "<=" ? "≤" : "≥"} ${limit.toLocaleString("en-US")}`), showarrow: false,
          font: { color: colour("bad"), size: 12 }, bgcolor: colour("paper"), opacity: 0.9,
          ...(which === "x" ? { x: at, yref: "paper", y: 1, xanchor: "left", yanchor: "top", xshift: 3 } : { y: at, xref: "paper", x: 1, xanchor: "right", yanchor: "bottom" }),
        });
      }
    }
    return { shapes, annotations };
  }

  Skipstone.adjust("front", (data, layout, colour) => {
    const x = metricOf("x"), y = metricOf("y");
    const placed = all.filter((index) => x.values[index] !== null && y.values[index] !== null);
    const line = frontOfTwo(x, y);
    const chosen = filtered();
    const marks = [
      [(point) => !point.feasible, { symbol: "x-thin", size: 7, line: { width: 1.5, color: colour("series-4") } }],
      [(point) => point.feasible && !point.front, { symbol: "circle", size: 8, opacity: 0.8, line: { width: 1, color: colour("paper") } }],
      [(point) => point.front, { symbol: "diamond", size: 11, line: { width: 1, color: colour("paper") } }],
    ];
    Object.assign(data[0], {
      x: line.map((index) => x.values[index]), y: line.map((index) => y.values[index]), hoverinfo: "skip",
      line: { shape: "hv", width: 1.5, color: colour("series-0"), dash: "dot" },
    });
    marks.forEach(([of, marker], place) => {
      const members = placed.filter((index) => of(points[index]));
      const trace = data[place + 1];
      Object.assign(trace, {
        x: members.map((index) => x.values[index]), y: members.map((index) => y.values[index]),
        customdata: members, text: members.map((index) => hovers[index]), hovertemplate: "%{text}<extra></extra>",
        marker: Object.assign({}, trace.marker, marker),
        selectedpoints: chosen ? members.flatMap((index, at) => (left(index) ? [at] : [])) : null,
        selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: DIMMED } },
      });
    });
    Object.assign(layout, {
      ...limitLines(colour),
      xaxis: Object.assign({}, layout.xaxis, plotAxis("x")), yaxis: Object.assign({}, layout.yaxis, plotAxis("y")),
      dragmode: element("drag").value === "none" ? false : element("drag").value,
      uirevision: [x.name, y.name, axis.x.log.checked, axis.y.log.checked, element("fit").checked && version].join(),
      selections: state.outline, selectionrevision: version,
      newselection: { line: { color: colour("ink"), width: 1.5 } },
      activeselection: { opacity: 0.05 },
    });
  });

  function noteMissing() {
    const without = (metric) => metric.values.filter((value) => value === null).length;
    element("front-note").textContent = [...new Set([metricOf("x"), metricOf("y")])].filter(without)
      .map((metric) => `${without(metric)} of ${points.length} points have no ${metric.word} and no mark here.`).join(" ");
  }

  // Parallel coordinates: every axis goes from 0 to 1

  // The ends of the scale that are too near the paper for lines are left out.
  const STEPS = 8, FIRST_STEP = 2;
  const scaled = (metric, value) => (metric.log ? Math.log10(value) : value);

  function metricAxis(metric) {
    const known = metric.values.filter((value) => value !== null);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const [from, to] = [scaled(metric, low), scaled(metric, high)];
    const place = (value) => (to > from ? (scaled(metric, value) - from) / (to - from) : 0.5);
    const between = metric.log && high / low >= 4 ? logTicks(low, high).tickvals : [0.25, 0.5, 0.75].map((share) => low + share * (high - low));
    const inner = between.filter((value) => place(value) > 0.07 && place(value) < 0.93);
    const ticks = high > low ? [low, ...inner, high] : [low];
    return {
      metric, label: metric.title, known: (index) => metric.values[index] !== null, of: (index) => place(metric.values[index]),
      ticks: ticks.map((value) => [place(value), number(value, metric.decimals)]),
      limits: () => state.ranges[metric.name] && [state.ranges[metric.name].map((value, end) =>
        Math.min(1, Math.max(0, Number.isFinite(value) && (value > 0 || !metric.log) ? place(value) : end)))],
      brush: (range) => {
        if (!range) delete state.ranges[metric.name];
        else state.ranges[metric.name] = range.map((share) => { const value = from + share * (to - from); return metric.log ? 10 ** value : value; });
      },
    };
  }

  function parameterAxis(parameter) {
    const last = parameter.choices.length - 1;
    const place = (choice) => choice / last;
    // Lines of one choice lie side by side, spread by the golden ratio.
    const apart = (index) => 0.04 * (((index * 0.618034) % 1) - 0.5);
    return {
      parameter, label: parameter.name, known: () => true, of: (index) => place(parameter.values[index]) * 0.96 + 0.02 + apart(index),
      ticks: parameter.choices.map((choice, index) => [0.02 + 0.96 * place(index), choice]),
      limits: () => state.choices[parameter.name] && [...state.choices[parameter.name]].map((choice) => [0.96 * place(choice), 0.96 * place(choice) + 0.04]),
      brush: (range) => {
        if (!range) delete state.choices[parameter.name];
        else state.choices[parameter.name] = new Set(parameter.choices.map((_, choice) => choice).filter((choice) => 0.96 * place(choice) + 0.04 >= range[0] && 0.96 * place(choice) <= range[1]));
      },
    };
  }

  const axes = [...varying.map(parameterAxis), ...metrics.filter((metric) => new Set(metric.values).size > 1).map(metricAxis)];

  function colourScale() {
    const metric = byName[element("colour-by").value];
    const known = metric.values.filter((value) => value !== null);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const [from, to] = [scaled(metric, low), scaled(metric, high)];
    element("scale-low").textContent = number(low, metric.decimals);
    element("scale-high").textContent = number(high, metric.decimals);
    return (index) => (metric.values[index] === null || to === from ? 0 : Math.min(STEPS - 1, Math.floor((STEPS * (scaled(metric, metric.values[index]) - from)) / (to - from))));
  }

  Skipstone.adjust("parallel", (data, layout, colour) => {
    const stepOf = colourScale();
    const groups = Array.from({ length: STEPS + 1 }, () => []);
    for (const index of all) groups[left(index) ? 1 + stepOf(index) : 0].push(index);
    groups.forEach((members, place) => {
      const lines = members.map((index) => axes.map((each, at) => [at, each.known(index) ? each.of(index) : null]));
      Object.assign(data[place], {
        x: lines.flatMap((line) => [...line.map(([at]) => at), null]), y: lines.flatMap((line) => [...line.map(([, value]) => value), null]),
        customdata: members.flatMap((index) => [...axes.map(() => index), null]),
        text: members.flatMap((index) => [...axes.map(() => (place ? hovers[index] : "")), ""]),
        ...(place ? { hovertemplate: "%{text}<extra></extra>", opacity: 0.6 } : { hoverinfo: "skip", opacity: 0.12 }),
        line: { width: 1.2, color: place ? colour("heat-" + (FIRST_STEP + place - 1)) : colour("faint") },
      });
    });
    // Something that can be selected, or a box would select nothing and say nothing.
    Object.assign(data[STEPS + 1], { mode: "markers", x: axes.map((_, at) => at), y: axes.map(() => 0.5), marker: { opacity: 0 }, hoverinfo: "skip", selectedpoints: null, selected: { marker: { opacity: 0 } }, unselected: { marker: { opacity: 0 } } });
    const bars = axes.flatMap((each, at) => (each.limits() || []).map(([from, to]) => ({
      type: "rect", x0: at - 0.04, x1: at + 0.04, y0: from, y1: to, line: { width: 1, color: colour("paper") }, fillcolor: colour("bad"), opacity: 0.85,
    })));
    const lines = axes.map((_, at) => ({ type: "line", x0: at, x1: at, y0: 0, y1: 1, line: { color: colour("ink"), width: 1 } }));
    const names = axes.map((each, at) => ({
      x: at, y: 1.03, text: escaped(each.label), textangle: -18, showarrow: false, xanchor: "left", yanchor: "bottom", xshift: -8, font: { color: colour("ink"), size: 12 },
    }));
    const ticks = axes.flatMap((each, at) => each.ticks.map(([y, label]) => ({
      x: at, y, text: escaped(label), showarrow: false, xanchor: "right", xshift: -3, borderpad: 0, font: { color: colour("ink"), size: 11 }, bgcolor: colour("paper"), opacity: 0.85,
    })));
    const none = { visible: false, zeroline: false };
    Object.assign(layout, {
      shapes: [...lines, ...bars], annotations: [...names, ...ticks],
      xaxis: Object.assign({}, layout.xaxis, none, { range: [-0.5, axes.length - 0.7] }), yaxis: Object.assign({}, layout.yaxis, none, { range: [-0.03, 1.03] }),
      dragmode: fine ? "select" : false, selections: [], selectionrevision: version, hoverdistance: 8,
      newselection: { line: { color: colour("ink"), width: 1.5 } },
    });
  });

  function brushed(event) {
    if (!event || !event.range) return;
    const [from, to] = [Math.min(...event.range.x), Math.max(...event.range.x)];
    const range = [Math.max(0, Math.min(...event.range.y)), Math.min(1, Math.max(...event.range.y))];
    axes.forEach((each, at) => { if (at >= from && at <= to) each.brush(range); });
    showFilter();
    apply();
  }

  // The filter's fields

  for (const select of form.querySelectorAll("select[data-parameter]")) {
    const parameter = parameters.find(({ name }) => name === select.dataset.parameter);
    select.append(new Option("any", ""), ...parameter.choices.map((choice, index) => new Option(choice, String(index))));
  }

  function readFilter() {
    state.ranges = {};
    for (const { name } of metrics) {
      const [low, high] = ["min", "max"].map((end) => form.querySelector(`input[data-metric="${name}"][data-end="${end}"]`).value);
      if (low !== "" || high !== "") state.ranges[name] = [low === "" ? -Infinity : Number(low), high === "" ? Infinity : Number(high)];
    }
    for (const select of form.querySelectorAll("select[data-parameter]")) {
      if (select.value === "several") continue;
      if (select.value === "") delete state.choices[select.dataset.parameter];
      else state.choices[select.dataset.parameter] = new Set([Number(select.value)]);
    }
  }

  function showFilter() {
    for (const input of form.querySelectorAll("input[data-metric]")) {
      const range = state.ranges[input.dataset.metric];
      const value = range ? range[input.dataset.end === "min" ? 0 : 1] : Infinity;
      // Rounded outwards: what is in the brushed range stays in it.
      const scale = 10 ** (byName[input.dataset.metric].decimals + 1);
      input.value = Number.isFinite(value) ? String((input.dataset.end === "min" ? Math.floor(value * scale) : Math.ceil(value * scale)) / scale) : "";
    }
    for (const select of form.querySelectorAll("select[data-parameter]")) {
      const chosen = state.choices[select.dataset.parameter];
      select.querySelector("option[value=several]")?.remove();
      if (chosen && chosen.size !== 1) select.append(new Option("several", "several"));
      select.value = !chosen ? "" : chosen.size === 1 ? String([...chosen][0]) : "several";
    }
  }

  // The table

  const columns = [
    { key: "number", title: "no.", value: (index) => points[index].number, show: (index) => String(points[index].number) },
    { key: "status", title: "status", text: true, value: (index) => (points[index].front ? 0 : points[index].feasible ? 1 : 2),
      show: (index) => (points[index].front ? "front" : points[index].feasible ? "feasible" : "breaks") },
    ...metrics.map((metric) => ({ key: metric.name, title: metric.title, formula: metric.formula, value: (index) => metric.values[index], show: (index) => text(metric, index) })),
    ...varying.map((parameter) => ({ key: "parameter " + parameter.name, title: parameter.name,
      value: (index) => parameter.values[index], show: (index) => parameter.choices[parameter.values[index]] })),
    { key: "design", title: "design", text: true, value: (index) => points[index].design, show: (index) => points[index].design },
  ];
  const table = element("points-table");

  function ordered() {
    const { key, down } = state.sort;
    const { value } = columns.find((column) => column.key === key);
    const compare = (a, b) => {
      const [one, other] = [value(a), value(b)];
      if (one === null || other === null) return (one === null) - (other === null);
      const order = typeof one === "string" ? one.localeCompare(other, "en", { numeric: true }) : one - other;
      return (down ? -order : order) || points[a].number - points[b].number;
    };
    return all.filter(left).sort(compare);
  }

  const head = made("tr");
  for (const column of columns) {
    const button = made("button", { type: "button", class: "sort", ...(column.formula ? { title: column.formula } : {}) }, column.title);
    button.addEventListener("click", () => {
      state.sort = { key: column.key, down: state.sort.key === column.key && !state.sort.down };
      drawTable();
    });
    head.append(made("th", { scope: "col", "data-key": column.key, ...(column.text ? { class: "text" } : {}) }, button));
  }
  table.tHead.append(head);

  function detailsRow(index) {
    const point = points[index];
    const rows = [
      ["design", point.design],
      ...(point.breaks ? [["breaks", point.breaks]] : []),
      ...metrics.map((metric) => [metric.title, text(metric, index)]),
      ...parameters.map((parameter) => [parameter.name, parameter.choices[parameter.values[index]]]),
    ];
    const list = made("dl", { class: "rows" }, ...rows.map(([name, value]) => made("div", {}, made("dt", {}, name), made("dd", {}, value))));
    return made("tr", { class: "details", id: `details-${point.number}` }, made("td", { colspan: columns.length }, made("div", {}, list)));
  }

  function drawTable() {
    for (const cell of head.children) {
      const sorted = cell.dataset.key === state.sort.key;
      cell.setAttribute("aria-sort", sorted ? (state.sort.down ? "descending" : "ascending") : "none");
    }
    const order = ordered();
    const body = table.tBodies[0];
    const focused = document.activeElement?.closest?.("#points-table tbody tr")?.dataset.index;
    body.replaceChildren();
    for (const index of order.slice(0, state.limit)) {
      const point = points[index], open = state.open.has(index);
      const button = made("button", { type: "button", "aria-expanded": String(open), "aria-controls": `details-${point.number}` }, String(point.number));
      button.addEventListener("click", () => {
        if (!state.open.delete(index)) state.open.add(index);
        drawTable();
      });
      body.append(made("tr", { "data-index": index, class: point.front ? "front" : point.feasible ? "" : "infeasible" },
        made("th", { scope: "row" }, button),
        ...columns.slice(1).map((column) => made("td", column.text ? { class: "text" } : {}, column.show(index)))));
      if (open) body.append(detailsRow(index));
    }
    if (focused !== undefined) body.querySelector(`tr[data-index="${focused}"] button`)?.focus();
    const more = element("points-more");
    more.hidden = order.length <= state.limit;
    more.textContent = `Show all ${order.length}`;
    const onFront = order.filter((index) => points[index].front).length;
    for (const count of document.querySelectorAll(".left-count")) count.textContent = `${order.length} of ${points.length} points, ${onFront} on the front`;
    table.setAttribute("data-shown", order.length);
  }

  element("points-more").addEventListener("click", () => { state.limit = Infinity; drawTable(); });

  // The same columns and the same text as in the file beside the page.
  element("points-csv").addEventListener("click", () => {
    const [header, ...lines] = Skipstone.figures.get("front").csv.trimEnd().split("\n");
    Skipstone.download("points.csv", [header, ...ordered().map((index) => lines[index])].join("\n") + "\n", "text/csv");
  });

  function open(index) {
    state.open.add(index);
    if (!ordered().slice(0, state.limit).includes(index)) state.limit = Infinity;
    drawTable();
    table.querySelector(`tr[data-index="${index}"]`)?.scrollIntoView({ block: "center" });
    table.querySelector(`tr[data-index="${index}"] button`)?.focus();
  }

  // Together

  async function apply() {
    version += 1;
    drawing += 1;
    drawTable();
    noteMissing();
    await Promise.all([Skipstone.redraw("front"), Skipstone.redraw("parallel")]);
    drawing -= 1;
  }
  // Plotly tells of selections that a redrawing makes or removes, too; only the reader's count.
  const byReader = (action) => (event) => { if (!drawing) action(event); };

  for (const which of ["x", "y"]) {
    const start = () => {
      axis[which].log.checked = metricOf(which).log;
      axis[which].log.disabled = !positive(metricOf(which));
    };
    start();
    // The outline of a selection belongs to the axes in which it was drawn; what it selected stays.
    const changed = () => { state.outline = []; apply(); };
    axis[which].select.addEventListener("change", () => { start(); changed(); });
    axis[which].log.addEventListener("change", changed);
  }
  if (!fine) element("drag").value = "none";
  element("drag").addEventListener("change", apply);
  element("fit").addEventListener("change", apply);
  element("colour-by").addEventListener("change", apply);
  form.addEventListener("input", () => { readFilter(); apply(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => {
    Object.assign(state, { ranges: {}, choices: {}, picked: null, outline: [] });
    showFilter();
    apply();
  }));
  drawTable();
  noteMissing();

  Skipstone.drawn(() => {
    const front = Skipstone.element("front"), parallel = Skipstone.element("parallel");
    const known = (event) => event.points.map((point) => point.customdata).filter((index) => index !== undefined);
    front.on("plotly_selected", byReader((event) => {
      if (!event) return;
      state.picked = new Set(known(event));
      state.outline = structuredClone(front.layout.selections || []);
      apply();
    }));
    front.on("plotly_deselect", byReader(() => { state.picked = null; state.outline = []; apply(); }));
    front.on("plotly_click", (event) => { const [index] = known(event); if (index !== undefined) open(index); });
    parallel.on("plotly_selected", byReader(brushed));
    parallel.on("plotly_deselect", byReader(() => { for (const each of axes) each.brush(null); showFilter(); apply(); }));
    document.documentElement.dataset.explored = String(points.length);
  });
})();
