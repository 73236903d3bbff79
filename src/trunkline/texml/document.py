"""TeXML text -> a document: a tuple of verbs, each a value. Pure (docs/reference/texml.md).

The family is a table, `_VERBS`: a row per element with its attributes, each with how it is read; an attribute's
default stands in the verb's dataclass and nowhere else. What Telnyx knows and we do not costs a warning, never the
call: an unknown element or attribute is skipped, a broken value gives way to its default and a number out of bounds to
the bound, and an element that means nothing without what it lacks (a `<Play>` without a URL) is skipped. Only what is
no TeXML at all is an error.

The text is untrusted: it is bounded, and DTDs, with them entities and everything outside the text, are
refused. Element and attribute names are case sensitive, as XML's are.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl, urljoin
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from trunkline.codecs import CODEC_TABLE, CODECS_WITH_RATES, RATES_FROM_APP, RATES_TO_APP, STREAM_CODECS
from trunkline.ids import plain_number
from trunkline.outbound.urls import URL_LIMIT, BadUrl, WebSocketUrl
from trunkline.streaming.params import BidirectionalMode, StreamParams, TargetLegs, Track
from trunkline.texml.ssml import speech
from trunkline.texml.verbs import (
    DIAL_RECORDS,
    Answer,
    Connect,
    Dial,
    DialTarget,
    Document,
    Gather,
    Hangup,
    Pause,
    Play,
    Record,
    Redirect,
    Reject,
    Say,
    Start,
    Stop,
    Verb,
)
from trunkline.webhooks.payloads import masked

SIZE_LIMIT = 65536
"""Bytes of a document (docs/reference/texml.md)."""
WARNING_LIMIT = 20
"""Warnings kept of one document."""
_NAME_LIMIT = 40
"""Characters of a name in a warning."""
_PLACE_LIMIT = 120
"""Characters of the document's URL in a warning."""
TARGET_LIMIT = 10
"""Numbers and SIP URIs of one `<Dial>`; more are skipped."""

