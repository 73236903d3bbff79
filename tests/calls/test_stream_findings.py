"""Each row of the table gives its finding under its condition, and only then."""

from dataclasses import fields
from typing import Any, get_args

import pytest

from calls.diagnosed import found, media
from trunkline.calls.diagnosis import StreamMedia
from trunkline.calls.stream_findings import STREAM_ROWS
from trunkline.streaming.params import ErrorTitle, StreamReport

STREAM_CASES: list[tuple[str, StreamMedia, str]] = [
    ("stream_failed", media("ended", None, "failed"), "app.example failed: connection refused by app.example port 443"),
    ("connecting", media("connecting"), "The WebSocket to app.example is not open yet"),
    (
        "no_connection",
        media("connecting", failed_tries=3, last_cause="connection refused by app.example port 443"),
        "3 failed connection attempts, the last because: connection refused by app.example port 443.",
    ),
    (
        "no_connection",
        media("reconnecting", failed_tries=2, last_cause="no answer"),
        "2 failed connection attempts, the last because: no answer",
    ),
    (
        "no_connection",
        media("ended", None, "stopped", failed_tries=3, last_cause="connection refused by app.example port 443"),
        "There was no WebSocket to app.example at the end: 3 failed connection attempts, the last because: connection",
    ),
    (
        "app_closed_at_once",
        media(
            *("ended", None, "stopped"),
            reason="the app closed the socket",
            frames_sent=149,
            bytes_received=0,
            messages_received=0,
            app_samples=0,
        ),
        "is over: the app closed the socket, after 149 frames and before it sent any audio. Has its handler returned",
    ),
    (
        "instructions_ended",
        media("ended", None, "stopped", reason="the call ended: the instructions ended", frames_sent=149),
        "when the app had got 149 frames: <Start><Stream> does not wait. Use <Connect><Stream>, or <Pause> behind it.",
    ),
    (
        "connection_lost",
        media("reconnecting", last_cause="the app closed the socket with 1011"),
        "dialled again: the app closed the socket with 1011 (an error in the app: see its own log).",
    ),
    ("connection_lost", media("reconnecting", last_cause="no pong"), "was lost, and is dialled again: no pong"),
    ("reconnects", media(reconnects=2, last_cause="the app closed with 1011"), "2 times, the last time because: the"),
    ("frames_lost", media(frames_lost=30), "does not get 30 frames"),
    ("wrong_mode", media(mode="mp3", errors={"invalid_media": 12}), "Start it with BidirectionalMode=rtp"),
    (
        "wrong_mode",
        media(mode="mp3", errors={"invalid_media": 12}, refusals={"invalid_media": "no mp3 file; it is an Ogg file"}),
        "12 messages without mp3 but an Ogg file. Start",
    ),
    ("undecodable_media", media(errors={"invalid_media": 12}), "12 messages without audio that can"),
    (
        "undecodable_media",
        media(errors={"invalid_media": 12}, refusals={"invalid_media": "media.payload is not base64"}),
        "Of the last: media.payload is not base64.",
    ),
    (
        "wrong_audio",
        media(app_audio="wav", app_audio_words="it is a WAV file. Leave the header out."),
        "What the app sends is not PCMU: it is a WAV file. Leave the header out.",
    ),
    (
        "wrong_audio",
        media(app_audio="pcm16", app_audio_words="it is 16-bit PCM. Convert it.", app_pace_percent=602),
        "it is 16-bit PCM. Convert it. 48160 bytes come each second: the sample rate is 24000 Hz.",
    ),
    (
        "sounds_like_noise",
        media(app_audio="noise", app_audio_words="it sounds like noise. Is it PCMU?"),
        "What the app sends is hardly PCMU: it sounds like noise. Is it PCMU?",
    ),
    (
        "backlog_grows",
        media(app_pace_percent=198, queued_ms=7000),
        "The app sends 15840 bytes of audio a second, and PCMU is 8000, so 7 s of it wait, and more and more. So many "
        "are 16-bit PCM at 8000 Hz: is that what it sends?",
    ),
    (
        "backlog_grows",
        media(codec="L16", bytes_per_second=32000, app_pace_percent=150, queued_ms=2000),
        "48000 bytes of audio a second, and L16 at 16000 Hz is 32000, so 2 s of it wait, and more and more. So many "
        "are 16-bit PCM at 24000 Hz",
    ),
    ("app_is_ahead", media(app_pace_percent=250, queued_ms=7000), "That is no fault as long as it sends `clear`"),
    (
        "too_slow",
        media(app_pace_percent=50, underruns=7),
        "so the caller heard 7 gaps. Send 20 ms of audio each 20 ms by the clock",
    ),
    (
        "too_slow",
        media(codec="L16", bytes_per_second=48000, app_pace_percent=33, underruns=4),
        "As much as L16 at 8000 Hz: does the stream need that BidirectionalSamplingRate? Or send 20 ms",
    ),
    (
        "too_slow",
        media(codec="L16", bytes_per_second=16000, app_pace_percent=50, underruns=4),
        "As much as PCMU or PCMA: does the stream need that BidirectionalCodec? Or send 20 ms",
    ),
    ("hears_itself", media(track="outbound_track", frames_sent=110), "Start the stream with Track=inbound_track"),
    (
        "hears_itself",
        media(track="both_tracks", frames_sent=110, app_pace_percent=198, queued_ms=2000),
        "hears itself too. Start the stream with Track=inbound_track, or use media of the track `inbound` alone.",
    ),
    ("caller_unheard", media(track="outbound_track"), "needs Track=inbound_track or both_tracks"),
    (
        "all_refused",
        media(
            messages_received=3,
            bytes_received=0,
            app_samples=0,
            errors={"malformed_frame": 2, "unknown_error": 1},
            refusals={"malformed_frame": "the message is not a JSON object"},
        ),
        "all that the app sent (3 messages) we could use nothing. Of the last: the message is not a JSON object.",
    ),
    ("bad_messages", media(errors={"malformed_frame": 2, "unknown_error": 1}), "3 messages that we"),
    (
        "bad_messages",
        media(errors={"unknown_error": 1}, refusals={"unknown_error": "unknown event 'Media'"}),
        "Of the last: unknown event 'Media'.",
    ),
    ("app_reports_errors", media(errors_received=3), "3 messages of the event `error`"),
    ("over_the_limit", media(errors={"rate_limit_reached": 4}), "error 100005"),
    ("app_silent", media(app_level_db=-96), "the loudest had -96 dB. Does it send PCMU"),
    ("app_silent_so_far", media(app_level_db=-96, app_samples=1), "(-96 dB), but it was not much yet"),
    ("app_sends_nothing", media(messages_received=0, bytes_received=0, app_samples=0), "no message at all"),
    ("app_sends_no_audio", media(bytes_received=0, app_samples=0), "100 messages, but no audio."),
    ("no_opposite_leg", media(unheard_ms=400), "400 ms of the app's audio were played to no leg"),
    ("playback_waits", media(played_ms=0), "the prebuffer is not full yet"),
    ("queue_empty", media(queued_ms=0), "All that the app has sent so far is played (1800 ms)"),
    ("underruns", media(underruns=5), "ran dry 5 times in 1800 ms"),
    ("app_stalls", media(frames_waiting=200), "does not read: 200 frames of audio wait for it"),
    ("app_does_not_read", media(frames_dropped=30), "we dropped 30 frames"),
    ("paused", media(status="paused"), "until Status=in-progress"),
    ("app_gets_nothing", media(frames_sent=0), "(inbound_track)"),
    ("stream_stopped", media("ended", None, "stopped"), "is over"),
    ("stream_stopped", media("ended", None, "stopped", reason="the app closed the socket"), "is over"),
    ("stream_stopped", media("ended", None, "stopped", reason="the call ended: the instructions ended"), "is over"),
]


