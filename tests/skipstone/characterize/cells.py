"""A library of five cells whose numbers are easy to add up by hand, for tests of characterization."""

from __future__ import annotations

from pathlib import Path

TABLE = 'values ("{low}, {high}", "{low}, {high}");'
"""Nothing depends on the transition time, the first axis."""


def table(kind: str, template: str, low: float, high: float) -> str:
    return f"{kind} ({template}) {{ {TABLE.format(low=low, high=high)} }}"


def arc(pin: str, more: str) -> str:
    """0.1 ns without a load, 0.3 ns at 0.1 pF."""
    delays = " ".join(table(kind, "load", 0.1, 0.3) for kind in ("cell_rise", "cell_fall"))
    slews = " ".join(table(kind, "load", 0.05, 0.2) for kind in ("rise_transition", "fall_transition"))
    return f'timing () {{ related_pin : "{pin}"; {more} {delays} {slews} }}'


def cell(name: str, function: str, inputs: str, area: float, leakage: float, register: str = "") -> str:
    clock = 'clock : "true"; internal_power () { power (scalar) { values ("0.005"); } }'
    pins = "\n    ".join(
        f"pin ({pin}) {{ direction : input; capacitance : 0.002; {clock if pin == 'C' else ''} }}" for pin in inputs
    )
    sense = "timing_type : rising_edge;" if register else "timing_sense : negative_unate;"
    power = " ".join(table(kind, "power", 0.010, 0.030) for kind in ("rise_power", "fall_power"))
    arcs = " ".join(arc(pin, sense) for pin in ("C" if register else inputs))
    return f"""
  cell ({name}) {{
    area : {area};
    cell_leakage_power : {leakage};
    {register}
    {pins}
    pin (Y) {{
      direction : output;
      max_capacitance : 1.0;
      function : "{function}";
      internal_power () {{ related_pin : "{inputs[0]}"; {power} }}
      {arcs}
    }}
  }}"""


def library() -> str:
    """2 V, pF, ns: an input takes 0.002 pF; an output has 0.01 pJ inside at no load and 0.02 pJ more at 0.1 pF, a delay of
    0.1 ns and 0.2 ns more; a clock pin 0.005 pJ an edge."""
    axes = 'variable_1 : input_{}; variable_2 : total_output_net_capacitance; index_1 ("0, 1"); index_2 ("0, 0.1");'
    return (
        f"""library (four) {{
  /* made for tests */
  delay_model : table_lookup;
  time_unit : "1ns";
  voltage_unit : "1V";
  current_unit : "1mA";
  leakage_power_unit : "1nW";
  capacitive_load_unit (1, pf);
  nom_voltage : 2.0;
  operating_conditions (typical) {{ voltage : 2.0; process : 1; temperature : 25; }}
  default_operating_conditions : typical;
  default_max_transition : 2.0;
  lu_table_template (load) {{ {axes.format("net_transition")} }}
  power_lut_template (power) {{ {axes.format("transition_time")} }}"""
        + cell("INV", "A'", "A", 1, 0.5)
        + cell("BUF", "A", "A", 1.5, 0.5).replace("negative", "positive")
        + cell("NAND2", "!(A & B)", "AB", 2, 1.0)
        + cell("NOR2", "(A + B)'", "AB", 2, 1.0)
        + cell("DFF", "Q", "DC", 6, 3.0, 'ff (Q, QN) { clocked_on : "C"; next_state : "D"; }')
        + "\n}\n"
    )


def write_library(folder: Path) -> Path:
    path = folder / "four_180nm.lib"
    path.write_text(library())
    return path
