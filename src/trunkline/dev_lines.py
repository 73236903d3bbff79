"""What `trunkline dev` shows: its first words, and a short line for each fact of a call. Pure.

A line is made from an event of the log (docs/operations/log.md); what a developer at a bot has no use for has none.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WIDTH = 80
_INDENT = 10
"""Columns of the time and the spaces behind it."""
_CALLS = {
    "call_received": "call from {from_} to {to}",
    "call_placed": "call to {to} is placed",
    "call_answered": "answered, {codec}",
    "call_ended": "over: {status}{because}",
    "stream_started": "the bot is connected",
    "stream_stopped": "the stream has ended{because}",
    "stream_error": "the stream has failed{because}",
    "stream_reconnecting": "the bot cannot be reached{because}; tried again for {window} s",
    "stream_reconnected": "the bot is reached again",
    "stream_frames_dropped": "the bot reads too slowly: its oldest audio is dropped",
    "texml_warning": "TeXML{because}",
    "texml_stream_refused": "<Stream> has no effect{because}",
    "texml_fetch_failed": "the document could not be fetched{because}",
    "playback_failed": "<Play> or <Say> has no effect{because}",
}
"""Events of a call, and what they say behind its number."""
_OTHERS = {
    "call_refused": "a call from {from_} to {to} was refused{because}",
    "sip_request_rejected": "a SIP request from {source} was refused{because}",
    "say_unavailable": "<Say> is skipped in documents: {program} is not installed",
    "packet_path_not_compiled": "{reason}",
}
_SILENT = frozenset({"decoder_not_confined", "public_url_not_set"})
"""Warnings for who runs servers."""
_WITH_THE_CALL = "the call ended"
"""How the reason of a stream begins that ends with its call, which has a line."""
_KEPT = 1000
"""Calls whose numbers are kept; then the oldest is forgotten."""
_FAILED = frozenset({"failed", "busy", "no-answer"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where `trunkline dev` runs."""

    bot: str
    """The WebSocket, or the URL of a document."""
    base: str
    """Of the API, without a path."""
    sip: str
    """As `host:port`."""
    console: str | None
    """With a token for one login; None: there is no console."""
    moved: tuple[str, ...]
    """Ports that others have, in words."""
    directory: str | None
    """Of a store that is kept."""
    env: str
    """The command for a second terminal."""
    command: str
    """How `trunkline` is called here."""


def greeting(place: Place, version: str) -> list[str]:
    """The first lines: what there is, and what to do next."""
    console = [f"  Console   {place.console}"] if place.console else []
    kept = (
        f"The store stays in {place.directory}."
        if place.directory
        else "Nothing is kept; --store.directory DIR keeps it."
    )
    return [
        f"Trunkline {version}: every call goes to {place.bot}",
        "",
        *(f"  {line}" for line in place.moved),
        *([""] if place.moved else []),
        *console,
        f"  Call it   {place.command} call +13125550123",
        f"            or from a SIP phone on this machine: sip:bot@{place.sip}",
        f"  API       {place.base}/v2, described at {place.base}/docs",
        "",
        "In a second terminal:",
        "",
        f'  eval "$({place.env})"',
        '  curl -s "$TELNYX_BASE_URL/texml/Accounts/$TRUNKLINE_ACCOUNT_SID/Calls" \\',
        '    -H "Authorization: Bearer $TELNYX_API_KEY"',
        "",
        f"{kept} Ctrl-C ends it.",
        "",
    ]


class Lines:
    """Makes lines of events. `window`: seconds for which a bot is tried again."""

    def __init__(self, window: float, command: str) -> None:
        self._window, self._command = window, command
        self._numbers: dict[str, int] = {}
        """Of the last calls, by their sids."""
        self._last = 0
        self._troubled: set[str] = set()
        """Calls that are up with a bot that is not reached."""

    def line(self, event: Mapping[str, Any], clock: str) -> str:
        """The text for an event, `clock` (HH:MM:SS) before it; empty if there is none. Lines of at most 80 columns, but
        for words that are longer."""
        name, sid = str(event.get("event")), str(event.get("call_sid", ""))
        if name == "stream_stopped" and event.get("reason", "").startswith(_WITH_THE_CALL):
            return ""
        words = self._words(name, event)
        if not words:
            return ""
        return filled(f"{clock}  {self._about(name, sid)}{words}") + self._next(name, event, sid)

    def _words(self, name: str, event: Mapping[str, Any]) -> str:
        reason = event.get("reason")
        known = {key: str(value) for key, value in event.items()}
        known |= {"because": f": {reason}" if reason else "", "window": f"{self._window:g}"}
        template = _CALLS.get(name) or _OTHERS.get(name)
        if template is not None:
            try:
                return template.format_map(known)
            except KeyError:
                pass  # the event lacks a key: its own words then
        if name in _SILENT or event.get("level") not in ("warning", "error", "critical"):
            return ""
        words = name.replace("_", " ")
        return f"{words}: {reason}" if reason else words

    def _about(self, name: str, sid: str) -> str:
        if not sid:
            return "! " if name not in _CALLS else ""
        if sid not in self._numbers:
            self._last += 1
            self._numbers[sid] = self._last
            if len(self._numbers) > _KEPT:
                del self._numbers[next(iter(self._numbers))]
        return f"[{self._numbers[sid]}] "

    def _next(self, name: str, event: Mapping[str, Any], sid: str) -> str:
        """A line to go on with."""
        indent = "\n" + " " * _INDENT
        if name in ("call_received", "call_placed"):
            return f"{indent}{sid}"
        if name in ("stream_error", "stream_reconnecting"):
            self._troubled.add(sid)
        if name in ("stream_started", "stream_reconnected"):
            self._troubled.discard(sid)
        if name != "call_ended":
            return ""
        troubled = sid in self._troubled or event.get("status") in _FAILED
        self._troubled.discard(sid)
        return f"{indent}{self._command} why {sid}" if troubled else ""


def filled(text: str) -> str:
    """A text in lines of 80 columns, which begin where the words of the first do. Words stay whole."""
    return textwrap.fill(text, WIDTH, subsequent_indent=" " * _INDENT, break_long_words=False, break_on_hyphens=False)
