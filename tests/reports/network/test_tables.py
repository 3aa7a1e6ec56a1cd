"""The terminal's tables: every number is the result's, and 100 columns hold them."""

from __future__ import annotations

import dataclasses

import pytest
from rich.console import Console
from rich.table import Table

from skipstone.mapper.results.network import Accuracy
from skipstone.reports.network.summary import NONE
from skipstone.reports.network.tables import energy_table, layer_table, savings_table, summary_table, why_table
from tests.reports.networks import CALIBRATION, TECHNOLOGY, host_layer, layer, network, resnet8


def drawn(table: Table, width: int = 100) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get().splitlines()


def line_of(lines: list[str], name: str) -> list[str]:
    (line,) = (line for line in lines if line.split()[:1] == [name])
    return line.split()


def test_a_layer_s_row_holds_its_numbers() -> None:
    only = layer(
        "conv1", macs=442_368, weights=400, nnz=100, causes=(1500, 100, 0, 200, 100, 80, 20, 0), energy_pj=70_380.0
    )
    lines = drawn(layer_table(network((only,))))
    assert line_of(lines, "conv1") == [
        *("conv1", "conv", "442,368", "100", "25%", "2,000", "2,000", "equal", "compute", "75.0%", "70.38", "4x8")
    ]


def test_a_network_fits_100_columns_uncut() -> None:
    result = resnet8()
    lines = drawn(layer_table(result))
    assert max(map(len, lines)) <= 100
    assert not any("…" in line for line in lines)
    for each in result.layers:
        assert line_of(lines, each.name)[0] == each.name
    assert line_of(lines, "total") == ["total", "12,505,728", "15,686", "20%", "13,799", "13,799", "77.0%", "576.8"]


def test_large_numbers_and_long_names_fit_100_columns_uncut() -> None:
    name = "backbone/stage2/block1/depthwise_separable"
    big = layer(name, "depthwise", 115_605_504, 2_359_296, 1_179_648, causes=(1e6, 0, 0, 0, 0, 234_567, 0, 0))
    lines = drawn(layer_table(network((big,))))
    assert max(map(len, lines)) <= 100
    assert "".join(line.split()[0] for line in lines if line[:1].strip()).replace("─", "").count(name) == 1
    for number in ("115,605,504", "1,179,648", "1,234,567", "depthwise"):
        assert any(number in line for line in lines), number
    lines = drawn(why_table(network((big,))))
    assert max(map(len, lines)) <= 100
    assert not any("…" in line for line in lines)
    for number in ("57,802,752", "2,000,000", "81.0%", "19.0%"):
        assert any(number in line for line in lines), number


def test_why_a_layer_takes_its_cycles() -> None:
    """Of 2,000 cycles: 1,500 useful, 100 at the edge, 200 balance, 120 load, 100 drain; 20 more than there were, done while the
    layer before still ran."""
    only = layer(
        "conv1",
        macs=400_000,
        skipped_macs=300_000,
        loaded_words=900,
        skipped_words=100,
        causes=(1500, 100, 0, 200, 120, 100, 0, -20),
    )
    lines = drawn(why_table(network((only, host_layer()))))
    shares = ["75.0%", "5.0%", "0.0%", "10.0%", "6.0%", "5.0%", "-1.0%"]
    assert line_of(lines, "conv1") == ["conv1", "300,000", "75%", "100", "10%", *shares]
    assert line_of(lines, "total") == ["total", "300,000", "75%", "100", "10%", *shares]
    assert line_of(lines, "softmax") == ["softmax", *[NONE] * 11]


def test_work_done_ahead_is_taken_off_the_fill() -> None:
    early = layer("conv1", causes=(80, 0, 0, 0, 0, 0, 30, -10))
    assert line_of(drawn(why_table(network((early,)))), "conv1")[-2:] == ["0.0%", "20.0%"]


def test_what_would_help_a_layer() -> None:
    """Of 1,000 cycles alone: half the weights save 400, a wider load 20."""
    only = layer("conv1", causes=(1000, 0, 0, 0, 0, 0, 0, -100), dense_cycles=2000, alone_cycles=1000)
    only = dataclasses.replace(only, savings={"weights": 400, "load": 20, "rows": 410, "drain": 0})
    result = network((only, host_layer()), savings={"weights": 450, "load": 9, "rows": 450, "drain": 0})
    lines = drawn(savings_table(result))
    assert line_of(lines, "conv1") == ["conv1", "2,000", "1,000", "40.0%", "2.0%", "41.0%", "0.0%", "compute"]
    assert line_of(lines, "total") == ["total", "50,731", "900", "50.0%", "1.0%", "50.0%", "0.0%"]
    assert line_of(lines, "softmax") == ["softmax", *[NONE] * 6, "host"]
    assert max(map(len, lines)) <= 100


def test_taps_of_pools_are_no_weights() -> None:
    """Neither in the table's row and total nor in the summary."""
    pool = layer("mean", "average_pool", weights=100, nnz=100)
    lines = drawn(layer_table(network((layer("conv1", weights=200, nnz=50), pool))))
    assert line_of(lines, "mean")[3:5] == [NONE, NONE]
    assert line_of(lines, "total")[2:4] == ["50", "25%"]


def test_bytes_on_the_array_stand_beside_those_of_a_dense_array() -> None:
    """50 nonzeros of 24 bits are 150 bytes, 200 weights of 8 bits 200."""
    text = " ".join(" ".join(drawn(summary_table(network((layer("conv1", weights=200, nnz=50),))))).split())
    assert "150 bytes: 24 bits for each nonzero or filler, 8 of them its value, the rest its place" in text
    assert "a dense array would take 200" in text


