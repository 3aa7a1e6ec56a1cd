"use strict";
// Draws the page's figures in its colours, and makes them usable: keys, zoom, arrow keys, colours, downloads. Other scripts
// of a page find it as `Skipstone`.
const Skipstone = (() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const named = new Map(figures.map((figure) => [figure.name, figure]));
  const hidden = new Map(figures.map((figure) => [figure.name, new Set()]));
  const chosen = new Map();
  const adjustments = new Map();
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const NARROW = 560;
  const HEAT_STEPS = 10;
  const COLOUR = /colou?r/i;

  const element = (name) => document.getElementById(name + "-plot");
  const isDark = () => (root.dataset.colours || (system.matches ? "dark" : "light")) === "dark";

  // Colours -----------------------------------------------------------------------------------------------------------

  // A custom property of the style sheet; those with two colours are written light-dark(A, B).
  function palette(dark) {
    const style = getComputedStyle(root);
    return (name) => {
      const text = style.getPropertyValue("--" + name).trim();
      const two = /^light-dark\((.+?),\s*([^,]+)\)$/.exec(text);
      return two ? (dark ? two[2] : two[1]).trim() : text;
    };
  }

  function heat(colour) {
    return Array.from({ length: HEAT_STEPS }, (_, step) => [step / (HEAT_STEPS - 1), colour("heat-" + step)]);
  }

  // Puts colours in the place of "var(--NAME)", wherever Plotly takes a colour.
  function paint(node, colour, key = "") {
    if (Array.isArray(node)) {
      if (typeof node[0] === "number") return node;
      return node.map((item) => paint(item, colour, key));
    }
    if (node !== null && typeof node === "object") {
      return Object.fromEntries(Object.entries(node).map(([name, value]) => [name, paint(value, colour, name)]));
    }
    if (typeof node !== "string" || !COLOUR.test(key) || !node.startsWith("var(--")) return node;
    const name = node.slice(6, -1);
    return name === "heat" ? heat(colour) : colour(name);
  }

  // Drawing -----------------------------------------------------------------------------------------------------------

  function themed(figure, dark, width) {
    const colour = palette(dark);
    const data = structuredClone(figure.traces).map((trace, index) => {
      const painted = paint(trace, colour);
      if (width < NARROW && (figure.layout.meta || {}).plain && painted.mode === "markers+text") painted.mode = "markers";
      if (trace.meta === "ceiling") {
        painted.line = { color: colour("faint"), width: 2 };
      } else if (Number.isInteger(trace.meta)) {
        painted.marker = Object.assign({ color: colour("series-" + trace.meta) }, painted.marker);
        if (trace.type === "bar" || trace.type === "scatter") painted.marker.line = Object.assign({ color: colour("paper"), width: 1 }, painted.marker.line);
        if (trace.type === "scatter") painted.line = Object.assign({ color: colour("series-" + trace.meta) }, painted.line);
        if (trace.type !== "parcoords") painted.textfont = Object.assign({ color: colour("ink"), size: 12 }, painted.textfont);
      }
      if (painted.colorbar) painted.colorbar = Object.assign({ outlinewidth: 0, thickness: 12, tickcolor: colour("rule") }, painted.colorbar);
      if (hidden.get(figure.name).has(index)) painted.visible = false;
      return painted;
    });
    const layout = paint(structuredClone(figure.layout), colour);
    const meta = layout.meta || {};
    for (const changes of [(meta.choices || [])[chosen.get(figure.name) || 0], width < NARROW ? meta.narrow : null]) {
      for (const [name, value] of Object.entries(changes || {})) {
        layout[name] = value !== null && typeof value === "object" && !Array.isArray(value) ? Object.assign({}, layout[name], value) : value;
      }
    }
    delete layout.meta;
    for (const axis of ["xaxis", "yaxis", ...Object.keys(layout).filter((name) => /^[xy]axis\d+$/.test(name))]) {
      layout[axis] = Object.assign({ gridcolor: colour("rule"), zerolinecolor: colour("rule"), linecolor: colour("rule") }, layout[axis]);
    }
    const common = {
      height: figure.height,
      showlegend: false,
      hovermode: "closest",
      dragmode: meta.zoom ? "zoom" : false,
      uirevision: figure.name + " " + (chosen.get(figure.name) || 0),
      paper_bgcolor: colour("paper"),
      plot_bgcolor: colour("paper"),
      font: { color: colour("ink"), size: 13, family: getComputedStyle(document.body).fontFamily },
      hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("faint"), font: { color: colour("ink") }, align: "left", namelength: -1 },
    };
    for (const adjust of adjustments.get(figure.name) || []) adjust(data, layout, colour);
    return { data, layout: Object.assign(common, layout) };
  }

  function draw(figure) {
    const { data, layout } = themed(figure, isDark(), element(figure.name).clientWidth);
    return Plotly.react(element(figure.name), data, layout, { responsive: true, displayModeBar: false, doubleClick: "reset", scrollZoom: false });
  }

  function redraw(name) {
    return Promise.all((name === undefined ? figures : [named.get(name)]).map(draw));
  }

  // Keys: show and hide -----------------------------------------------------------------------------------------------

  function bindKeys() {
    for (const button of document.querySelectorAll("button[data-traces]")) {
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(shown));
        const away = hidden.get(button.dataset.figure);
        for (const trace of JSON.parse(button.dataset.traces)) shown ? away.delete(trace) : away.add(trace);
        redraw(button.dataset.figure);
      });
    }
  }

  // Shows only the traces of a key.
  function choose(figure, index) {
    chosen.set(figure.name, index);
    const away = hidden.get(figure.name);
    figure.keys.forEach((key, number) => key.traces.forEach((trace) => (number === index ? away.delete(trace) : away.add(trace))));
  }

  function bindChoices() {
    for (const select of document.querySelectorAll("select[data-choose]")) {
      const figure = named.get(select.dataset.choose);
      select.selectedIndex = 0;
      choose(figure, 0);
      select.addEventListener("change", async () => {
        choose(figure, Number(select.value));
        await draw(figure);
        rememberRanges(figure);
      });
    }
  }

  // Zoom --------------------------------------------------------------------------------------------------------------

  // Remembers the ranges that show everything.
  function rememberRanges(figure) {
    const now = element(figure.name)._fullLayout;
    figure.ranges = {};
    for (const axis of ["xaxis", "yaxis"]) if (now[axis]) figure.ranges[axis] = [...now[axis].range];
  }

  // The new range stays inside the one that shows everything; "in" and "out" keep the middle.
  function zoom(figure, what) {
    const plot = element(figure.name);
    const change = {};
    for (const axis of ["xaxis", "yaxis"]) {
      const now = plot._fullLayout[axis];
      if (!now || now.fixedrange) continue;
      const all = figure.ranges[axis];
      const sign = Math.sign(all[1] - all[0]);
      const [low, high] = [Math.min(...all), Math.max(...all)];
      const [from, to] = [Math.min(...now.range), Math.max(...now.range)];
      let span = to - from;
      let middle = (from + to) / 2;
      if (what === "reset") [span, middle] = [high - low, (low + high) / 2];
      if (what === "in") span /= 2;
      if (what === "out") span *= 2;
      if (axis === "xaxis" && what === "left") middle -= span / 4;
      if (axis === "xaxis" && what === "right") middle += span / 4;
      span = Math.min(span, high - low);
      middle = Math.min(Math.max(middle, low + span / 2), high - span / 2);
      const range = [middle - span / 2, middle + span / 2];
      change[axis + ".range"] = sign < 0 ? range.reverse() : range;
    }
    return Plotly.relayout(plot, change);
  }

  // Arrow keys --------------------------------------------------------------------------------------------------------

  const nothing = (value) => value === null || value === undefined || Number.isNaN(value);

  // The points that have a hover label: their indices by trace. Bars without length are left out.
  function reachable(plot) {
    const lists = [];
    plot._fullData.forEach((trace, curve) => {
      if (trace.visible !== true || trace.hoverinfo === "skip" || !plot.calcdata[curve]) return;
      if (trace.type === "heatmap") {
        lists.push({ curve, grid: [trace.z.length, Math.max(0, ...trace.z.map((row) => row.length))], points: [] });
        return;
      }
      const length = trace.type === "bar" ? (trace.orientation === "h" ? trace.x : trace.y) : null;
      const points = plot.calcdata[curve].map((_, index) => index).filter((index) => (length ? length[index] : !nothing(trace.x[index])));
      if (points.length) lists.push({ curve, points, across: trace.type === "bar" && trace.orientation === "h" });
    });
    return lists.filter((list) => list.grid ? list.grid[0] * list.grid[1] : list.points.length);
  }

  const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const places = new Map();

  // One pair of arrows goes along the points of a trace, the other from trace to trace; in a heat map both go along the cells.
  function step(figure, [down, right]) {
    const plot = element(figure.name);
    const lists = reachable(plot);
    if (!lists.length) return;
    let place = places.get(figure.name);
    let at = place ? lists.findIndex((list) => list.curve === place.curve) : -1;
    if (at < 0) {
      at = 0;
      place = { curve: lists[0].curve, point: lists[0].grid ? [0, 0] : lists[0].points[0] };
    } else if (lists[at].grid) {
      const [rows, columns] = lists[at].grid;
      const up = plot._fullLayout.yaxis.range[0] > plot._fullLayout.yaxis.range[1] ? 1 : -1;
      place.point = [Math.min(Math.max(place.point[0] + up * down, 0), rows - 1), Math.min(Math.max(place.point[1] + right, 0), columns - 1)];
    } else {
      const along = lists[at].across ? down : right;
      const over = lists[at].across ? right : down;
      if (over) {
        at = (at + over + lists.length) % lists.length;
        const points = lists[at].points;
        place = { curve: lists[at].curve, point: lists[at].grid ? [0, 0] : points.reduce((best, point) => Math.abs(point - place.point) < Math.abs(best - place.point) ? point : best, points[0]) };
      } else {
        const index = lists[at].points.indexOf(place.point) + along;
        if (index >= 0 && index < lists[at].points.length) place.point = lists[at].points[index];
        else if (!lists[at].across && lists.length > 1) {
          at = (at + along + lists.length) % lists.length;
          const points = lists[at].points;
          place = { curve: lists[at].curve, point: points[along > 0 ? 0 : points.length - 1] };
        }
      }
    }
    places.set(figure.name, place);
    hover(figure, place);
  }

  function hover(figure, place) {
    const plot = element(figure.name);
    const trace = plot._fullData[place.curve];
    // Plotly finds a point of a heat map by its place only, all others by their number.
    const [row, column] = Array.isArray(place.point) ? place.point : [];
    const at = trace.type === "heatmap"
      ? { xval: trace.x ? trace.x[column] : column, yval: trace.y ? trace.y[row] : row }
      : [{ curveNumber: place.curve, pointNumber: place.point }];
    Plotly.Fx.hover(plot, at, (trace.xaxis || "x") + (trace.yaxis || "y"));
    window.setTimeout(() => say(figure), 80); // Plotly holds hover back for 50 ms
  }

  // Says what the hover label says.
  function say(figure) {
    const labels = element(figure.name).querySelectorAll(".hoverlayer .hovertext text");
    const lines = [...labels].flatMap((label) => {
      const parts = [...label.querySelectorAll("tspan.line")];
      return (parts.length ? parts : [label]).map((part) => part.textContent.trim());
    });
    document.getElementById(figure.name + "-says").textContent = lines.filter(Boolean).join("; ");
  }

  function bindArrows(figure) {
    const plot = element(figure.name);
    plot.addEventListener("keydown", (event) => {
      if (event.target !== plot || event.ctrlKey || event.altKey || event.metaKey) return;
      const zooms = figure.layout.meta && figure.layout.meta.zoom;
      if (zooms && event.shiftKey && ["ArrowLeft", "ArrowRight"].includes(event.key)) zoom(figure, event.key === "ArrowLeft" ? "left" : "right");
      else if (event.key in STEPS) step(figure, STEPS[event.key]);
      else if (zooms && event.key === "+") zoom(figure, "in");
      else if (zooms && event.key === "-") zoom(figure, "out");
      else if (zooms && event.key === "0") zoom(figure, "reset");
      else if (event.key === "Escape") leave(figure);
      else return;
      event.preventDefault();
    });
    plot.addEventListener("blur", () => leave(figure));
  }

  function leave(figure) {
    Plotly.Fx.unhover(element(figure.name));
    document.getElementById(figure.name + "-says").textContent = "";
  }

  // Downloads ---------------------------------------------------------------------------------------------------------

  function download(name, content, type) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type }));
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    window.setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // As an image for paper: in light colours, with the keys as a legend.
  async function picture(figure, format) {
    const plot = element(figure.name);
    const width = Math.max(plot.clientWidth, 900);
    const { data, layout } = themed(figure, false, width);
    for (const axis of ["xaxis", "yaxis"]) {
      if (plot._fullLayout[axis] && !plot._fullLayout[axis].fixedrange) layout[axis].range = [...plot._fullLayout[axis].range];
    }
    data.forEach((trace) => { trace.showlegend = false; });
    for (const key of figure.keys) {
      const first = data[key.traces[0]];
      if (first) Object.assign(first, { name: key.label.replace(/&/g, "&amp;").replace(/</g, "&lt;"), showlegend: true });
    }
    const legend = figure.keys.length > 1 && !figure.choose;
    const lines = legend ? Math.ceil(figure.keys.reduce((sum, key) => sum + 7.5 * key.label.length + 46, 0) / width) : 0;
    const height = figure.height + 26 * lines;
    Object.assign(layout, { width, height, showlegend: legend, legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", traceorder: "normal" } });
    layout.margin = Object.assign({}, layout.margin, { t: (layout.margin || {}).t + 26 * lines + 6 });
    const svg = await Plotly.toImage({ data, layout }, { format: "svg", width, height, imageDataOnly: true });
    if (format === "svg") download(figure.name + ".svg", svg, "image/svg+xml");
    else download(figure.name + ".png", await pixels(svg, width, height, 2), "image/png");
  }

  // Plotly's own way to PNG goes over a blob: address, which the page's policy refuses.
  async function pixels(svg, width, height, scale) {
    const image = new Image();
    image.src = "data:image/svg+xml," + encodeURIComponent(svg);
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: width * scale, height: height * scale });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  }

  function bindTools() {
    for (const tools of document.querySelectorAll("[data-tools]")) {
      const figure = named.get(tools.dataset.tools);
      tools.addEventListener("click", (event) => {
        const button = event.target.closest("button");
        if (!button) return;
        if (button.dataset.zoom) zoom(figure, button.dataset.zoom);
        else if (button.dataset.save === "csv") download(figure.name + ".csv", figure.csv, "text/csv");
        else if (button.dataset.save) picture(figure, button.dataset.save);
      });
    }
  }

  // Light and dark ----------------------------------------------------------------------------------------------------

  const STORED = "skipstone-colours";

  function stored() {
    try { return window.localStorage.getItem(STORED) || ""; } catch { return ""; }
  }

  function bindColours() {
    const choice = document.getElementById("colours");
    const apply = () => { root.dataset.colours = choice.value; };
    choice.value = stored();
    apply();
    choice.addEventListener("change", () => {
      apply();
      try { window.localStorage.setItem(STORED, choice.value); } catch { /* a page of a file may have no storage */ }
      redraw();
    });
    system.addEventListener("change", () => redraw());
  }

  // Start -------------------------------------------------------------------------------------------------------------

  async function start() {
    bindColours();
    bindKeys();
    bindTools();
    bindChoices();
    for (const figure of figures) {
      await draw(figure);
      rememberRanges(figure);
      bindArrows(figure);
    }
    let narrow = window.innerWidth < NARROW;
    window.addEventListener("resize", () => {
      if (narrow !== window.innerWidth < NARROW) redraw();
      narrow = window.innerWidth < NARROW;
    });
    root.dataset.drawn = String(figures.length);
    document.dispatchEvent(new Event("skipstone-drawn"));
  }

  document.addEventListener("DOMContentLoaded", start);

  return {
    figures: named,
    element,
    redraw,
    // Runs `change(data, layout, colour)` before each drawing of a figure; `colour("series-0")` gives a colour of the page.
    adjust(name, change) { adjustments.set(name, [...(adjustments.get(name) || []), change]); },
    // Runs `action` once all figures are drawn.
    drawn(action) { root.dataset.drawn ? action() : document.addEventListener("skipstone-drawn", action, { once: true }); },
    download,
  };
})();
