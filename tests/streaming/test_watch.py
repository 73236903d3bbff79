"""What goes over a watched socket is noted and passed on unchanged."""

import json
from typing import Any

from trunkline.streaming.params import SeenMessage
from trunkline.streaming.session import MessageSink, SendBuffer
from trunkline.streaming.watch import KEPT, TEXT_LIMIT, StreamWatch


class Reader:
    def __init__(self) -> None:
        self.got: list[Any] = []

    def text(self, message: bytes | bytearray | memoryview, now: float) -> None:
        self.got.append((message, now))

    def binary(self, now: float) -> None:
        self.got.append(("binary", now))


class Sink(MessageSink):
    def __init__(self) -> None:
        super().__init__(SendBuffer(1.0, 10))
        self.got: list[Any] = []

    def media(self, message: bytes, at: int) -> None:
        self.got.append((message, at))

    def control(self, message: bytes) -> None:
        self.got.append(message)


def text(**message: Any) -> bytes:
    return json.dumps(message).encode()


def test_media_is_counted_and_all_else_kept() -> None:
    watch, reader, sink = StreamWatch(lambda: 7.0), Reader(), Sink()
    media, mark, played = text(event="media", media={"payload": "AAAA"}), text(event="mark"), text(event="mark", n=1)
    watched, through = watch.reader(reader), watch.sink(sink)
    for message in (media, mark, media):
        watched.text(message, 1.0)
    through.media(media, 20)
    through.control(played)
    assert reader.got == [(media, 1.0), (mark, 1.0), (media, 1.0)]
    assert sink.got == [(media, 20), played]
    assert through.outbox is sink.outbox
    assert (watch.media_received, watch.media_sent, watch.first_media_at) == (2, 1, 7.0)
    seen, clears, dropped = watch.take()
    assert seen == [
        SeenMessage(7.0, "received", "mark", mark.decode()),
        SeenMessage(7.0, "sent", "mark", played.decode()),
    ]
    assert (clears, dropped) == ([], 0)
    assert watch.take() == ([], [], 0)


def test_the_times_of_clear_are_noted() -> None:
    now = [1.0]
    watch = StreamWatch(lambda: now[0])
    watched = watch.reader(Reader())
    watched.text(text(event="clear"), 0.0)
    now[0] = 2.0
    watched.text(memoryview(text(event="clear")), 0.0)
    assert watch.take()[1] == [1.0, 2.0]


def test_what_is_no_message_is_noted_as_it_came() -> None:
    watch, reader = StreamWatch(lambda: 0.0), Reader()
    watched = watch.reader(reader)
    for garbage in (b"no JSON", b"[]", b"\xff", b'{"event": 3}'):
        watched.text(garbage, 0.0)
    watched.binary(3.0)
    assert reader.got[-1] == ("binary", 3.0)
    seen = watch.take()[0]
    assert [one.event for one in seen] == [""] * 5
    assert [one.text for one in seen] == ["no JSON", "[]", "\ufffd", '{"event": 3}', "(a binary frame)"]


def test_messages_are_bounded_in_number_and_size() -> None:
    watch = StreamWatch(lambda: 0.0)
    watched = watch.reader(Reader())
    for number in range(KEPT + 3):
        watched.text(text(event="mark", number=number, name="x" * 9000), 0.0)
    seen, _, dropped = watch.take()
    assert (len(seen), dropped) == (KEPT, 3)
    assert len(seen[0].text) == TEXT_LIMIT
    assert '"number": 3,' in seen[0].text
