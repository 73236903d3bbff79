"""What `trunkline dev` shows: its first words at 80 columns, and a line for each event."""

from typing import Any

import pytest

from trunkline.dev_lines import WIDTH, Lines, Place, filled, greeting

SID = "v3:" + "x" * 43
PLACE = Place(
    bot="ws://127.0.0.1:7860/ws",
    base="http://127.0.0.1:8080",
    sip="127.0.0.1:5060",
    console="http://127.0.0.1:8080/#token=abc",
    moved=("Port 8080 is taken: HTTP is on 8082.",),
    directory=None,
    env="trunkline env",
    command="trunkline",
)


def shown(*events: dict[str, Any]) -> list[str]:
    lines = Lines(30, "trunkline")
    texts = [lines.line({"level": "info", **event}, "12:00:00") for event in events]
    return [line for text in texts if text for line in text.splitlines()]


def test_the_first_words_name_everything_within_80_columns() -> None:
    lines = greeting(PLACE, "0.1.0")
    text = "\n".join(lines)
    for words in (
        *(PLACE.bot, PLACE.base + "/v2", "sip:bot@127.0.0.1:5060", PLACE.console, PLACE.moved[0]),
        *("trunkline call +", 'eval "$(trunkline env)"', "curl -s", "Nothing is kept", "Ctrl-C"),
    ):
        assert words is not None
        assert words in text
    assert max(map(len, lines)) <= WIDTH
    kept = "\n".join(greeting(Place(**{**vars_of(PLACE), "directory": "/a", "console": None, "moved": ()}), "0.1.0"))
    assert "The store stays in /a." in kept
    assert "Console" not in kept
    assert "\n\n\n" not in kept


def vars_of(place: Place) -> dict[str, Any]:
    return {name: getattr(place, name) for name in Place.__slots__}


def test_a_call_and_its_stream_are_a_few_lines() -> None:
    about = {"call_sid": SID}
    assert shown(
        {"event": "call_received", "from_": "+1", "to": "+2", **about},
        {"event": "call_answered", "codec": "PCMU", **about},
        {"event": "stream_started", "stream_id": "s", **about},
        {"event": "call_received", "from_": "+3", "to": "+4", "call_sid": "other"},
        {"event": "stream_stopped", "stream_id": "s", **about},
        {"event": "stream_stopped", "stream_id": "t", "reason": "the call ended: the caller hung up", **about},
        {"event": "audit_change_made", **about},
        {"event": "call_ended", "status": "completed", "reason": "the caller hung up", **about},
    ) == [
        "12:00:00  [1] call from +1 to +2",
        f"          {SID}",
        "12:00:00  [1] answered, PCMU",
        "12:00:00  [1] the bot is connected",
        "12:00:00  [2] call from +3 to +4",
        "          other",
        "12:00:00  [1] the stream has ended",
        "12:00:00  [1] over: completed: the caller hung up",
    ]


@pytest.mark.parametrize("event", ["stream_reconnecting", "stream_error"])
def test_after_trouble_with_the_bot_the_next_command_is_shown(event: str) -> None:
    lines = shown(
        {"event": event, "level": "warning", "reason": "connection refused", "call_sid": SID},
        {"event": "call_ended", "status": "completed", "call_sid": SID},
        {"event": "call_ended", "status": "failed", "call_sid": "b"},
    )
    assert "connection refused" in " ".join(lines)
    assert lines[-4:] == [
        "12:00:00  [1] over: completed",
        f"          trunkline why {SID}",
        "12:00:00  [2] over: failed",
        "          trunkline why b",
    ]


def test_a_bot_that_came_back_is_no_trouble_and_numbers_are_bounded() -> None:
    lines = Lines(30, "trunkline")
    for name in ("stream_reconnecting", "stream_reconnected"):
        lines.line({"event": name, "level": "warning", "call_sid": SID}, "12:00:00")
    assert lines.line({"event": "call_ended", "status": "completed", "call_sid": SID}, "12:00:00").count("\n") == 0
    for number in range(1002):
        lines.line({"event": "call_answered", "codec": "PCMU", "call_sid": str(number)}, "12:00:00")
    assert lines.line({"event": "call_answered", "codec": "PCMU", "call_sid": "1001"}, "t").startswith("t  [1003]")
    assert lines.line({"event": "call_answered", "codec": "PCMU", "call_sid": SID}, "t").startswith("t  [1004]")


def test_warnings_have_words_of_their_own_or_their_events() -> None:
    refused = {"event": "sip_request_rejected", "source": "a", "reason": "403 Unknown Caller", "level": "warning"}
    assert shown(refused) == ["12:00:00  ! a SIP request from a was refused: 403 Unknown Caller"]
    assert shown({"event": "worker_lagging", "level": "warning"}) == ["12:00:00  ! worker lagging"]
    assert shown({"event": "sip_request_rejected", "level": "warning", "reason": "x"}) == [
        "12:00:00  ! sip request rejected: x"  # a key is missing
    ]
    assert shown({"event": "server_ready"}, {"event": "decoder_not_confined", "level": "warning"}) == []


def test_long_lines_break_between_words_alone() -> None:
    word = "x" * 100
    lines = filled("12:00:00  " + "some-words " * 20 + word).splitlines()
    assert lines[-1] == " " * 10 + word
    assert all(len(line) <= WIDTH for line in lines[:-1])
    assert all(line.split()[-1] == "some-words" for line in lines[:-1])
