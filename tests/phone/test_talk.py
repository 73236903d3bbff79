"""A call by microphone and speaker, with a library of devices that is made of silence."""

import asyncio
import sys
import threading
from types import ModuleType
from typing import Any

import pytest

from phone.answering import AnsweringParty
from trunkline.phone.batch import Batch
from trunkline.phone.talk import LATE_MS, NoDevices, SpeakerQueue, devices, talk_in
from trunkline.phone.values import PhoneEvent


class Devices(ModuleType):
    """As `sounddevice`: a thread that calls back with a block of each direction."""

    def __init__(self) -> None:
        super().__init__("sounddevice")
        self.heard = bytearray()
        self.rates: list[int] = []

    def RawStream(self, *, samplerate: int, blocksize: int, callback: Any, **_: Any) -> "Stream":  # noqa: N802
        self.rates.append(samplerate)
        return Stream(self, blocksize, callback)


class Stream:
    def __init__(self, owner: Devices, blocksize: int, callback: Any) -> None:
        self._owner, self._size, self._callback = owner, blocksize * 2, callback
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.02):
            block = bytearray(self._size)
            self._callback(memoryview(b"\x00\x20" * (self._size // 2)), memoryview(block), None, None)
            self._owner.heard += block


async def test_the_microphone_is_sent_and_what_comes_back_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Devices()
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    async with AnsweringParty(echoes=True, hangs_up=1.0) as party:
        async with asyncio.timeout(20):
            result = await talk_in(Batch(party.uri, options={"rate": 8000}), lambda *_: None, asyncio.Event())
    assert library.rates == [8000]
    assert result.said_ms > 300
    assert any(library.heard)
    assert result.ended_by == "them"


async def test_a_stop_hangs_up_and_the_call_has_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", Devices())
    stop = asyncio.Event()

    def on_event(_: int, event: PhoneEvent) -> None:
        if event.kind == "answered":
            asyncio.get_running_loop().call_later(0.2, stop.set)

    async with AnsweringParty(echoes=True) as party, asyncio.timeout(20):
        result = await talk_in(Batch(party.uri), on_event, stop)
    assert (result.ended_by, result.answered_ms is not None) == ("us", True)


def test_without_the_library_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(NoDevices, match="pip install sounddevice"):
        devices()


async def test_devices_that_cannot_be_opened_end_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Devices()
    monkeypatch.setattr(Devices, "RawStream", lambda *_, **__: 1 / 0)
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    async with AnsweringParty(echoes=True) as party:
        with pytest.raises(NoDevices, match="division by zero"):
            await talk_in(Batch(party.uri), lambda *_: None, asyncio.Event())


def test_what_waits_for_the_speaker_is_bounded_and_filled_up_with_silence() -> None:
    queue = SpeakerQueue(8000)
    queue.put(b"\x01\x01" * 8000)
    assert queue.take(LATE_MS * 16 + 4) == b"\x01\x01" * (LATE_MS * 8) + bytes(4)
