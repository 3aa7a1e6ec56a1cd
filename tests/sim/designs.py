"""A pool of small designs that stand at the edges: odd sizes, one column, one lane, more lanes than rows, 2 and 16 bits, every
kind of multiplier, both ways to code indices, tables."""

from skipstone.hw.design import Design

COMMON = {
    "activation_words": 8192,
    "weight_entries": 16384,
    "load_entries": 8192,
    "parameter_words": 256,
    "layers": 24,
    "max_stride": 3,
}

POOL = {
    design.name: design
    for design in (
        Design("square4", 4, 4, 36, 3, 4, 4, 4, **COMMON),
        # Rows are no multiple of lanes, columns no power of two; short reach and leave force splits and fillers.
        Design("odd3x6", 3, 6, 20, 2, 2, 4, 2, reach=3, leave_bits=1, **COMMON),
        # More lanes than rows, and more than the accumulators need; many windows, not a power of two; narrow numbers.
        Design("lanes2x5", 2, 5, 32, 5, 3, 8, 8, weight_bits=4, activation_bits=5, **COMMON),
        # One column, one channel a word, one accumulator: everything is a pass, a tile, a window of its own.
        Design(
            "thin5x1", 5, 1, 7, 2, 1, 1, 1,
            **{**COMMON, "activation_words": 65536, "load_entries": 16384, "parameter_words": 256},
        ),
        Design("broad2x12", 2, 12, 18, 4, 6, 2, 2, weight_bits=16, activation_bits=16, accumulator_bits=46, **COMMON),
        Design("two_bits", 3, 4, 24, 3, 5, 6, 6, weight_bits=2, activation_bits=2, accumulator_bits=16, **COMMON),
        # Exponents up to 15; deltas so short that most gaps need escapes.
        Design(
            "shift3x5",
            3,
            5,
            30,
            2,
            3,
            3,
            3,
            multiplier="shift",
            weight_bits=5,
            activation_bits=6,
            accumulator_bits=34,
            index_coding="delta",
            delta_bits=1,
            leave_bits=2,
            **COMMON,
        ),
        # Three terms; a code for zero, which is no signed number.
        Design(
            "additive2x3", 2, 3, 18, 3, 4, 3, 3, multiplier="additive", weight_bits=7, activation_bits=7,
            accumulator_bits=30, index_coding="delta", delta_bits=3, tables=2, **COMMON,
        ),
        Design("sign4x4", 4, 4, 16, 3, 2, 4, 2, multiplier="sign", activation_bits=4, tables=2, **COMMON),
        # Three codebooks and three tables: neither number is a power of two.
        Design(
            "codebook2x7",
            2,
            7,
            20,
            3,
            4,
            4,
            4,
            multiplier="codebook",
            codebook_entries=4,
            codebooks=24,
            tables=3,
            index_coding="delta",
            delta_bits=4,
            **COMMON,
        ),
        # A delta that is wider than any index.
        Design(
            "delta3x4",
            3,
            4,
            9,
            4,
            2,
            3,
            3,
            weight_bits=6,
            activation_bits=10,
            tables=2,
            index_coding="delta",
            delta_bits=9,
            leave_bits=1,
            accumulator_bits=28,
            **COMMON,
        ),
    )
}  # fmt: skip
