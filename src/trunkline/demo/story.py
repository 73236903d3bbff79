"""The demo's story: start the server, call it, stream the call, let both sides talk, hang up, and judge.

The caller, the app and the callback receiver live on this one loop, so that all their times are of one clock.
"""

import asyncio
import base64
import secrets
import signal
import tempfile
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from trunkline.demo.app import SampleApp
from trunkline.demo.audio import FRAME_MS, level, save, speech
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import DemoCaller
from trunkline.demo.errors import StoryBroken
from trunkline.demo.server import ServerProcess
from trunkline.demo.show import Show, Snapshot, summary, verdict
from trunkline.demo.verdict import Measurements, echo_delays, judge

_SPARE = 10
"""Seconds of speech beyond it, for the time that starting the stream and ending take."""
_TIMEOUT = 10
"""Seconds to wait for what is on its way at the end; it comes at once unless the machine is very busy."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """Who takes part."""

    server: ServerProcess
    app: SampleApp
    callbacks: CallbackReceiver
    caller: DemoCaller
    show: Show


def _load_sdk() -> None:
    """Import the official SDK with all that its calls need: seconds that are better spent while the server starts than
    on the loop, where they would hold up the caller's packets."""
    from telnyx import AsyncTelnyx

    _ = AsyncTelnyx(api_key="-").texml.accounts.calls


async def _start_stream(stage: _Stage) -> None:
    """As a customer does it, by the official SDK."""
    from telnyx import AsyncTelnyx, TelnyxError

    server = stage.server
    try:
        async with AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client:
            stream = await client.texml.accounts.calls.streams_json(
                call_sid=stage.caller.call_sid,
                account_sid=server.account_sid,
                url=stage.app.url,
                name="demo",
                track="inbound_track",
                bidirectional_mode="rtp",
                bidirectional_codec="PCMU",
                status_callback=stage.callbacks.url,
            )
    except TelnyxError as refused:
        raise StoryBroken(f"the stream was not started: {refused}") from refused
    stage.show.step(f"stream {stream.sid} {stream.status}, to {stage.app.url}")
    seen = stage.app.conversation
    if not await stage.app.watch.until(lambda: bool(seen.frames), 10):
        raise StoryBroken("no frame reached the app within 10 s\n" + stage.server.log[-2000:])


def _snapshot(stage: _Stage, elapsed: float, seconds: float) -> Snapshot:
    caller, seen = stage.caller, stage.app.conversation
    latest = [(packet.at, packet.payload) for packet in caller.heard[-25:]]
    delays = list(echo_delays(caller.frames, caller.sent_at, latest).values())
    return Snapshot(
        elapsed=elapsed,
        seconds=seconds,
        sent=len(caller.sent_at),
        app_frames=len(seen.frames),
        app_level=level(b"".join(frame.payload for frame in seen.frames[-10:])),
        heard=len(caller.heard),
        heard_level=level(b"".join(payload for _, payload in latest[-10:])),
        echo_ms=delays[-1] * 1000 if delays else None,
        marks=f"{len(seen.marks_returned)} of {len(seen.marks_sent)}",
        callbacks=", ".join(callback.fields.get("StreamEvent", "?") for callback in stage.callbacks.received) or "-",
    )


async def _converse(stage: _Stage, seconds: float) -> None:
    """Let it flow, then let everything under way come to its end."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (elapsed := loop.time() - began) < seconds and stage.caller.up:
        if elapsed > seconds - 0.5:
            stage.app.no_more_tones()
        stage.show.update(_snapshot(stage, elapsed, seconds))
        await asyncio.sleep(0.1)
    if not stage.caller.up:
        raise StoryBroken("the server ended the call\n" + stage.server.log[-2000:])
    stage.caller.stop_speaking()
    seen, last = stage.app.conversation, stage.caller.frames[len(stage.caller.sent_at) - 1]
    await stage.caller.watch.until(lambda: any(packet.payload == last for packet in stage.caller.heard[-50:]), _TIMEOUT)
    await stage.app.watch.until(lambda: len(seen.marks_returned) >= len(seen.marks_sent), _TIMEOUT)


async def _story(stage: _Stage, seconds: float) -> Measurements:
    """From the server's start to its end. Raises StoryBroken."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(stage.server.start(), asyncio.to_thread(_load_sdk))
    key = base64.b64decode(await stage.server.public_key())
    stage.show.step(f"server ready after {loop.time() - began:.1f} s: API {stage.server.base_url}, SIP {_sip(stage)}")
    began = loop.time()
    await stage.caller.call()
    answered_after = loop.time() - began
    if not stage.caller.call_sid:
        raise StoryBroken("the 200 OK has no X-Trunkline-Call-Sid")
    stage.show.step(f"call {stage.caller.call_sid[:24]}… answered after {answered_after * 1000:.0f} ms")
    await _start_stream(stage)
    await _converse(stage, seconds)
    if not await stage.caller.hang_up():
        raise StoryBroken("the BYE was not answered")
    received = stage.callbacks.received
    await stage.callbacks.watch.until(lambda: len(received) >= 2, _TIMEOUT)
    await stage.app.watch.until(lambda: stage.app.conversation.stopped, _TIMEOUT)
    exit_code = await stage.server.stop()
    seen = stage.app.conversation
    return Measurements(
        answered_after=answered_after,
        frames=stage.caller.frames,
        sent_at=stage.caller.sent_at,
        stream_started_at=seen.started_at,
        app_frames=[frame.payload for frame in seen.frames],
        app_chunks=[frame.chunk for frame in seen.frames],
        echoed=seen.echoed,
        tones_sent=seen.tones_sent,
        marks_sent=seen.marks_sent,
        marks_returned=seen.marks_returned,
        app_errors=seen.errors,
        stopped=seen.stopped,
        heard=[(packet.at, packet.payload) for packet in stage.caller.heard],
        callbacks=[(each.fields.get("StreamEvent", "?"), each.verified(key)) for each in received],
        exit_code=exit_code,
    )


def _sip(stage: _Stage) -> str:
    host, port = stage.server.sip_address
    return f"sip:{host}:{port}"


async def play(console: Console, seconds: float) -> int:
    """The whole of it; 0 when all went well, else 1. Raises StoryBroken."""
    task = asyncio.current_task()
    if task:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    frames = speech(int((seconds + _SPARE) * 1000) // FRAME_MS)
    with tempfile.TemporaryDirectory(prefix="trunkline-demo-") as directory:
        server = ServerProcess(Path(directory), account_sid=str(uuid.uuid4()), api_key=secrets.token_urlsafe(24))
        async with AsyncExitStack() as stack:
            stack.push_async_callback(server.stop_if_started)
            app = await stack.enter_async_context(SampleApp())
            callbacks = await stack.enter_async_context(CallbackReceiver())
            caller = await stack.enter_async_context(DemoCaller(server.sip_address, frames))
            show = stack.enter_context(Show(console))
            seen = await _story(_Stage(server, app, callbacks, caller, show), seconds)
    rows = judge(seen)
    summary(console, rows)
    failed = [row for row in rows if row.failure]
    verdict(console, rows, save([payload for _, payload in seen.heard]))
    return 1 if failed else 0
