"""Counters to findings: every row of the tables gives its finding under its condition, and only then."""

import re
from dataclasses import replace

from calls.diagnosed import CALL, GOOD_LEG, T0, found, media
from trunkline.calls.call import Call, CallRules
from trunkline.calls.commands import Note
from trunkline.calls.diagnosis import diagnose


def test_a_call_on_which_all_is_well_says_so_in_numbers() -> None:
    assert list(found()) == ["audio_flows"]
    assert found()["audio_flows"].numbers == {"frames_in": 500, "packets_out": 500}


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


def test_a_note_that_is_the_cause_is_not_a_second_finding() -> None:
    call = replace(CALL, notes=("no XML: line 1",), hangup_cause="no XML: line 1", ended_at=T0, status="failed")
    assert [one.code for one in diagnose(call, None, (), live=False)] == ["never_answered"]


def test_notes_are_bounded_and_each_is_kept_once() -> None:
    call = Call(CALL, CallRules(), sdp_session=1, random=bytes)
    for number in (*range(30), *range(30)):
        assert call.handle(Note(f"number {number}\nwith {'words' * 100}"), T0) == []
    assert len(call.view.notes) == 20
    assert all(len(note) == 300 for note in call.view.notes)
