"""Each bot with its one mistake, and those without: all are checked at once, as each check takes some seconds."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from websockets.asyncio.server import serve

from apps import bots
from trunkline.apps.check import Plan, check
from trunkline.apps.items import Findings, Verdict
from trunkline.apps.stream import BotStream
from trunkline.ci import ExitCode
from trunkline.streaming.params import BidirectionalMode

pytestmark = pytest.mark.process  # espeak-ng
PLAN = Plan(greeting=0.4, least=3.5, heard=0.2, answer=1.5, backlog=0.3, clear=1.5, drain=1.0, after=0.1, reconnect=0.3)

BAD: Mapping[str, tuple[bots.Bot, dict[str, Any], ExitCode]] = {
    "pcm16": (bots.says(bots.PCM8), {}, ExitCode.VIOLATION),
    "wrong_sample_rate": (bots.says(bots.PCM24, 4800, 0.1), {"bot_codec": "L16/16000"}, ExitCode.VIOLATION),
    "wav_header": (bots.says(bots.WAV_HEADER + bots.PCMU), {}, ExitCode.VIOLATION),
    "wrong_byte_order": (bots.says(bots.SWAPPED), {"bot_codec": "L16/16000"}, ExitCode.VIOLATION),
    "raw_audio_in_mp3_mode": (bots.says(bots.PCMU), {"mode": BidirectionalMode.MP3}, ExitCode.VIOLATION),
    "late_audio": (bots.says(bots.PCMU, 160, 0.04), {}, ExitCode.THRESHOLD),
    "marks_ignored": (bots.at_start(bots.goodbye), {}, ExitCode.THRESHOLD),
    "no_clear": (bots.says(bots.PCMU), {}, ExitCode.THRESHOLD),
    "binary_frames": (bots.at_start(bots.binary), {}, ExitCode.VIOLATION),
    "slow_reader": (bots.slow, {}, ExitCode.THRESHOLD),
    "early_close": (bots.leaves, {}, ExitCode.VIOLATION),
    "unknown_event": (bots.at_start(bots.wrong_event), {}, ExitCode.VIOLATION),
    "no_reconnect": (bots.one_socket, {}, ExitCode.THRESHOLD),
}
"""By the code of the mistake: the bot, what its stream is asked to be, the exit code."""

GOOD: Mapping[str, bots.Bot] = {
    "README": bots.from_readme(),
    "realtime bridge": bots.realtime_bridge,
    "160 ms ahead": bots.leads,
}


async def _checked(name: str, bot: bots.Bot, asked: Mapping[str, Any]) -> tuple[str, Findings]:
    async with serve(bot, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        stream = BotStream(f"ws://127.0.0.1:{port}/", **asked)
        return name, await check(stream, PLAN, lambda _: None)


@pytest.fixture(scope="module")
def findings() -> dict[str, Findings]:
    """Of every bot."""

    async def all_at_once() -> dict[str, Findings]:
        rows = {name: (bot, asked) for name, (bot, asked, _) in BAD.items()} | {
            name: (bot, {}) for name, bot in GOOD.items()
        }
        rows["1011"] = (bots.fails, {})
        rows["silent"] = (bots.listens, {})
        return dict(await asyncio.gather(*(_checked(name, bot, asked) for name, (bot, asked) in rows.items())))

    return asyncio.run(all_at_once())


@pytest.mark.parametrize("code", BAD)
def test_a_bot_with_one_mistake_is_found_out(findings: dict[str, Findings], code: str) -> None:
    found = findings[code]
    assert code in found.mistakes, found.lines()
    assert found.exit_code is BAD[code][2]
    assert next(item for item in found.items if item.code == code).text


@pytest.mark.parametrize("name", GOOD)
def test_nothing_is_wrong_with_a_good_bot(findings: dict[str, Findings], name: str) -> None:
    found = findings[name]
    assert found.mistakes == [], found.lines()
    assert found.exit_code is ExitCode.CLEAN
    assert {item.name for item in found.items if item.verdict is Verdict.OK} >= {
        "connect",
        "messages",
        "audio",
        "close",
    }


def test_a_bot_that_says_nothing_has_not_spoken(findings: dict[str, Findings]) -> None:
    found = findings["silent"]
    assert found.mistakes == []
    assert found.exit_code is ExitCode.NEVER_SPOKE
    assert found.json()["timed_out"]
    assert replace(found, allow_no_audio=True).exit_code is ExitCode.CLEAN


def test_a_bot_that_fails_is_asked_for_its_log(findings: dict[str, Findings]) -> None:
    found = findings["1011"]
    assert found.violations == ["early_close"]
    assert "1011" in "".join(found.lines())
    assert found.json()["closed_by"] == "agent"


async def test_where_nothing_listens_there_is_no_connection() -> None:
    found = await check(BotStream("ws://127.0.0.1:9/"), PLAN, lambda _: None)
    assert found.exit_code is ExitCode.NO_CONNECTION
    assert "connection refused" in "".join(found.lines())
