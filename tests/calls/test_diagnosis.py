"""Counters to findings: every row of the tables gives its finding under its condition, and only then."""

import re
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from trunkline.calls import diagnosis
from trunkline.calls.call import Call, CallRules
from trunkline.calls.commands import Note
from trunkline.calls.diagnosis import Finding, StreamMedia, diagnose
from trunkline.calls.views import CallView, StreamStatus, StreamView
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.media.report import LiveLegReport
from trunkline.streaming.params import ErrorTitle, StreamReport

T0 = datetime(2025, 6, 5, 8, 54, 19, tzinfo=UTC)
CALL = CallView(
    sid=CallSid("v3:x"),
    account_sid=AccountSid("a"),
    session_id=CallSessionId("c"),
    direction="inbound",
    from_="+15550001111",
    to="+15550002222",
    caller_name="",
    status="in-progress",
    created_at=T0,
    updated_at=T0,
)
STREAM = StreamView(
    sid=StreamSid("s1"),
    account_sid=AccountSid("a"),
    call_sid=CallSid("v3:x"),
    name=None,
    url="wss://key:secret@app.example/media?token=hidden",
    track="inbound_track",
    status="in-progress",
    created_at=T0,
    updated_at=T0,
    status_callback=None,
    status_callback_method="POST",
)
GOOD_LEG = LiveLegReport(
    codec="PCMU",
    payload_type=0,
    local_port=20000,
    expected="192.0.2.7:4000",
    remote="192.0.2.7:4000",
    remote_learned=True,
    on_hold=False,
    direction="sendrecv",
    packets_in=500,
    frames_in=500,
    packets_out=500,
    seen_payload_type=-1,
    last_packet_ms=12.5,
    duration_ms=10_000.0,
    heard_frames=20,
    heard_level_db=-25,
)
GOOD_STREAM = StreamReport(
    frames_sent=500,
    messages_received=100,
    bytes_received=16000,
    played_ms=1800,
    queued_ms=200,
    app_samples=7,
    app_level_db=-20,
)


def media(
    state: str = "open", mode: str | None = "rtp", status: StreamStatus = "in-progress", **changes: Any
) -> StreamMedia:
    view = replace(
        STREAM, status=status, mode=mode, codec="PCMU", ended_reason="connection refused by app.example port 443"
    )
    return StreamMedia(view, state, replace(GOOD_STREAM, **changes))


def found(*streams: StreamMedia, **changes: Any) -> dict[str, Finding]:
    """The findings by code."""
    return {
        finding.code: finding
        for finding in diagnose(CALL, replace(GOOD_LEG, **changes), streams or [media()], live=True)
    }


NO_RTP: dict[str, Any] = {"packets_in": 0, "frames_in": 0, "last_packet_ms": -1.0, "heard_frames": 0}

