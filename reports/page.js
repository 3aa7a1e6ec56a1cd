"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const hidden = {};

  function themed(figure) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue("--" + name).trim();
    const data = structuredClone(figure.traces);
    data.forEach((trace, index) => {
      if (trace.meta === "ceiling") {
        trace.line = { color: colour("faint"), width: 2 };
      } else {
        trace.marker = Object.assign({}, trace.marker, { color: colour("series-" + trace.meta) });
        trace.marker.line = { color: colour("paper"), width: 1 };
        trace.textfont = { color: colour("ink"), size: 12 };
      }
      trace.visible = !hidden[figure.name].has(index);
    });
    const layout = structuredClone(figure.layout);
    for (const axis of ["xaxis", "yaxis"]) {
      layout[axis] = Object.assign({ gridcolor: colour("rule"), zerolinecolor: colour("rule"), linecolor: colour("rule") }, layout[axis]);
    }
    return {
      data,
      layout: Object.assign(layout, {
        height: figure.height,
        showlegend: false,
        hovermode: "closest",
        paper_bgcolor: colour("paper"),
        plot_bgcolor: colour("paper"),
        font: { color: colour("ink"), size: 13, family: getComputedStyle(document.body).fontFamily },
        hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("rule"), font: { color: colour("ink") }, align: "left", namelength: -1 },
      }),
    };
  }

  function draw(figure) {
    const { data, layout } = themed(figure);
    return Plotly.react(figure.name + "-plot", data, layout, { responsive: true, displayModeBar: false });
  }

  for (const figure of figures) {
    hidden[figure.name] = new Set();
    for (const button of document.querySelectorAll(`button[data-figure="${figure.name}"]`)) {
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(shown));
        for (const trace of JSON.parse(button.dataset.traces)) {
          if (shown) hidden[figure.name].delete(trace);
          else hidden[figure.name].add(trace);
        }
        draw(figure);
      });
    }
  }
  const drawAll = () => Promise.all(figures.map(draw));
  drawAll().then(() => { document.documentElement.dataset.drawn = String(figures.length); });
  dark.addEventListener("change", drawAll);
})();
