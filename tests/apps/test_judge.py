"""Judgements that need no socket; those of whole bots are in test_check.py."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from apps.test_trace import WORDS, heard
from trunkline.apps import judge
from trunkline.apps.items import Item, Verdict
from trunkline.apps.judge import Interruption
from trunkline.apps.speech import babble
from trunkline.apps.trace import Closed, Played, Received, Sent, Trace
from trunkline.streaming import messages
from trunkline.streaming.messages import Clear, Mark

INTERRUPTED = Interruption(1000, 3000, 0, 2000)
PENDING = Interruption(1000, 3000, 2, 2000)
FRAME = bytes(160)
SPEECH = b"".join(WORDS) * 3
PCM = babble(2000)
"""16-bit, at 8000 Hz."""
FAST = [WORDS[8][:160].ljust(480, WORDS[8][:1])] * 100
"""Of 24000 Hz, where 8000 are wanted."""
WAV_HEADER = b"RIFF" + bytes(4) + b"WAVEfmt " + bytes(28)
OK, ACCEPTED, SKIPPED, MISSED, VIOLATION = Verdict


def trace(**fields: Any) -> Trace:
    """One without audio."""
    return Trace("PCMU", "PCMU", **fields)


def trace_of(*texts: str) -> Trace:
    """A bot that sent these."""
    return trace(received=[Received(0.1, messages.decode(text.encode()), 0) for text in texts])


def refused(code: int, **fields: Any) -> Trace:
    """A bot that was answered with an error."""
    return heard(FRAME, sent=[Sent(0.2, "error", {"payload": {"code": code, "detail": "too much"}})], **fields)


def closed(code: int | None, by_bot: bool = True, closing: float | None = None, *said: bytes, **fields: Any) -> Trace:
    """A socket that ended after a second."""
    return heard(*said, closed=Closed(1.0, code, "", by_bot), closing=closing, **fields)


def cleared(*at: float, leg_ms: int | None = None) -> Trace:
    """A bot that sent `clear` at these seconds."""
    return trace(received=[Received(one, Clear(), 0, leg_ms) for one in at])


def speaking(*marks: bytes, until: int = 3000) -> Trace:
    """A bot that was heard until so many milliseconds, and one of whose marks came back."""
    return trace(
        received=[Received(0.1, Mark(mark), 0) for mark in marks],
        played=[Played(at, b"", at < until) for at in range(0, 3000, 20)],
        sent=[Sent(0.3, "mark", {}), Sent(0.4, "stop", {})],
    )


def gone(pending: int, by_bot: bool = True, queued_ms: int = 1000) -> Trace:
    """A bot that closed behind its audio and a mark."""
    found = closed(1000, by_bot, None, SPEECH, queued_ms=queued_ms, marks_pending=pending)
    found.received.append(Received(0.1, Mark(b'"end"'), 0))
    return found


def frames_of(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


CASES: dict[Callable[..., Item], list[tuple[tuple[Any, ...], Verdict, str, str, str]]] = {
    judge.messages: [
        (
            (trace(received=[Received(0, 320, 0), Received(0, 100, 0)]),),
            VIOLATION,
            "2 binary frames, the first of 320 bytes; each is refused with error 100003.",
            "binary_frames",
            'Send text frames: {"event": "media", "media": {"payload": "<base64 of the audio>"}}.',
        ),
        (
            (trace_of('{"event": "playAudio"}', '{"event": "playAudio"}'),),
            VIOLATION,
            "2 messages: unknown event 'playAudio'; known are media, mark, clear.",
            "unknown_event",
            'Audio is sent as {"event": "media", "media": {"payload": "..."}}; there are mark and clear besides.',
        ),
        (
            (trace_of('{"event": "Media"}'),),
            VIOLATION,
            "1 message: unknown event 'Media'; known are media, mark, clear.",
            "unknown_event",
            'Did you mean "media"? Names are in lower case.',
        ),
        (
            (trace_of('{"event": "media"}'),),
            VIOLATION,
            '1 message: the message has no "media": {"payload": "…"} beside its event.',
            "malformed_message",
            'The audio is a member of a member: {"event": "media", "media": {"payload": "..."}}.',
        ),
        (
            (trace_of('{"event": "media", "media": {"payload": 1}}'),),
            VIOLATION,
            "1 message: media.payload is not a string.",
            "malformed_message",
            'The audio is a member of a member: {"event": "media", "media": {"payload": "..."}}.',
        ),
        (
            (trace_of('{"event": "media", "media": {"payload": "_-"}}'),),
            VIOLATION,
            "1 message: media.payload is not base64 (RFC 4648 section 4, with padding).",
            "invalid_media",
            ("Use the standard alphabet with padding (RFC 4648 section 4): base64.b64encode, not urlsafe_b64encode."),
        ),
        (
            (refused(100004, mode="mp3", errors={"invalid_media": 3}),),
            VIOLATION,
            "3 messages are not mp3 files, and are refused with error 100004.",
            "raw_audio_in_mp3_mode",
            (
                "Start the stream with BidirectionalMode=rtp to send raw audio; the default is mp3, one whole file in"
                " each message."
            ),
        ),
        (
            (refused(100004, mode="mp3"),),
            VIOLATION,
            "0 messages are not mp3 files, and are refused with error 100004.",
            "raw_audio_in_mp3_mode",
            (
                "Start the stream with BidirectionalMode=rtp to send raw audio; the default is mp3, one whole file in"
                " each message."
            ),
        ),
        ((refused(100005, mode="mp3"),), VIOLATION, "Answered with error 100005: too much.", "rate_limit", ""),
        ((refused(100004),), VIOLATION, "Answered with error 100004: too much.", "invalid_media", ""),
        ((refused(100009),), VIOLATION, "Answered with error 100009: too much.", "error_answers", ""),
        ((trace(),), OK, "none.", "", ""),
        (
            (trace_of('{"event": "clear"}', '{"event": "mark", "mark": {"name": "7"}}', '{"event": "clear"}'),),
            OK,
            "2 clear, 1 mark.",
            "",
            "",
        ),
        (
            (trace_of('{"event": "mark", "mark": {"name": 7}}'),),
            ACCEPTED,
            "A mark's name is no string. It comes back as it is; Telnyx documents strings.",
            "",
            "",
        ),
    ],
    judge.sizes: [
        ((trace(),), SKIPPED, "No message whose audio has a known length.", "", ""),
        ((heard(FRAME, mode="mp3"),), SKIPPED, "No message whose audio has a known length.", "", ""),
        ((heard(FRAME, FRAME),), OK, "20 ms each.", "", ""),
        ((heard(FRAME, bytes(240_000)),), OK, "20 to 30000 ms of audio in a message.", "", ""),
        (
            (heard(bytes(80), bytes(159), FRAME),),
            ACCEPTED,
            (
                "10 to 20 ms of audio in a message; 2 are shorter than 20 ms. Any length is played here; Telnyx "
                "documents 20 ms to 30 s."
            ),
            "",
            "",
        ),
        (
            (heard(bytes(159)),),
            ACCEPTED,
            "19.875 ms each; 1 is shorter than 20 ms. Any length is played here; Telnyx documents 20 ms to 30 s.",
            "",
            "",
        ),
        (
            (heard(FRAME, bytes(240_001)),),
            ACCEPTED,
            (
                "20 to 30000.1 ms of audio in a message; some are longer than 30 s. Any length is played here; Telnyx"
                " documents 20 ms to 30 s."
            ),
            "",
            "",
        ),
    ],
    judge.audio: [
        ((heard(FRAME, mode="mp3"),), OK, "mp3 files.", "", ""),
        ((trace(mode="mp3"),), SKIPPED, "No audio came.", "", ""),
        ((trace(),), SKIPPED, "No audio came.", "", ""),
        ((heard(SPEECH),), OK, "1.2 s of PCMU.", "", ""),
        ((heard(SPEECH, words=WORDS),), OK, "1.2 s of PCMU, an echo of the caller's.", "", ""),
        (
            (heard(*FAST),),
            VIOLATION,
            "Audio comes at a steady 3.0 times the pace of PCMU at 8000 Hz: is it 24000 Hz?",
            "wrong_sample_rate",
            (
                "Resample it to 8000 Hz before it is sent, or start the stream with the BidirectionalSamplingRate "
                "that the speech service has (L16)."
            ),
        ),
        ((heard(*FAST[:15], every=0.0715),), OK, "0.9 s of PCMU.", "", ""),
        ((heard(*FAST[:14], every=0.08),), OK, "0.8 s of PCMU.", "", ""),
        (
            (heard(*frames_of(PCM, 320)),),
            VIOLATION,
            "The audio is 16-bit PCM; the stream's codec is PCMU. 16000 bytes come in a second, PCMU has 8000.",
            "pcm16",
            (
                "Convert it to the stream's codec, or start the stream with BidirectionalCodec=L16 and its sample rate "
                "as BidirectionalSamplingRate."
            ),
        ),
        (
            (heard(*frames_of(PCM, 320), every=0.001),),
            VIOLATION,
            "The audio is 16-bit PCM; the stream's codec is PCMU.",
            "pcm16",
            (
                "Convert it to the stream's codec, or start the stream with BidirectionalCodec=L16 and its sample rate "
                "as BidirectionalSamplingRate."
            ),
        ),
        (
            (heard(WAV_HEADER + SPEECH),),
            VIOLATION,
            "The audio is a WAV file (0-bit format 0, 0 Hz, 0 channels); the stream's codec is PCMU.",
            "wav_header",
            (
                "In rtp mode a message holds bare PCMU at 8000 Hz: leave out the header (to `data` and the 4 "
                "bytes behind it), and convert the rest."
            ),
        ),
    ],
    judge.pace: [
        (
            (heard(*[FRAME] * 100, every=0.04, underruns=20),),
            MISSED,
            "Audio comes at 50% of the speed at which it is played, and broke up 20 times.",
            "late_audio",
            (
                "Does the bot sleep for longer than each piece lasts, or send half of each? Send it as it is made: "
                "this server queues and paces it."
            ),
        ),
        (
            (heard(*[FRAME] * 100, every=0.04, underruns=3),),
            MISSED,
            "Audio comes at 50% of the speed at which it is played, and broke up 3 times.",
            "late_audio",
            (
                "Does the bot sleep for longer than each piece lasts, or send half of each? Send it as it is made: "
                "this server queues and paces it."
            ),
        ),
        (
            (heard(*[FRAME] * 100, every=0.04, underruns=2),),
            OK,
            "0.5 times the speed at which it is played; 2 underruns.",
            "",
            "",
        ),
        ((heard(*[FRAME] * 51, every=0.02),), OK, "1.0 times the speed at which it is played; 0 underruns.", "", ""),
        ((heard(*[FRAME] * 50, every=0.02),), OK, "In bursts, which are queued and played at the call's pace.", "", ""),
        ((heard(*[FRAME] * 6, every=0.2),), OK, "0.1 times the speed at which it is played; 0 underruns.", "", ""),
        ((heard(*[FRAME] * 5, every=0.3),), OK, "In bursts, which are queued and played at the call's pace.", "", ""),
        (
            (heard(*[FRAME] * 51, every=0.025, underruns=3),),
            OK,
            "0.8 times the speed at which it is played; 3 underruns.",
            "",
            "",
        ),
        (
            (heard(*[FRAME] * 51, every=0.0251, underruns=3),),
            MISSED,
            "Audio comes at 80% of the speed at which it is played, and broke up 3 times.",
            "late_audio",
            (
                "Does the bot sleep for longer than each piece lasts, or send half of each? Send it as it is made: "
                "this server queues and paces it."
            ),
        ),
        ((heard(bytes(24_000)),), OK, "In bursts, which are queued and played at the call's pace.", "", ""),
        ((trace(),), SKIPPED, "No audio came.", "", ""),
    ],
    judge.first_audio: [
        ((trace(),), SKIPPED, "The bot never spoke: no media message came.", "never_spoke", ""),
        ((closed(1000),), SKIPPED, "The socket closed first: no media message came.", "never_spoke", ""),
        ((closed(1000, False),), SKIPPED, "The bot never spoke: no media message came.", "never_spoke", ""),
        (
            (Trace("PCMU", "PCMU", received=[Received(0.1234, heard(b"a").received[0].what, 0)]),),
            OK,
            "123 ms after start.",
            "",
            "",
        ),
    ],
    judge.marks: [
        ((trace(), None), SKIPPED, "The bot sends none, so it does not learn when its audio has been heard.", "", ""),
        (
            (gone(2), None),
            MISSED,
            "The bot closed the socket while 2 of its marks were pending: 0.8 s of its audio were never heard.",
            "marks_ignored",
            "Wait until the last mark comes back before you close the socket or hang up.",
        ),
        ((gone(0), None), OK, "1 sent, 0 returned.", "", ""),
        ((gone(2, by_bot=False), None), OK, "1 sent, 0 returned.", "", ""),
        ((gone(2, queued_ms=100), None), OK, "1 sent, 0 returned.", "", ""),
        (
            (speaking(b'"a"', b'"b"'), PENDING),
            MISSED,
            (
                "2 marks were pending when the caller interrupted, and the bot did not clear: it takes audio for "
                "heard once it is sent."
            ),
            "marks_ignored",
            "The bot is speaking until its last mark comes back. Keep the names of the marks that are pending.",
        ),
        (
            (speaking(b'"a"', until=2500), PENDING),
            MISSED,
            (
                "2 marks were pending when the caller interrupted, and the bot did not clear: it takes audio for "
                "heard once it is sent."
            ),
            "marks_ignored",
            "The bot is speaking until its last mark comes back. Keep the names of the marks that are pending.",
        ),
        ((speaking(b'"a"', until=2480), PENDING), OK, "1 sent, 1 returned.", "", ""),
        ((speaking(b'"a"', b'"b"'), INTERRUPTED), OK, "2 sent, 1 returned.", "", ""),
        ((speaking(b'"a"'), None), OK, "1 sent, 1 returned.", "", ""),
    ],
    judge.barge_in: [
        ((trace(), None), SKIPPED, "The bot was not speaking when the caller could have interrupted it.", "", ""),
        (
            (heard(SPEECH, words=WORDS), None),
            SKIPPED,
            "The bot echoes: it has nothing queued that could be interrupted.",
            "",
            "",
        ),
        ((heard(SPEECH), None), SKIPPED, "The bot was not speaking when the caller could have interrupted it.", "", ""),
        ((cleared(0.5, 1.4), INTERRUPTED), OK, "clear came 400 ms after the caller's first word.", "", ""),
        (
            (cleared(3.2), INTERRUPTED),
            MISSED,
            "clear came 2200 ms after the caller's first word, the limit is 2000.",
            "late_clear",
            "",
        ),
        ((cleared(9, leg_ms=1250), INTERRUPTED), OK, "clear came 250 ms after the caller's first word.", "", ""),
        ((cleared(9, leg_ms=3000), INTERRUPTED), OK, "clear came 2000 ms after the caller's first word.", "", ""),
        ((cleared(9, leg_ms=1000), INTERRUPTED), OK, "clear came 0 ms after the caller's first word.", "", ""),
        (
            (speaking(), INTERRUPTED),
            MISSED,
            ("The caller spoke for 2 s, and the bot was heard on: it sent no clear, with 3.0 s of its audio queued."),
            "no_clear",
            (
                'Send {"event": "clear"} when the caller begins to speak: what is queued here would be played to its '
                "end."
            ),
        ),
        ((speaking(until=1500), INTERRUPTED), OK, "No clear, but the bot fell silent by itself.", "", ""),
    ],
    judge.reading: [
        ((trace(),), SKIPPED, "No ping was answered before the socket closed.", "", ""),
        (
            (trace(dropped=3),),
            MISSED,
            "The bot does not read: a ping was not answered; 3 messages were dropped.",
            "slow_reader",
            (
                "Is there a blocking call in the bot's loop, or work of more than 20 ms for each message? Do it in a "
                "task."
            ),
        ),
        (
            (trace(pings=[(0, None)], closed=Closed(1, 1000, "", True)),),
            SKIPPED,
            "No ping was answered before the socket closed.",
            "",
            "",
        ),
        (
            (trace(pings=[(0, None), (1, 0.01)], closed=Closed(1, 1000, "", False)),),
            MISSED,
            "The bot does not read: a ping was not answered.",
            "slow_reader",
            (
                "Is there a blocking call in the bot's loop, or work of more than 20 ms for each message? Do it in a "
                "task."
            ),
        ),
        ((trace(pings=[(0, None), (1, 0.01)]),), OK, "10 ms behind at most.", "", ""),
        (
            (trace(pings=[(0, 0.01), (5, 1.5)]),),
            MISSED,
            "The bot is 1.5 s behind, after 5 s.",
            "slow_reader",
            (
                "Is there a blocking call in the bot's loop, or work of more than 20 ms for each message? Do it in a "
                "task."
            ),
        ),
        ((trace(pings=[(0, 1.5), (5, 1.0)]),), OK, "1500 ms behind at most.", "", ""),
    ],
    judge.close: [
        ((trace(),), MISSED, "The bot did not close within 5 s after stop and our close frame.", "late_close", ""),
        ((closed(1000, False, 0.25),), OK, "The bot answered our close frame 250 ms after stop.", "", ""),
        ((closed(None, False, 0.25),), OK, "The bot answered our close frame 250 ms after stop.", "", ""),
        (
            (closed(1000, False),),
            MISSED,
            "The bot sent no close frame within 5 s after stop and ours.",
            "late_close",
            "Leave the loop at stop, or when the socket closes.",
        ),
        (
            (closed(1000, True, None, FRAME),),
            OK,
            "The bot closed with 1000 after 1.0 s: the stream ends, and the call goes on.",
            "",
            "",
        ),
        (
            (closed(1001, True, None, FRAME),),
            OK,
            "The bot closed with 1001 after 1.0 s: the stream ends, and the call goes on.",
            "",
            "",
        ),
        (
            (closed(1005, True, None, FRAME),),
            OK,
            "The bot closed with 1005 after 1.0 s: the stream ends, and the call goes on.",
            "",
            "",
        ),
        (
            (closed(1011, True, None, FRAME),),
            VIOLATION,
            "The bot closed with 1011 after 1.0 s, before stop.",
            "early_close",
            "Did it raise an exception? Its log or its console may show it.",
        ),
        (
            (closed(None, True, None, FRAME),),
            VIOLATION,
            "The bot closed without a close frame after 1.0 s, before stop.",
            "early_close",
            "Did it raise an exception? Its log or its console may show it.",
        ),
        (
            (closed(1000),),
            VIOLATION,
            "The bot closed with 1000 after 1.0 s, before stop, and had sent no audio.",
            "early_close",
            "",
        ),
        (
            (closed(1000, True, None, SPEECH, queued_ms=1000),),
            MISSED,
            "The bot closed with 1000 after 1.0 s, and 0.8 s of its audio were never heard.",
            "early_close",
            "Send a mark behind the audio, and wait until it comes back.",
        ),
        (
            (closed(1000, True, None, SPEECH, queued_ms=100),),
            OK,
            "The bot closed with 1000 after 1.0 s: the stream ends, and the call goes on.",
            "",
            "",
        ),
    ],
    judge.survived: [
        (
            ("two keys", closed(1011), "a key", 0.9),
            MISSED,
            "The bot closed with 1011 after a key.",
            "two_keys_closes",
            "Ignore what the bot does not know.",
        ),
        (
            ("two keys", closed(None), "a key", 1.0),
            MISSED,
            "The bot closed with no close frame after a key.",
            "two_keys_closes",
            "Ignore what the bot does not know.",
        ),
        (("two keys", closed(1011), "a key", 1.1), OK, "The bot goes on after a key.", "", ""),
        (("keys", closed(1000), "a key", 0.9), OK, "The bot goes on after a key.", "", ""),
        (("keys", closed(1001), "a key", 0.9), OK, "The bot goes on after a key.", "", ""),
        (("keys", closed(1005), "a key", 0.9), OK, "The bot goes on after a key.", "", ""),
        (("keys", closed(1011, False), "a key", 0.9), OK, "The bot goes on after a key.", "", ""),
        (("keys", trace(), "a key", 0.9), OK, "The bot goes on after a key.", "", ""),
        (("keys", trace(), "a key", None), SKIPPED, "The socket was closed before.", "", ""),
    ],
    judge.reconnected: [
        (
            (None, "connection refused"),
            MISSED,
            "After a broken connection: connection refused.",
            "no_reconnect",
            ("The server dials again under the same stream_id, with a new connected and start: take a second socket."),
        ),
        ((trace(), ""), OK, "The bot took a second socket of the same stream silently.", "", ""),
        (
            (closed(1013), ""),
            MISSED,
            "The second socket was closed with 1013 after 1.0 s.",
            "no_reconnect",
            ("The server dials again under the same stream_id, with a new connected and start: take a second socket."),
        ),
        (
            (closed(None), ""),
            MISSED,
            "The second socket was closed with no close frame after 1.0 s.",
            "no_reconnect",
            ("The server dials again under the same stream_id, with a new connected and start: take a second socket."),
        ),
        ((closed(1013, False), ""), OK, "The bot took a second socket of the same stream silently.", "", ""),
        ((closed(1000), ""), OK, "The bot took a second socket of the same stream silently.", "", ""),
        ((closed(1001), ""), OK, "The bot took a second socket of the same stream silently.", "", ""),
        ((closed(1005), ""), OK, "The bot took a second socket of the same stream silently.", "", ""),
        ((heard(b"a"), ""), OK, "The bot took a second socket of the same stream and spoke.", "", ""),
    ],
}
"""By what judges: what it is given, and the verdict, words, code and advice in full."""


@pytest.mark.parametrize(
    ("what", "about", "verdict", "text", "code", "advice"),
    [(what, *case) for what, cases in CASES.items() for case in cases],
)
def test_what_is_said_of_a_socket(
    what: Callable[..., Item], about: tuple[Any, ...], verdict: Verdict, text: str, code: str, advice: str
) -> None:
    item = what(*about)
    assert (item.verdict, item.text, item.code, item.advice) == (verdict, text, code, advice)


def test_the_items_of_a_conversation_have_their_names() -> None:
    named = ["messages", "sizes", "audio", "pace", "first audio", "marks", "barge-in", "reading", "close"]
    assert [item.name for item in judge.conversation(trace(), None)] == named
    bad = gone(2)
    bad.closed, bad.dropped = Closed(1.0, 1011, "", True), 1
    bad.received += [Received(2.0, 9, 0), Received(9.0, Clear(), 0)]
    assert [item.name for item in judge.conversation(bad, INTERRUPTED)] == named
    assert judge.reconnected(None, "").name == "reconnect"


@pytest.mark.parametrize(
    ("every", "size", "code"),
    [(0.02, 480, "wrong_sample_rate"), (0.02, 160, ""), (0.001, 4000, ""), (0.02, 200, "")],
)
def test_only_a_steady_pace_of_another_rate_is_one(every: float, size: int, code: str) -> None:
    frame = WORDS[8][:160].ljust(size, WORDS[8][:1])
    assert judge.audio(heard(*[frame] * 100, every=every)).code == code


@pytest.mark.parametrize(("pause", "code"), [(0.39, "late_audio"), (0.42, ""), (0.59, ""), (0.61, "")])
def test_a_pause_ends_an_utterance_unless_its_pieces_are_as_long(pause: float, code: str) -> None:
    piece = bytes(800)  # 100 ms
    assert judge.pace(heard(*[piece] * 9, every=pause, underruns=9)).code == code
    longer = bytes(1600)  # 200 ms
    assert judge.pace(heard(*[longer] * 9, every=pause, underruns=9)).code == ("late_audio" if pause < 0.6 else "")


def test_a_bot_that_cleared_or_echoes_ignores_no_marks() -> None:
    spoke = speaking(b'"a"')
    assert judge.marks(spoke, PENDING).code == "marks_ignored"
    assert judge.barge_in(spoke, PENDING).code == "no_clear"
    spoke.received.append(Received(2.9, Clear(), 0))
    assert judge.marks(spoke, PENDING).code == ""
    echo = heard(SPEECH, words=WORDS, played=speaking().played)
    echo.received.append(Received(0.1, Mark(b'"a"'), 0))
    assert judge.marks(echo, PENDING).code == ""
    assert judge.barge_in(echo, PENDING).verdict is Verdict.OK
    assert judge.barge_in(echo, PENDING).text == "No clear, but the bot fell silent by itself."


@pytest.mark.parametrize(("off", "code"), [(0.06, "wrong_sample_rate"), (0.6, "")])
def test_a_pace_that_is_not_steady_is_no_other_rate(off: float, code: str) -> None:
    trace = heard(*FAST)
    moved = [replace(one, at=one.at + off * (number % 3 - 1)) for number, one in enumerate(trace.received)]
    trace.received = sorted(moved, key=lambda one: one.at)
    assert judge.audio(trace).code == code
