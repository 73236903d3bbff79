"""The content of a `<Say>` -> the text that the speaker gets: SSML (W3C Speech Synthesis Markup Language 1.1). Pure.

What espeak-ng can do of the markup is kept; of the rest the words are spoken and a warning says what was left out. The
family is a table, `_ELEMENTS`: a row per element that is kept. Words on both sides of an element are always two words:
SDKs write `<Say>one<break time="1s"/>two</Say>` without a space.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape, quoteattr

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

TEXT_LIMIT = 3000
"""Characters of one `<Say>`, as Telnyx bounds its speak command; the rest is cut off."""
PAUSE_LIMIT = 10_000
"""Milliseconds of one `<break>`, as Amazon Polly bounds it."""
PAUSES_LIMIT = 120_000
"""Milliseconds of all `<break time>` of one `<Say>`: some bytes of text must not become gigabytes of silence."""
DEPTH_LIMIT = 16
"""Elements within each other; of deeper ones only the words are spoken."""

Warn = Callable[[str], None]
_Reader = Callable[["_Writer", Mapping[str, str]], tuple[str, Mapping[str, str]]]
"""The attributes given, by their names without namespace -> the element for the speaker, its attributes."""

_TIME = re.compile(r"\+?(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})(ms|s)")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_RATE = re.compile(r"x-slow|slow|medium|fast|x-fast|default|[+-]?\d{1,3}(\.\d{1,3})?%|\d(\.\d{1,3})?")
_PITCH = re.compile(r"x-low|low|medium|high|x-high|default|[+-]?\d{1,3}(\.\d{1,3})?(%|st|Hz)")
_VOLUME = re.compile(r"silent|x-soft|soft|medium|loud|x-loud|default")
_SAID_AS = {
    "characters": "characters",
    "spell-out": "characters",
    "verbatim": "characters",
    "digits": "tts:digits",
    "telephone": "telephone",
    "cardinal": "number",
    "number": "number",
}
"""`interpret-as` of the services whose documents come here -> what espeak-ng calls it."""


def speech(element: Element, warn: Warn) -> str:
    """The content of a `<Say>` as SSML without its root, empty if there is nothing to say.

    A text that is itself a whole `<speak>` document, escaped or in CDATA, counts as its markup.
    """
    writer = _Writer(warn)
    writer.write(_inner_document(element) or element)
    return writer.text()


def _inner_document(element: Element) -> Element | None:
    text = (element.text or "").strip()
    if len(element) or not (text.startswith("<speak") and text.endswith("</speak>")):
        return None
    try:
        inner: Element = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError):
        return None
    return inner


class _Writer:
    """Collects the pieces of one text, within the bounds."""

    def __init__(self, warn: Warn) -> None:
        self.warn = warn
        self._pieces: list[str] = []
        self._left = TEXT_LIMIT
        self._silence = PAUSES_LIMIT
        self._heard = False

    def text(self) -> str:
        """What was written; empty where no word and no pause is in it."""
        return " ".join(self._pieces) if self._heard else ""

    def write(self, root: Element) -> None:
        """Everything within an element."""
        self._words(root.text)
        # A stack of our own: a document may nest deeper than Python calls.
        open_elements = [("", iter(root), "")]
        while open_elements:
            close, children, tail = open_elements[-1]
            child = next(children, None)
            if child is None:
                self._pieces += [close] if close else []
                self._words(tail)
                open_elements.pop()
            elif not isinstance(child.tag, str):  # a comment, or a processing instruction
                self._words(child.tail)
            else:
                open_elements.append(self._open(child, len(open_elements)))

    def _open(self, element: Element, depth: int) -> tuple[str, Iterator[Element], str]:
        """Begin an element: what closes it, its children, the text behind it."""
        name = _local(element.tag)
        read = _ELEMENTS.get(name)
        close, tail = "", element.tail or ""
        if read is None:
            self.warn(f"<{name}> in <Say> is not known to the voice; its words are spoken")
        elif depth > DEPTH_LIMIT:
            self.warn(f"<Say> has elements in more than {DEPTH_LIMIT} levels; of deeper ones the words are spoken")
        else:
            kept, attributes = read(self, {_local(key): value.strip() for key, value in element.attrib.items()})
            given = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
            if kept in _INSTEAD_OF_CONTENT:
                self._pieces.append(f"<{kept}{given}>{escape(_plain(element))}</{kept}>")
                self._heard = True
                return "", iter(()), tail
            if kept == "break":  # empty, as the speaker knows it; words within follow it
                self._pieces.append(f"<break{given}/>")
            elif kept:
                self._pieces.append(f"<{kept}{given}>")
                close = f"</{kept}>"
        self._words(element.text)
        return close, iter(element), tail

    def _words(self, text: str | None) -> None:
        words = " ".join((text or "").split())
        if not words:
            return
        if len(words) > self._left:
            if self._left >= 0:
                self.warn(f"<Say> has more than {TEXT_LIMIT} characters; the rest was cut off")
            words, self._left = words[: max(self._left, 0)], -1
        else:
            self._left -= len(words)
        if words:
            self._pieces.append(escape(words))
            self._heard = True

    def pause(self, milliseconds: int) -> int:
        """So much of a pause as the bounds leave."""
        granted = min(milliseconds, PAUSE_LIMIT, self._silence)
        if granted < milliseconds:
            self.warn(
                f"<break> in <Say> lasts {PAUSE_LIMIT} ms at most, all together {PAUSES_LIMIT} ms; it was shortened"
            )
        self._silence -= granted
        self._heard = True
        return granted


def _local(name: str) -> str:
    return name.rpartition("}")[2][:40]


def _plain(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


# ── how elements are read ───────────────────────────────────────────────────────────────────────────────────


def _as_is(_writer: _Writer, _given: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    return "", {}


def _paragraph(_writer: _Writer, _given: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    return "p", {}


def _sentence(_writer: _Writer, _given: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    return "s", {}


def _break(writer: _Writer, given: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    time, strength = given.get("time", ""), given.get("strength", "")
    found = _TIME.fullmatch(time)
    if found:
        asked = float(found[1]) * (1000 if found[2] == "s" else 1)
        # espeak-ng reads "0.5s" as no pause at all.
        return "break", {"time": f"{writer.pause(round(asked))}ms"}
    if time:
        writer.warn("<break time> in <Say> must be a time like 500ms or 2s; a short pause was taken")
    known = strength in ("none", "x-weak", "weak", "medium", "strong", "x-strong")
    if strength and not known:
        writer.warn("<break strength> in <Say> is not known; a short pause was taken")
    writer.pause(0)
    return "break", {"strength": strength} if known else {}


def _emphasis(writer: _Writer, given: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    level = given.get("level", "moderate")
    if level not in ("strong", "moderate", "none", "reduced"):
        writer.warn("<emphasis level> in <Say> is not known; moderate was taken")
        level = "moderate"
    return "emphasis", {"level": level}


def _prosody(writer: _Writer, given: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    kept = {}
    for name, pattern in (("rate", _RATE), ("pitch", _PITCH), ("volume", _VOLUME)):
        value = given.get(name, "")
        if pattern.fullmatch(value):
            kept[name] = value
        elif value:
            writer.warn(f"<prosody {name}> in <Say> has a value that the voice does not know; it was skipped")
    return "prosody", kept


def _say_as(writer: _Writer, given: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    meant = given.get("interpret-as", "")
    known = _SAID_AS.get(meant)
    if known is None:
        writer.warn("<say-as> in <Say>: the voice does not know this interpret-as; its text is read as it stands")
        return "", {}
    return "say-as", {"interpret-as": known}


def _sub(writer: _Writer, given: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    alias = " ".join(given.get("alias", "").split())
    if not alias:
        writer.warn("<sub> in <Say> has no alias; its text is read as it stands")
        return "", {}
    return "sub", {"alias": alias[:TEXT_LIMIT]}


def _language(writer: _Writer, given: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    language = given.get("lang", "")
    if not _LANGUAGE.fullmatch(language):
        writer.warn("<lang> in <Say> names no language; its text is read as it stands")
        return "", {}
    # espeak-ng takes the language of a `<voice>`, and of nothing else within a sentence.
    return "voice", {"xml:lang": language.lower()}


_INSTEAD_OF_CONTENT = ("sub",)
"""Elements whose attribute is spoken and whose content is not."""
_ELEMENTS: Mapping[str, _Reader] = {
    "speak": _as_is,
    "p": _paragraph,
    "s": _sentence,
    "break": _break,
    "emphasis": _emphasis,
    "prosody": _prosody,
    "say-as": _say_as,
    "sub": _sub,
    "lang": _language,
}
