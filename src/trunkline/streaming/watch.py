"""What goes over the WebSocket of a stream, for those who watch the call. Pure, and off the packet path: the reader and
the sink of a stream that is not watched are the stream and the socket themselves.

`media` messages are counted, all others kept as text until the owner takes them, ten times a second.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from trunkline.streaming.params import SeenMessage
from trunkline.streaming.session import MessageSink
from trunkline.streaming.socket import MessageReader

KEPT = 100
"""Messages between two looks; of more the oldest are dropped and counted."""
TEXT_LIMIT = 2000
"""Characters of a message that are kept."""


class _Head(msgspec.Struct):
    event: str = ""


_decode = msgspec.json.Decoder(_Head).decode


class StreamWatch:
    """What one stream's socket carried; `clock` in seconds, monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.media_sent = 0
        """`media` messages to the app since it is watched."""
        self.media_received = 0
        self.first_media_at: float | None = None
        """When the app's first `media` came since it is watched."""
        self.dropped = 0
        """Messages that were not kept, since the last look."""
        self._seen: list[SeenMessage] = []
        self._clears: list[float] = []

    def reader(self, reader: MessageReader) -> "WatchedReader":
        """In place of a reader."""
        return WatchedReader(reader, self)

    def sink(self, sink: MessageSink) -> "WatchedSink":
        """In place of a sink."""
        return WatchedSink(sink, self)

    def received(self, message: bytes | bytearray | memoryview) -> None:
        """A text message of the app."""
        try:
            event = _decode(message).event
        except msgspec.DecodeError:
            event = ""
        if event == "media":
            self.media_received += 1
            if self.first_media_at is None:
                self.first_media_at = self._clock()
            return
        if event == "clear":
            self._clears.append(self._clock())
            del self._clears[:-KEPT]
        self._note("received", event, bytes(message[: TEXT_LIMIT * 4]).decode(errors="replace"))

    def received_binary(self) -> None:
        """A binary message of the app."""
        self._note("received", "", "(a binary frame)")

    def sent(self, message: bytes) -> None:
        """A message to the app that is not `media`."""
        self._note("sent", _decode(message).event, message.decode())

    def _note(self, direction: Literal["received", "sent"], event: str, text: str) -> None:
        self._seen.append(SeenMessage(self._clock(), direction, event[:40], text[:TEXT_LIMIT]))
        if len(self._seen) > KEPT:
            del self._seen[0]
            self.dropped += 1

    def take(self) -> tuple[list[SeenMessage], list[float], int]:
        """The messages since the last look, the times of the `clear` among them, and how many were dropped."""
        seen, self._seen = self._seen, []
        clears, self._clears = self._clears, []
        dropped, self.dropped = self.dropped, 0
        return seen, clears, dropped


class WatchedReader:
    """A `MessageReader` that notes what it passes on."""

    def __init__(self, reader: MessageReader, watch: StreamWatch) -> None:
        self._reader = reader
        self._watch = watch

    def text(self, message: bytes | bytearray | memoryview, now: float) -> None:
        """See `MessageReader`."""
        self._watch.received(message)
        self._reader.text(message, now)

    def binary(self, now: float) -> None:
        """See `MessageReader`."""
        self._watch.received_binary()
        self._reader.binary(now)


class WatchedSink(MessageSink):
    """A sink that notes what it passes on."""

    def __init__(self, sink: MessageSink, watch: StreamWatch) -> None:
        super().__init__(sink.outbox)
        self._sink = sink
        self._watch = watch

    def media(self, message: bytes, at: int) -> None:
        """See `MessageSink`."""
        self._watch.media_sent += 1
        self._sink.media(message, at)

    def control(self, message: bytes) -> None:
        """See `MessageSink`."""
        self._watch.sent(message)
        self._sink.control(message)
