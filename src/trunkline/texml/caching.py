"""What an answer lets us do with it later (RFC 9111): keep it, use it unasked, ask whether it has changed. Pure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

AGE_LIMIT = 365 * 86400
"""Seconds: what more than fits is cut to (RFC 9111 section 1.2.2)."""
_DIRECTIVE = re.compile(r"""\s*([^\s=,"]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s,"]*))?\s*(?:,|$)""")


@dataclass(frozen=True, slots=True)
class Known:
    """What an answer said of its file."""

    kept: bool
    """It may be kept for another request."""
    fresh_until: float
    tag: str
    modified: str

    def questions(self) -> list[tuple[str, str]]:
        """The headers that ask whether it has changed (RFC 9110 section 13.1)."""
        asked = (("If-None-Match", self.tag), ("If-Modified-Since", self.modified))
        return [(name, value) for name, value in asked if value and value.isascii()]


def directives(values: Sequence[str]) -> dict[str, str]:
    """Of `Cache-Control` headers, by their names in lower case; of those that are there twice, the first."""
    found: dict[str, str] = {}
    text, at = ", ".join(values), 0
    while at < len(text):
        match = _DIRECTIVE.match(text, at)
        if match is None:
            at = (text.find(",", at) + 1) or len(text)
            continue
        found.setdefault(match[1].lower(), (match[2] or "").strip('"'))
        at = match.end()
    return found


def known_of(header: Callable[[str], list[str]], now: float, before: Known | None = None) -> Known:
    """What an answer says that came `now` (seconds). `header` gives a header's values; `before` is what was known of
    the file that a 304 says is still right (RFC 9111 section 4.3.4)."""
    said = directives(header("cache-control"))
    if not said and "no-cache" in directives(header("pragma")):
        said = {"no-cache": ""}
    ages = [_seconds(value) or 0 for value in header("age")]
    life = _seconds(said.get("max-age", "")) or 0
    if "no-cache" in said or "*" in "".join(header("vary")):
        life = 0
    found = Known(
        kept="no-store" not in said,
        fresh_until=now + max(0, life - max(ages, default=0)),
        tag="".join(header("etag")[:1]),
        modified="".join(header("last-modified")[:1]),
    )
    if before is None:
        return found
    return replace(found, tag=found.tag or before.tag, modified=found.modified or before.modified)


def _seconds(value: str) -> int | None:
    value = value.strip()
    return min(int(value[:10]), AGE_LIMIT) if value.isascii() and value.isdigit() else None
