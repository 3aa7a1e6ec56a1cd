"""Results of a compression as figures, JSON and tables."""

from __future__ import annotations

import dataclasses
import io
import json

import pytest
from rich.console import Console

from skipstone.mapper.results.compression import CompressionResult, DesignCost, LayerSize, StepResult
from skipstone.mapper.results.document import HEADER
from skipstone.reports.compression.tables import settings_text, size_table, step_table, summary, summary_table

LAYERS = (LayerSize("stem", "conv", 100, 25, "linear", 8, 50), LayerSize("out", "gemm", 100, 75, "linear", 4, 150))
COST = DesignCost("edge", "linear", 400, 2e6, 1e5, 210, 1000, 3e6, 1000, 3e6, 20, 8, {"stem": 300, "out+other": 100})
STEP = StepResult(
    "prune", {"amount": 0.5, "skip": ["a", "b"], "amounts": {"c": 0.1}}, 0.9, 0.85, 0.5, 200, 4000, 1.2, ("so",)
)
RESULT = CompressionResult(
    "net", "half", 1, "digits", 1000, 0.9, 0.86, (STEP,), LAYERS, 800, "linear", 8, 8, "min-max", cost=COST, key="k"
)  # fmt: skip


def shown(table) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    return console.file.getvalue()


def test_figures_by_hand():
    assert LAYERS[0].sparsity == 0.75
    assert RESULT.encoded_bytes == 200
    assert RESULT.ratio == 4
    assert RESULT.sparsity == 0.5
    assert RESULT.loss_points == pytest.approx(4)
    assert COST.speedup == 2.5
    assert dataclasses.replace(RESULT, accuracy=None).loss_points is None


def test_json_has_all_fields_and_the_figures_computed_from_them():
    values = json.loads(json.dumps(RESULT.to_dict(), allow_nan=False))
    assert set(values) == {field.name for field in dataclasses.fields(RESULT)} | {
        *HEADER, "encoded_bytes", "ratio", "sparsity", "loss_points",
    }  # fmt: skip
    assert values["layers"][0]["sparsity"] == 0.75
    assert values["cost"]["speedup"] == 2.5
    assert values["steps"][0]["notes"] == ["so"]
    assert "speedup" not in (dataclasses.replace(RESULT, cost=None).to_dict()["cost"] or {})


def test_tables_show_the_figures():
    steps = shown(step_table(RESULT))
    for text in ("net, recipe half", "prune", "amount 0.5, skip a b, amounts (1 layers)", "90.00%", "85.00%", "4,000"):
        assert text in steps
    sizes = shown(size_table(RESULT))
    for text in ("stem", "75.0%", "50.0%", "200", "300", "(100)", "cycles of layers that run together"):
        assert text in sizes
    assert "cycles" not in shown(size_table(dataclasses.replace(RESULT, cost=None)))
    assert "edge, linear multipliers" in shown(summary_table(RESULT))


def test_summary_in_words():
    rows = dict(summary(RESULT))
    assert rows["accuracy"] == "float 90.00%, compressed integers 86.00%: 4.00 points lost (top-1, 1,000 images)"
    assert rows["size of the file"] == "200 bytes encoded; 800 in float32: 4.0x smaller; 200 as 8-bit array"
    assert rows["cycles"] == "400; every weight nonzero 1,000: 2.50x faster"
    assert rows["energy"] == "2,000 nJ; every weight nonzero 3,000 nJ: 1.50x less; on 0.100 mm²"
    assert rows["weights on the array"] == (
        "210 bytes: 20 bits for each nonzero or filler, 8 for its value and 12 for its place; a dense array would take 200"
    )
    assert RESULT.cost is not None
    smaller = dataclasses.replace(RESULT.cost, original_cycles=2000, original_energy_pj=6e6)
    assert dict(summary(dataclasses.replace(RESULT, cost=smaller)))["cycles"] == (
        "400; every weight nonzero 1,000: 2.50x faster; the network as it came, every weight nonzero 2,000: 5.00x faster"
    )
    assert "1.00 points gained" in dict(summary(dataclasses.replace(RESULT, accuracy=0.91)))["accuracy"]
    assert set(dict(summary(dataclasses.replace(RESULT, accuracy=None, cost=None)))) == {"data", "size of the file"}


def test_settings_on_one_line():
    assert settings_text(STEP) == "amount 0.5, skip a b, amounts (1 layers)"
    assert settings_text(dataclasses.replace(STEP, settings={})) == ""
