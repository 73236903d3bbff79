"""The verdict: from what the caller, the app and the callback receiver measured to rows that say whether it worked.

Pure. The caller's record of what it sent is the truth; everything else is held against it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trunkline.demo.audio import TONE_HZ, find_tones, percentile

LATENCY_LIMIT = 0.5
"""Seconds: an echo whose 99th percentile is above this is a failure. The server's prebuffer alone takes 0.06."""
_TONE_TOLERANCE = 2.0
"""Hz."""


@dataclass(frozen=True, slots=True)
class Measurements:
    """What was seen. Times are one clock's seconds."""

    answered_after: float
    frames: Sequence[bytes]
    """What the caller could say, every one unlike the others."""
    sent_at: Sequence[float]
    """When frame n left; as many as left."""
    stream_started_at: float | None
    """When the app got `start`."""
    app_frames: Sequence[bytes]
    app_chunks: Sequence[int]
    echoed: Sequence[bytes]
    """What the app sent back unchanged."""
    tones_sent: int
    marks_sent: Sequence[str]
    marks_returned: Sequence[str]
    app_errors: Sequence[str]
    stopped: bool
    """The app got `stop`."""
    heard: Sequence[tuple[float, bytes]]
    """What the caller heard: when, and the payload."""
    callbacks: Sequence[tuple[str, bool]]
    """StreamEvent, and whether its signature was good."""
    exit_code: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the summary."""

    name: str
    value: str
    failure: str = ""
    """Why this failed; empty when it did not."""


def judge(seen: Measurements) -> list[Row]:
    """The summary, in the order of the call."""
    return [
        Row("SIP call answered", f"after {seen.answered_after * 1000:.0f} ms"),
        Row("RTP packets sent by the caller", str(len(seen.sent_at))),
        _arrived(seen),
        _identical(seen),
        _tone(seen),
        *_echo(seen),
        _marks(seen),
        _stopped(seen),
        _callbacks(seen),
        Row("server's exit code", str(seen.exit_code), "it must be 0" if seen.exit_code else ""),
    ]


def _arrived(seen: Measurements) -> Row:
    """Every frame sent while the stream was up reached the app, once, in order."""
    name = "frames at the app, in order"
    if seen.stream_started_at is None:
        return Row(name, "0", "the stream never started")
    wanted = [n for n, at in enumerate(seen.sent_at) if at > seen.stream_started_at]
    number = {frame: n for n, frame in enumerate(seen.frames)}
    got = [number[frame] for frame in seen.app_frames if frame in number]
    missing = len(set(wanted) - set(got))
    value = f"{len(wanted) - missing} of {len(wanted)} sent after `start`"
    if not wanted or missing:
        return Row(name, value, f"{missing} missing" if wanted else "nothing was sent while the stream was up")
    if got != list(range(got[0], got[0] + len(got))):
        return Row(name, value, "out of order, or some twice")
    if list(seen.app_chunks) != list(range(1, len(seen.app_chunks) + 1)):
        return Row(name, value, "chunk does not count 1, 2, 3, …")
    return Row(name, value)


def _identical(seen: Measurements) -> Row:
    known = set(seen.frames)
    same = sum(frame in known for frame in seen.app_frames)
    differ = len(seen.app_frames) - same
    value = f"{same} of {len(seen.app_frames)}"
    return Row("of them identical byte for byte", value, f"{differ} differ" if differ else "")


def _tone(seen: Measurements) -> Row:
    tones = find_tones(payload for _, payload in seen.heard)
    value = f"{tones.hertz:.1f} Hz, {tones.bursts} of {seen.tones_sent} bursts"
    if not seen.tones_sent:
        return Row("tone heard by the caller", value, "the app sent none")
    if tones.bursts != seen.tones_sent:
        return Row("tone heard by the caller", value, "bursts missing or broken")
    off = abs(tones.hertz - TONE_HZ) > _TONE_TOLERANCE
    return Row("tone heard by the caller", value, f"it was sent at {TONE_HZ:g} Hz" if off else "")


def echo_delays(
    frames: Sequence[bytes], sent_at: Sequence[float], heard: Sequence[tuple[float, bytes]]
) -> dict[bytes, float]:
    """Seconds from sending a frame to hearing it again, for each that was heard, in the order of hearing."""
    left_at = dict(zip(frames, sent_at, strict=False))
    delays: dict[bytes, float] = {}
    for at, payload in heard:
        if payload in left_at:
            delays.setdefault(payload, at - left_at[payload])
    return delays


def _echo(seen: Measurements) -> list[Row]:
    delays = echo_delays(seen.frames, seen.sent_at, seen.heard)
    echoed = [frame for frame in seen.echoed if frame in set(seen.frames)]
    missing = len(set(echoed) - set(delays))
    failure = ""
    if not echoed or missing:
        failure = f"{missing} never came back (is the machine busy?)" if echoed else "nothing was echoed"
    elif list(delays) != echoed:
        failure = "out of order"
    late = percentile(list(delays.values()), 0.99)
    slow = f"over {LATENCY_LIMIT * 1000:g} ms" if late > LATENCY_LIMIT else ""
    value = f"{percentile(list(delays.values()), 0.5) * 1000:.0f} ms / {late * 1000:.0f} ms"
    return [
        Row("echo heard by the caller", f"{len(delays)} of {len(echoed)} frames", failure),
        Row("echo latency p50 / p99", value, slow),
    ]


def _marks(seen: Measurements) -> Row:
    value = f"{len(seen.marks_returned)} of {len(seen.marks_sent)}"
    same = list(seen.marks_returned) == list(seen.marks_sent)
    return Row("marks returned when played", value, "" if same else "missing, or out of order")


def _stopped(seen: Measurements) -> Row:
    if seen.app_errors:
        return Row("end of the stream", "errors", seen.app_errors[0])
    return Row("end of the stream", "stop" if seen.stopped else "-", "" if seen.stopped else "stop never came")


def _callbacks(seen: Measurements) -> Row:
    events = [event for event, _ in seen.callbacks]
    verified = sum(good for _, good in seen.callbacks)
    value = f"{', '.join(events) or 'none'}; {verified} verified"
    failure = ""
    if events != ["stream-started", "stream-stopped"]:
        failure = "stream-started and stream-stopped were to come"
    elif verified != len(events):
        failure = "a signature is wrong"
    return Row("status callbacks", value, failure)
