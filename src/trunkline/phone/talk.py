"""A call by the microphone and the speaker of this machine (driver).

The library `sounddevice` is needed, which is no dependency of ours: it brings PortAudio, and most machines that run
this have neither.
"""

import asyncio
import threading
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from trunkline.phone.batch import Batch
from trunkline.phone.call import PhoneCall
from trunkline.phone.measures import CallResult, measure
from trunkline.phone.values import PhoneError, PhoneEvent

BLOCK_MS = 20
"""Audio that the devices take and give at once."""
LATE_MS = 200
"""Audio that waits for the network or for the speaker, at most; the oldest of more is dropped."""


class NoDevices(PhoneError):
    """There is no microphone or speaker that can be used."""


class SpeakerQueue:
    """What is to be played, filled by the loop and emptied by the thread of the devices."""

    def __init__(self, rate: int) -> None:
        self._limit = LATE_MS * rate // 500
        self._lock = threading.Lock()
        self._pcm = bytearray()

    def put(self, pcm: bytes) -> None:
        """Play this after what waits; of more than `LATE_MS` the oldest is dropped."""
        with self._lock:
            self._pcm += pcm
            del self._pcm[: max(0, len(self._pcm) - self._limit)]

    def take(self, size: int) -> bytes:
        """So many bytes, filled up with silence."""
        with self._lock:
            pcm = bytes(self._pcm[:size])
            del self._pcm[:size]
        return pcm + bytes(size - len(pcm))


def devices() -> ModuleType:
    """The library. Raises NoDevices."""
    try:
        return import_module("sounddevice")
    except ImportError:
        raise NoDevices("--talk needs the library sounddevice: pip install sounddevice") from None
    except OSError as error:
        raise NoDevices(f"--talk: {error} (Debian: apt install libportaudio2)") from None


async def talk_in(batch: Batch, on_event: Callable[[int, PhoneEvent], None], stop: asyncio.Event) -> CallResult:
    """One call, until the other side hangs up or `stop` is set. Raises PhoneError."""
    library, loop = devices(), asyncio.get_running_loop()
    call = PhoneCall(batch.uri, keep=False, on_event=lambda event: on_event(1, event), **batch.options)
    async with call:
        await call.wait_answered()
        rate = call.core.plan.rate
        speaker = SpeakerQueue(rate)

        def block(spoken: Any, heard: Any, *_: object) -> None:
            loop.call_soon_threadsafe(call.play, bytes(spoken), LATE_MS)
            heard[:] = speaker.take(len(heard))

        try:
            stream = library.RawStream(
                samplerate=rate, blocksize=rate * BLOCK_MS // 1000, channels=1, dtype="int16", callback=block
            )
        except Exception as error:
            raise NoDevices(f"--talk: {error}") from None
        with stream:
            hanging_up = asyncio.create_task(_hang_up_at(stop, call))
            try:
                async for frame in call.frames():
                    speaker.put(frame.pcm)
            finally:
                hanging_up.cancel()
        return measure(call.core, call.loop_time)


async def _hang_up_at(stop: asyncio.Event, call: PhoneCall) -> None:
    await stop.wait()
    await call.hang_up()
