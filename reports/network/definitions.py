"""What each number of a report is and how it is computed: texts with formulas by the numbers' names, for headings and lists.

The formulas are those of ``mapper`` (cycles, causes, actions, energy) and of ``skipstone.reports.network.summary``, in words.
"""

from __future__ import annotations

CAUSE_FORMULAS = {
    "compute": "products x output pixels / columns / rows",
    "edge": "products x (tiles - output pixels / columns) / rows",
    "filler": "(entries issued - products x tiles) / rows",
    "balance": "cycles in which a row has issued all it may and waits for a slower row's window / rows",
    "load": "cycles in which a row's next window is not loaded yet / rows",
    "drain": "cycles in which a row waits for the bank of accumulators that the drain empties / rows",
    "fill": "cycles of a row before its first entry and after its last, in the layer's cycles / rows",
    "overlap": "cycles of fill in which the layer before still ran, negative / rows",
}
"""How each cause is counted: row cycles (summed over the rows) over the number of rows, exact for the RTL."""

LAYER_COLUMNS = {
    "#": "the layer's number, in the order in which the array runs them",
    "kind": "what the layer is",
    "bound": "that of compute, load and drain of which half as much would save most cycles (see what would help); edge where "
    "that is under 5% of the cycles alone",
    "MACs": "multiply-accumulates of the layer with every weight, zeros included, for one input: weights x output pixels",
    "nonzeros": "trained weights that are not zero; only these are stored and take cycles, beside fillers",
    "density": "nonzeros / trained weights",
    "cycles": "clock cycles of the array, from a model that equals the RTL cycle for cycle: from the last result of the layer "
    "before to its own; the host's work is not in them",
    "RTL cycles": "the same, counted in the simulated RTL",
    "RTL outputs": "whether every output of the RTL equals the integer reference's",
    "cycles alone": "cycles if the layer ran alone: cycles, and what it does while the layer before still runs",
    "dense cycles": "cycles alone of the same layer with every weight nonzero; none where other layers run together there",
    "utilization": "useful MACs / (PEs x cycles alone), of the network / (PEs x cycles); useful: nonzero weight, pixel in the "
    "image",
    "MACs skipped": "MACs - useful MACs: those with a zero weight, which take no cycle",
    "words loaded": "words (of the load width) that the loader takes from activation memory into the windows",
    "words skipped": "further words that the loader would take, with the same tile and passes, if no weight were zero",
    "stall cycles": "balance + load + drain + fill + overlap: cycles in which rows do nothing, mean of the rows",
    "energy, nJ": "sum of count x pJ over the layer's actions, for one input; each product is in the tables under energy",
    "tile": "output pixels, height x width, that the array's columns compute together",
    "passes": "how often the array goes through the layer's input, each time for one group of output channels",
    "windows": "parts (runs of channels, some kernel taps) into which the passes are cut, of all passes together",
    "MACs per byte": "useful MACs / (words loaded x bytes of a word)",
}
"""The columns of the table of layers."""

SAVINGS_COLUMNS = {
    "cycles alone": LAYER_COLUMNS["cycles alone"],
    "bound": LAYER_COLUMNS["bound"],
    "weights": "cycles alone - cycles alone with half of each row's entries in each window, rounded up, and the same words",
    "load": "cycles alone - cycles alone with half of each window's words, rounded up",
    "rows": "cycles alone - cycles alone with passes two at a time, or with half of each row's entries where there is one pass",
    "drain": "cycles alone - cycles alone with half of the drain's steps, rounded up",
}
"""The table of what would help: all from the exact model, with the same tile and windows."""

TERM_COLUMNS = {
    "component": "the component that acts or leaks",
    "action": "what the component does",
    "count": (
        "how often, in all layers, for one input: counted by the cycle model and exact for the RTL, except for two means: "
        "activation_bit (over up to 4 images) and exposed_entry (all accumulators are assumed to get equal shares)"
    ),
    "pJ each": "energy of one, from the source",
    "energy, nJ": "count x pJ each / 1000",
    "share": "of the network's energy",
    "source": "where pJ each comes from; the texts are below",
}
AREA_COLUMNS = {
    "count": "how many of them the design has",
    "um2 each": "area of one, from the source",
    "area, mm²": "count x um2 each / 1,000,000",
    "share": "of the design's area",
    "nW each": "leakage of one",
    "leakage, uW": "count x nW each / 1000",
    "source": "where um2 and nW come from; the texts are below",
}
MEMORY_COLUMNS = {
    "memories": "how many there are",
    "words": "words of each",
    "bits": "bits of a word",
    "used": "words that the network uses in the fullest of them",
    "share": "used / words",
    "KiB": "memories x words x bits / 8192",
}
BALANCE_COLUMNS = {
    "fullest row": "entries that the fullest row issues for one tile",
    "mean": "entries of all rows / rows",
    "emptiest row": "entries that the emptiest row issues for one tile",
    "balance": "mean / fullest row: 100% where all rows have the same work",
    "balance, % of cycles": "cycles in which rows wait for a slower one / the layer's cycles",
}
WEIGHT_COLUMNS = {
    "weights": "weights of the layer",
    "nonzeros": "weights that are not zero",
    "density": "nonzeros / weights",
    "dense bits": "weights x bits of a weight",
    "encoded bits": "entries in the rows' weight memories, indices and fillers included, x bits of an entry",
    "bits per nonzero": "encoded bits / nonzeros",
    "encoded / dense": "encoded bits / dense bits",
}
ROOFLINE_COLUMNS = {
    "useful MACs a byte": "useful MACs / (words loaded x bytes of a word)",
    "useful MACs a cycle": "useful MACs / cycles alone",
    "ceiling": "the lesser of the PEs and bytes a cycle x useful MACs a byte",
    "reached": "useful MACs a cycle / ceiling",
}
MEMORY_NAMES = {
    "activations": "activation memory: tensors, input and outputs",
    "weights": "weight memories, one a row: nonzero weights with their indices",
    "parameters": "parameter memory: requantization of each output channel",
    "load_lists": "load lists: which words the loader takes",
    "descriptors": "descriptors: one a layer",
    "codebooks": "codebooks, one memory a row: values of coded weights",
    "tables": "tables of functions, one memory a requantizer lane",
}
TERMS = (
    ("verified", "the RTL ran in simulation and its cycles and outputs were compared with the model's, bit for bit"),
    ("dense", "the same network with every weight nonzero, wherever its zeros come from, on the same array"),
    ("dense cycles", "its cycles, with memories that hold it"),
    (
        "dense energy",
        "its energy for the same activations on this design, whose memories need not hold it: larger ones would take more",
    ),
    ("operation", "a multiply-accumulate is two; done: with a nonzero weight at a pixel of the image"),
    ("TOPS/W", "operations of one input / its energy, DRAM included"),
    ("TOPS/mm²", "operations a second / area"),
    ("PE", "processing element: one multiplier with its windows and accumulators"),
    ("entry", "one nonzero weight of a row's list with its index, or a filler"),
    ("product", "an entry that holds a weight, no filler; each weight has as many as the layer's output is folded"),
)
"""Words that the tables use."""
