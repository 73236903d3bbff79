"""`trunkline top`: what the running server does now, from its metrics and its list of media workers."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import typer

from trunkline.cli_lists import LISTS, found, lines, shown
from trunkline.cli_settings import ANY_SETTING, SETTINGS_HELP, ConfigFile, SettingsCommand, load_settings
from trunkline.cli_text import examples
from trunkline.client import metrics
from trunkline.config import Settings
from trunkline.errors import StartupError

_PREFIX = "trunkline_"


@dataclass(frozen=True, slots=True)
class Scrape:
    """The server's metrics at a moment."""

    at: float
    """Seconds."""
    samples: tuple[tuple[str, dict[str, str], float], ...] = field(repr=False)
    """Names without `trunkline_`, labels, values."""

    @classmethod
    def of(cls, text: str, at: float) -> "Scrape":
        """From the text format of Prometheus."""
        from prometheus_client.parser import text_string_to_metric_families

        families = text_string_to_metric_families(text)
        every = ((one.name.removeprefix(_PREFIX), one.labels, one.value) for each in families for one in each.samples)
        return cls(at, tuple(every))

    def total(self, name: str, **labels: str) -> float:
        """The sum over the samples of that name, of those that have these labels."""
        return sum(value for of, its, value in self.samples if of == name and labels.items() <= its.items())

    def by(self, name: str, label: str) -> str:
        """`8 inbound, 4 outbound`: the values that are not 0."""
        found = ((its.get(label, ""), value) for of, its, value in self.samples if of == name)
        return ", ".join(f"{value:g} {of}" for of, value in found if value)


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the screen."""

    now: Callable[[Scrape], float]
    more: Callable[[Scrape], str] = lambda _: ""
    rates: tuple[tuple[str, Callable[[Scrape], float]], ...] = ()
    """What happened in a second, by its word: from counters."""


def _registrations(scrape: Scrape) -> str:
    states = scrape.by("registrations", "state")
    down = scrape.total("trunk_targets_down")
    trunks = f"trunks: {states}" if states else ""
    targets = f"{down:g} of {scrape.total('trunk_targets'):g} targets down" if scrape.total("trunk_targets") else ""
    return "; ".join(part for part in (trunks, targets) if part)


ROWS: dict[str, Figure] = {
    "calls": Figure(
        lambda scrape: scrape.total("calls_active"),
        lambda scrape: scrape.by("calls_active", "direction"),
        (
            ("ended", lambda scrape: scrape.total("calls_total")),
            ("failed", lambda scrape: scrape.total("calls_total", outcome="failed")),
        ),
    ),
    "streams": Figure(
        lambda scrape: scrape.total("streams_active"),
        lambda scrape: scrape.by("streams_active", "mode"),
        (("underruns", lambda scrape: scrape.total("playback_underruns_total")),),
    ),
    "callbacks waiting": Figure(
        lambda scrape: scrape.total("callbacks_pending"),
        lambda scrape: scrape.by("callbacks_pending", "age"),
        (
            ("delivered", lambda scrape: scrape.total("webhooks_total", event="delivered")),
            ("failed", lambda scrape: scrape.total("webhooks_total", event="failed")),
        ),
    ),
    "phones registered": Figure(lambda scrape: scrape.total("phone_contacts"), _registrations),
    "RTP ports in use": Figure(
        lambda scrape: scrape.total("rtp_ports_in_use"), lambda scrape: f"of {scrape.total('rtp_ports'):g}"
    ),
    "changes to write": Figure(lambda scrape: scrape.total("store_queue")),
    "requests": Figure(
        lambda scrape: scrape.total("api_total", event="requests"),
        lambda _: "since the start",
        (("API", lambda scrape: scrape.total("api_total", event="requests")),),
    ),
}
"""By what each line begins with."""


def screen(before: Scrape | None, now: Scrape) -> Iterator[str]:
    """A line for each row; rates are those since `before`, none where that is of another life of the server."""
    width = max(map(len, ROWS))
    for name, row in ROWS.items():
        rates = [_rate(word, counter, before, now) for word, counter in row.rates] if before else []
        parts = (row.more(now), *filter(None, rates))
        yield f"{name:<{width}}  {row.now(now):>5g}  {'; '.join(part for part in parts if part)}".rstrip()


def _rate(word: str, counter: Callable[[Scrape], float], before: Scrape, now: Scrape) -> str:
    seconds, more = now.at - before.at, counter(now) - counter(before)
    return f"{more / seconds:.1f}/s {word}" if more >= 0 and seconds > 0 else ""


def look(settings: Settings, before: Scrape | None) -> tuple[Scrape, list[str]]:
    """The metrics of now, and the screen. Raises StartupError."""
    workers = LISTS["workers"]
    listed = lines(workers, found(settings, workers), as_json=False)
    text = metrics(settings)
    if not text:
        raise StartupError("no metrics from the server: they need the operator's key, which is in store.directory")
    now = Scrape.of(text, time.monotonic())
    return now, [*screen(before, now), "", *listed]


def top(context: typer.Context, config: ConfigFile = None) -> None:
    """Show what the running server does, every two seconds until Ctrl-C; in a pipe once."""
    settings = load_settings(context, config).settings
    before: Scrape | None = None

    def again() -> list[str]:
        nonlocal before
        before, text = look(settings, before)
        return text

    shown(again, sys.stdout.isatty())


def register(app: typer.Typer) -> None:
    """Add the command."""
    shown_as = examples("trunkline top", more=SETTINGS_HELP)
    app.command(name="top", cls=SettingsCommand, context_settings=ANY_SETTING, epilog=shown_as)(top)
