"""A call by microphone and speaker, with a library of devices that is made of silence."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from phone.answering import AnsweringParty
from trunkline.phone.batch import Batch
from trunkline.phone.talk import LATE_MS, NoDevices, PcmQueue, devices, talk_in
from trunkline.phone.values import PhoneEvent


class Devices(ModuleType):
    """As `sounddevice`: a thread that calls back with a block of each direction."""

    def __init__(self) -> None:
        super().__init__("sounddevice")
        self.heard = bytearray()
        self.rates: list[int] = []
        self.kinds = ["input", "output"]

    def query_devices(self, *, kind: str) -> str:
        if kind not in self.kinds:
            raise OSError("Error querying device -1")
        return kind

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


@pytest.mark.parametrize(("kinds", "missing"), [([], "microphone"), (["output"], "microphone"), (["input"], "speaker")])
async def test_where_a_device_is_missing_no_call_is_placed(
    kinds: list[str], missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Devices()
    library.kinds = kinds
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    async with AnsweringParty(echoes=True) as party:
        with pytest.raises(NoDevices, match=f"there is no {missing} here"):
            await talk_in(Batch(party.uri), lambda *_: None, asyncio.Event())
    assert party.invites == []


ALSA = """
pcm.!default {{ type asym  playback.pcm "speaker"  capture.pcm "microphone" }}
pcm.speaker {{ type file  slave.pcm "null"  file "{folder}/heard.raw"  format "raw" }}
pcm.microphone {{ type file  slave.pcm "null"  file "/dev/null"  infile "{folder}/said.raw"  format "raw" }}
"""
"""Files, read and written by ALSA without any clock: as fast as they can be."""


async def talked(uri: str, home: Path) -> tuple[int, str, str]:
    """`trunkline call URI --talk` with the ALSA of this home directory."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trunkline", "call", uri, "--talk"),
        env=os.environ | {"HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.process
async def test_devices_of_alsa_are_talked_with(tmp_path: Path) -> None:
    (tmp_path / "said.raw").write_bytes(b"\x00\x20\x00\x20\x00\xe0\x00\xe0" * 100_000)
    (tmp_path / ".asoundrc").write_text(ALSA.format(folder=tmp_path))
    async with AnsweringParty(echoes=True, hangs_up=0.6) as party:
        code, out, err = await talked(party.uri, tmp_path)
    assert (code, "Traceback" in err) == (0, False), err
    assert "heard       0.0 s" not in out
    heard = (tmp_path / "heard.raw").read_bytes()
    assert len(heard) > heard.count(0)


@pytest.mark.process
async def test_a_machine_without_devices_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / ".asoundrc").write_text('pcm.!default { type hw card "none" }')
    async with AnsweringParty() as party:
        code, out, err = await talked(party.uri, tmp_path)
    assert (code, out) == (4, "")
    assert err == "trunkline: --talk: there is no microphone here; see python -m sounddevice\n"
    assert party.invites == []


def test_what_waits_for_the_speaker_is_bounded_and_filled_up_with_silence() -> None:
    queue = PcmQueue(8000)
    queue.put(b"\x01\x01" * 8000)
    assert queue.take(LATE_MS * 16 + 4) == b"\x01\x01" * (LATE_MS * 8) + bytes(4)
