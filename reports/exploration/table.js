"use strict";
// The table of the exploration's points: sorted by a column, each row opens to all numbers of its point. It joins `Exploration` as
// `table`.
Exploration.table = (() => {
  const { metrics, parameters, points, varying, all, state, element, passes, text } = Exploration;

  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };

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
      const [first, second] = [value(a), value(b)];
      if (first === null || second === null) return (first === null) - (second === null);
      const order = typeof first === "string" ? first.localeCompare(second, "en", { numeric: true }) : first - second;
      return (down ? -order : order) || points[a].number - points[b].number;
    };
    return all.filter(passes).sort(compare);
  }

  const head = make("tr");
  for (const column of columns) {
    const button = make("button", { type: "button", class: "sort", ...(column.formula ? { title: column.formula } : {}) }, column.title);
    button.addEventListener("click", () => {
      state.sort = { key: column.key, down: state.sort.key === column.key && !state.sort.down };
      draw();
    });
    head.append(make("th", { scope: "col", "data-key": column.key, ...(column.text ? { class: "text" } : {}) }, button));
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
    const list = make("dl", { class: "rows" }, ...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
    return make("tr", { class: "details", id: `details-${point.number}` }, make("td", { colspan: columns.length }, make("div", {}, list)));
  }

  function draw() {
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
      const button = make("button", { type: "button", "aria-expanded": String(open), "aria-controls": `details-${point.number}` }, String(point.number));
      button.addEventListener("click", () => {
        if (!state.open.delete(index)) state.open.add(index);
        draw();
      });
      body.append(make("tr", { "data-index": index, class: point.front ? "front" : point.feasible ? "" : "infeasible" },
        make("th", { scope: "row" }, button),
        ...columns.slice(1).map((column) => make("td", column.text ? { class: "text" } : {}, column.show(index)))));
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

  element("points-more").addEventListener("click", () => { state.limit = Infinity; draw(); });

  // The same columns and the same text as in the file beside the page.
  element("points-csv").addEventListener("click", () => {
    const [header, ...lines] = Skipstone.figures.get("front").csv.trimEnd().split("\n");
    Skipstone.download("points.csv", [header, ...ordered().map((index) => lines[index])].join("\n") + "\n", "text/csv");
  });

  function open(index) {
    state.open.add(index);
    if (!ordered().slice(0, state.limit).includes(index)) state.limit = Infinity;
    draw();
    table.querySelector(`tr[data-index="${index}"]`)?.scrollIntoView({ block: "center" });
    table.querySelector(`tr[data-index="${index}"] button`)?.focus();
  }

  return { draw, open };
})();
