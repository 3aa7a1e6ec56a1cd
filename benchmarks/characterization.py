"""The carried characterization of our gateware: what each block costs, how well the fit is, and the held-out layers.

Nothing is measured here: the section prints the carried data, and `skipstone characterize` makes it anew.
"""

from __future__ import annotations

from benchmarks.document import Section, percent, table
from benchmarks.settings import Settings
from skipstone.hw.design import load_design
from skipstone.mapper.technology.logic_cells import Gateware, load_gateware

DESIGNS = ("tiny", "edge")


def measure(settings: Settings) -> Section:
    settings.progress("characterization")
    gateware = load_gateware()
    carried = gateware.table
    runs = carried.runs
    held = carried.held_out
    within = sum(abs(row["error"]) <= 0.1 for row in held)
    blind = sum(abs(row["program_only_error"]) <= 0.1 for row in held)
    layers = carried.layers_left_out
    layers_within = sum(abs(row["error"]) <= 0.1 for row in layers)
    text = "\n\n".join(
        (
            f"From the carried data, not measured by this command: {carried.source}.",
            f"{len(runs)} gate-level runs of cropped layers, {sum(row['cycles'] for row in runs):,} cycles and "
            f"{sum(row['output_words'] for row in runs):,} output words: "
            + (
                "outputs and cycles equal the model's in all."
                if all(row["equal"] for row in runs)
                else "NOT all equal."
            ),
            components(gateware),
            f"Energy of the PE array (PEs and rows; transitions, glitches counted) on {len(held)} runs that the fit never saw "
            f"(other crops, images, amounts of zeros or designs): {within} within 10%. `program only`: without the activations' "
            f"bits, which only data gives ({blind} within 10%). Runs on designs marked * are on designs that the fit never saw.",
            held_out(held),
            "The same with whole layers left out: each layer by a fit of all runs of the other layers. "
            f"{layers_within} of {len(layers)} layers are within 10%.",
            left_out(layers),
            "Errors of the fit on the layers and designs that it saw, root mean square and largest:",
            fits(carried.fits),
            "Energy of all transitions over that of settled ones, one layer on `tiny`: "
            + ", ".join(f"{name} {factor:.2f}" for name, factor in carried.glitch_factors.items())
            + ".",
        )
    )
    return Section("characterization", "Our gateware in cells", text, all(row["equal"] for row in runs))


def components(gateware: Gateware) -> str:
    rows = []
    for name in DESIGNS:
        design = load_design(name)
        for component in gateware.components(design):
            area, leakage, clock = (
                getattr(gateware, quantity)(component.name, design)
                for quantity in ("area_um2", "leakage_nw", "clock_pj")
            )
            rows.append((component.name, name, component.count, f"{area:,.0f}", f"{leakage:.1f}", f"{clock:.2f}"))
    periods = ", ".join(f"{gateware.min_period_ns(load_design(name)):.1f} ns on `{name}`" for name in DESIGNS)
    return (
        table(("component", "design", "count", "um2 each", "leakage nW each", "clock pJ each and cycle"), rows, left=2)
        + f"\nLongest path: {periods} (without memories' access times)."
    )


def held_out(held: list[dict[str, object]]) -> str:
    rows = [
        (
            str(row["layer"]),
            f"{row['design']}{'' if row['design_fitted'] else ' *'}",
            f"{row['gate_pj']:,.0f}",
            f"{row['model_pj']:,.0f}",
            *(f"{row[key]:+.1%}" for key in ("error", "error_with_clock", "program_only_error")),
        )
        for row in held
    ]
    headings = ("layer", "design", "gate level pJ", "model pJ", "error", "error with clock", "error, program only")
    return table(headings, rows, left=2)


def left_out(layers: list[dict[str, object]]) -> str:
    rows = [
        (
            str(row["layer"]),
            row["runs"],
            f"{row['gate_pj']:,.0f}",
            f"{row['model_pj']:,.0f}",
            f"{row['error']:+.1%}",
            row["runs_within_10_percent"],
            f"{row['largest_error']:+.1%}",
        )
        for row in layers
    ]
    headings = ("layer", "runs", "gate level pJ", "model pJ", "error", "runs within 10%", "largest error of a run")
    return table(headings, rows)


def fits(components: dict[str, dict[str, dict[str, float]]]) -> str:
    quantities = ("area_um2", "leakage_nw", "clock_pj", "min_period_ns", "actions")
    rows = [
        (
            name,
            *(
                f"{percent(fit[quantity]['rms_error'])} / {percent(fit[quantity]['largest_error'])}"
                if fit[quantity]["samples"]
                else "-"
                for quantity in quantities
            ),
        )
        for name, fit in components.items()
    ]
    return table(("component", "area", "leakage", "clock", "longest path", "transitions"), rows)
