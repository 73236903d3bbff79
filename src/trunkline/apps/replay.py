"""`trunkline replay`: plays a capture again, to a bot, and compares what it does with what one did then."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from trunkline.apps import judge
from trunkline.apps.call import BotCall
from trunkline.apps.captured import BadCapture, Capture, CapturedSocket, caller_frames, trace_of
from trunkline.apps.dialects import TELNYX
from trunkline.apps.items import Findings, Item, Threshold, Verdict
from trunkline.apps.stream import BotStream, BotUnreachable
from trunkline.apps.trace import FRAME_MS, Trace
from trunkline.apps.wire import member
from trunkline.streaming.messages import Clear, Mark
from trunkline.streaming.params import BidirectionalMode, Track

TAIL = 2.0
"""Seconds after the last of the capture, for an answer to it, unless it ends with `stop`."""
LONGEST_LOSS = 35.0
"""Seconds between two sockets, at most: the server dials for 30."""
WORSE, LEAST_MS = 0.2, 50.0
"""A measure is worse than its baseline's when it is so by this share, and a time by so many milliseconds too."""
TIMES = ("time_to_first_audio_ms", "mean_inbound_gap_ms", "max_inbound_gap_ms", "clear_ms")
"""Measures of which less is better."""
AMOUNTS = ("audio_ms", "marks", "clears")
"""Measures of which less is worse."""
_LABELS = {
    "time_to_first_audio_ms": "first audio",
    "mean_inbound_gap_ms": "mean gap",
    "max_inbound_gap_ms": "longest gap",
    "clear_ms": "clear",
    "audio_ms": "audio",
    "marks": "marks",
    "clears": "clears",
    "errors": "errors",
}


def measures(traces: Sequence[Trace], ms: dict[str, float | None]) -> dict[str, float | None]:
    """What is compared, of all sockets. `ms`: further measures."""
    gaps = [gap for trace in traces for gap in trace.gaps()]
    first = traces[0].first_audio
    received = [one.what for trace in traces for one in trace.received]
    return {
        "time_to_first_audio_ms": None if first is None else round(first * 1000, 1),
        "mean_inbound_gap_ms": round(fmean(gaps), 1) if gaps else None,
        "max_inbound_gap_ms": round(max(gaps), 1) if gaps else None,
        "audio_ms": round(sum(trace.milliseconds(len(trace.audio())) for trace in traces)),
        "marks": sum(isinstance(one, Mark) for one in received),
        "clears": sum(isinstance(one, Clear) for one in received),
        "errors": sum(one.event == "error" for trace in traces for one in trace.sent),
        **ms,
    }


def asked_of(capture: Capture, url: str, wire: str = TELNYX) -> BotStream:
    """The stream of the capture, to this bot. Raises BadCapture."""
    start = next((one.message for one in capture.messages if one.to_app and one.message.get("event") == "start"), {})
    if not capture.has_audio():
        raise BadCapture("it has no audio, only hashes of it (streams.capture_payloads)")
    parameters = member(start, "start", "custom_parameters") or {}
    track = capture.head.get("track")
    return BotStream(
        url,
        BidirectionalMode(capture.mode),
        capture.codec,
        capture.bot_codec,
        track=Track(track) if track in tuple(Track) else Track.INBOUND,
        custom_parameters=tuple((str(name), str(value)) for name, value in parameters.items()),
        from_=str(member(start, "start", "from")),
        to=str(member(start, "start", "to")),
        wire=wire,
    )


async def replay(
    capture: Capture,
    url: str,
    progress: Callable[[str], None],
    *,
    first_audio_ms: float | None = None,
    speed: float = 1.0,
    wire: str = TELNYX,
) -> Findings:
    """Play it, each socket after the other; takes as long as the call did, by `speed`. Raises BadCapture."""
    found = Findings("replay", url)
    asked = asked_of(capture, url, wire)
    player = _Player(capture, asked, progress, speed)
    traces: list[Trace] = []
    refusal = ""
    for number, socket in enumerate(capture.sockets):
        try:
            traces.append(await player.play(socket))
        except BotUnreachable as problem:
            refusal = str(problem)
            if not number:
                found.unreachable = refusal
                return found
            break
    found.trace = traces[0]
    now = measures(traces, {})
    then = measures([trace_of(capture, socket) for socket in capture.sockets], {})
    found.measures = now
    found.more = {"capture": then, "capture_sha256": capture.digest, "speed": speed, "sockets": len(traces)}
    found.items = _judged(traces, in_time=speed == 1.0)
    gone = _named(judge.reconnected(None, refusal), len(traces) + 1)
    found.items.append(gone if refusal else judge.close(traces[-1]))
    found.items += [
        Item(_LABELS[name], Verdict.OK, f"{_shown(name, now[name])}, {_shown(name, then[name])} in the capture.")
        for name in ("audio_ms", "marks", "clears", "errors", "time_to_first_audio_ms")
    ]
    if first_audio_ms is not None:
        found.thresholds.append(Threshold("first audio", first_audio_ms, now["time_to_first_audio_ms"]))
    return found


