"""The memory map: how full each memory is, and where tensors lie in activation memory while the layers run."""

from __future__ import annotations

from skipstone.mapper.results.network import NetworkResult, TensorPlace
from skipstone.reports.network.definitions import MEMORY_COLUMNS, MEMORY_NAMES
from skipstone.reports.network.summary import count, percent
from skipstone.reports.web.figures import (
    NARROW_NAME_LIMIT,
    Figure,
    Grid,
    Numbers,
    bar_height,
    bar_layout,
    colour,
    plot_text,
    shortened,
    stacked_bars,
)

MAP_HEIGHT = 460
NAMES = 30
TENSOR_COLOURS = (0, 2, 3, 4, 8, 10)
"""Series on which text can be read, light and dark."""


def memory_figures(result: NetworkResult) -> tuple[Figure, ...]:
    """How full the memories are and where tensors lie, as far as the result has them."""
    return (
        *([_uses(result)] if result.memories else []),
        *([_tensors(result)] if result.tensors else []),
    )


def _uses(result: NetworkResult) -> Figure:
    names = [memory.name.replace("_", " ") for memory in result.memories]
    used = [100 * memory.used_words / memory.words for memory in result.memories]
    notes = [
        (percentage, f"{count(memory.used_words)} of {count(memory.words)} words of {memory.bits} bits")
        for percentage, memory in zip(used, result.memories, strict=True)
    ]
    layout = bar_layout(names, "used, % of the words", notes)
    layout["xaxis"] |= {"range": [0, 140], "tickvals": [0, 20, 40, 60, 80, 100]}
    layout["meta"]["narrow"] = {
        "xaxis": {"range": [0, 105], "tickvals": [0, 50, 100]},
        "yaxis": {"ticktext": [plot_text(shortened(name, NARROW_NAME_LIMIT)) for name in names]},
        "annotations": [],
    }
    return Figure(
        name="memories",
        title="Use of the memories",
        caption="Words that the network uses in each memory; where there are several (one for each row or lane), in the fullest. "
        "Windows and accumulators are refilled for every tile and not shown.",
        height=bar_height(names),
        traces=stacked_bars(names, [("used", used)], "%"),
        layout=layout,
        keys=(),
        table=Grid(
            ("memory", "what", *MEMORY_COLUMNS),
            tuple(
                (
                    *(memory.name.replace("_", " "), MEMORY_NAMES.get(memory.name, ""), count(memory.count)),
                    *(count(memory.words), count(memory.bits), count(memory.used_words)),
                    percent(memory.used_words / memory.words),
                    f"{memory.count * memory.words * memory.bits / 8192:,.1f}",
                )
                for memory in result.memories
            ),
            frozenset({0, 1}),
            MEMORY_COLUMNS,
        ),
        numbers=Numbers(
            ("memory", "count", "words", "bits", "used_words"),
            tuple(
                (memory.name, memory.count, memory.words, memory.bits, memory.used_words) for memory in result.memories
            ),
        ),
    )


def _tensors(result: NetworkResult) -> Figure:
    """A bar for each tensor: across, from the layer that writes it to the last that reads it; upwards, its words."""
    on_array = [layer.name for layer in result.layers if not layer.on_host]
    steps = ["host", *on_array, "host"]
    spans = [(place.written, place.last_read) for place in result.tensors]
    top = max(place.base + place.words for place in result.tensors)
    available = next((memory.words for memory in result.memories if memory.name == "activations"), None)
    numbered = list(range(0, len(on_array), max(1, len(on_array) // 6)))
    few = len(steps) <= NAMES
    ticks = [(index - 1, shortened(name, NARROW_NAME_LIMIT)) for index, name in enumerate(steps)] if few else []
    return Figure(
        name="tensors",
        title="Tensors in activation memory",
        caption="Each bar is a tensor: across, the layers during which it is held, from the one that writes it to the last that "
        "reads it; upwards, its addresses. Words are used again as soon as no layer needs them."
        + (f" {count(top)} of {count(available)} words are used." if available else ""),
        height=MAP_HEIGHT,
        traces=[
            {
                "type": "bar",
                "x": [(written + last) / 2 for written, last in spans],
                "width": [last - written + 0.94 for written, last in spans],
                "base": [place.base for place in result.tensors],
                "y": [place.words for place in result.tensors],
                "marker": {
                    "color": [
                        colour(TENSOR_COLOURS[index % len(TENSOR_COLOURS)]) for index in range(len(result.tensors))
                    ],
                    "line": {"color": "var(--paper)", "width": 1},
                },
                "text": [plot_text(shortened(place.name, NARROW_NAME_LIMIT)) for place in result.tensors],
                "textposition": "inside",
                "insidetextanchor": "middle",
                "textangle": 0,
                "textfont": {"color": "var(--on-series)"},
                "customdata": [_tensor_text(place, steps) for place in result.tensors],
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        ],
        layout={
            "margin": {"l": 8, "r": 16, "t": 8, "b": 48},
            "barmode": "overlay",
            "uniformtext": {"minsize": 9, "mode": "hide"},
            "xaxis": {
                "range": [-1.5, len(on_array) + 0.5],
                "automargin": True,
                "showgrid": False,
                "zeroline": False,
                "title": {"text": "" if few else "layer"},
                **(
                    {"tickvals": [step for step, _ in ticks], "ticktext": [plot_text(name) for _, name in ticks]}
                    if few
                    else {}
                ),
                "tickangle": -35 if few else 0,
            },
            "yaxis": {
                "title": {"text": "word of activation memory"},
                "range": [0, top * 1.02],
                "automargin": True,
                "separatethousands": True,
            },
            "meta": {
                "zoom": True,
                "narrow": {
                    "xaxis": {
                        "tickvals": numbered,
                        "ticktext": [str(step + 1) for step in numbered],
                        "title": {"text": "layer, by number"},
                        "tickangle": 0,
                    },
                },
            },
        },
        keys=(),
        table=Grid(
            ("tensor", "first word", "words", "written by", "last read by"),
            tuple(
                (
                    place.name,
                    count(place.base),
                    count(place.words),
                    steps[place.written + 1],
                    steps[place.last_read + 1],
                )
                for place in result.tensors
            ),
            frozenset({0, 3, 4}),
            {
                "first word": "address of the first word",
                "words": "words it takes: folded pixels x words of a pixel",
                "written by": "the first layer that writes it",
                "last read by": "the last layer that reads it; its words are free afterwards",
            },
        ),
        numbers=Numbers(
            ("tensor", "base_word", "words", "written_by_layer", "last_read_by_layer"),
            tuple((place.name, place.base, place.words, place.written, place.last_read) for place in result.tensors),
        ),
    )


def _tensor_text(place: TensorPlace, steps: list[str]) -> str:
    """For a hover label: a tensor's words and the layers that write and read it."""
    return plot_text(
        place.name,
        f"words {count(place.base)} to {count(place.base + place.words - 1)} ({count(place.words)})",
        f"written by {steps[place.written + 1]}, last read by {steps[place.last_read + 1]}",
    )
