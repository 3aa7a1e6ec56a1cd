"use strict";
// Joins the parts of the exploration's page: whatever the reader changes, in a plot, in a field or in the table, goes to all.
(() => {
  const { points, state, element, front, parallel, filter, table } = Exploration;
  const fine = window.matchMedia("(pointer: fine)").matches;
  let drawing = 0;

  async function apply() {
    state.version += 1;
    drawing += 1;
    table.draw();
    front.noteMissing();
    await Promise.all([Skipstone.redraw("front"), Skipstone.redraw("parallel")]);
    drawing -= 1;
  }
  // Plotly tells of selections that a redrawing makes or removes, too; only the reader's count.
  const byReader = (action) => (event) => { if (!drawing) action(event); };

  for (const which of ["x", "y"]) {
    const start = () => {
      front.axis[which].log.checked = front.metricOf(which).log;
      front.axis[which].log.disabled = !front.positive(front.metricOf(which));
    };
    start();
    // The outline of a selection belongs to the axes in which it was drawn; what it selected stays.
    const changed = () => { state.outline = []; apply(); };
    front.axis[which].select.addEventListener("change", () => { start(); changed(); });
    front.axis[which].log.addEventListener("change", changed);
  }
  if (!fine) element("drag").value = "none";
  element("drag").addEventListener("change", apply);
  element("fit").addEventListener("change", apply);
  element("colour-by").addEventListener("change", apply);
  filter.form.addEventListener("input", () => { filter.read(); apply(); });
  filter.form.addEventListener("submit", (event) => event.preventDefault());
  filter.form.addEventListener("reset", () => setTimeout(() => {
    Object.assign(state, { ranges: {}, choices: {}, picked: null, outline: [] });
    filter.show();
    apply();
  }));
  table.draw();
  front.noteMissing();

  Skipstone.drawn(() => {
    const frontPlot = Skipstone.element("front"), parallelPlot = Skipstone.element("parallel");
    const indices = (event) => event.points.map((point) => point.customdata).filter((index) => index !== undefined);
    frontPlot.on("plotly_selected", byReader((event) => {
      if (!event) return;
      state.picked = new Set(indices(event));
      state.outline = structuredClone(frontPlot.layout.selections || []);
      apply();
    }));
    frontPlot.on("plotly_deselect", byReader(() => { state.picked = null; state.outline = []; apply(); }));
    frontPlot.on("plotly_click", (event) => { const [index] = indices(event); if (index !== undefined) table.open(index); });
    parallelPlot.on("plotly_selected", byReader((event) => {
      if (!parallel.brush(event)) return;
      filter.show();
      apply();
    }));
    parallelPlot.on("plotly_deselect", byReader(() => { parallel.clear(); filter.show(); apply(); }));
    document.documentElement.dataset.explored = String(points.length);
  });
})();
