"""A peer that changes among the codecs that were agreed, on real sockets: recordings and bridges."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mp3files import signal_to_noise
from trunkline.ids import LegId
from trunkline.media.codecs import CODECS, transcoder
from trunkline.workers import orders
from workers.bench import ONE, OTHER, Bench, call_of
from workers.worker.test_recordings import over, read, record

pytestmark = [pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]

HEARD = ((0, "PCMU"), (8, "PCMA"), (9, "G722"), (96, "PCMU"), (97, "telephone-event"))
CHANGES = ((0, "PCMU"), (9, "G722"), (8, "PCMA"), (96, "PCMU"))
PACKETS = 25


def open_one(bench: Bench) -> None:
    """The leg that sends audio; it receives PCMU."""
    bench.ports[ONE] = bench.engine.open_leg(ONE, replace(bench.phones[ONE].params, heard=HEARD))


async def talk(bench: Bench, listener: LegId) -> list[list[bytes]]:
    """Send a tone over the codec changes; returns the payloads that `listener` received during each codec."""
    heard: list[list[bytes]] = []
    at = np.arange(len(CHANGES) * PACKETS * 320) / 16000
    wave = np.rint(16384 * np.sin(2 * np.pi * 1000 * at)).astype("<i2")
    for part, (kind, codec) in enumerate(CHANGES):
        pcm = wave[part * PACKETS * 320 : (part + 1) * PACKETS * 320].tobytes()
        coded = transcoder("L16/16000", codec).convert(pcm)
        heard.append([])
        for n in range(PACKETS):
            number = part * PACKETS + n
            bench.phones[ONE].speak(number, coded[n * 160 : n * 160 + 160], bench.ports[ONE], kind)
            heard[-1].append((await bench.phones[listener].packet())[1])
    return heard


async def test_a_recording_goes_on_over_changes_without_a_gap(bench: Bench, tmp_path: Path) -> None:
    open_one(bench)
    bench.services.record(ONE, record(tmp_path / "a.wav"))
    await talk(bench, ONE)
    bench.services.recordings.stop(ONE, orders.StopRecording(3))
    assert (await over(bench)).error is None
    rate, (said,) = read(tmp_path / "a.wav")
    assert rate == 8000
    loud = np.flatnonzero(np.abs(said) > 2000)
    part = PACKETS * 160
    assert loud[-1] - loud[0] > len(CHANGES) * part - 800
    for number, (_, codec) in enumerate(CHANGES):
        middle = said[loud[0] + number * part :][800 : part - 400]
        assert signal_to_noise(middle, 8000) > 20, codec
    assert max(np.diff(loud)) < 80, "no gap where the codecs meet"


async def test_a_bridge_carries_each_codec_and_passes_the_listeners_own(bench: Bench) -> None:
    open_one(bench)
    bench.open(OTHER, "PCMA", 8)
    bench.services.bridge(ONE, orders.Bridge(call_of(OTHER)))
    parts = await talk(bench, OTHER)
    for (_, codec), payloads in zip(CHANGES, parts, strict=True):
        pcm = np.frombuffer(CODECS["PCMA"].decoder()(b"".join(payloads[8:])), "<i2").astype(np.float64)
        assert signal_to_noise(pcm, 8000) > 20, codec
    bench.phones[ONE].speak(101, bytes((3, 0x8A, 3, 32)), bench.ports[ONE], 97)
    assert await bench.phones[OTHER].keys(1) == [3]
