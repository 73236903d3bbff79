"""Recordings of a worker's legs: the recorder is on the leg, the file is written by the decoder process.

Each recording ends with exactly one `RecordingEnded`, whatever becomes of it, of its leg and of its file, and not
before the file is complete, or lost.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from trunkline.ids import CallSid, LegId
from trunkline.media.audio.recorder import Recorder
from trunkline.media.engine import Engine, UnknownLeg
from trunkline.media.frames import LegTap
from trunkline.workers.decoder.wavfile import size_of
from trunkline.workers.messages import FromLeg
from trunkline.workers.orders import PauseRecording, StartRecording, StopRecording
from trunkline.workers.reports import RecordingEnded, RecordingReason
from trunkline.workers.worker.decoder_client import DecoderClient

_log = structlog.get_logger()

Key = tuple[LegId, int]
"""A leg and the number of a job on it."""

CALL_ENDED = "the call ended"
"""The error of a recording that was cut off because the call ended."""


@dataclass(slots=True)
class _ActiveRecording:
    call: CallSid | None
    recorder: Recorder
    channels: int
    file: int = 0
    """The decoder's number of it."""
    ending: tuple[RecordingReason, str, str | None] | None = None
    """Reason, key and error, while the file is completed."""


class LegRecordings:
    """Of all legs. `soon` calls a function when the packet path is done with its ports."""

    def __init__(
        self,
        engine: Engine,
        decoder: DecoderClient,
        send: Callable[[FromLeg], object],
        soon: Callable[[Callable[[], None]], object],
        loud: int,
    ) -> None:
        """`loud`: see `Recorder`."""
        self._engine = engine
        self._decoder = decoder
        self._send = send
        self._soon = soon
        self._loud = loud
        self._all: dict[Key, _ActiveRecording] = {}
        self.counters = {"recordings": 0, "recordings_failed": 0}

    def record(self, leg: LegId, order: StartRecording, call: CallSid | None) -> None:
        """Begin."""
        key, options = (leg, order.job), order.options
        recorder = Recorder(
            options.channels,
            max_length=options.max_length,
            silence=options.silence,
            loud=self._loud,
            finish_on=options.finish_on,
            track=options.track,
            after_speech=options.after_speech,
            on_block=partial(self._block, key),
            on_over=lambda why, digit: self._soon(partial(self._end, key, why, digit)),
        )
        recording = self._all[key] = _ActiveRecording(call, recorder, options.channels)
        try:
            self._engine.attach(leg, recorder)
        except UnknownLeg:
            self._complete(key, CALL_ENDED)
            return
        done = partial(self._complete, key)
        file = self._decoder.write(order.path, recorder.rate, options.channels, done, order.floor)
        if file is None:
            self._complete(key, "the process that writes files is being restarted")
        else:
            recording.file = file

    def stop(self, leg: LegId, order: StopRecording) -> None:
        """End it."""
        self._end((leg, order.job), "stopped")

    def pause(self, leg: LegId, order: PauseRecording) -> None:
        """Pause or resume it."""
        recording = self._all.get((leg, order.job))
        if recording is not None and recording.ending is None:
            recording.recorder.pause(order.paused)

    def closing(self, leg: LegId) -> None:
        """The leg is about to close."""
        for key in [key for key in self._all if key[0] == leg]:
            self._end(key, "hangup")

    def failed(self, leg: LegId, port: LegTap) -> None:
        """A port was taken off its leg by a fault."""
        for key, recording in list(self._all.items()):
            if recording.recorder is port and key[0] == leg:
                self._end(key, "error", error="internal error on the packet path")

    def _block(self, key: Key, audio: bytes) -> None:
        recording = self._all.get(key)
        if recording is not None:
            self._decoder.append(recording.file, audio)

    def _end(self, key: Key, reason: RecordingReason, digit: str = "", error: str | None = None) -> None:
        recording = self._all.get(key)
        if recording is None or recording.ending is not None:
            return
        recording.ending = reason, digit, error
        self._engine.detach(key[0], recording.recorder)
        recording.recorder.finish()
        self._decoder.finish(recording.file)

    def _complete(self, key: Key, problem: str | None) -> None:
        """The file is complete; with a problem it is lost, or what there is of it is all."""
        recording = self._all.pop(key, None)
        if recording is None:
            return
        leg, job = key
        self._engine.detach(leg, recording.recorder)
        reason, digit, error = recording.ending or ("error", "", None)
        if problem is not None:
            reason, digit, error = "hangup" if problem is CALL_ENDED else "error", "", problem
        self.counters["recordings"] += 1
        if error is not None and error is not CALL_ENDED:
            self.counters["recordings_failed"] += 1
            _log.warning("recording_failed", call_sid=recording.call, reason=error)
        seconds = recording.recorder.recorded_ms / 1000
        recorder = recording.recorder
        size = size_of(recorder.recorded_ms, recorder.rate, recording.channels) if recording.file else 0
        self._send(FromLeg(leg, RecordingEnded(job, seconds, reason, digit, error, size)))