LEG_CASES: list[tuple[str, dict[str, Any], str]] = [
    ("no_rtp", NO_RTP, "expected from 192.0.2.7:4000 at our UDP port 20000"),
    ("rtp_stopped", {"last_packet_ms": 4200.0}, "stopped 4.2 s ago"),
    (
        "source_moved",
        {
            "last_packet_ms": 4200.0,
            "wrong_source": 9,
            "unexpected_source_ms": 8.0,
            "unexpected_source": "192.0.2.7:4002",
        },
        "stopped 4.2 s ago, and now comes from 192.0.2.7:4002",
    ),
    (
        "wrong_payload_type",
        NO_RTP | {"unknown_payload_type": 80, "seen_payload_type": 18},
        "80 RTP packets came with payload type 18, and none with 0",
    ),
    (
        "some_wrong_payload_type",
        {"unknown_payload_type": 3, "seen_payload_type": 96},
        "the last of 96, while PCMU is 0",
    ),
    ("malformed_rtp", NO_RTP | {"malformed": 9}, "9 datagrams came, but no RTP"),
    ("srtp_refused", NO_RTP | {"srtp_auth_failed": 70}, "another key than that in the peer's SDP"),
    ("unexpected_source", {"wrong_source": 7, "unexpected_source": "198.51.100.1:9"}, "the last from 198.51.100.1:9"),
    ("source_differs", {"remote": "203.0.113.5:1234"}, "from 203.0.113.5:1234, not from 192.0.2.7:4000"),
    ("on_hold", {"on_hold": True, "direction": "recvonly"}, "it sends audio but wants none"),
    ("on_hold", {"on_hold": True, "direction": "inactive"}, "no audio flows either way"),
    ("refused_by_network", {"receive_errors": 200}, "refused 200 packets of ours (ICMP): nothing listens at 192.0.2.7"),
    ("nothing_sent", {"packets_out": 0}, "We have sent the peer nothing"),
    ("peer_reports_loss", {"peer_lost": 50}, "50 of our 500 packets"),
    ("loss", {"lost": 60}, "We miss 60 packets"),
    ("caller_silent", {"heard_level_db": -96}, "held silence (-96 dB)"),
]
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
    ("connection_lost", media("reconnecting", last_cause="no pong"), "was lost, and is dialled again: no pong"),
    ("reconnects", media(reconnects=2, last_cause="the app closed with 1011"), "2 times, the last time because: the"),
    ("frames_lost", media(frames_lost=30), "does not get 30 frames"),
    ("wrong_mode", media(mode="mp3", errors={"invalid_media": 12}), "Start it with BidirectionalMode=rtp"),
    ("undecodable_media", media(errors={"invalid_media": 12}), "12 messages without audio that can"),
    ("bad_messages", media(errors={"malformed_frame": 2, "unknown_error": 1}), "3 messages that we"),
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
    ("app_does_not_read", media(frames_dropped=30), "we dropped 30 frames"),
    ("paused", media(status="paused"), "until Status=in-progress"),
    ("app_gets_nothing", media(frames_sent=0), "(inbound_track)"),
    ("stream_stopped", media("ended", None, "stopped"), "is over"),
]


def test_a_call_on_which_all_is_well_says_so_in_numbers() -> None:
    assert list(found()) == ["audio_flows"]
    assert found()["audio_flows"].numbers == {"frames_in": 500, "packets_out": 500}


@pytest.mark.parametrize(("code", "changes", "words"), LEG_CASES, ids=[case[0] for case in LEG_CASES])
def test_what_is_wrong_with_a_leg(code: str, changes: dict[str, Any], words: str) -> None:
    findings = found(**changes)
    assert words in findings[code].text
    assert set(findings) <= {code, "audio_flows"}, "nothing else is said"


@pytest.mark.parametrize(("code", "stream", "words"), STREAM_CASES, ids=[case[0] for case in STREAM_CASES])
def test_what_is_wrong_with_a_stream(code: str, stream: StreamMedia, words: str) -> None:
    findings = found(stream, media())
    assert words in findings[code].text
    assert findings[code].stream == "s1"
    assert set(findings) <= {code, "audio_flows"}
    assert not any(secret in findings[code].text for secret in ("secret", "hidden"))


def test_a_source_of_long_ago_is_not_where_a_silent_peer_went() -> None:
    findings = found(
        last_packet_ms=4200.0, wrong_source=9, unexpected_source_ms=60_000.0, unexpected_source="192.0.2.7:4002"
    )
    assert list(findings) == ["rtp_stopped", "unexpected_source"]


def test_a_count_of_one_is_singular() -> None:
    several = re.compile(r"\b1 (packet|datagram|message|frame|time|RTP packet)s\b")
    found = [
        *diagnose(CALL, replace(GOOD_LEG, lost=9, wrong_source=1, unknown_payload_type=1), [], live=True),
        *diagnose(
            CALL,
            GOOD_LEG,
            [media(reconnects=1, frames_lost=1, errors={"unknown_error": 1, "invalid_media": 1}, frames_dropped=1)],
            live=True,
        ),
    ]
    assert not [finding.text for finding in found if several.search(finding.text)]
    assert any("1 message that we" in finding.text for finding in found)


def test_counters_that_rows_show_are_counters() -> None:
    for row in diagnosis._LEG:
        assert set(row.numbers) <= {field.name for field in fields(LiveLegReport)}
    errors = {f"error_{title}" for title in get_args(ErrorTitle)}
    for stream_row in diagnosis._STREAM:
        assert set(stream_row.numbers) <= {field.name for field in fields(StreamReport)} | errors


