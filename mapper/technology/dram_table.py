"""Runs energydram over named DRAM devices and writes the energy of a bit that ``skipstone.mapper.energy.offchip`` multiplies by.

Run once, by hand; what it writes is committed as data::

    pip install --no-deps energydram==0.4.0
    python -m skipstone.mapper.technology.dram_table --out mapper/technology/data/dram_energydram.json

A bit's energy is that of a burst in an open page, with the active background current for as long as the burst takes, and the
share of one activation that falls on it where whole pages are moved. Refresh, idle time and the pins' drivers are not in it.
"""

from __future__ import annotations

import argparse
import importlib
from dataclasses import dataclass
from pathlib import Path

from skipstone.files import write_file
from skipstone.mapper.results.technology_tables import DramDevice, DramTable

CURRENTS = ("idd0", "idd2n", "idd2p", "idd3n", "idd3p", "idd4r", "idd4w", "idd5")


@dataclass(frozen=True)
class Device:
    """A DRAM device as its datasheet describes it.

    Attributes:
        kind: ``LPDDR3`` or ``DDR3``.
        domains: For each supply pin the supply in V, and currents in mA in the order of ``CURRENTS``.
        timing: RAS, REFI, RFC, RP and RRD in cycles.
        cycle_ns: Length of a cycle.
        burst_bits: Bits that a burst moves.
        page_bytes: Bytes that an activation opens.
        source: Where the numbers come from.
    """

    kind: str
    domains: tuple[tuple[float, tuple[float, ...]], ...]
    timing: tuple[float, float, float, float, float]
    cycle_ns: float
    burst_bits: int
    page_bytes: int
    source: str


DEVICES = {
    "lpddr3-1600": Device(
        "LPDDR3",
        (
            (1.8, (8, 0.8, 0.8, 2.0, 1.4, 2, 2, 28)),
            (1.2, (60, 26, 1.8, 34, 11, 230, 240, 150)),
            (1.2, (6, 6, 0.2, 6, 0.2, 6, 6, 6)),
        ),
        (42, 3900, 210, 18, 10),
        1.25,
        256,
        2048,
        "8 Gb x32 LPDDR3-1600, currents of Micron's datasheet (178b_8-16gb_2c0f_mobile_lpddr3) as energydram 0.4.0 carries them "
        "in its tests; pages of 2 KiB assumed",
    ),
    "ddr3-1600": Device(
        "DDR3",
        ((1.5, (95, 42, 35, 45, 40, 180, 185, 215)),),
        (35, 7800, 160, 12.5, 6),
        1.25,
        64,
        1024,
        "2 Gb x8 DDR3-1600 (-125E), currents of Micron's DDR3 power calculator as energydram 0.4.0 carries them in its tests; "
        "pages of 1 KiB assumed",
    ),
}


def bit_energy(device: Device) -> tuple[float, float]:
    """Energy in pJ of a bit read and of a bit written."""
    energydram = importlib.import_module("energydram")
    ras, refi, rfc, rp, rrd = device.timing
    timing = energydram.Timing(RAS=ras, REFI=refi, RFC=rfc, RP=rp, RRD=rrd)
    supplies = [
        value
        for volts, currents in device.domains
        for value in (volts, energydram.IDDs(**dict(zip(CURRENTS, currents, strict=True))))
    ]
    make = energydram.EnergyLPDDR if device.kind == "LPDDR3" else energydram.EnergyDDR
    model = make(device.cycle_ns, timing, *supplies, 1, ddr=3)
    shared = model.background_energy(cycles_bankact_ckehi=4) + model.activate_energy(1) * (
        device.burst_bits / (8 * device.page_bytes)
    )
    read = (model.readwrite_energy(num_rd=1, num_wr=0) + shared) / device.burst_bits
    write = (model.readwrite_energy(num_rd=0, num_wr=1) + shared) / device.burst_bits
    return read, write


def make_table() -> DramTable:
    """Makes the table of all devices."""
    devices = {}
    for name, device in DEVICES.items():
        read, write = bit_energy(device)
        devices[name] = DramDevice(
            read_pj_per_bit=float(f"{read:.4g}"),
            write_pj_per_bit=float(f"{write:.4g}"),
            source=f"energydram 0.4.0 (M. Gao; Micron's TN-41-01): {device.source}; whole pages, pins' drivers not counted",
        )
    return DramTable("python -m skipstone.mapper.technology.dram_table", devices)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m skipstone.mapper.technology.dram_table", description="Energy of a DRAM's bits, by energydram."
    )
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    write_file(parser.parse_args(arguments).out, make_table().text())


if __name__ == "__main__":
    main()
