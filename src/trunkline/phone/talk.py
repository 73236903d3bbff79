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


class PcmQueue:
    """PCM on its way between the loop and the thread of the devices: of more than `LATE_MS` the oldest is dropped."""

    def __init__(self, rate: int) -> None:
        self._limit = LATE_MS * rate // 500
        self._lock = threading.Lock()
        self._pcm = bytearray()

    def put(self, pcm: bytes) -> None:
        """Add this behind what waits."""
        with self._lock:
            self._pcm += pcm
            del self._pcm[: max(0, len(self._pcm) - self._limit)]

    def take(self, size: int) -> bytes:
        """So many bytes, filled up with silence."""
        with self._lock:
            pcm = bytes(self._pcm[:size])
            del self._pcm[:size]
        return pcm + bytes(size - len(pcm))

    def take_all(self) -> bytes:
        """What waits."""
        with self._lock:
            pcm, self._pcm = bytes(self._pcm), bytearray()
        return pcm


class _Microphone:
    """Hands what the devices bring to the call: once in each turn of the loop, however fast they are."""

    def __init__(self, call: PhoneCall, rate: int, loop: asyncio.AbstractEventLoop) -> None:
        self._call = call
        self._loop = loop
        self._queue = PcmQueue(rate)
        self._coming = False

    def put(self, pcm: bytes) -> None:
        """From the thread of the devices."""
        self._queue.put(pcm)
        if not self._coming:
            self._coming = True
            self._loop.call_soon_threadsafe(self._hand_on)

    def _hand_on(self) -> None:
        self._coming = False
        self._call.play(self._queue.take_all(), LATE_MS)


def devices() -> ModuleType:
    """The library. Raises NoDevices."""
    try:
        return import_module("sounddevice")
    except ImportError:
        raise NoDevices("--talk needs the library sounddevice: pip install sounddevice") from None
    except OSError as error:
        raise NoDevices(f"--talk: {error} (Debian: apt install libportaudio2)") from None


def _check(library: ModuleType) -> None:
    """Raises NoDevices where there is no microphone or no speaker, before a call is placed."""
    for kind, name in (("input", "microphone"), ("output", "speaker")):
        try:
            library.query_devices(kind=kind)
        except Exception:  # of several kinds, and whatever is said of it: "Error querying device -1"
            raise NoDevices(f"--talk: there is no {name} here; see python -m sounddevice") from None


async def talk_in(batch: Batch, on_event: Callable[[int, PhoneEvent], None], stop: asyncio.Event) -> CallResult:
    """One call, until the other side hangs up or `stop` is set. Raises PhoneError."""
    library, loop = devices(), asyncio.get_running_loop()
    _check(library)
    call = PhoneCall(batch.uri, keep=False, on_event=lambda event: on_event(1, event), **batch.options)
    async with call:
        await call.wait_answered()
        rate = call.core.plan.rate
        speaker, microphone = PcmQueue(rate), _Microphone(call, rate, loop)

        def block(spoken: Any, heard: Any, *_: object) -> None:
            microphone.put(bytes(spoken))
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
