"use strict";
// The exploration's parallel coordinates: a line for each point, an axis for each parameter and metric, from 0 to 1. It joins
// `Exploration` as `parallel`.
Exploration.parallel = (() => {
  const { metrics, byName, varying, all, state, element, passes, number, escaped, hovers, logTicks } = Exploration;
  const fine = window.matchMedia("(pointer: fine)").matches;

  // The ends of the scale that are too near the paper for lines are left out.
  const STEPS = 8, FIRST_STEP = 2;
  const scaled = (metric, value) => (metric.log ? Math.log10(value) : value);

  function metricAxis(metric) {
    const values = metric.values.filter((value) => value !== null);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const [from, to] = [scaled(metric, low), scaled(metric, high)];
    const place = (value) => (to > from ? (scaled(metric, value) - from) / (to - from) : 0.5);
    const between = metric.log && high / low >= 4 ? logTicks(low, high).tickvals : [0.25, 0.5, 0.75].map((share) => low + share * (high - low));
    const inner = between.filter((value) => place(value) > 0.07 && place(value) < 0.93);
    const ticks = high > low ? [low, ...inner, high] : [low];
    return {
      metric, label: metric.title, has: (index) => metric.values[index] !== null, of: (index) => place(metric.values[index]),
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
      parameter, label: parameter.name, has: () => true, of: (index) => place(parameter.values[index]) * 0.96 + 0.02 + apart(index),
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
    const values = metric.values.filter((value) => value !== null);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const [from, to] = [scaled(metric, low), scaled(metric, high)];
    element("scale-low").textContent = number(low, metric.decimals);
    element("scale-high").textContent = number(high, metric.decimals);
    return (index) => (metric.values[index] === null || to === from ? 0 : Math.min(STEPS - 1, Math.floor((STEPS * (scaled(metric, metric.values[index]) - from)) / (to - from))));
  }

  Skipstone.adjust("parallel", (data, layout, colour) => {
    const stepOf = colourScale();
    const groups = Array.from({ length: STEPS + 1 }, () => []);
    for (const index of all) groups[passes(index) ? 1 + stepOf(index) : 0].push(index);
    groups.forEach((members, place) => {
      const lines = members.map((index) => axes.map((each, at) => [at, each.has(index) ? each.of(index) : null]));
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
      dragmode: fine ? "select" : false, selections: [], selectionrevision: state.version, hoverdistance: 8,
      newselection: { line: { color: colour("ink"), width: 1.5 } },
    });
  });

  // Sets the filter to what a box covers on the axes that it crosses. Whether there was one.
  function brush(event) {
    if (!event || !event.range) return false;
    const [from, to] = [Math.min(...event.range.x), Math.max(...event.range.x)];
    const range = [Math.max(0, Math.min(...event.range.y)), Math.min(1, Math.max(...event.range.y))];
    axes.forEach((each, at) => { if (at >= from && at <= to) each.brush(range); });
    return true;
  }

  function clear() {
    for (const each of axes) each.brush(null);
  }

  return { brush, clear };
})();
