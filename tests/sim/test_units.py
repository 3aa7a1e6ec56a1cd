import pytest
from sim.unit import design_environment, run_bench
from hw.requantizer import Requantizer
from tests.sim.designs import POOL

@pytest.mark.rtl
@pytest.mark.parametrize("name", ["two_bits", "odd3x6", "broad2x12"])
def test_requantizer(name):
    run_bench(Requantizer(POOL[name]), "requantizer", "sim.benches.requantizer", 3, design_environment(POOL[name]))
