"""A capture, played to real bots."""

import json
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError

from apps import bots
from apps.test_captured import said, start, text_of, to_app
from apps.test_trace import heard
from trunkline.apps.captured import BadCapture, Capture, read_capture
from trunkline.apps.items import Findings, Verdict
from trunkline.apps.replay import TIMES, asked_of, baseline_of, compared, measures, read_baseline, replay
from trunkline.apps.speech import babble
from trunkline.apps.stream import BotStream
from trunkline.apps.trace import Received, Sent, Trace
from trunkline.apps.wire import clear, frames, media
from trunkline.ci import ExitCode
from trunkline.streaming.messages import Clear, Mark
from trunkline.streaming.params import BidirectionalMode, Track

WORDS = frames(babble(600), "PCMU")
KEY = {"ms": 300.0, "to": "app", "message": {"event": "dtmf", "dtmf": {"digit": "7"}}}
STOP = {"ms": 620.0, "to": "app", "message": {"event": "stop"}}


def capture(*more: dict[str, object], **head: object) -> Capture:
    """Of 0.6 s, with a key, and a bot that answered."""
    lines = [to_app(number, frame) for number, frame in enumerate(WORDS)]
    lines += [KEY, STOP, said(100, media(bytes(1600))), *more]
    return read_capture([text_of(start(), *sorted(lines, key=lambda one: float(str(one["ms"]))), **head)])


