"use strict";
// The points of an exploration's page, the filter and the table's order (`state`), and which points pass the filter. The other
// scripts of the page find it as `Exploration`.
const Exploration = (() => {
  const { metrics, parameters, points } = JSON.parse(document.getElementById("exploration-points").textContent);
  const byName = Object.fromEntries(metrics.map((metric) => [metric.name, metric]));
  const varying = parameters.filter((parameter) => parameter.varies);
  const all = points.map((_, index) => index);
  const element = (id) => document.getElementById(id);
  const ROWS = 100, HOVER_PARAMETERS = 12;

  // ranges: [least, largest] of a metric; choices: numbers of a parameter's choices; picked: points selected in the front's plot,
  // and outline: of that selection; sort, open and limit: of the table; version: how often the filter changed.
  const state = {
    ranges: {}, choices: {}, picked: null, outline: [], sort: { key: "number", down: false }, open: new Set(), limit: ROWS, version: 0,
  };

  // The filter

  const inRanges = (index) =>
    metrics.every((metric) => {
      const range = state.ranges[metric.name], value = metric.values[index];
      return !range || (value !== null && value >= range[0] && value <= range[1]);
    }) &&
    varying.every((parameter) => !state.choices[parameter.name] || state.choices[parameter.name].has(parameter.values[index])) &&
    (!element("only-feasible").checked || points[index].feasible) &&
    (!element("only-front").checked || points[index].front);
  const passes = (index) => (!state.picked || state.picked.has(index)) && inRanges(index);
  const isFiltered = () =>
    state.picked || Object.keys(state.ranges).length || Object.keys(state.choices).length ||
    element("only-feasible").checked || element("only-front").checked;

  // Numbers and texts

  const number = (value, decimals) =>
    value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  const text = (metric, index) => {
    const value = metric.values[index];
    return value === null ? "–" : number(value, metric.decimals);
  };
  // Plotly reads tags and entities in its labels.
  const escaped = (string) => string.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);

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

  return { metrics, parameters, points, byName, varying, all, state, element, passes, isFiltered, number, text, escaped, hovers, logTicks };
})();
