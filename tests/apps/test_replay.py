"""A capture, played to real bots."""

import json
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from apps import bots
from apps.test_captured import said, start, text_of, to_app
from trunkline.apps.captured import BadCapture, Capture, read_capture
from trunkline.apps.items import Findings, Verdict
from trunkline.apps.replay import baseline_of, compared, read_baseline, replay
from trunkline.apps.speech import babble
from trunkline.apps.wire import frames, media
from trunkline.ci import ExitCode

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
    assert found.exit_code is ExitCode.CLEAN
    assert found.json()["capture"]["time_to_first_audio_ms"] == 100


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
