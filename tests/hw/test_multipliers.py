"""Every kind's product, simulated for every operand, is the operand's integer times the activation."""

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.sim import Simulator

from skipstone.hw.multipliers import MULTIPLIERS, Multiplier

KINDS = [
    MULTIPLIERS[name].of(weight_bits, activation_bits, 16)
    for name, weight_bits, activation_bits in [
        ("linear", 2, 5), ("linear", 5, 4), ("codebook", 4, 6), ("shift", 2, 4), ("shift", 5, 8), ("additive", 3, 8),
        ("additive", 5, 2), ("additive", 7, 5), ("sign", 8, 6), ("sign", 2, 2),
    ]
]  # fmt: skip


def integer(kind: Multiplier, operand: int) -> int:
    """What an operand stands for: by the kind's table, or as a two's complement number."""
    if kind.values is not None:
        return kind.values[operand]
    return operand - (operand >> (kind.operand_bits - 1) << kind.operand_bits)


@pytest.mark.parametrize(
    "kind", KINDS, ids=lambda kind: f"{type(kind).__name__}{kind.operand_bits}x{kind.activation_bits}"
)
def test_products(kind):
    """Every operand times both ends of the activation's range, their neighbours, and the least numbers; at ``product_bits``."""
    end = 1 << (kind.activation_bits - 1)
    activations = sorted({-end, 1 - end, -1, 0, 1, end - 1})
    m = Module()
    operand, activation = Signal(kind.operand_bits), Signal(signed(kind.activation_bits))
    product = Signal(signed(kind.product_bits))
    m.d.comb += product.eq(kind.product(operand, activation))
    simulator = Simulator(m)

    async def bench(context):
        for code in range(1 << kind.operand_bits):
            for value in activations:
                context.set(operand, code)
                context.set(activation, value)
                await context.delay(1e-9)
                assert context.get(product) == integer(kind, code) * value, (code, value)

    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(
    "kind", KINDS, ids=lambda kind: f"{type(kind).__name__}{kind.operand_bits}x{kind.activation_bits}"
)
def test_the_code_of_zero_is_zero(kind):
    """Kinds that can represent 0 have the code 0 for it, which marks fillers; the others have no code for it."""
    if kind.zero_code:
        assert integer(kind, 0) == 0
    elif not kind.looked_up:
        assert 0 not in kind.values
    assert kind.values is None or len(kind.values) == 1 << kind.code_bits