async def test_the_bot_gets_what_was_captured_and_is_compared() -> None:
    came: list[dict[str, Any]] = []

    async def bot(socket: ServerConnection) -> None:
        async for text in socket:
            message = json.loads(text)
            came.append(message)
            if message["event"] == "media":
                await socket.send(media(bots.PCMU[:160]))

    async with serve(bot, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        found = await replay(capture(), f"ws://127.0.0.1:{port}/", lambda _: None)
    heard = [message["media"]["payload"] for message in came if message["event"] == "media"]
    assert [json.loads(media(frame))["media"]["payload"] for frame in WORDS] == heard[: len(WORDS)]
    assert [message["dtmf"] for message in came if message["event"] == "dtmf"] == [{"digit": "7"}]
    assert (found.exit_code, found.command) == (ExitCode.CLEAN, "replay")
    assert found.json()["capture"]["time_to_first_audio_ms"] == 100
    judged = ["messages", "audio", "pace", "first audio", "marks", "reading", "close"]
    assert [item.name for item in found.items] == [*judged, "audio", "marks", "clears", "errors", "first audio"]
    then = [item.text.partition(", ")[2] for item in found.items[len(judged) :]]
    assert then == [f"{value} in the capture." for value in ("200 ms", "0", "0", "0", "100 ms")]
    assert found.json()["capture_sha256"] == capture().digest


def lost(*, back_at: float = 900.0) -> Capture:
    """Of two sockets: the second gets the last of what the first had, and then the rest."""
    half = len(WORDS) // 2
    lines = [start(), *(to_app(n, frame) for n, frame in enumerate(WORDS[:half])), {"ms": half * 20.0, "note": "lost"}]
    lines += [start(back_at), *(to_app(n, WORDS[n]) | {"ms": back_at} for n in range(half - 3, half))]
    later = round(back_at / 20) + 1
    lines += [to_app(later + n, frame) for n, frame in enumerate(WORDS[half:])]
    lines.append({"ms": back_at + 700, "to": "app", "message": {"event": "stop"}})
    return read_capture([text_of(*lines)])


async def test_all_sockets_are_played_and_faster_where_that_is_asked() -> None:
    sockets: list[list[dict[str, Any]]] = []

    async def bot(socket: ServerConnection) -> None:
        sockets.append([])
        with suppress(ConnectionClosedError):
            async for text in socket:
                sockets[-1].append(json.loads(text))
                await socket.send(media(bots.PCMU[:160]))

    async with serve(bot, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
        found = await replay(lost(), url, lambda _: None, speed=4)
    heard = [[one["media"]["payload"] for one in came if one["event"] == "media"] for came in sockets]
    said = [json.loads(media(frame))["media"]["payload"] for frame in WORDS]
    half = len(WORDS) // 2
    assert heard[0][: half - 1] == said[: half - 1]
    assert heard[1][: len(WORDS) - half + 3] == said[half - 3 :]
    starts = [next(one["stream_id"] for one in came if one["event"] == "start") for came in sockets]
    assert starts[0] == starts[1]
    assert [one["event"] for one in sockets[0]].count("stop") == 0
    assert sockets[1][-1]["event"] == "stop"
    verdicts = {item.name: item.verdict for item in found.items}
    assert (verdicts["socket"], verdicts["pace"]) == (Verdict.OK, Verdict.SKIPPED)
    assert found.exit_code is ExitCode.CLEAN
    assert (found.json()["sockets"], found.json()["speed"]) == (2, 4)


async def test_a_bot_that_does_not_come_back_is_found() -> None:
    async def bot(socket: ServerConnection) -> None:
        server.close(close_connections=False)
        await socket.send(media(bots.PCMU[:160]))
        await socket.wait_closed()

    async with serve(bot, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
        found = await replay(lost(back_at=400), url, lambda _: None)
    assert found.mistakes == ["no_reconnect"]
    assert "Socket 2" in next(item.text for item in found.items if item.code == "no_reconnect")


async def test_a_bot_that_is_not_there_is_exit_code_5() -> None:
    found = await replay(capture(), "ws://127.0.0.1:9/", lambda _: None)
    assert found.exit_code is ExitCode.NO_CONNECTION


async def test_a_capture_of_hashes_cannot_be_played() -> None:
    with pytest.raises(BadCapture, match="no audio, only hashes"):
        await replay(capture(payloads="hash"), "ws://127.0.0.1:9/", lambda _: None)


def test_a_baseline_is_one_of_the_same_capture() -> None:
    found = Findings("replay", "ws://a", measures={"marks": 3})
    text = baseline_of(found, capture())
    assert read_baseline(text, capture()) == {"marks": 3}
    with pytest.raises(BadCapture, match="another capture"):
        read_baseline(text, capture(said(110, media(b"a"))))
    with pytest.raises(BadCapture, match="no file"):
        read_baseline("{}", capture())


@pytest.mark.parametrize(
    ("name", "before", "now", "worse"),
    [
        ("time_to_first_audio_ms", 180.0, 585.0, True),
        ("time_to_first_audio_ms", 5.0, 9.0, False),
        ("time_to_first_audio_ms", 2000.0, 2080.0, False),
        ("time_to_first_audio_ms", 180.0, None, True),
        ("time_to_first_audio_ms", 585.0, 180.0, False),
        ("audio_ms", 9000, 2000, True),
        ("audio_ms", 9000, 12_000, False),
        ("clears", 1, 0, True),
    ],
)
def test_only_what_is_worse_than_noise_is_a_regression(
    name: str, before: float, now: float | None, worse: bool
) -> None:
    [item] = compared({name: before, "not measured": None}, {name: now})
    assert (item.verdict is Verdict.MISSED) is worse
    assert (item.code == "regression") is worse


def test_the_stream_is_asked_for_as_in_the_capture() -> None:
    begun = start()
    begun["message"]["start"]["custom_parameters"] = {"a": 1, "b": "c"}
    head = {"codec": "PCMA", "bot_codec": "L16/16000", "mode": "mp3", "track": "both_tracks"}
    asked = asked_of(read_capture([text_of(begun, to_app(0, WORDS[0]), **head)]), "ws://bot/")
    assert asked == BotStream(
        "ws://bot/",
        BidirectionalMode.MP3,
        "PCMA",
        "L16/16000",
        track=Track.BOTH,
        custom_parameters=(("a", "1"), ("b", "c")),
        from_="+1",
        to="+2",
    )
    asked = asked_of(read_capture([text_of(said(1, clear()), start(), track="other")]), "ws://bot/")
    assert (asked.track, asked.custom_parameters, asked.from_) == (Track.INBOUND, (), "+1")


def test_what_is_measured_of_a_bot() -> None:
    marks = [Received(0.3, Mark(b'"a"'), 0), Received(0.3, Mark(b'"b"'), 0), Received(0.4, Clear(), 0)]
    trace = heard(bytes(160), bytes(160), bytes(88), every=0.02)
    trace.received += marks
    trace.received.append(Received(0.1, trace.received[0].what, 0))
    trace.sent += [Sent(0.1, "error", {}), Sent(0.1, "mark", {})]
    assert measures([trace], {"clear_ms": 7.0}) == {
        "time_to_first_audio_ms": 0.0,
        "mean_inbound_gap_ms": 33.3,
        "max_inbound_gap_ms": 60.0,
        "audio_ms": 71,
        "marks": 2,
        "clears": 1,
        "errors": 1,
        "clear_ms": 7.0,
    }
    silent = measures([Trace("PCMU", "PCMU")], {})
    assert {name for name, value in silent.items() if value is None} == {*TIMES} - {"clear_ms"}
    later = measures([Trace("PCMU", "PCMU", received=[Received(0.12345, trace.received[0].what, 0)])], {})
    assert later["time_to_first_audio_ms"] == 123.5


LABELS = {
    "time_to_first_audio_ms": ("first audio", "200 ms in the baseline, now 100 ms."),
    "mean_inbound_gap_ms": ("mean gap", "200 ms in the baseline, now 100 ms."),
    "max_inbound_gap_ms": ("longest gap", "200 ms in the baseline, now 100 ms."),
    "clear_ms": ("clear", "200 ms in the baseline, now 100 ms."),
    "audio_ms": ("audio", "200 ms in the baseline, now 100 ms."),
    "marks": ("marks", "200 in the baseline, now 100."),
    "clears": ("clears", "200 in the baseline, now 100."),
}


def test_each_measure_of_a_baseline_has_its_words() -> None:
    items = compared(dict.fromkeys([*LABELS, "errors"], 200), dict.fromkeys([*LABELS, "errors"], 100.0))
    assert [(item.name, item.text) for item in items] == list(LABELS.values())
    assert [item.verdict for item in items] == [Verdict.OK] * 4 + [Verdict.MISSED] * 3
    assert [item.code for item in items] == [""] * 4 + ["regression"] * 3
    [never] = compared({"marks": 2.5}, {})
    assert (never.text, never.code) == ("2.5 in the baseline, now never.", "regression")


@pytest.mark.parametrize(
    ("name", "before", "now", "worse"),
    [
        ("clear_ms", 250.0, 300.0, False),
        ("clear_ms", 200.0, 250.0, False),
        ("clear_ms", 200.0, 251.0, True),
        ("clear_ms", 1000.0, 1200.0, False),
        ("clear_ms", 1000.0, 1201.0, True),
        ("audio_ms", 1000, 800, False),
        ("audio_ms", 1000, 799, True),
        ("audio_ms", 200, 150, False),
        ("audio_ms", 200, 149, True),
        ("marks", 5, 4, False),
        ("marks", 4, 3, True),
    ],
)
def test_worse_is_by_a_fifth_and_of_times_by_50_ms(name: str, before: float, now: float, worse: bool) -> None:
    [item] = compared({name: before}, {name: now})
    assert (item.verdict is Verdict.MISSED) is worse


def test_a_baseline_says_of_which_capture_it_is() -> None:
    one = capture()
    text = baseline_of(Findings("replay", "ws://a", measures={"marks": 3}), one)
    assert json.loads(text) == {"schema_version": 1, "capture_sha256": one.digest, "measures": {"marks": 3}}
    assert text.splitlines()[1] == ' "schema_version": 1,'
    for broken in ("", "[]", "7", '{"measures": {}}'):
        with pytest.raises(BadCapture):
            read_baseline(broken, one)
