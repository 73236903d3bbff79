"""One thing to know of a call or a stream, and how a row of a table makes it of counters. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, Generic, Literal, TypeVar

from trunkline.ids import StreamSid

Severity = Literal["error", "warning", "info", "ok"]
Value = bool | int | float | str
SETTLED = 2000
"""Milliseconds after which something should have happened."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know."""

    severity: Severity
    code: str
    text: str
    """A sentence or two for people."""
    numbers: Mapping[str, Value]
    """The counters behind it."""
    stream: StreamSid | None = None
    """None: it is about the call."""


class _Words(Formatter):
    """`{lost:packet}` is `1 packet` or `2 packets`, by the attribute `lost` of the one argument."""

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """`string.Formatter`'s call."""
        return getattr(args[0], str(key))

    def format_field(self, value: Any, spec: str) -> str:
        """`string.Formatter`'s call."""
        return f"{value} {spec}" + ("" if value == 1 else "s") if spec else str(value)


sentence = _Words()

Facts = TypeVar("Facts")


@dataclass(frozen=True, slots=True)
class FindingRow(Generic[Facts]):
    """One thing that can be wrong."""

    severity: Severity
    code: str
    when: Callable[[Facts], object]
    text: str
    """With attributes of the facts, see `_Words`."""
    numbers: tuple[str, ...] = ()
    """Counters among these attributes."""


def apply(rows: tuple[FindingRow[Facts], ...], facts: Facts, stream: StreamSid | None) -> Iterator[Finding]:
    """The findings whose conditions the facts fulfil, in the order of the rows."""
    for row in rows:
        if row.when(facts):
            shown = {name: getattr(facts, name) for name in row.numbers}
            yield Finding(row.severity, row.code, sentence.format(row.text, facts), shown, stream)