@pytest.mark.parametrize(("code", "stream", "words"), STREAM_CASES, ids=[case[0] for case in STREAM_CASES])
def test_what_is_wrong_with_a_stream(code: str, stream: StreamMedia, words: str) -> None:
    findings = found(stream, media())
    assert words in findings[code].text
    assert findings[code].stream == "s1"
    assert set(findings) <= {code, "audio_flows"}
    assert not any(secret in findings[code].text for secret in ("secret", "hidden"))


def test_an_app_that_is_ahead_for_a_moment_or_at_real_time_is_not_mentioned() -> None:
    for pace, queued in ((198, 1500), (250, 4000), (101, 9000), (-1, 9000)):
        assert list(found(media(app_pace_percent=pace, queued_ms=queued))) == ["audio_flows"]
    for pace, queued, underruns in ((50, 1500, 9), (50, 0, 3), (85, 0, 3)):
        codes = set(found(media(app_pace_percent=pace, queued_ms=queued, underruns=underruns, played_ms=10_000)))
        assert codes <= {"audio_flows", "queue_empty"}, "no gaps: enough waits, or it did"


def test_the_speed_of_audio_that_is_something_else_is_not_a_second_finding() -> None:
    stream = media(app_audio="pcmu", app_audio_words="it is PCMU.", codec="L16", app_pace_percent=50, underruns=9)
    assert set(found(stream)) == {"wrong_audio"}


