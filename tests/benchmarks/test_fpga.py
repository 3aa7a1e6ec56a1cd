"""The section of FPGA resources: a line for every carried synthesis, and the errors stated."""

from benchmarks.fpga import measure
from benchmarks.settings import Settings
from skipstone.mapper.fpga.resources import errors, hold_out


def test_every_held_out_design_has_its_line():
    text = measure(Settings()).text
    for one in hold_out():
        assert f"{one.modelled.luts:,} / {one.synthesized.luts:,}" in text
    assert f"LUTs {errors()['luts'].mean:.1%} (largest {errors()['luts'].largest:.1%})" in text
