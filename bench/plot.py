"""Draws what `bench.py` measured: cost and latency against the number of streams."""

import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

PANELS = (("sut_us_per_pkt", 1, "worker, CPU µs per packet"), ("lat_p99_us", 1000, "one-way latency, p99, ms"))


def plot(results: list[dict[str, Any]], folder: Path) -> list[str]:
    """cost.png and cost.svg; their names, or none where matplotlib (the extra `bench`) is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return []
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        if result["pairs"]:
            lines[result["row"]].append(result)
    for axes, (key, unit, title) in zip(figure.subplots(1, 2), PANELS, strict=True):
        for number, (name, row) in enumerate(lines.items()):
            sizes = [result["legs"] for result in row]
            medians = [statistics.median(pair[1][key] for pair in result["pairs"]) / unit for result in row]
            if all(median >= 0 for median in medians):  # the latency of what is transcoded cannot be read
                axes.plot(sizes, medians, marker="o", color=f"C{number}", label=name)
        if reference := lines.get("one way"):
            sizes = [result["legs"] for result in reference]
            medians = [statistics.median(pair[0][key] for pair in result["pairs"]) / unit for result in reference]
            axes.plot(sizes, medians, marker="o", color="black", linestyle=":", label="C reference, one way")
        axes.set(title=title, xlabel="streams", ylim=(0, None))
        axes.grid(visible=True, alpha=0.3)
    if lines:
        figure.axes[0].legend(fontsize="small")
    names = ["cost.png", "cost.svg"]
    for name in names:
        figure.savefig(folder / name)
    return names