def _judged(traces: Sequence[Trace], *, in_time: bool) -> list[Item]:
    """The first socket item by item, of the others what is wrong."""
    first = traces[0]
    pace = judge.pace(first) if in_time else Item("pace", Verdict.SKIPPED, "It was not played at the speed of a call.")
    items = [judge.messages(first), judge.audio(first), pace, judge.first_audio(first)]
    items += [judge.marks(first, None), judge.reading(first)]
    for number, trace in enumerate(traces[1:], 2):
        items.append(_named(judge.reconnected(trace, ""), number))
        wrong = (Verdict.MISSED, Verdict.VIOLATION)
        items += [_named(one, number) for one in (judge.messages(trace), judge.audio(trace)) if one.verdict in wrong]
    return items


def _named(item: Item, socket: int) -> Item:
    return replace(item, name="socket" if item.name == "reconnect" else item.name, text=f"Socket {socket}: {item.text}")


class _Player:
    """Plays the sockets of a capture."""

    def __init__(self, capture: Capture, asked: BotStream, progress: Callable[[str], None], speed: float) -> None:
        self._capture = capture
        self._asked = asked
        self._progress = progress
        self._speed = speed
        self._lost_at: float | None = None
        """When the socket before was lost, in the capture."""

    async def play(self, socket: CapturedSocket) -> Trace:
        """Play one, until it is lost or the call ends. Raises BotUnreachable."""
        call = BotCall(self._asked, speed=self._speed)
        again, frames = caller_frames(self._capture, socket)
        began = after = 0.0
        if self._lost_at is not None:
            began = socket.opened_ms
            after = min(LONGEST_LOSS, (began - self._lost_at) / 1000 / self._speed)
        await call.open(again, after=after)
        call.speak(frames)
        for one in socket.messages:
            if one.to_app and one.message.get("event") == "dtmf":
                await self._until(call, one.ms - began)
                call.press(str(member(one.message, "dtmf", "digit"))[:1])
        self._lost_at = socket.lost_ms
        if socket.lost_ms is not None:
            await self._until(call, socket.lost_ms - began)
            return await call.abort()
        await self._until(call, max(socket.ended_ms - began, len(frames) * FRAME_MS))
        if socket.messages[-1].message.get("event") != "stop":
            await call.until(lambda: False, TAIL)
        return await call.hang_up()

    async def _until(self, call: BotCall, ms: float) -> None:
        while not call.over and call.leg_ms < ms:
            self._progress(f"{call.leg_ms / 1000:.0f} s of {ms / 1000:.0f}")
            await call.until(lambda: False, min(self._speed, max(0.001, (ms - call.leg_ms) / 1000)))


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "never"
    return f"{value:.0f} ms" if name.endswith("_ms") else f"{value:g}"


def baseline_of(found: Findings, capture: Capture) -> str:
    """What `--save-baseline` writes."""
    return json.dumps({"schema_version": 1, "capture_sha256": capture.digest, "measures": found.measures}, indent=1)


def read_baseline(text: str, capture: Capture) -> dict[str, Any]:
    """The measures of a baseline. Raises BadCapture if it is none, or one of another capture."""
    try:
        baseline = json.loads(text)
        kept: dict[str, Any] = baseline["measures"]
    except (ValueError, TypeError, KeyError):
        raise BadCapture("the baseline is no file of --save-baseline") from None
    if baseline.get("capture_sha256") != capture.digest:
        raise BadCapture("the baseline is one of another capture: two different calls cannot be compared")
    return kept


def compared(kept: dict[str, Any], now: dict[str, float | None], *, speed: float = 1.0) -> list[Item]:
    """An item for each measure of the baseline, of times at the speed of a call alone. What was measured then and is
    not now is the gravest."""
    items = []
    for name in (*(TIMES if speed == 1.0 else ()), *AMOUNTS):
        before, value = kept.get(name), now.get(name)
        if not isinstance(before, int | float):
            continue
        text = f"{_shown(name, before)} in the baseline, now {_shown(name, value)}."
        worse = value is None or _is_worse(name, before, value)
        verdict = Verdict.MISSED if worse else Verdict.OK
        items.append(Item(_LABELS[name], verdict, text, "regression" if worse else ""))
    return items


def _is_worse(name: str, before: float, now: float) -> bool:
    if name in AMOUNTS:
        return before - now > WORSE * before and (not name.endswith("_ms") or before - now > LEAST_MS)
    return now - before > WORSE * before and now - before > LEAST_MS
