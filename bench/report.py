"""What `bench.py` measured, as Markdown. Figures are medians of the valid runs."""

import statistics
from dataclasses import dataclass, field

from most import Most
from runs import Run

COLUMNS = {
    "worker µs/packet": ("sut_us_per_pkt", 1),
    "control µs/packet": ("control_us_per_pkt", 1),
    "latency p50 ms": ("lat_p50_us", 1000),
    "p99 ms": ("lat_p99_us", 1000),
    "max ms": ("lat_max_us", 1000),
    "return jitter p50 ms": ("jit_p50_us", 1000),
    "p99 ms ": ("jit_p99_us", 1000),
    "worker kB/stream": ("worker_kb_per_stream", 1),
    "control kB/stream": ("control_kb_per_stream", 1),
    "streams started/s": ("rest_streams_per_s", 1),
    "SIP calls/s": ("sip_calls_per_s", 1),
}

FIRST_COLUMNS = ("row", "streams", "ratio to C", "C µs/packet")

ASTERISK = {"one way": (3.5, 4.0), "both tracks": (6.0, 6.8), "both ways": (6.5, 7.4)}
"""Milliseconds of CPU per stream and second of Asterisk 23.4, measured once on a like machine (docs/performance.md)."""


@dataclass
class Row:
    """One kind of stream at one size."""

    row: str
    legs: int
    pairs: list[tuple[Run, Run]]
    """Reference, product."""
    refused: list[str]

    def product(self, key: str) -> float:
        """A figure of ours."""
        return statistics.median(pair[1][key] for pair in self.pairs)


@dataclass
class Measured:
    """One of the other parts: a run under a name, or why there is none."""

    name: str
    run: Run | None
    refused: str = ""


@dataclass
class Results:
    """Everything."""

    rows: list[Row] = field(default_factory=list)
    most: dict[str, dict[str, Most]] = field(default_factory=dict)
    """By row, then `product` and `C`."""
    loaded: list[Measured] = field(default_factory=list)
    first: list[Measured] = field(default_factory=list)
    workers: list[Measured] = field(default_factory=list)
    overload: list[Measured] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Nothing was refused."""
        others = (*self.loaded, *self.first, *self.workers, *self.overload)
        return all(row.pairs for row in self.rows) and all(other.run is not None for other in others)


def line(row: Row) -> str:
    """A row of the first table."""
    if not row.pairs:
        return f"| {row.row} | {row.legs} | refused: {row.refused[-1]} |" + " |" * (len(COLUMNS) + 2)
    reference = statistics.median(pair[0]["sut_us_per_pkt"] for pair in row.pairs)
    ratio = statistics.median(pair[1]["sut_us_per_pkt"] / pair[0]["sut_us_per_pkt"] for pair in row.pairs)
    cells = [f"{ratio:.2f}", f"{reference:.1f}"]
    for key, unit in COLUMNS.values():
        value = row.product(key) / unit
        unread = key == "lat_max_us" and row.pairs[0][1]["lat_p50_us"] < 0
        cells.append("" if value < 0 or unread else f"{value:.1f}")
    lost = sum(_lost(pair[1], row.legs) for pair in row.pairs)
    return f"| {row.row} | {row.legs} | {' | '.join(cells)} | {lost} |"


def _lost(run: Run, legs: int) -> int:
    """Packets. Where audio is transcoded the marks cannot be read: then by number, but for those under way."""
    if run["lat_p50_us"] >= 0:
        return int(run["ws_lost"] + run["rtp_lost"])
    missing = int(run["tx"] - run["ws_msgs"])
    return missing if missing > legs else 0


def _table(head: list[str], lines: list[str]) -> str:
    return "\n".join(["| " + " | ".join(name.strip() for name in head) + " |", "|---" * len(head) + "|", *lines]) + "\n"


def _by_name(rows: list[Row]) -> dict[str, list[Row]]:
    names = dict.fromkeys(row.row for row in rows)
    return {name: [row for row in rows if row.row == name and row.pairs] for name in names}


def flatness(results: Results) -> str:
    """How much the cost of a packet differs between the sizes."""
    lines = []
    for name, rows in _by_name(results.rows).items():
        if len(rows) > 1:
            costs = [row.product("sut_us_per_pkt") for row in rows]
            off = 100 * (max(costs) - min(costs)) / (max(costs) + min(costs))
            sizes = f"{rows[0].legs} to {rows[-1].legs}"
            lines.append(f"| {name} | {sizes} | {min(costs):.1f} | {max(costs):.1f} | ±{off:.0f} % |")
    return _table(["row", "streams", "least µs/packet", "most", "deviation"], lines) if lines else ""


def beside_asterisk(results: Results) -> str:
    """CPU per stream and second, control process included, at the largest size, and Asterisk's."""
    lines = []
    for name, (least, most) in ASTERISK.items():
        rows = _by_name(results.rows).get(name)
        if rows:
            ours = 50 * (rows[-1].product("sut_us_per_pkt") + rows[-1].product("control_us_per_pkt")) / 1000
            times = f"{least / ours:.1f} to {most / ours:.1f}"
            lines.append(f"| {name} | {rows[-1].legs} | {ours:.2f} | {least} to {most} | {times} |")
    head = ["row", "streams", "ms of CPU per stream and second", "Asterisk 23.4 (not in this run)", "times cheaper"]
    return _table(head, lines) if lines else ""


