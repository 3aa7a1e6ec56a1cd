"""A library of four cells whose numbers are easy to add up by hand, for tests of calibration."""

from __future__ import annotations

from pathlib import Path

GATE = """
  cell ({name}) {{
    area : {area};
    cell_leakage_power : {leakage};
    {register}
    {inputs}
    pin (Y) {{
      direction : output;
      function : "{function}";
      internal_power () {{ related_pin : "{first}"; rise_power (load) {{ values ("0.010, 0.030"); }}
        fall_power (load) {{ values ("0.010, 0.030"); }} }}
      timing () {{ related_pin : "{first}"; cell_rise (load) {{ values ("0.1, 0.3"); }}
        cell_fall (load) {{ values ("0.1, 0.3"); }} }}
    }}
  }}"""
INPUT = "pin ({name}) {{ direction : input; capacitance : {capacitance}; {more} }}"


def gate(name: str, function: str, inputs: str, area: float, leakage: float, register: str = "", more: str = "") -> str:
    pins = "\n    ".join(
        INPUT.format(name=pin, capacitance=0.002, more=more if pin == "C" else "") for pin in inputs
    )
    return GATE.format(
        name=name, function=function, inputs=pins, first=inputs[0], area=area, leakage=leakage, register=register
    )


def library() -> str:
    """2 V, pF, ns: an input takes 0.002 pF; an output has 0.01 pJ inside at no load and 0.02 pJ more at 0.1 pF, a delay of
    0.1 ns and 0.2 ns more; a clock pin 0.005 pJ an edge."""
    clock = 'clock : "true"; internal_power () { power (scalar) { values ("0.005"); } }'
    return (
        """library (four) {
  /* made for tests */
  delay_model : table_lookup;
  time_unit : "1ns";
  voltage_unit : "1V";
  leakage_power_unit : "1nW";
  capacitive_load_unit (1, pf);
  nom_voltage : 2.0;
  operating_conditions (typical) { voltage : 2.0; process : 1; temperature : 25; }
  default_operating_conditions : typical;
  lu_table_template (load) { variable_1 : total_output_net_capacitance; index_1 ("0, 0.1"); }
  power_lut_template (load) { variable_1 : total_output_net_capacitance; index_1 ("0, 0.1"); }"""
        + gate("INV", "A'", "A", 1, 0.5)
        + gate("NAND2", "!(A & B)", "AB", 2, 1.0)
        + gate("NOR2", "(A + B)'", "AB", 2, 1.0)
        + gate(
            "DFF",
            "Q",
            "DC",
            6,
            3.0,
            'ff (Q, QN) { clocked_on : "C"; next_state : "D"; }',
            clock,
        )
        + "\n}\n"
    )


def write_library(folder: Path) -> Path:
    path = folder / "four_180nm.lib"
    path.write_text(library())
    return path