_REFERENCE = re.compile(r"[\x21-\x7e]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SIP_URI = re.compile(r"sips?:[^\s@<>?]+(?:@[^\s@<>?]+)?", re.IGNORECASE)
_NUMBER = re.compile(r"\+?[0-9*#A-Za-z._-]{1,64}")
_PRESSED = re.compile(r"[0-9*#A-DwW]{1,100}")
_UNBOUND_PREFIX = 27
"""expat's code for a prefix that nothing declares."""
_PREFIX = re.compile(r"(?:</?|\s)(?!xml)([A-Za-z_][A-Za-z0-9_-]{0,30}):[A-Za-z_]")
_ROOT = re.compile(r"(<Response)(?=[\s/>])")
_HEADER = re.compile(r"[Xx]-[A-Za-z0-9.!%*_+`'~-]{1,60}")


class DocumentError(Exception):
    """It is no TeXML; the text says why, for people."""


class _OutOfBounds(ValueError):
    """A number; `bound` stands in for it."""

    def __init__(self, low: int, high: int, given: int) -> None:
        self.bound = low if given < low else high
        super().__init__(f"must be a number from {low} to {high}; {self.bound} was taken")


@dataclass(frozen=True, slots=True)
class _BareStream:
    """A stream that stands outside of `<Start>` and `<Connect>`."""

    stream: StreamParams


def parse(text: str, base: str | None = None) -> Document:
    """The document of a TeXML text, whatever encoding it declares. `base` is the URL from which it came. Raises
    DocumentError."""
    try:
        size = len(text.encode())
        if size > SIZE_LIMIT:
            raise DocumentError(f"the document has {size} bytes, more than {SIZE_LIMIT}")
        root, lines = _tree(text)
    except DefusedXmlException as error:
        raise DocumentError("the document has a DTD or entities") from error
    except (ParseError, ValueError, LookupError) as error:
        raise DocumentError(f"the document is not XML: {error}") from error
    if root.tag != "Response":
        raise DocumentError(f"the document's root is <{_short(root.tag)}>, not <Response>")
    parser = _Parser(base, lines)
    found = parser.children(root, _VERBS)
    verbs = (_documented(verb, last=place == len(found)) for place, verb in enumerate(found, 1))
    return Document(tuple(verbs), tuple(parser.warnings))


def _documented(verb: "Verb | _BareStream", *, last: bool) -> Verb:
    """The documented form of a stream that stands for itself. The last verb is connected: who ends a document with a
    stream wants to speak with its app, not to hang up."""
    if not isinstance(verb, _BareStream):
        return verb
    return Connect(verb.stream) if last else Start((verb.stream,))


def _tree(text: str) -> tuple[Element, "_LineKeeper"]:
    """The elements, and the comments: words on both sides of one are two words."""
    try:
        return _parsed(text)
    except ParseError as error:
        # Documents for Amazon Polly hold <amazon:effect> and its like, without declaring the prefix.
        if error.code != _UNBOUND_PREFIX:
            raise
        return _parsed(_with_prefixes(text))


class _LineKeeper(TreeBuilder):
    """Makes the tree, and notes where each element begins."""

    def __init__(self) -> None:
        super().__init__(insert_comments=True, insert_pis=True)
        self.here: Callable[[], int] = int
        self.of: dict[Element, int] = {}
        """Line of each element, from 1."""

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        """`TreeBuilder`'s call."""
        element = super().start(tag, attrs)
        self.of[element] = self.here()
        return element


def _parsed(text: str) -> tuple[Element, _LineKeeper]:
    lines = _LineKeeper()
    parser = DefusedXMLParser(target=lines, forbid_dtd=True)
    lines.here = lambda: parser.parser.CurrentLineNumber
    parser.feed(text)
    return parser.close(), lines


def _with_prefixes(text: str) -> str:
    """A text with all the prefixes of its names declared in its root."""
    declared = "".join(f' xmlns:{prefix}="urn:{prefix}"' for prefix in sorted(set(_PREFIX.findall(text))))
    return _ROOT.sub(rf"\1{declared}", text, count=1)


class _Parser:
    """Reads elements by a table, and keeps the warnings, each with its place."""

    def __init__(self, base: str | None, lines: _LineKeeper) -> None:
        self.base = base
        """The document's URL."""
        self.warnings: list[str] = []
        self._lines = lines.of
        self._line = 1
        self._place = "" if base is None else f"{masked(base)[:_PLACE_LIMIT]} "

    def warn(self, text: str) -> None:
        """What is wrong with the element that is being read."""
        if len(self.warnings) < WARNING_LIMIT:
            self.warnings.append(f"{self._place}line {self._line}: {text}")

    def children(self, element: Element, table: Mapping[str, "_VerbRow"]) -> list[Any]:
        """What the table makes of an element's children, less those it skips."""
        found = (self._read(child, table) for child in element if isinstance(child.tag, str))
        return [value for value in found if value is not None]

    def _read(self, element: Element, table: Mapping[str, "_VerbRow"]) -> Any:
        around, self._line = self._line, self._lines[element]
        try:
            return self._read_here(element, table)
        finally:
            self._line = around

    def _read_here(self, element: Element, table: Mapping[str, "_VerbRow"]) -> Any:
        row = table.get(element.tag)
        if row is None:
            meant = _meant(element.tag, table, "<{}>")
            self.warn(f"<{_short(element.tag)}> is not known here and was skipped{meant}")
            return None
        values: dict[str, Any] = {}
        for name, given in element.attrib.items():
            attribute = row.attributes.get(name)
            if attribute is None:
                meant = _meant(name, row.attributes, "{}")
                self.warn(f"<{element.tag} {_short(name)}> is not known and was skipped{meant}")
                continue
            where, read = attribute
            # The warnings do not show the value, which may be a secret.
            try:
                values[where] = read(given.strip())
            except _OutOfBounds as error:
                values[where] = error.bound
                self.warn(f"<{element.tag} {name}> {error}")
            except ValueError as error:
                self.warn(f"<{element.tag} {name}> {error}; the default was taken")
        try:
            return row.make(self, element, values)
        except ValueError as error:
            self.warn(f"<{element.tag}> {error}, and was skipped")
            return None


def _meant(name: str, known: Iterable[str], form: str) -> str:
    """A question for the known name that is most like one that is not known; empty when none is."""
    by_small = {one.lower(): one for one in known}
    near = get_close_matches(name.lower()[:_NAME_LIMIT], by_small, n=1, cutoff=0.7)
    return f"; did you mean {form.format(by_small[near[0]])}?" if near else ""


_Reader = Callable[[str], object]
_Make = Callable[[_Parser, Element, dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class _VerbRow:
    """One element. `make` raises ValueError for one that means nothing."""

    make: _Make
    attributes: Mapping[str, tuple[str, _Reader]]
    """Name -> field of the value, and how it is read; a reader raises ValueError."""


# ── how attributes are read ─────────────────────────────────────────────────────────────────────────────────


def _whole(low: int, high: int) -> _Reader:
    def read(given: str) -> object:
        if not (given.isascii() and given.isdigit() and len(given) <= 9):
            raise ValueError(f"must be a number from {low} to {high}")
        if not low <= int(given) <= high:
            raise _OutOfBounds(low, high, int(given))
        return int(given)

    return read


def _one_of(*known: str, make: Callable[[str], object] = str) -> _Reader:
    def read(given: str) -> object:
        if given not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        return make(given)

    return read


def _keys(allowed: str) -> _Reader:
    def read(given: str) -> object:
        if not set(given) <= set(allowed):
            raise ValueError(f"must consist of {allowed}")
        return given

    return read


def _text(limit: int) -> _Reader:
    def read(given: str) -> object:
        if len(given) > limit:
            raise ValueError(f"must be at most {limit} characters")
        return given

    return read


def _reference(given: str) -> str:
    """A URL, perhaps relative to the document's (RFC 3986 section 4.1)."""
    if len(given) > URL_LIMIT or not _REFERENCE.fullmatch(given):
        raise ValueError(f"must be a URL of at most {URL_LIMIT} characters")
    return given


def _pressed(given: str) -> str:
    if not _PRESSED.fullmatch(given):
        raise ValueError("must be keys, and w for waits")
    return given


def _caller(given: str) -> str:
    if not _NUMBER.fullmatch(given):
        raise ValueError("must be a number")
    return given


_METHOD = _one_of("GET", "POST")
_FLAG = _one_of("true", "false", make=lambda given: given == "true")
_LOOP = _whole(0, 1000)
_KEYS = "0123456789*#"
_ACTION = {"action": ("action", _reference), "method": ("method", _METHOD)}


# ── how elements are made ───────────────────────────────────────────────────────────────────────────────────


def _words(element: Element) -> str:
    """All text within, markup in it left out, white space as one space."""
    return " ".join("".join(element.itertext()).split())


def _short(text: str) -> str:
    return text if len(text) <= _NAME_LIMIT else text[:_NAME_LIMIT] + "…"


def _say(parser: _Parser, element: Element, values: dict[str, Any]) -> Say:
    text = speech(element, parser.warn)
    if not text:
        raise ValueError("has no text")
    return Say(text, **values)


def _play(_parser: _Parser, element: Element, values: dict[str, Any]) -> Play:
    return Play(**values) if "digits" in values else Play(_reference(_words(element)), **values)


def _plain(verb: Callable[..., Verb]) -> _Make:
    return lambda _parser, _element, values: verb(**values)


def _start(parser: _Parser, element: Element, _values: dict[str, Any]) -> Start:
    streams = parser.children(element, _STREAM)
    if not streams:
        raise ValueError("has no <Stream>")
    return Start(tuple(streams))


def _connect(parser: _Parser, element: Element, _values: dict[str, Any]) -> Connect:
    streams = parser.children(element, _STREAM)
    if not streams:
        raise ValueError("has no <Stream>")
    if len(streams) > 1:
        parser.warn("<Connect> has more than one <Stream>; the first was taken")
    return Connect(streams[0])


def _stop(parser: _Parser, element: Element, _values: dict[str, Any]) -> Stop:
    found = parser.children(element, _STOPPED)
    if not found:
        raise ValueError("has no <Stream>")
    return Stop(found[0].get("name") or None)


def _stream(parser: _Parser, element: Element, values: dict[str, Any]) -> StreamParams:
    reference = values.pop("url", "")
    if not reference:
        raise ValueError("has no url")
    url = _stream_url(reference, parser.base)
    _share_rate(parser, values)
    return StreamParams(url, **values, custom_parameters=dict(parser.children(element, _PARAMETER)))


def _stream_url(reference: str, base: str | None) -> WebSocketUrl:
    """A reference may be relative to the document's URL: `ws` if that is `http`, `wss` if it is `https`."""
    url = reference
    if not _SCHEME.match(reference):
        url = urljoin(base or "", reference)
        url = "ws" + url[4:] if url.startswith("http") else url
    try:
        return WebSocketUrl.parse(url)
    except BadUrl as error:
        raise ValueError(f"url must be a ws:// or wss:// URL, or relative to the document's: {error}") from error


def _share_rate(parser: _Parser, values: dict[str, Any]) -> None:
    """A rate that is given for one direction only holds for the other too, where the codec has rates (L16)."""
    rates = [values[way] for way in ("sampling_rate", "bidirectional_sampling_rate") if way in values]
    if len(rates) != 1:
        return
    if values.get("bidirectional_codec") in CODECS_WITH_RATES:
        values["bidirectional_sampling_rate"] = rates[0]
    if values.get("codec") in CODECS_WITH_RATES:
        if rates[0] in CODEC_TABLE[values["codec"]].sample_rates:
            values["sampling_rate"] = rates[0]
        else:
            parser.warn(f"<Stream codec> {values['codec']} has no rate of {rates[0]}; the default was taken")


def _bare_stream(parser: _Parser, element: Element, values: dict[str, Any]) -> _BareStream:
    """`<Stream>`, and `<StartStream>` with its attributes or around a `<Stream>`."""
    within = [] if "url" in values else parser.children(element, _STREAM)
    stream = within[0] if within else _stream(parser, element, values)
    parser.warn(
        f"<{element.tag}> outside of <Start> and <Connect> is not documented; write <Connect><Stream …/></Connect> to "
        "stay with the stream, as is done here where it is the last verb, or <Start><Stream …/></Start>"
    )
    return _BareStream(stream)


def _stop_stream(parser: _Parser, element: Element, values: dict[str, Any]) -> Stop:
    parser.warn("<StopStream> is not documented; write <Stop><Stream …/></Stop>")
    return _stop(parser, element, {}) if len(element) else Stop(values.get("name") or None)


def _answer(parser: _Parser, _element: Element, _values: dict[str, Any]) -> Answer:
    parser.warn("<Answer> is not documented and not needed; the first verb answers the call")
    return Answer()


def _parameter(_parser: _Parser, _element: Element, values: dict[str, Any]) -> tuple[str, str]:
    if not values.get("name"):
        raise ValueError("has no name")
    return values["name"], values.get("value", "")


def _gather(parser: _Parser, element: Element, values: dict[str, Any]) -> Gather:
    if values.pop("input", "dtmf") != "dtmf":
        parser.warn("<Gather> hears keys only, no speech")
    return Gather(tuple(parser.children(element, _PROMPTS)), **values)


def _dial(parser: _Parser, element: Element, values: dict[str, Any]) -> Dial:
    targets: list[DialTarget] = parser.children(element, _TARGETS)
    number = " ".join((element.text or "").split())
    if number:
        targets.insert(0, DialTarget("number", _called(number)))
    if not targets:
        raise ValueError("names no callee")
    if len(targets) > TARGET_LIMIT:
        parser.warn(f"<Dial> calls more than {TARGET_LIMIT}; the rest was skipped")
    return Dial(tuple(targets[:TARGET_LIMIT]), **values)


def _called(number: str) -> str:
    """A number without what people put between its digits; a phone's name, which may have dashes and dots."""
    return _caller(re.sub(r"[ ()]", "", plain_number(number, marked=True)))


def _number(_parser: _Parser, element: Element, values: dict[str, Any]) -> DialTarget:
    return DialTarget("number", _called(_words(element)), **values)


def _sip(parser: _Parser, element: Element, values: dict[str, Any]) -> DialTarget:
    uri, _, query = _words(element).partition("?")
    if len(uri) > URL_LIMIT or not _SIP_URI.fullmatch(uri):
        raise ValueError("must hold a sip: URI")
    headers = [(name, value) for name, value in parse_qsl(query, max_num_fields=100) if _HEADER.fullmatch(name)]
    sound = tuple((name, value) for name, value in headers if value.isprintable() and len(value) <= URL_LIMIT)
    return DialTarget("sip", uri, headers=sound, **values)


def _redirect(_parser: _Parser, element: Element, values: dict[str, Any]) -> Redirect:
    return Redirect(_reference(_words(element)), **values)


_CALLBACK = {
    "statusCallback": ("status_callback", _reference),
    "statusCallbackMethod": ("status_callback_method", _METHOD),
}
_TARGET = {
    **_CALLBACK,
    "statusCallbackEvent": ("status_callback_events", _text(100)),
    "sendDigits": ("send_digits", _pressed),
    "url": ("url", _reference),
    "method": ("method", _METHOD),
}

_STREAM: dict[str, _VerbRow] = {
    "Stream": _VerbRow(
        _stream,
        {
            **_CALLBACK,
            "url": ("url", _reference),
            "track": ("track", _one_of(*Track, make=Track)),
            "name": ("name", _text(255)),
            "codec": ("codec", _one_of("default", *STREAM_CODECS)),
            "bidirectionalMode": ("mode", _one_of(*BidirectionalMode, make=BidirectionalMode)),
            "bidirectionalCodec": ("bidirectional_codec", _one_of(*STREAM_CODECS)),
            "bidirectionalSamplingRate": (
                "bidirectional_sampling_rate",
                _one_of(*map(str, RATES_FROM_APP), make=int),
            ),
            "samplingRate": ("sampling_rate", _one_of(*map(str, RATES_TO_APP), make=int)),
            "l16Endian": ("l16_endian", _one_of("little", "big")),
            "bidirectionalTargetLegs": ("target_legs", _one_of(*TargetLegs, make=TargetLegs)),
            "enableReconnect": ("enable_reconnect", _FLAG),
            "capture": ("capture", _FLAG),
        },
    ),
}
_NAMED = _VerbRow(_parameter, {"name": ("name", _text(255)), "value": ("value", _text(4000))})
_PARAMETER = {"Parameter": _NAMED, "StreamParam": _NAMED}
_STOPPED = {"Stream": _VerbRow(lambda _parser, _element, values: values, {"name": ("name", _text(255))})}
_TARGETS = {
    "Number": _VerbRow(_number, _TARGET),
    "Sip": _VerbRow(_sip, {**_TARGET, "username": ("username", _text(255)), "password": ("password", _text(255))}),
}
_PROMPTS: dict[str, _VerbRow] = {
    "Say": _VerbRow(
        _say, {"voice": ("voice", _text(100)), "language": ("language", _text(35)), "loop": ("loop", _LOOP)}
    ),
    "Play": _VerbRow(_play, {"loop": ("loop", _LOOP), "digits": ("digits", _pressed)}),
    "Pause": _VerbRow(_plain(Pause), {"length": ("length", _whole(1, 180))}),
}
_VERBS: dict[str, _VerbRow] = {
    **_PROMPTS,
    "Start": _VerbRow(_start, {}),
    "Answer": _VerbRow(_answer, {}),
    "Stream": _VerbRow(_bare_stream, _STREAM["Stream"].attributes),
    "StartStream": _VerbRow(_bare_stream, {**_STREAM["Stream"].attributes, "destination": ("url", _reference)}),
    "StopStream": _VerbRow(_stop_stream, _STOPPED["Stream"].attributes),
    "Connect": _VerbRow(_connect, {}),
    "Stop": _VerbRow(_stop, {}),
    "Gather": _VerbRow(
        _gather,
        {
            **_ACTION,
            "input": ("input", _text(100)),
            "timeout": ("timeout", _whole(1, 120)),
            "finishOnKey": ("finish_on", _keys(_KEYS)),
            "numDigits": ("max_digits", _whole(1, 128)),
            "maxDigits": ("max_digits", _whole(1, 128)),
            "validDigits": ("valid", _keys(_KEYS + "ABCD")),
        },
    ),
    "Dial": _VerbRow(
        _dial,
        {
            **_ACTION,
            "timeout": ("timeout", _whole(1, 600)),
            "timeLimit": ("time_limit", _whole(1, 14400)),
            "callerId": ("caller_id", _caller),
            "fromDisplayName": ("caller_name", _text(128)),
            "answerOnBridge": ("answer_on_bridge", _FLAG),
            "hangupOnStar": ("hangup_on_star", _FLAG),
            "record": ("record", _one_of(*DIAL_RECORDS)),
            "recordingStatusCallback": ("recording_callback", _reference),
            "recordingStatusCallbackMethod": ("recording_callback_method", _METHOD),
            "recordingStatusCallbackEvent": ("recording_callback_events", _text(100)),
        },
    ),
    "Record": _VerbRow(
        _plain(Record),
        {
            **_ACTION,
            "timeout": ("timeout", _whole(0, 14400)),
            "maxLength": ("max_length", _whole(0, 14400)),
            "finishOnKey": ("finish_on", _keys(_KEYS)),
            "playBeep": ("play_beep", _FLAG),
            "channels": ("channels", _one_of("single", "dual", make=lambda given: 1 if given == "single" else 2)),
            "recordingStatusCallback": ("status_callback", _reference),
            "recordingStatusCallbackMethod": ("status_callback_method", _METHOD),
        },
    ),
    "Redirect": _VerbRow(_redirect, {"method": ("method", _METHOD)}),
    "Reject": _VerbRow(_plain(Reject), {"reason": ("reason", _one_of("rejected", "busy"))}),
    "Hangup": _VerbRow(_plain(Hangup), {}),
}
"""The verbs of a `<Response>`, attributes and defaults as Telnyx documents them (docs/reference/texml.md)."""