def _most(results: Results) -> str:
    lines = [
        f"| {row} | {who} | {most.streams} | {most.ended} |"
        for row, sides in results.most.items()
        for who, most in sides.items()
    ]
    return _table(["row", "who", "most streams", "why no more"], lines) if lines else ""


def _others(measured: list[Measured], columns: dict[str, tuple[str, float]]) -> str:
    lines = []
    for each in measured:
        if each.run is None:
            cells = [f"refused: {each.refused}", *[""] * (len(columns) - 1)]
        else:
            cells = [f"{each.run[key] / unit:.1f}" for key, unit in columns.values()]
        lines.append(f"| {each.name} | {' | '.join(cells)} |")
    return _table(["", *columns], lines) if lines else ""


_LATENCY = {
    "latency p50 ms": ("lat_p50_us", 1000.0),
    "p99 ms": ("lat_p99_us", 1000.0),
    "max ms": ("lat_max_us", 1000.0),
    "lost": ("ws_lost", 1.0),
}


def text(results: Results) -> str:
    """Everything that there is."""
    api = {"requests/s": ("api_requests_per_s", 1.0), "answered p50 ms": ("api_p50_ms", 1.0)}
    api |= {"p99 ms": ("api_p99_ms", 1.0), "callbacks": ("callbacks", 1.0)}
    jitter = {"return jitter p50 ms": ("jit_p50_us", 1000.0), "p99 ms ": ("jit_p99_us", 1000.0)}
    jitter |= {"max ms": ("jit_max_us", 1000.0), "RTP lost": ("rtp_lost", 1.0)}
    first = {
        "streams": ("streams", 1.0),
        "p50 ms": ("p50_ms", 1.0),
        "p99 ms": ("p99_ms", 1.0),
        "max ms": ("max_ms", 1.0),
    }
    other = {"streams": ("streams", 1.0), "other worker busy %": ("other_busy_pct", 1.0)}
    rows = [line(row) for row in results.rows]
    parts = {
        "Every kind of stream": _table([*FIRST_COLUMNS, *COLUMNS, "lost"], rows) if rows else "",
        "The cost of a packet over the sizes": flatness(results),
        "Beside Asterisk": beside_asterisk(results),
        "The most streams per core, p99 under 20 ms and none lost": _most(results),
        "The playback clock while the API is under load": _others(results.loaded, jitter | api),
        "From the socket's opening to its first media message": _others(results.first, first),
        "More workers": _others(results.workers, {"worker µs/packet": ("sut_us_per_pkt", 1.0)} | _LATENCY),
        "A worker beside one that has too much to do": _others(results.overload, other | _LATENCY),
    }
    return "\n".join(f"## {title}\n\n{part}" for title, part in parts.items() if part)
