"""What the proxy shows."""

from trunkline.apps import wire
from trunkline.apps.traffic import TO_BOT, TO_SERVER, Traffic, line

HIDDEN = '{"event": "a", "b": {"x-telnyx-streaming-auth-token": "..."}}'


def test_audio_is_counted_and_shown_once_a_second() -> None:
    traffic = Traffic(10.0)
    shown = [traffic.text(TO_BOT, wire.media(bytes(160)), 10 + number / 50) for number in range(60)]
    shown += [traffic.text(TO_SERVER, wire.media(bytes(size)), 11.5) for size in (100, 4000)]
    assert [note.fields["text"] for notes in shown for note in notes] == ["51 messages, 8160 bytes, 160 each"]
    rest = traffic.media(12.1)
    assert [(note.event, note.fields["text"]) for note in rest] == [
        (TO_BOT, "9 messages, 1440 bytes, 160 each"),
        (TO_SERVER, "2 messages, 4100 bytes, 100-4000 each"),
    ]


def test_other_messages_have_a_line_each_behind_the_audio_before_them() -> None:
    traffic = Traffic(0.0)
    traffic.text(TO_BOT, wire.media(bytes(160)), 0.1)
    notes = traffic.text(TO_SERVER, wire.clear(), 0.2)
    assert [line(note) for note in notes] == [
        "   0.200  -> bot  media      1 messages, 160 bytes, 160 each",
        '   0.200  <- bot  clear      {"event": "clear"}',
    ]


def test_what_is_no_message_is_shown_as_what_it_is() -> None:
    traffic = Traffic(0.0)
    [text] = traffic.text(TO_SERVER, "x" * 500, 0)
    [binary] = traffic.binary(TO_SERVER, 160, 0)
    [closed] = traffic.closed(TO_SERVER, None, "", 0)
    assert "not a JSON object" in line(text)
    assert "160 bytes" in line(binary)
    assert "no code" in line(closed)
    assert max(map(len, map(line, (text, binary, closed)))) <= 80


def test_the_auth_token_is_not_shown() -> None:
    message = '{"event": "connected", "connected": {"x-telnyx-streaming-auth-token": "secret"}}'
    [note] = Traffic(0.0).text(TO_BOT, message, 0)
    assert "secret" not in str(note)


def test_audio_of_one_direction_alone_has_one_line() -> None:
    traffic = Traffic(0.0)
    for size in (160, 80, 240):
        traffic.text(TO_SERVER, wire.media(bytes(size)), 0.5)
    assert traffic.media(0.999) == []
    [note] = traffic.media(1.0)
    assert note.fields == {"kind": "media", "seconds": 1.0, "text": "3 messages, 480 bytes, 80-240 each"}
    assert traffic.media(5.0) == []
    assert traffic.text(TO_SERVER, wire.media(bytes(20)), 5.5) == []
    [again] = traffic.text(TO_SERVER, wire.media(bytes(20)), 6.0)
    assert again.fields["text"] == "2 messages, 40 bytes, 20 each"


def test_each_kind_of_line_has_its_words() -> None:
    traffic = Traffic(1.0)
    for notes, kind, words in (
        (traffic.text(TO_BOT, "x" * 50, 1.5), "?", f"not a JSON object: {'x' * 40!r}"),
        (traffic.binary(TO_BOT, 3, 1.5), "binary", "3 bytes; messages are JSON in text frames"),
        (traffic.closed(TO_BOT, 1001, "gone", 1.5), "close", "1001 gone"),
        (traffic.closed(TO_BOT, None, "", 1.5), "close", "no code"),
        (traffic.text(TO_BOT, '{"event": "a", "b": {"x-telnyx-streaming-auth-token": 1}}', 1.5), "a", HIDDEN),
    ):
        assert [(note.event, note.fields) for note in notes] == [
            (TO_BOT, {"kind": kind, "seconds": 0.5, "text": words})
        ]
