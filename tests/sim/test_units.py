"""Every unit bench on at least two odd designs, through the simulator; the benches say what they prove."""

import pytest

from skipstone.errors import SimulationError
from skipstone.hw.array import SkipstoneArray
from skipstone.hw.controller import Controller
from skipstone.hw.design import Design
from skipstone.hw.loader import Loader
from skipstone.hw.pe import Pe
from skipstone.hw.requantizer import Requantizer
from skipstone.hw.row import Row
from tests.sim.designs import POOL
from tests.sim.unit import check_results, design_environment, run_bench

SMALL = {"activation_words": 64, "weight_entries": 32, "load_entries": 32, "parameter_words": 4, "layers": 2}
# The hand-made program of tests.sim.benches.array fits both: 2x2, and three rows, columns and lanes with narrow, odd numbers.
HAND = {
    design.name: design
    for design in (
        Design("hand2x2", 2, 2, 4, 2, 1, 2, 2, accumulator_bits=16, reach=4, max_stride=2, max_dimension=7, **SMALL),
        Design(
            "hand3x3", 3, 3, 9, 3, 2, 3, 3, weight_bits=3, activation_bits=5, accumulator_bits=11, reach=3, leave_bits=1,
            max_stride=2, max_dimension=5, **SMALL,
        ),
    )
}  # fmt: skip


@pytest.mark.rtl
@pytest.mark.parametrize("name", ["two_bits", "odd3x6", "broad2x12", "sign4x4", "codebook2x7"])
def test_requantizer(name):
    """2, 8 and 16 bits; 4 bits with two tables, 8 bits with three."""
    run_bench(
        Requantizer(POOL[name]), "requantizer", "tests.sim.benches.requantizer", 3, design_environment(POOL[name])
    )


@pytest.mark.rtl
@pytest.mark.parametrize("name", ["two_bits", "lanes2x5", "shift3x5", "additive2x3", "sign4x4", "codebook2x7"])
def test_pe(name):
    """2-bit numbers with one accumulator read at once; 4-bit weights, 5-bit activations, three accumulators at once; exponents up
    to 15; three terms of powers; signs; looked up weights."""
    run_bench(Pe(POOL[name]), "pe", "tests.sim.benches.pe", 4, design_environment(POOL[name]))


@pytest.mark.rtl
@pytest.mark.parametrize("weight_bits", [3, 5])
def test_pe_with_one_and_two_terms(weight_bits):
    """And accumulators that just hold one product."""
    design = POOL["additive2x3"].replace(weight_bits=weight_bits)
    design = design.replace(accumulator_bits=design.products.product_bits)
    run_bench(Pe(design), "pe", "tests.sim.benches.pe", 4, design_environment(design))


@pytest.mark.rtl
@pytest.mark.parametrize("name", ["odd3x6", "lanes2x5", "shift3x5", "additive2x3", "codebook2x7", "delta3x4"])
def test_row(name):
    """Two windows with lists that leave one at a time; five windows with lists that leave up to seven; weights and
    fillers of every kind, deltas with many escapes, with some and with none."""
    design = POOL[name]
    run_bench(Row(design), "row", "tests.sim.benches.row", 5, design_environment(design), public=(("row", "issue"),))


@pytest.mark.rtl
@pytest.mark.parametrize("name", ["odd3x6", "lanes2x5"])
def test_loader(name):
    """Six columns, five slots and a reach of three; five columns, four slots in five windows and a reach of eight."""
    run_bench(Loader(POOL[name]), "loader", "tests.sim.benches.loader", 6, design_environment(POOL[name]))


@pytest.mark.rtl
@pytest.mark.parametrize("name", ["odd3x6", "codebook2x7"])
def test_controller(name):
    """Without and with a codebook in the descriptor."""
    run_bench(Controller(POOL[name]), "controller", "tests.sim.benches.controller", 4, design_environment(POOL[name]))


@pytest.mark.rtl
@pytest.mark.parametrize("name", list(HAND))
def test_array(name):
    run_bench(SkipstoneArray(HAND[name]), "array", "tests.sim.benches.array", 5, design_environment(HAND[name]))


# The verdict itself ---------------------------------------------------------------------------------------------------


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("tests", "env", "text"),
    [
        (4, {}, r"^tests\.sim\.benches\.requantizer ran 3 tests, not 4: corners, random_operands, latency$"),
        (1, {"COCOTB_TEST_FILTER": "no_such_test"}, r"^tests\.sim\.benches\.requantizer ran 0 tests, not 1: none$"),
        (
            3,
            {"SKIPSTONE_BENCH_DESIGN": "{}"},
            r"^3 of 3 tests of tests\.sim\.benches\.requantizer failed:\ncorners \(failure\): ",
        ),
    ],
)
def test_a_bench_that_does_not_run_fails(tests, env, text):
    """Too few tests, a filter that matches nothing, and tests that raise: none of them passes."""
    design = POOL["two_bits"]
    with pytest.raises(SimulationError, match=text):
        run_bench(
            Requantizer(design), "requantizer", "tests.sim.benches.requantizer", tests, design_environment(design) | env
        )


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ('<testcase name="a"/><testcase name="b"><failure message="1 is not 2"/></testcase>',
         r"^1 of 2 tests of bench failed:\nb \(failure\): 1 is not 2$"),
        ('<testcase name="a"/><testcase name="b"><error/></testcase>', r"b \(error\): no reason given$"),
        ('<testcase name="a"/><testcase name="b"><skipped/></testcase>', r"b \(skipped\): no reason given$"),
        ('<testcase name="a"/>', r"^bench ran 1 tests, not 2: a$"),
        ("", r"^bench ran 0 tests, not 2: none$"),
    ],
)  # fmt: skip
def test_check_results(tmp_path, inside, text):
    path = tmp_path / "results.xml"
    path.write_text(f"<testsuites><testsuite>{inside}</testsuite></testsuites>")
    with pytest.raises(SimulationError, match=text):
        check_results(path, "bench", 2)


def test_check_results_accepts_what_passed(tmp_path):
    path = tmp_path / "results.xml"
    path.write_text('<testsuites><testsuite><testcase name="a"/><testcase name="b"/></testsuite></testsuites>')
    check_results(path, "bench", 2)
    with pytest.raises(SimulationError, match=r"^bench wrote no results$"):
        check_results(tmp_path / "none.xml", "bench", 2)
