"""The carried energies of DRAM bits, worked out by hand from the devices' currents."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from skipstone.mapper.technology.dram_table import CURRENTS, DEVICES

CARRIED = json.loads((resources.files("skipstone.mapper.technology") / "data" / "dram_energydram.json").read_text())[
    "devices"
]


@pytest.mark.parametrize("name", list(DEVICES))
@pytest.mark.parametrize("direction", ["read", "write"])
def test_by_hand(name: str, direction: str) -> None:
    """mA x V x ns are pJ. A burst takes four cycles of the reading (or writing) current; an activation takes a row cycle of IDD0
    above the standby currents, shared by a page's bursts."""
    device = DEVICES[name]
    ras, _, _, rp, _ = device.timing
    energy = 0.0
    for volts, currents in device.domains:
        idd = dict(zip(CURRENTS, currents, strict=True))
        burst = 4 * idd["idd4r" if direction == "read" else "idd4w"]
        activation = idd["idd0"] * (ras + rp) - idd["idd3n"] * ras - idd["idd2n"] * rp
        energy += (burst + activation * device.burst_bits / (8 * device.page_bytes)) * volts * device.cycle_ns
    assert CARRIED[name][f"{direction}_pj_per_bit"] == pytest.approx(energy / device.burst_bits, rel=5e-4)


def test_every_device_has_its_source() -> None:
    assert set(CARRIED) == set(DEVICES)
    assert all(DEVICES[name].source in entry["source"] for name, entry in CARRIED.items())
