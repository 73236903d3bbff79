"""Orders about legs with real sockets and a real decoder process: files played, keys sent, calls bridged."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mp3files import mp3, signal_to_noise
from trunkline.ids import LegId
from trunkline.media.codecs import CODECS
from trunkline.sdp.values import Direction
from trunkline.workers import messages, orders, reports
from trunkline.workers.worker.decoder_client import DecoderClient
from workers.bench import ONE, OTHER, Bench, Phone, call_of, wav

pytestmark = [pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]


async def test_a_wav_file_is_repeated_without_a_gap(bench: Bench, tmp_path: Path) -> None:
    phone = bench.open(ONE)
    bench.services.play(ONE, orders.StartPlayback(7, wav(tmp_path / "tone.wav", 0.3), 3))
    heard = await phone.audio(45)
    assert signal_to_noise(heard, 8000) > 30
    assert await bench.report() == messages.FromLeg(ONE, reports.PlaybackEnded(7, None))


async def test_an_mp3_file_is_played_in_g722_and_continues_in_another_codec(bench: Bench, tmp_path: Path) -> None:
    phone = bench.open(ONE, "G722", 9)
    (tmp_path / "tone.mp3").write_bytes(mp3(seconds=3))
    bench.services.play(ONE, orders.StartPlayback(7, str(tmp_path / "tone.mp3"), 0))
    heard = await phone.audio(40, "G722")
    assert signal_to_noise(heard[1600:], 16000) > 25
    bench.engine.update_leg(ONE, phone.params)
    while (await phone.packet())[0] != 0:
        pass
    heard = await phone.audio(30)
    assert signal_to_noise(heard[800:], 8000) > 20
    bench.services.stop_playback(ONE, orders.StopPlayback(7))
    assert await bench.report() == messages.FromLeg(ONE, reports.PlaybackEnded(7, None))
    bench.services.stop_playback(ONE, orders.StopPlayback(7))
    while (await phone.packet())[1] != b"\xff" * 160:
        pass


async def test_files_that_cannot_be_played_are_reported_with_a_reason(
    make_bench: Callable[..., Bench], tmp_path: Path, decoder: DecoderClient
) -> None:
    bench = make_bench(players_per_leg=1)
    bench.open(ONE)
    text = tmp_path / "text.wav"
    text.write_text("#EXTM3U\nhttp://127.0.0.1/x.wav\n" * 50)
    for path, words in ((tmp_path / "none.wav", "No such file"), (text, "no audio file"), (tmp_path, "directory")):
        bench.services.play(ONE, orders.StartPlayback(1, str(path), 1))
        report = (await bench.report()).report
        assert isinstance(report, reports.PlaybackEnded)
        assert words in str(report.error)
    bench.services.play(ONE, orders.StartPlayback(2, wav(tmp_path / "a.wav", 1), 0))
    bench.services.play(ONE, orders.StartPlayback(3, wav(tmp_path / "b.wav", 1), 0))
    assert "players_per_leg" in str(await bench.report())
    bench.services.closing(ONE)
    assert await bench.report() == messages.FromLeg(ONE, reports.PlaybackEnded(2, "the call ended"))
    bench.services.play(LegId(9), orders.StartPlayback(4, "a.wav", 1))
    assert await bench.report() == messages.FromLeg(LegId(9), reports.PlaybackEnded(4, "the call ended"))
    assert bench.services.counters == {"plays": 6, "plays_failed": 4, "digits_refused": 0}
    assert decoder.counters["decoder_restarts"] == 0


async def test_keys_are_sent_with_waits_and_received(bench: Bench) -> None:
    phone, other = bench.open(ONE), bench.open(OTHER)
    bench.services.send_digits(ONE, orders.SendDigits("1w#"))
    assert await phone.keys(2) == [1, 11]
    bench.services.send_digits(ONE, orders.SendDigits("12x"))
    bench.engine.update_leg(ONE, replace(phone.params, dtmf_payload_type=None))
    bench.services.send_digits(ONE, orders.SendDigits("1"))
    bench.services.send_digits(LegId(9), orders.SendDigits("1"))
    assert bench.services.counters["digits_refused"] == 2
    bench.engine.update_leg(ONE, phone.params)
    # By signalling, by RTP, or both: each key is reported once, and sent over a bridge once.
    bench.services.bridge(ONE, orders.Bridge(call_of(OTHER)))
    bench.services.notify_dtmf(ONE, orders.NotifyDtmf("4"))
    bench.press(ONE, 5)
    assert await other.keys(2) == [4, 5]
    assert [await bench.report(), await bench.report()] == [
        messages.FromLeg(ONE, reports.DigitHeard("4")),
        messages.FromLeg(ONE, reports.DigitHeard("5")),
    ]
    bench.services.notify_dtmf(ONE, orders.NotifyDtmf("5"))
    bench.press(ONE, 4, number=2)
    bench.press(ONE, 6, number=3)
    assert await other.keys(2) == [5, 6], "5 being the last of the one before"
    assert await bench.report() == messages.FromLeg(ONE, reports.DigitHeard("6"))
    assert bench.reports.empty()
    bench.services.notify_dtmf(LegId(9), orders.NotifyDtmf("1"))


async def test_a_bridge_replaces_the_one_before_and_transcodes(bench: Bench) -> None:
    bench.open(ONE)
    listener = bench.open(OTHER, "G722", 9)
    third = LegId(3)
    bench.phones[third] = Phone()
    bench.open(third)
    bench.services.bridge(ONE, orders.Bridge(call_of(third)))
    bench.services.bridge(OTHER, orders.Bridge(call_of(ONE)))
    rate = 8000
    wave = np.rint(16384 * np.sin(2 * np.pi * 1000 * np.arange(2 * rate) / rate)).astype("<i2").tobytes()
    coded = CODECS["PCMU"].encoder()(wave)
    heard: list[bytes] = []
    for n in range(80):
        bench.speak(ONE, n, coded[n * 160 : n * 160 + 160])
        heard.append((await listener.packet())[1])
    pcm = np.frombuffer(CODECS["G722"].decoder()(b"".join(heard)), "<i2").astype(np.float64)
    assert signal_to_noise(pcm[6400:], 16000) > 20
    assert all([(await bench.phones[third].packet())[1] == b"\xff" * 160 for _ in range(60)])
    # On hold the listener's direction has no audio: nothing is sent to it, and the bridge stays.
    bench.engine.update_leg(OTHER, replace(listener.params, codec="G722", payload_type=9, direction=Direction.INACTIVE))
    assert bench.engine.report(OTHER).on_hold
    bench.services.unbridge(ONE, orders.Unbridge())
    bench.services.bridge(ONE, orders.Bridge(call_of(LegId(9))))
