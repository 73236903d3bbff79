"""Recordings with real sockets and the process that writes them; the files are read by an independent library."""

import asyncio
import os
import signal
import wave
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from mp3files import signal_to_noise
from trunkline.ids import LegId
from trunkline.media.codecs import CODECS
from trunkline.workers import orders, reports
from trunkline.workers.worker.decoder_client import DecoderClient
from workers.bench import ONE, OTHER, Bench, wav

pytestmark = [pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]


def read(path: Path) -> tuple[int, NDArray[np.float64]]:
    """Rate, and samples with a row per channel."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return file.getframerate(), samples.reshape(-1, file.getnchannels()).T.astype(np.float64)


def record(
    path: Path,
    *,
    channels: Literal[1, 2] = 1,
    max_length: float = 0,
    silence: float = 0,
    finish_on: str = "",
) -> orders.StartRecording:
    options = orders.RecordingOptions(channels, max_length, silence, finish_on)
    return orders.StartRecording(3, str(path), options)


def open_files(pid: int) -> list[str]:
    """Of a process."""
    return [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]


async def talk(bench: Bench, packets: int, leg: LegId = ONE, codec: str = "PCMU", hertz: float = 1000) -> None:
    """A tone, 20 ms for each packet that comes."""
    row = CODECS[codec]
    wave = np.rint(16384 * np.sin(2 * np.pi * hertz * np.arange(packets * row.sample_rate // 50) / row.sample_rate))
    coded = row.encoder()(wave.astype("<i2").tobytes())
    bench.phones[leg].forget()
    for n in range(packets):
        bench.speak(leg, n, coded[n * 160 : n * 160 + 160])
        await bench.phones[leg].packet()


async def over(bench: Bench) -> reports.RecordingEnded:
    while not isinstance(report := (await bench.report()).report, reports.RecordingEnded):
        pass
    return report


async def test_both_sides_are_recorded_separately_and_in_time(bench: Bench, tmp_path: Path) -> None:
    bench.open(ONE)
    bench.services.play(ONE, orders.StartPlayback(1, wav(tmp_path / "tone.wav", 1, hertz=400), 0))
    await bench.phones[ONE].audio(1)
    bench.services.record(ONE, record(tmp_path / "a.wav", channels=2))
    await talk(bench, 60)
    bench.services.recordings.stop(ONE, orders.StopRecording(3))
    bench.services.recordings.stop(ONE, orders.StopRecording(3))
    report = await over(bench)
    assert (report.job, report.reason, report.digit, report.error) == (3, "stopped", "", None)
    rate, (said, heard) = read(tmp_path / "a.wav")
    assert rate == 8000
    assert len(said) == report.seconds * 8000
    assert 1.1 < report.seconds < 1.5
    assert signal_to_noise(heard[800:-800], 8000, 400) > 30
    begins = np.flatnonzero(said)[0]
    assert begins < 800
    assert signal_to_noise(said[begins + 8 : begins + 8000], 8000) > 30


async def test_a_wideband_call_gives_a_wideband_file_up_to_its_limit(bench: Bench, tmp_path: Path) -> None:
    bench.open(ONE, "G722", 9)
    bench.services.record(ONE, record(tmp_path / "a.wav", max_length=0.9))
    await talk(bench, 55, codec="G722", hertz=5000)
    report = await over(bench)
    assert (report.seconds, report.reason) == (0.9, "limit")
    rate, (said,) = read(tmp_path / "a.wav")
    assert (rate, len(said)) == (16000, 14400)
    assert signal_to_noise(said[4000:12000], 16000, 5000) > 15


async def test_silence_a_key_and_hanging_up_end_it_and_are_reported(bench: Bench, tmp_path: Path) -> None:
    bench.open(ONE)
    bench.open(OTHER)
    bench.services.record(ONE, record(tmp_path / "a.wav", silence=0.4))
    report = await over(bench)
    assert report.reason == "silence"
    assert report.seconds == pytest.approx(0.4, abs=0.03)
    bench.services.record(ONE, record(tmp_path / "b.wav", finish_on="#"))
    bench.services.record(OTHER, record(tmp_path / "c.wav"))
    await talk(bench, 5)
    bench.press(ONE, 11, 5)
    report = await over(bench)
    assert (report.reason, report.digit) == ("key", "#")
    assert read(tmp_path / "b.wav")[1].any()
    bench.services.closing(OTHER)
    bench.engine.close_leg(OTHER)
    report = await over(bench)
    assert report.reason == "hangup"
    assert read(tmp_path / "c.wav")[1].shape == (1, report.seconds * 8000)
    bench.services.record(OTHER, record(tmp_path / "d.wav"))
    assert await over(bench) == reports.RecordingEnded(3, 0.0, "hangup", "", "the call ended")
    assert bench.services.recordings.counters == {"recordings": 4, "recordings_failed": 0}


async def test_a_recording_that_cannot_be_written_is_reported_with_a_reason(bench: Bench, tmp_path: Path) -> None:
    bench.open(ONE)
    for path, words in ((tmp_path / "none" / "a.wav", "No such file"), (Path("/dev/full"), "No space left")):
        bench.services.record(ONE, record(path))
        report = await over(bench)
        assert report.reason == "error"
        assert words in str(report.error)


async def test_a_slow_disk_ends_the_recording(bench: Bench, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")  # opening it waits for a reader
    bench.open(ONE)
    bench.services.record(ONE, record(tmp_path / "a.wav"))
    recorder = bench.services.recordings._all[ONE, 3].recorder
    for at in range(10**6, 10**6 + 40_000, 20):  # as if 40 seconds had gone by
        recorder.outbound_frame(b"\xff" * 160, at)
    assert (await over(bench)).error == "the disk is too slow"
    with (tmp_path / "a.wav").open("rb") as reader:
        await asyncio.to_thread(reader.read, 44)


async def test_a_recording_that_is_given_up_closes_its_file(
    bench: Bench, decoder: DecoderClient, tmp_path: Path
) -> None:
    bench.open(ONE)
    bench.services.record(ONE, record(tmp_path / "a.wav"))
    recorder = bench.services.recordings._all[ONE, 3].recorder
    os.kill(decoder.pid, signal.SIGSTOP)
    for at in range(10**6, 10**6 + 40_000, 20):  # as if 40 seconds had gone by
        recorder.outbound_frame(b"\xff" * 160, at)
    assert (await over(bench)).error == "the disk is too slow"
    os.kill(decoder.pid, signal.SIGCONT)
    bench.services.record(ONE, record(tmp_path / "next.wav"))
    bench.services.recordings.stop(ONE, orders.StopRecording(3))
    assert (await over(bench)).error is None
    assert str(tmp_path / "a.wav") not in open_files(decoder.pid)
    _, (heard,) = read(tmp_path / "a.wav")
    assert len(heard) > 20 * 8000, "what had come until then plays"


async def test_a_recording_is_playable_when_the_writer_dies(
    bench: Bench, decoder: DecoderClient, tmp_path: Path
) -> None:
    bench.open(ONE)
    bench.services.record(ONE, record(tmp_path / "a.wav"))
    await talk(bench, 110)
    decoder.ready.clear()
    os.kill(decoder.pid, signal.SIGKILL)
    report = await over(bench)
    assert (report.reason, report.error) == ("error", "the process that wrote the file failed")
    _, (said,) = read(tmp_path / "a.wav")
    assert len(said) >= 4000
    assert signal_to_noise(said[1600:4000], 8000) > 30
    bench.services.record(ONE, record(tmp_path / "b.wav"))
    assert "being restarted" in str((await over(bench)).error)