def test_an_app_that_hears_only_itself_gets_nothing_while_it_is_silent() -> None:
    findings = found(media(frames_sent=0, track="outbound_track", bytes_received=0, app_samples=0))
    assert list(findings) == ["app_gets_nothing", "app_sends_no_audio"]
    assert "it hears the caller with Track=inbound_track" in findings["app_gets_nothing"].text


def test_a_stalled_app_is_not_asked_for_its_messages() -> None:
    assert list(found(media(frames_waiting=200, frames_sent=0, messages_received=0))) == ["app_stalls"]


def test_counters_that_rows_show_are_counters() -> None:
    errors = {f"error_{title}" for title in get_args(ErrorTitle)}
    for row in STREAM_ROWS:
        assert set(row.numbers) <= {field.name for field in fields(StreamReport)} | errors


def test_every_row_has_a_case() -> None:
    assert {row.code for row in STREAM_ROWS} == {case[0] for case in STREAM_CASES}


SEVERITIES = {
    "error": "stream_failed no_connection connection_lost wrong_mode wrong_audio too_slow hears_itself "
    "undecodable_media all_refused app_silent app_stalls app_does_not_read app_gets_nothing app_closed_at_once "
    "instructions_ended",
    "warning": "connecting reconnects frames_lost sounds_like_noise backlog_grows caller_unheard bad_messages "
    "app_reports_errors over_the_limit app_silent_so_far app_sends_nothing app_sends_no_audio no_opposite_leg "
    "playback_waits underruns paused",
    "info": "app_is_ahead queue_empty stream_stopped",
}


def test_each_row_has_its_severity() -> None:
    assert {row.code: row.severity for row in STREAM_ROWS} == {
        code: severity for severity, codes in SEVERITIES.items() for code in codes.split()
    }


SLOW = {"app_pace_percent": 84, "queued_ms": 1499, "underruns": 4}


@pytest.mark.parametrize(
    ("code", "before", "beyond"),
    [
        ("app_is_ahead", {"app_pace_percent": 115, "queued_ms": 4001}, {"app_pace_percent": 116}),
        ("app_is_ahead", {"app_pace_percent": 116, "queued_ms": 4000}, {"queued_ms": 4001}),
        (
            "app_is_ahead",
            {"app_pace_percent": 116, "queued_ms": 4001, "bytes_per_second": 0},
            {"bytes_per_second": 8000},
        ),
        ("backlog_grows", {"app_pace_percent": 640, "queued_ms": 4001}, {"app_pace_percent": 639}),
        ("backlog_grows", {"app_pace_percent": 200, "queued_ms": 4001, "app_audio": "wav"}, {"app_audio": ""}),
        ("backlog_grows", {"app_pace_percent": 200, "queued_ms": 1500}, {"queued_ms": 1501}),
        ("too_slow", SLOW | {"app_pace_percent": 85}, {"app_pace_percent": 84}),
        ("too_slow", SLOW | {"queued_ms": 1500}, {"queued_ms": 1499}),
        ("too_slow", SLOW | {"app_pace_percent": -1}, {"app_pace_percent": 0}),
        ("too_slow", SLOW | {"bytes_per_second": 0}, {"bytes_per_second": 8000}),
        ("too_slow", SLOW | {"underruns": 3}, {"underruns": 4}),
        ("too_slow", SLOW | {"app_audio": "pcmu"}, {"app_audio": "noise"}),
        ("app_silent", {"app_level_db": -61, "app_samples": 4}, {"app_samples": 5}),
        ("app_silent", {"app_level_db": -60, "app_samples": 5}, {"app_level_db": -61}),
        ("app_silent_so_far", {"app_level_db": -61, "app_samples": 5}, {"app_samples": 4}),
        ("app_silent_so_far", {"app_level_db": -60, "app_samples": 1}, {"app_level_db": -61}),
        ("app_silent_so_far", {"app_level_db": -61, "app_samples": 0}, {"app_samples": 1}),
        ("app_stalls", {"frames_waiting": 50}, {"frames_waiting": 51}),
        ("app_sends_nothing", {"frames_waiting": 51, "messages_received": 0}, {"frames_waiting": 50}),
        ("app_gets_nothing", {"frames_waiting": 51, "frames_sent": 0}, {"frames_waiting": 50}),
        ("underruns", {"underruns": 3}, {"underruns": 4}),
        ("underruns", {"underruns": 4, "played_ms": 4000}, {"played_ms": 3999}),
        ("all_refused", {"messages_received": 3, "errors": {"malformed_frame": 2}}, {"messages_received": 2}),
        ("bad_messages", {"messages_received": 2, "errors": {"unknown_error": 2}}, {"messages_received": 3}),
        ("playback_waits", {"queued_ms": 0, "played_ms": 0}, {"queued_ms": 1}),
        ("playback_waits", {"queued_ms": 1, "played_ms": 1}, {"played_ms": 0}),
        ("queue_empty", {"queued_ms": 0, "played_ms": 0}, {"played_ms": 1}),
        ("app_sends_no_audio", {"bytes_received": 1}, {"bytes_received": 0}),
    ],
)
def test_where_a_finding_of_a_stream_begins(code: str, before: dict[str, Any], beyond: dict[str, Any]) -> None:
    assert code not in found(media(**before))
    assert code in found(media(**before | beyond))


