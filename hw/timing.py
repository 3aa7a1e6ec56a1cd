"""Pipeline latencies in cycles, as plain numbers: each gateware class takes its ``LATENCY`` from here, and so does the cycle
model, without importing Amaranth. Tests measure every one of them on the RTL."""

PE_LATENCY = 4
"""From the cycle in which a row issues an entry to the first cycle in which the accumulator shows it."""

ISSUE_LATENCY = 1
"""From the cycle in which a row issues an entry to the first cycle in which the loader sees its effect on windows."""

LOAD_LATENCY = 3
"""From the cycle in which the loader takes a list entry to the first cycle in which a row may issue an entry that reads the word.
(The word itself is in the window one cycle later, which is when the PE reads it.)"""

DRAIN_START_LATENCY = PE_LATENCY + 1
"""From the cycle in which the last row issues its last entry of a tile to the first drain step of that tile."""

BANK_LATENCY = 1
"""From the last drain step of a tile to the first cycle in which a row may issue into the freed bank."""

REQUANTIZER_LATENCY = 7
"""From a drain step to the cycle whose end writes its result to activation memory."""

LAYER_DONE_LATENCY = 1
"""From the cycle that writes a layer's last result to the first cycle in which the loader may take a word that reads it."""

TILE_DONE_LATENCY = 2
"""From the cycle that writes a tile's last result to the first cycle in which the loader may take a word, where it waited for
this tile."""

NEXT_LAYER_LATENCY = 4
"""From the cycle in which the loader takes a layer's last entry to the first cycle in which it takes one of the next layer."""

LAYER_AHEAD_LATENCY = 3
"""From the cycle that writes a layer's last result to the first cycle in which the loader takes an entry of the layer after the
next: it is never more than one layer ahead of the drain."""

DRAIN_SETUP_LATENCY = 2
"""From the cycle that writes a layer's last result to the first drain step of the next layer."""

START_LATENCY = 3
"""From the cycle in which ``start`` is seen to the first cycle in which the loader takes an entry."""
