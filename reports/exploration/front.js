"use strict";
// The exploration's front: two metrics against each other, with the front of these two and the constraints' limits. It joins
// `Exploration` as `front`.
Exploration.front = (() => {
  const { points, byName, all, state, element, passes, isFiltered, escaped, hovers, logTicks } = Exploration;
  const DIMMED = 0.12;

  const axis = { x: { select: element("axis-x"), log: element("log-x") }, y: { select: element("axis-y"), log: element("log-y") } };
  const metricOf = (which) => byName[axis[which].select.value];
  const positive = (metric) => metric.values.every((value) => value === null || value > 0);

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
    const placed = (element("fit").checked ? all.filter(passes) : all).map((index) => values[index]).filter((value) => value !== null);
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
    const filtered = isFiltered();
    const marks = [
      [(point) => !point.feasible, { symbol: "x-thin", size: 7, line: { width: 1.5, color: colour("series-4") } }],
      [(point) => point.feasible && !point.front, { symbol: "circle", size: 8, opacity: 0.8, line: { width: 1, color: colour("paper") } }],
      [(point) => point.front, { symbol: "diamond", size: 11, line: { width: 1, color: colour("paper") } }],
    ];
    Object.assign(data[0], {
      x: line.map((index) => x.values[index]), y: line.map((index) => y.values[index]), hoverinfo: "skip",
      line: { shape: "hv", width: 1.5, color: colour("series-0"), dash: "dot" },
    });
    marks.forEach(([belongs, marker], kind) => {
      const members = placed.filter((index) => belongs(points[index]));
      const trace = data[kind + 1];
      Object.assign(trace, {
        x: members.map((index) => x.values[index]), y: members.map((index) => y.values[index]),
        customdata: members, text: members.map((index) => hovers[index]), hovertemplate: "%{text}<extra></extra>",
        marker: Object.assign({}, trace.marker, marker),
        selectedpoints: filtered ? members.flatMap((index, place) => (passes(index) ? [place] : [])) : null,
        selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: DIMMED } },
      });
    });
    Object.assign(layout, {
      ...limitLines(colour),
      xaxis: Object.assign({}, layout.xaxis, plotAxis("x")), yaxis: Object.assign({}, layout.yaxis, plotAxis("y")),
      dragmode: element("drag").value === "none" ? false : element("drag").value,
      uirevision: [x.name, y.name, axis.x.log.checked, axis.y.log.checked, element("fit").checked && state.version].join(),
      selections: state.outline, selectionrevision: state.version,
      newselection: { line: { color: colour("ink"), width: 1.5 } },
      activeselection: { opacity: 0.05 },
    });
  });

  function noteMissing() {
    const without = (metric) => metric.values.filter((value) => value === null).length;
    element("front-note").textContent = [...new Set([metricOf("x"), metricOf("y")])].filter(without)
      .map((metric) => `${without(metric)} of ${points.length} points have no ${metric.word} and no mark here.`).join(" ");
  }

  return { axis, metricOf, positive, noteMissing };
})();
