"""Paths, tolerant as clients need them: with and without `.json`, percent-encoded (`v3%3A…`), a trailing slash.

One spelling is left for the router: segments percent-encoded alike, no suffix, no trailing slash. A segment is
decoded only when the router has cut the path, once; so a stream's name may hold any character, a slash included.
"""

import re
from urllib.parse import quote, unquote_to_bytes

from trunkline.errors import ResourceNotFound

_ABSOLUTE = re.compile(rb"https?://[^/]*", re.IGNORECASE)


def canonical(raw_path: bytes, prefix: str) -> str:
    """The path that the router sees, from the path as it was sent. The suffix `.json` goes only below `prefix`.

    A target in absolute form, as clients send it to a proxy, means its path here (RFC 9112 section 3.2.2).
    """
    absolute = _ABSOLUTE.match(raw_path)
    path_sent = raw_path[absolute.end() :] or b"/" if absolute else raw_path
    segments = [quote(unquote_to_bytes(segment), safe="") for segment in path_sent.split(b"/")]
    if len(segments) > 2 and not segments[-1]:
        segments.pop()
    path = "/".join(segments)
    return path.removesuffix(".json") if path.startswith(f"{prefix}/") else path


def decode(segment: str) -> str:
    """A parameter of the path as it was meant. Raises ResourceNotFound for what can name no resource."""
    try:
        text = unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError:
        raise ResourceNotFound() from None
    # No resource is named so, and not every database can be asked.
    if "\0" in text:
        raise ResourceNotFound()
    return text
