"""The characters of a TeXML answer: by its byte order mark, else its Content-Type, else its XML declaration, else UTF-8
(RFC 7303 section 3). Pure."""

import codecs
import re
from email.message import Message

from trunkline.texml.document import DocumentError

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF16_LE, "utf-16-le"))
_DECLARED = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["']""")
_BARE = ((b"\0<\0", "utf-16-be"), (b"<\0", "utf-16-le"))
"""How UTF-16 without a mark begins (XML 1.0 appendix F)."""
_AS = {"ascii": "utf-8"}
"""The one is a part of the other."""
_NO_CHARSETS = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"}
"""Python has codecs of these names, which are no character sets."""


def text_of(body: bytes, content_type: str) -> str:
    """The text. Raises DocumentError where the bytes are not what they are said to be."""
    for mark, name in _MARKS:
        if body.startswith(mark):
            return _decoded(body[len(mark) :], name)
    name = _known(_parameter(content_type)) or _by_content(body)
    return _decoded(body, _bare(body) or "utf-16-be" if name == "utf-16" else name)


def _bare(body: bytes) -> str | None:
    return next((name for begin, name in _BARE if body.startswith(begin)), None)


def _by_content(body: bytes) -> str:
    if (bare := _bare(body)) is not None:
        return bare
    declared = _DECLARED.match(body[:1024])
    name = declared[1].decode() if declared else "utf-8"
    known = _known(name)
    if known is None:
        raise DocumentError(f"the document is in an unknown encoding, {name[:40]!r}")
    # The declaration was read as ASCII, so it cannot be that.
    return "utf-8" if known.startswith(("utf-16", "utf-32")) else known


def _parameter(content_type: str) -> str:
    message = Message()
    message["Content-Type"] = content_type
    found = message.get_param("charset", "")
    return found if isinstance(found, str) else found[2]


def _known(name: str) -> str | None:
    """A codec for text, by its name; None for an unknown name, which counts as no name."""
    try:
        known = codecs.lookup(name.strip()).name
        b"<".decode(known, "ignore")  # which Python's codecs for other things than text refuse
    except (LookupError, ValueError):
        return None
    return None if known in _NO_CHARSETS else _AS.get(known, known)


def _decoded(body: bytes, name: str) -> str:
    try:
        text = body.decode(name)
    except ValueError as error:
        raise DocumentError(f"the document is not {name}: {error}") from error
    return text.removeprefix("\ufeff")
