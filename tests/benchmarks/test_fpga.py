"""The section of FPGA resources: a line for every carried synthesis, and the errors stated."""

from benchmarks.fpga import measure
from benchmarks.settings import Settings
from skipstone.mapper.fpga.resources import errors, hold_out


def test_every_held_out_design_has_its_line():
    text = measure(Settings()).text
    for held_out in hold_out():
        assert f"{held_out.modelled.luts:,} / {held_out.synthesized.luts:,}" in text
    assert f"LUTs {errors()['luts'].mean:.1%} (largest {errors()['luts'].largest:.1%})" in text