@pytest.mark.parametrize(
    ("sent", "received", "echo"),
    [(20, 20, False), (21, 21, True), (100, 80, False), (100, 81, True), (100, 119, True), (100, 120, False)],
)
def test_about_as_many_messages_as_frames_are_an_echo(sent: int, received: int, echo: bool) -> None:
    findings = found(media(track="outbound_track", frames_sent=sent, messages_received=received))
    assert ("hears_itself" in findings, "caller_unheard" in findings) == (echo, not echo)


@pytest.mark.parametrize(
    ("codec", "per_second", "pace", "words"),
    [
        (
            "L16",
            48000,
            33,
            "As much as L16 at 8000 Hz: does the stream need that BidirectionalSamplingRate? Or send 20",
        ),
        ("L16", 16000, 47, "As much as PCMU or PCMA: does the stream need that BidirectionalCodec? Or send 20"),
        ("L16", 16000, 46, "4 gaps. Send 20"),
        ("L16", 16000, 53, "As much as PCMU or PCMA: does the stream need that BidirectionalCodec? Or send 20"),
        ("L16", 16000, 54, "4 gaps. Send 20"),
        ("PCMU", 8000, 50, "4 gaps. Send 20"),
        ("G722", 8000, 84, "4 gaps. Send 20"),
    ],
)
def test_audio_that_is_too_slow_may_be_another_codec(codec: str, per_second: int, pace: int, words: str) -> None:
    findings = found(media(codec=codec, bytes_per_second=per_second, app_pace_percent=pace, queued_ms=0, underruns=4))
    assert words in findings["too_slow"].text


@pytest.mark.parametrize(
    ("audio", "pace", "words"),
    [
        ("pcm16", 602, "What the app sends is not PCMU: W. 48160 bytes come each second: the sample rate is 24000 Hz."),
        ("pcm16", 100, "What the app sends is not PCMU: W."),
        ("wav", 602, "What the app sends is not PCMU: W."),
    ],
)
def test_the_speed_of_pcm_alone_is_that_of_a_sample_rate(audio: str, pace: int, words: str) -> None:
    assert found(media(app_audio=audio, app_audio_words="W.", app_pace_percent=pace))["wrong_audio"].text == words


def test_what_is_not_known_of_refused_messages_is_said_so() -> None:
    for title, code in (("invalid_media", "undecodable_media"), ("rate_limit_reached", "over_the_limit")):
        assert found(media(errors={title: 1}))[code].text.endswith("Of the last: its detail is not kept.")
        assert found(media(errors={title: 1}, refusals={title: "why"}))[code].text.endswith("Of the last: why.")
    assert (
        "(both_tracks): see what is said of the call."
        in found(media(track="both_tracks", frames_sent=0))["app_gets_nothing"].text
    )
    assert "(outbound_track): nothing is played to the caller; it hears the caller with Track=inbound_track or" in (
        found(media(track="outbound_track", frames_sent=0, bytes_received=0))["app_gets_nothing"].text
    )


def test_audio_that_waits_has_its_reason() -> None:
    waits = media(played_ms=0, queued_ms=200)
    assert found(waits)["playback_waits"].text.endswith("played: the prebuffer is not full yet.")
    assert found(waits, on_hold=True)["playback_waits"].text.endswith("played: the call is on hold.")
