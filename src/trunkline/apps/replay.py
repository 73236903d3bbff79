"""`trunkline replay`: plays a capture again, to a bot, and compares what it does with what one did then."""

import json
from collections.abc import Callable
from statistics import fmean
from typing import Any

from trunkline.apps import judge
from trunkline.apps.call import BotCall
from trunkline.apps.captured import BadCapture, Capture, caller_frames, trace_of
from trunkline.apps.items import Findings, Item, Threshold, Verdict
from trunkline.apps.stream import BotStream, BotUnreachable
from trunkline.apps.trace import FRAME_MS, Trace
from trunkline.apps.wire import member
from trunkline.streaming.messages import Clear, Mark
from trunkline.streaming.params import BidirectionalMode, Track

TAIL = 2.0
"""Seconds after the last of the capture, for an answer to it, unless it ends with `stop`."""
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


def measures(trace: Trace, ms: dict[str, float | None]) -> dict[str, float | None]:
    """What is compared. `ms`: further measures."""
    gaps = trace.gaps()
    first = trace.first_audio
    return {
        "time_to_first_audio_ms": None if first is None else round(first * 1000, 1),
        "mean_inbound_gap_ms": round(fmean(gaps), 1) if gaps else None,
        "max_inbound_gap_ms": round(max(gaps), 1) if gaps else None,
        "audio_ms": round(trace.milliseconds(len(trace.audio()))),
        "marks": sum(isinstance(one.what, Mark) for one in trace.received),
        "clears": sum(isinstance(one.what, Clear) for one in trace.received),
        "errors": sum(one.event == "error" for one in trace.sent),
        **ms,
    }


def asked_of(capture: Capture, url: str) -> BotStream:
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
    )


async def replay(
    capture: Capture, url: str, progress: Callable[[str], None], *, first_audio_ms: float | None = None
) -> Findings:
    """Play it; takes as long as the call did. Raises BadCapture."""
    found = Findings("replay", url)
    call = BotCall(asked_of(capture, url))
    frames = caller_frames(capture)
    try:
        await call.open()
    except BotUnreachable as problem:
        found.unreachable = str(problem)
        return found
    call.speak(frames)
    messages = list(capture.first_socket())
    for one in messages:
        if one.to_app and one.message.get("event") == "dtmf":
            await _until(call, one.ms, progress)
            call.press(str(member(one.message, "dtmf", "digit"))[:1])
    await _until(call, max(messages[-1].ms, len(frames) * FRAME_MS), progress)
    if messages[-1].message.get("event") != "stop":
        await call.until(lambda: False, TAIL)
    found.trace = trace = await call.hang_up()
    now, then = measures(trace, {}), measures(trace_of(capture), {})
    found.measures = now
    found.more = {"capture": then, "capture_sha256": capture.digest}
    found.items = [judge.messages(trace), judge.audio(trace), judge.pace(trace), judge.first_audio(trace)]
    found.items += [judge.marks(trace, None), judge.reading(trace), judge.close(trace)]
    found.items += [
        Item(_LABELS[name], Verdict.OK, f"{_shown(name, now[name])}, {_shown(name, then[name])} in the capture.")
        for name in ("audio_ms", "marks", "clears", "errors", "time_to_first_audio_ms")
    ]
    if capture.sockets > 1:
        found.items.append(Item("sockets", Verdict.SKIPPED, f"Of {capture.sockets} sockets the first was played."))
    if first_audio_ms is not None:
        found.thresholds.append(Threshold("first audio", first_audio_ms, now["time_to_first_audio_ms"]))
    return found


async def _until(call: BotCall, ms: float, progress: Callable[[str], None]) -> None:
    while not call.over and call.now * 1000 < ms:
        progress(f"{call.now:.0f} s of {ms / 1000:.0f}")
        await call.until(lambda: False, min(1.0, max(0.001, ms / 1000 - call.now)))


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


def compared(kept: dict[str, Any], now: dict[str, float | None]) -> list[Item]:
    """An item for each measure of the baseline. What was measured then and is not now is the gravest."""
    items = []
    for name in (*TIMES, *AMOUNTS):
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
