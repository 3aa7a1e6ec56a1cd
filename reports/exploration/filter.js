"use strict";
// The fields of the exploration's filter: they set `Exploration.state` and show it. It joins `Exploration` as `filter`.
Exploration.filter = (() => {
  const { metrics, parameters, byName, state, element } = Exploration;
  const form = element("filter");

  for (const select of form.querySelectorAll("select[data-parameter]")) {
    const parameter = parameters.find(({ name }) => name === select.dataset.parameter);
    select.append(new Option("any", ""), ...parameter.choices.map((choice, index) => new Option(choice, String(index))));
  }

  function read() {
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

  function show() {
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

  return { form, read, show };
})();