def test_every_row_has_a_case() -> None:
    rows = {row.code for row in diagnosis._LEG} | {row.code for row in diagnosis._STREAM}
    assert rows == {case[0] for case in LEG_CASES} | {case[0] for case in STREAM_CASES} | {"no_stream"}


def test_of_a_call_without_an_answer_only_that_is_said() -> None:
    """Its leg has no peer, and looks as if it were on hold."""
    leg = replace(GOOD_LEG, on_hold=True, direction="inactive", packets_in=0, packets_out=0)
    (finding,) = diagnose(replace(CALL, status="ringing"), leg, [], live=True)
    assert (finding.severity, finding.code) == ("warning", "not_answered_yet")
    over = replace(CALL, status="failed", ended_at=T0, hangup_cause="not connected: no listener")
    (finding,) = diagnose(over, leg, [], live=False)
    assert (finding.severity, finding.code) == ("error", "never_answered")
    assert finding.text == "The call was never answered: not connected: no listener."


def test_a_call_without_streams_says_so_while_it_lives() -> None:
    (finding,) = diagnose(CALL, GOOD_LEG, [], live=True)
    assert (finding.code, finding.text) == ("no_stream", "No stream has been started, so no app hears the call.")
    finding, over = diagnose(CALL, GOOD_LEG, [media("ended", None, "stopped")], live=True)
    assert (finding.code, over.code) == ("no_stream", "stream_stopped")
    assert finding.text == "No stream is running any more, so no app hears the call."
    assert [finding.code for finding in diagnose(CALL, GOOD_LEG, [], live=False)] == ["audio_flows"]


def test_a_stream_that_runs_is_not_outranked_by_those_that_ended() -> None:
    """Whatever errors the ended ones had."""
    failed = media("ended", None, "failed", errors={"malformed_frame": 2}, bytes_received=0)
    findings = diagnose(CALL, GOOD_LEG, [failed, media()], live=True)
    assert [(finding.severity, finding.code) for finding in findings] == [
        ("ok", "audio_flows"),
        ("info", "stream_failed"),
        ("info", "bad_messages"),
        ("info", "app_sends_no_audio"),
    ]
    findings = diagnose(CALL, GOOD_LEG, [failed, media(mode="mp3", errors={"invalid_media": 1})], live=True)
    assert (findings[0].severity, findings[0].code) == ("error", "wrong_mode")
    for others, live in (([], True), ([media("ended", None, "stopped")], False)):
        findings = diagnose(CALL, GOOD_LEG, [failed, *others], live=live)
        assert (findings[0].severity, findings[0].code) == ("error", "stream_failed"), (
            "nothing runs that could be heard"
        )


def test_errors_come_first_and_a_hold_explains_what_waits() -> None:
    findings = diagnose(
        CALL,
        replace(GOOD_LEG, on_hold=True, direction="inactive", receive_errors=400, heard_level_db=-96),
        [media(played_ms=0)],
        live=True,
    )
    assert [finding.severity for finding in findings] == ["error", "warning", "warning", "info"]
    assert "the call is on hold" in next(finding for finding in findings if finding.code == "playback_waits").text


def test_without_counters_it_says_why_there_are_none() -> None:
    assert [finding.code for finding in diagnose(CALL, None, [], live=True)] == ["worker_silent"]
    ended = replace(CALL, hangup_cause="the media worker died")
    (finding,) = diagnose(ended, None, [], live=False)
    assert (finding.code, finding.text) == (
        "never_had_media",
        "No counters are kept of this call; the media worker died.",
    )


def test_warnings_of_the_instructions_are_reported_even_without_an_answer() -> None:
    noted = replace(CALL, notes=("one", "two"))
    for call in (replace(noted, answered_at=T0), replace(noted, ended_at=T0, status="failed")):
        diagnosed = diagnose(call, GOOD_LEG, (), live=False)
        assert [one.text for one in diagnosed if one.code == "instructions"] == [
            "The call's instructions: one.",
            "The call's instructions: two.",
        ]


def test_notes_are_bounded_and_each_is_kept_once() -> None:
    call = Call(CALL, CallRules(), sdp_session=1, random=bytes)
    for number in (*range(30), *range(30)):
        assert call.handle(Note(f"number {number}\nwith {'words' * 100}"), T0) == []
    assert len(call.view.notes) == 20
    assert all(len(note) == 300 for note in call.view.notes)
