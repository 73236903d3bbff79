"""Draws what `bench.py` measured: cost and latency against the number of streams."""

import statistics
from pathlib import Path

from report import Row

PANELS = (("sut_us_per_pkt", 1, "CPU of the worker, µs per packet"), ("lat_p99_us", 1000, "one-way latency at p99, ms"))
REFERENCES = {"one way": ":", "both ways": "--"}
"""Rows whose reference is drawn, and how; that of most others is the C gateway one way, too."""
FILES = ["cost.png", "cost.svg"]


def _lines(rows: list[Row], key: str, unit: int) -> dict[str, tuple[str, str, list[tuple[int, float]]]]:
    """By label: style, colour, points."""
    lines = {}
    for number, name in enumerate(dict.fromkeys(row.row for row in rows)):
        valid = [row for row in rows if row.row == name and row.pairs]
        for side, label, style, colour in (
            (1, name, "-", f"C{number}"),
            (0, f"C reference, {name}", REFERENCES.get(name), "black"),
        ):
            points = [(row.legs, statistics.median(pair[side][key] for pair in row.pairs) / unit) for row in valid]
            # The latency of what is transcoded cannot be read.
            if style and points and all(value >= 0 for _, value in points):
                lines[label] = style, colour, points
    return lines


def plot(rows: list[Row], folder: Path) -> list[str]:
    """cost.png and cost.svg; their names, or none where matplotlib (the extra `bench`) is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return []
    figure = Figure(figsize=(13, 5.8), layout="constrained")
    cost, latency = figure.subplots(1, 2)
    for axes, (key, unit, title) in zip((cost, latency), PANELS, strict=True):
        for label, (style, colour, points) in _lines(rows, key, unit).items():
            axes.plot(*zip(*points, strict=True), style, marker="o", markersize=4, color=colour, label=label)
        axes.set(title=title, xlabel="streams")
        axes.grid(visible=True, alpha=0.3)
    cost.set_ylim(bottom=0)
    latency.set_yscale("log")
    latency.axhline(20, color="red", linewidth=0.8, linestyle="--")
    latency.text(0.01, 20, "20 ms", transform=latency.get_yaxis_transform(), color="red", va="bottom", fontsize="small")
    latency.yaxis.set_major_formatter("{x:g}")
    latency.yaxis.set_minor_formatter("{x:g}")
    # The first panel has every line.
    figure.legend(*cost.get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small")
    for name in FILES:
        figure.savefig(folder / name)
    return FILES
