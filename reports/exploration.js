"use strict";
// The exploration's page: one filter, set by dragging in the plots or by numbers, for the front, the parallel coordinates and the table.
document.addEventListener("DOMContentLoaded", () => {
  const { metrics, parameters, points } = JSON.parse(document.getElementById("exploration").textContent);
  const byName = Object.fromEntries(metrics.map((metric) => [metric.name, metric]));
  const varying = parameters.filter((parameter) => parameter.varies);
  const all = points.map((_, index) => index);
  const element = (id) => document.getElementById(id);
  const ROWS = 100, HOVER_PARAMETERS = 12, DIMMED = 0.12;
  const form = element("filter"), front = element("front-plot"), parallel = element("parallel-plot");

  // ranges: [least, largest] of a metric; choices: numbers of a parameter's choices; picked: points selected in the plot.
  const state = { ranges: {}, choices: {}, picked: null, sort: { key: "number", down: false }, open: new Set(), limit: ROWS };

  const text = (metric, index) => {
    const value = metric.values[index];
    return value === null ? "–" : number(value, metric.decimals);
  };
  const number = (value, decimals) =>
    value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  const escaped = (string) => string.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
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

  function frontOfTwo(x, y) {
    // From the best x on, a point is on the front of the two where its y is better than all before.
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

  function rangeOf(metric, log) {
    const known = metric.values.filter((value) => value !== null);
    let low = Math.min(...known), high = Math.max(...known);
    if (!known.length) [low, high] = [0, 1];
    if (log) {
      const room = 0.06 * Math.log10(high / low) || 0.1;
      return [Math.log10(low) - room, Math.log10(high) + room];
    }
    const room = 0.06 * (high - low) || 0.05 * Math.abs(high) || 1;
    return [low - room, high + room];
  }

  function plotAxis(which) {
    const metric = metricOf(which), log = axis[which].log.checked, range = rangeOf(metric, log);
    const style = { gridcolor: colour("rule"), zerolinecolor: colour("rule"), linecolor: colour("rule") };
    const made = { title: { text: escaped(metric.title) }, type: log ? "log" : "linear", range, automargin: true, separatethousands: true, zeroline: false, ...style };
    return log ? Object.assign(made, logTicks(10 ** range[0], 10 ** range[1])) : made;
  }

  function logTicks(low, high) {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const step of high / low <= 1000 ? [1, 2, 5] : [1]) {
        const value = step * 10 ** power;
        if (value >= low && value <= high) ticks.push(value);
      }
    }
    return { tickvals: ticks, ticktext: ticks.map((value) => value.toLocaleString("en-US", { maximumSignificantDigits: 10 })) };
  }

  function limitLines(x, y) {
    const line = { color: colour("bad"), width: 1.5, dash: "dash" };
    const note = (name, { op, limit }, place) => ({
      ...place, text: escaped(`${byName[name].word} ${op === "<=" ? "≤" : "≥"} ${limit.toLocaleString("en-US")}`),
      showarrow: false, font: { color: colour("bad"), size: 12 },
    });
    const inside = (which, limit) => {
      const log = axis[which].log.checked, [low, high] = rangeOf(metricOf(which), log), value = log ? Math.log10(limit) : limit;
      return value > low && value < high ? value : null;
    };
    const shapes = [], annotations = [];
    for (const each of x.limits) {
      const at = inside("x", each.limit);
      if (at === null) continue;
      shapes.push({ type: "line", x0: each.limit, x1: each.limit, yref: "paper", y0: 0, y1: 1, line, layer: "below" });
      annotations.push(note(x.name, each, { x: at, yref: "paper", y: 1, xanchor: "left", yanchor: "top", xshift: 3 }));
    }
    for (const each of y.limits) {
      const at = inside("y", each.limit);
      if (at === null) continue;
      shapes.push({ type: "line", y0: each.limit, y1: each.limit, xref: "paper", x0: 0, x1: 1, line, layer: "below" });
      annotations.push(note(y.name, each, { y: at, xref: "paper", x: 1, xanchor: "right", yanchor: "bottom" }));
    }
    return { shapes, annotations };
  }

  function drawFront() {
    const x = metricOf("x"), y = metricOf("y");
    const placed = all.filter((index) => x.values[index] !== null && y.values[index] !== null);
    const missing = points.length - placed.length;
    element("front-note").textContent = missing
      ? `${missing} ${missing === 1 ? "point has" : "points have"} no ${(x.values.includes(null) ? x : y).word} and no mark here.` : "";
    const kinds = [
      { name: "breaks a constraint", of: (point) => !point.feasible, marker: { symbol: "x-thin", size: 7, line: { width: 1.5, color: colour("series-4") } } },
      { name: "feasible", of: (point) => point.feasible && !point.front, marker: { symbol: "circle", size: 8, color: colour("series-5"), opacity: 0.75, line: { width: 1, color: colour("paper") } } },
      { name: "on the front", of: (point) => point.front, marker: { symbol: "diamond", size: 11, color: colour("series-0"), line: { width: 1, color: colour("paper") } } },
    ];
    const chosen = filtered();
    const data = kinds.map(({ name, of, marker }) => {
      const members = placed.filter((index) => of(points[index]));
      return {
        type: "scatter", mode: "markers", name, marker,
        x: members.map((index) => x.values[index]), y: members.map((index) => y.values[index]),
        customdata: members, text: members.map((index) => hovers[index]), hovertemplate: "%{text}<extra></extra>",
        selectedpoints: chosen ? members.flatMap((index, place) => (left(index) ? [place] : [])) : null,
        selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: DIMMED } },
      };
    });
    const line = frontOfTwo(x, y);
    data.unshift({
      type: "scatter", mode: "lines", name: "front of the two", hoverinfo: "skip",
      x: line.map((index) => x.values[index]), y: line.map((index) => y.values[index]),
      line: { shape: "hv", width: 1.5, color: colour("series-0"), dash: "dot" },
    });
    const drag = element("drag").value;
    return Plotly.react(front, data, {
      ...limitLines(x, y), xaxis: plotAxis("x"), yaxis: plotAxis("y"), margin: { l: 8, r: 16, t: 12, b: 48 },
      showlegend: false, hovermode: "closest", dragmode: drag === "false" ? false : drag,
      uirevision: [x.name, y.name, axis.x.log.checked, axis.y.log.checked].join(), selectionrevision: state.picked ? "picked" : String(Math.random()),
      newselection: { line: { color: colour("ink") } },
      paper_bgcolor: colour("paper"), plot_bgcolor: colour("paper"),
      font: { color: colour("ink"), size: 13, family: getComputedStyle(document.body).fontFamily },
      hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("rule"), font: { color: colour("ink") }, align: "left", namelength: -1 },
    }, { responsive: true, displayModeBar: false });
  }

  // Parallel coordinates. An axis that is logarithmic holds logarithms.

  const scaled = (metric, value) => (metric.log ? Math.log10(value) : value);
  const drawable = metrics.filter((metric) => !metric.values.includes(null) && new Set(metric.values).size > 1);
  const dimensions = [
    ...varying.map((parameter) => ({
      parameter, label: parameter.name, of: (index) => parameter.values[index],
      fixed: { tickvals: parameter.choices.map((_, index) => index), ticktext: parameter.choices, range: [-0.3, parameter.choices.length - 0.7] },
      limits: () => state.choices[parameter.name] && [...state.choices[parameter.name]].map((choice) => [choice - 0.3, choice + 0.3]),
    })),
    ...drawable.map((metric) => ({
      metric, label: metric.title, of: (index) => scaled(metric, metric.values[index]),
      fixed: metricTicks(metric),
      limits: () => state.ranges[metric.name] && clipped(metric, state.ranges[metric.name]),
    })),
  ];

  function clipped(metric, range) {
    const [low, high] = metricTicks(metric).range;
    const inner = (value) => (Number.isFinite(value) ? Math.min(high, Math.max(low, metric.log ? Math.log10(Math.max(value, 1e-300)) : value)) : null);
    return [inner(range[0]) ?? low, inner(range[1]) ?? high];
  }

  function metricTicks(metric) {
    const low = Math.min(...metric.values), high = Math.max(...metric.values);
    if (!metric.log) return { range: [low, high], tickformat: metric.decimals ? `,.${metric.decimals}~f` : ",d" };
    const { tickvals, ticktext } = logTicks(low, high);
    return { range: [Math.log10(low), Math.log10(high)], tickvals: tickvals.map(Math.log10), ticktext };
  }

  function drawParallel() {
    const members = all.filter((index) => (!state.picked || state.picked.has(index)) &&
      (!element("only-feasible").checked || points[index].feasible) && (!element("only-front").checked || points[index].front));
    const metric = byName[element("colour-by").value];
    const known = metric.values.filter((value) => value !== null).map((value) => scaled(metric, value));
    const [low, high] = [Math.min(...known), Math.max(...known)];
    element("scale-low").textContent = text(metric, metric.values.indexOf(Math.min(...metric.values.filter((value) => value !== null))));
    element("scale-high").textContent = text(metric, metric.values.indexOf(Math.max(...metric.values.filter((value) => value !== null))));
    const data = [{
      type: "parcoords", labelangle: -12, labelside: "top",
      line: {
        color: members.map((index) => (metric.values[index] === null ? low : scaled(metric, metric.values[index]))),
        cmin: low, cmax: high > low ? high : low + 1,
        colorscale: [[0, colour("low")], [0.5, colour("middle")], [1, colour("high")]],
      },
      unselected: { line: { color: colour("faint"), opacity: 0.06 } },
      labelfont: { color: colour("ink"), size: 12 }, tickfont: { color: colour("ink"), size: 11 }, rangefont: { color: "rgba(0,0,0,0)", size: 1 },
      dimensions: dimensions.map((dimension) => {
        const limits = dimension.limits();
        return {
          label: escaped(dimension.label), values: members.map(dimension.of), multiselect: Boolean(dimension.parameter),
          ...dimension.fixed, ...(limits ? { constraintrange: limits.length === 1 ? limits[0] : limits } : {}),
        };
      }),
    }];
    return Plotly.react(parallel, data, {
      margin: { l: 70, r: 70, t: 70, b: 24 }, paper_bgcolor: colour("paper"), plot_bgcolor: colour("paper"),
      font: { color: colour("ink"), family: getComputedStyle(document.body).fontFamily },
    }, { responsive: true, displayModeBar: false });
  }

  function parallelBrushed() {
    parallel.data[0].dimensions.forEach((drawn, place) => {
      const { parameter, metric } = dimensions[place];
      const range = drawn.constraintrange;
      const ranges = !range || !range.length ? null : Array.isArray(range[0]) ? range : [range];
      if (parameter) {
        if (!ranges) delete state.choices[parameter.name];
        else state.choices[parameter.name] = new Set(parameter.choices.map((_, choice) => choice).filter((choice) => ranges.some(([low, high]) => choice >= low && choice <= high)));
        return;
      }
      if (!ranges) delete state.ranges[metric.name];
      else if (String(ranges[0]) !== String(state.ranges[metric.name] && clipped(metric, state.ranges[metric.name])))
        state.ranges[metric.name] = ranges[0].map((value) => (metric.log ? 10 ** value : value));
    });
    showFilter();
    apply({ parallel: false });
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
    ...metrics.map((metric) => ({ key: metric.name, title: metric.title, value: (index) => metric.values[index], show: (index) => text(metric, index) })),
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
    const button = made("button", { type: "button", class: "sort" }, column.title);
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
    const list = made("dl", { class: "rows" }, ...rows.flatMap(([name, value]) => [made("dt", {}, name), made("dd", {}, value)]));
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
    element("filter-count").textContent = `${order.length} of ${points.length} points, ${onFront} on the front`;
    table.setAttribute("data-shown", order.length);
  }

  element("points-more").addEventListener("click", () => { state.limit = Infinity; drawTable(); });

  element("points-csv").addEventListener("click", () => {
    const quoted = (value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    const header = ["number", "design", "on_front", "feasible", ...metrics.map(({ title }) => title), ...parameters.map(({ name }) => name)];
    const lines = ordered().map((index) => [
      String(points[index].number), points[index].design, String(points[index].front), String(points[index].feasible),
      ...metrics.map(({ values }) => (values[index] === null ? "" : String(values[index]))),
      ...parameters.map(({ choices, values }) => choices[values[index]]),
    ]);
    const content = [header, ...lines].map((line) => line.map(quoted).join(",") + "\r\n").join("");
    const link = made("a", { href: URL.createObjectURL(new Blob([content], { type: "text/csv" })), download: "points.csv" });
    link.click();
    URL.revokeObjectURL(link.href);
  });

  function open(index) {
    state.open.add(index);
    if (!ordered().slice(0, state.limit).includes(index)) state.limit = Infinity;
    drawTable();
    table.querySelector(`tr[data-index="${index}"]`)?.scrollIntoView({ block: "center" });
    table.querySelector(`tr[data-index="${index}"] button`)?.focus();
  }

  // Together

  function apply({ parallel = true } = {}) {
    drawTable();
    return Promise.all([drawFront(), ...(parallel && dimensions.length ? [drawParallel()] : [])]);
  }

  for (const which of ["x", "y"]) {
    const start = () => {
      axis[which].log.checked = metricOf(which).log;
      axis[which].log.disabled = !positive(metricOf(which));
    };
    start();
    axis[which].select.addEventListener("change", () => { start(); drawFront(); });
    axis[which].log.addEventListener("change", drawFront);
  }
  if (!window.matchMedia("(pointer: fine)").matches) element("drag").value = "false";
  element("drag").addEventListener("change", drawFront);
  element("colour-by").addEventListener("change", drawParallel);
  form.addEventListener("input", () => { readFilter(); apply(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => {
    Object.assign(state, { ranges: {}, choices: {}, picked: null });
    showFilter();
    apply();
  }));

  apply().then(() => {
    front.on("plotly_selected", (event) => {
      if (!event) return;
      state.picked = new Set(event.points.filter((point) => point.customdata !== undefined).map((point) => point.customdata));
      apply();
    });
    front.on("plotly_deselect", () => { state.picked = null; apply(); });
    front.on("plotly_click", (event) => { if (event.points[0].customdata !== undefined) open(event.points[0].customdata); });
    if (dimensions.length) parallel.on("plotly_restyle", parallelBrushed);
    document.documentElement.dataset.explored = String(points.length);
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => apply());
});
