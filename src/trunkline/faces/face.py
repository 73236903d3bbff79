"""What a face consists of: the table that makes the server speak one public dialect.

    face.ids          how calls and streams are named
    face.rest         operations with fields, answers and errors  (faces/<face>/operations, fields, resources, errors)
    face.callbacks    what status callbacks say                   (faces/<face>/callbacks.py)
    face.signature    the headers that sign requests to customers (webhooks/signing.py)
    face.wire         the messages of the WebSocket               (streaming/messages.py)
    face.document     the language of instructions                (texml/document.py)

Calls, media, playback, recordings and `why` know no face. A face is chosen by `server.py` and handed down part by part.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from trunkline.api.operation import RestFace
from trunkline.ids import CallSid, StreamSid
from trunkline.streaming.params import StreamIdentity, StreamParams
from trunkline.texml.verbs import Document
from trunkline.webhooks.payloads import CallbackFace
from trunkline.webhooks.signing import Signer


@dataclass(frozen=True, slots=True)
class Ids:
    """How a face names things. Each function takes random bytes."""

    call: Callable[[bytes], CallSid]
    call_bytes: int
    """How many bytes a call sid takes."""
    stream: Callable[[bytes], StreamSid]
    """From 16 bytes."""


class Wire(Protocol):
    """The messages of the WebSocket to the app, as JSON texts, in the face's vocabulary."""

    def connected(self, auth_token: str | None) -> bytes:
        """The first message."""

    def start(
        self, identity: StreamIdentity, params: StreamParams, encoding: str, sequence: int, *, extensions: bool
    ) -> bytes:
        """What the stream is."""

    def media_prefix(self, stream_id: str, track: str) -> bytes:
        """The part of each `media` message that is prepared once per stream (`speedups.encode_media`)."""

    def dtmf(self, stream_id: str, sequence: int, digit: str, occurred_at: datetime) -> bytes:
        """A key that the peer pressed."""

    def mark(self, stream_id: str, sequence: int, name: bytes, extras: dict[str, Any] | None = None) -> bytes:
        """A mark of the app's that was reached."""

    def stop(self, identity: StreamIdentity, sequence: int) -> bytes:
        """The last message."""


@dataclass(frozen=True, slots=True)
class Face:
    """One dialect, whole."""

    name: str
    ids: Ids
    rest: RestFace
    callbacks: CallbackFace
    signature: Callable[[Signer, str, bytes], list[tuple[str, str]]]
    """Headers from the key, the Unix time in decimal digits and the raw body."""
    wire: Wire
    document: Callable[[str | bytes], Document]
    """Reads a document. Raises what `texml.document.parse` raises."""