def test_operations_are_counted_twice_over() -> None:
    """1,000 MACs, of which 256 x 60 are done, in 100 cycles at 500 MHz: 0.2 us."""
    only = layer("conv1", macs=20_000)
    text = " ".join(" ".join(drawn(summary_table(network((only,))))).split())
    assert "TOPS 0.154 of operations done; 0.2 if zeros count as done" in text
    assert "inputs a second 5e+06" in text
    watts = only.energy_pj and 2 * 15_360 / only.energy_pj
    assert f"TOPS/W {watts:.3g} of operations done" in text


def test_enlarged_memories_are_no_part_of_the_title() -> None:
    result = dataclasses.replace(resnet8(), design="wide (memories enlarged: layers 2 -> 4)")
    assert "resnet8_fashion on wide" in drawn(layer_table(result))[0]
    assert "enlarged" not in drawn(layer_table(result))[0]
    assert "memories enlarged: layers 2 -> 4" in "\n".join(drawn(summary_table(result)))


def test_the_summary_says_what_is_skipped_and_stalled() -> None:
    first = layer("a", macs=800, skipped_macs=600, loaded_words=70, skipped_words=30, causes=(80, 0, 0, 10, 5, 3, 2, 0))
    second = layer("b", macs=200, skipped_macs=0, loaded_words=100, skipped_words=0, causes=(100, 0, 0, 0, 0, 0, 0, 0))
    summary = " ".join(" ".join(drawn(summary_table(network((first, second))))).split())
    assert "skipped 600 MACs (60.0%), 30 load words (15.0%)" in summary
    assert "stalled 10.0% of the cycles" in summary


def test_rtl_columns_only_where_the_rtl_ran() -> None:
    assert "RTL" not in "\n".join(drawn(layer_table(resnet8(rtl=False))))
    assert "RTL" in "\n".join(drawn(layer_table(resnet8())))


def test_a_differing_layer_says_so() -> None:
    wrong = layer("conv1", rtl_cycles=101, outputs_equal=False)
    result = network((wrong, layer("conv2")))
    assert line_of(drawn(layer_table(result)), "conv1")[5:8] == ["100", "101", "DIFFER"]
    summary = " ".join(" ".join(drawn(summary_table(result))).split())
    assert "NO: cycles differ in conv1; outputs differ in conv1 (4 images)" in summary


def test_a_host_layer_is_listed_and_marked() -> None:
    result = network((layer("conv1", macs=900), host_layer("product", "multiply", macs=100)))
    assert line_of(drawn(layer_table(result)), "product") == [
        *("product", "multiply", "100", NONE, NONE, NONE, NONE, NONE, "host", NONE, NONE, NONE)
    ]
    summary = " ".join(" ".join(drawn(summary_table(result))).split())
    assert "product (multiply): 10.00% of the MACs" in summary


def test_summary() -> None:
    lines = drawn(summary_table(resnet8()))
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 100
    assert "speed-up over dense 3.68x" in text  # 50,731 / 13,799
    assert "float 94.10%, quantized 94.00%, compressed 91.70% (top-1, 1,000 images)" in text
    assert "RTL cycles and outputs equal the model's on all 11 layers (4 images)" in text
    assert CALIBRATION in text
    assert TECHNOLOGY in text


@pytest.mark.parametrize(
    ("changes", "seen", "unseen"),
    [
        ({"accuracy": Accuracy()}, "calibration", "accuracy"),
        ({"accuracy": Accuracy(quantized=0.5, images=10)}, "quantized 50.00% (top-1, 10 images)", "float"),
        ({"calibration": ""}, "calibration not stated", "minimum"),
    ],
)
def test_unknown_figures_are_left_out_except_calibration(changes: dict[str, object], seen: str, unseen: str) -> None:
    text = " ".join(" ".join(drawn(summary_table(dataclasses.replace(resnet8(), **changes)))).split())  # type: ignore[arg-type]
    assert seen in text
    assert unseen not in text


def test_partly_verified() -> None:
    result = network((layer("conv1"), layer("conv2", rtl=False)), images_verified=1, rtl_total_cycles=None)
    assert "in part: the RTL ran on 1 of 2 layers (1 image)" in " ".join(drawn(summary_table(result)))
    assert "no: the RTL did not run" in " ".join(drawn(summary_table(resnet8(rtl=False))))


def test_energy_by_part_adds_up() -> None:
    parts = {"windows": 1_000.0, "multiply-accumulate": 3_000.0}
    conv = layer("conv1", energy_pj=4_000.0, energy_by_part=parts)
    lines = drawn(energy_table(network((conv, conv, host_layer()))))
    assert line_of(lines, "multiply-accumulate") == ["multiply-accumulate", "6.00", "75.0%"]
    assert line_of(lines, "windows") == ["windows", "2.00", "25.0%"]
    assert line_of(lines, "total") == ["total", "8.00", "100.0%"]


def test_everything_on_the_host_divides_by_nothing() -> None:
    result = network((host_layer(),))
    for table in (layer_table(result), why_table(result), summary_table(result), energy_table(result)):
        assert drawn(table)


def test_markup_and_terminal_codes_in_names_have_no_effect() -> None:
    for table in (layer_table, why_table):
        lines = drawn(table(network((layer("[red]x[/]"), layer("\x1b[31my")))))
        assert any("[red]x[/]" in line for line in lines)
        assert not any("\x1b" in line for line in lines)
