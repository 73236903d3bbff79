"""Pass-through with packet loss concealment: which payloads pass byte for byte, and which are computed."""

import numpy as np
import pytest

from trunkline.media.audio.mixer import WARM_UP
from trunkline.media.audio.plc import Concealer
from trunkline.media.bridge.concealment import ConcealedFrame, Concealment
from trunkline.media.codecs import CODECS

CODEC = pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722", "OPUS"])


def voice(codec: str, count: int) -> list[bytes]:
    """Payloads of 20 ms of a steady tone."""
    row = CODECS[codec]
    size, encode = row.sample_rate // 50, row.encoder()
    wave = np.rint(8000 * np.sin(2 * np.pi * 437 * np.arange(count * size) / row.sample_rate)).astype("<i2")
    return [encode(wave[at : at + size].tobytes()) for at in range(0, len(wave), size)]


def frame(codec: str, coded: bytes = b"") -> ConcealedFrame:
    return ConcealedFrame(CODECS[codec].sample_rate // 50, coded)


@CODEC
def test_while_nothing_is_missing_payloads_pass_byte_for_byte(codec: str) -> None:
    listener = Concealment(codec)
    sent = voice(codec, 6)
    assert [listener.payload([frame(codec, payload)]) for payload in sent] == sent


def test_several_pieces_are_one_packet() -> None:
    one, two = voice("PCMU", 2)
    assert Concealment("PCMU").payload([frame("PCMU", one), frame("PCMU", two)]) == one + two


@CODEC
def test_only_what_is_lost_and_the_next_are_computed(codec: str) -> None:
    listener, sent = Concealment(codec), voice(codec, 12)
    heard = [listener.payload([frame(codec, payload if n != 6 else b"")]) for n, payload in enumerate(sent)]
    assert [n for n in range(12) if heard[n] != sent[n]] == [6, 7]
    assert all(len(payload) == len(sent[0]) for payload in heard) or codec == "OPUS"
    decode = CODECS[codec].decoder()
    levels = [np.sqrt(np.mean(np.frombuffer(decode(payload), "<i2").astype(float) ** 2)) for payload in heard]
    assert min(levels[1:]) > 0.6 * levels[5], "a hole would be silent"


def test_concealment_continues_the_audio_that_was_played() -> None:
    listener, sent = Concealment("PCMU"), voice("PCMU", 12)
    row, reference = CODECS["PCMU"], Concealer(8000)
    for payload in sent:
        listener.payload([frame("PCMU", payload)])
    for payload in sent[-WARM_UP:]:
        reference.heard(row.decoder()(payload))
    assert listener.payload([frame("PCMU")]) == row.encoder()(reference.conceal(160))
    again = reference.heard(row.decoder()(sent[0]))
    assert listener.payload([frame("PCMU", sent[0])]) == row.encoder()(again)
    assert listener.payload([frame("PCMU", sent[1])]) == sent[1]


def test_an_indivisible_piece_arrives_as_samples_and_is_encoded() -> None:
    samples = np.arange(160, dtype="<i2").tobytes()
    listener = Concealment("PCMA")
    assert listener.pcm([ConcealedFrame(160, pcm=samples)]) == samples
    assert listener.payload([ConcealedFrame(160, pcm=samples)]) == CODECS["PCMA"].encoder()(samples)


def test_after_a_seam_audio_is_computed_until_the_decoder_has_warmed_up() -> None:
    listener, before, after = Concealment("G722"), voice("G722", 5), voice("G722", WARM_UP + 5)
    for payload in before:
        listener.payload([frame("G722", payload)])
    decode = CODECS["G722"].decoder()
    seam = ConcealedFrame(0, decode=decode)
    heard = [listener.payload([seam, frame("G722", after[0])])]
    heard += [listener.payload([frame("G722", payload)]) for payload in after[1:]]
    assert [n for n in range(len(after)) if heard[n] == after[n]] == list(range(WARM_UP + 1, WARM_UP + 5))


def test_a_seams_decoder_decodes_what_follows() -> None:
    sent = voice("G722", 6)
    theirs, reference = CODECS["G722"].decoder(), CODECS["G722"].decoder()
    for payload in sent[:3]:
        assert theirs(payload) == reference(payload)
    listener = Concealment("G722")
    assert listener.pcm([frame("G722", sent[0])]) == CODECS["G722"].decoder()(sent[0])
    listener.pcm([ConcealedFrame(0, decode=theirs)])
    assert listener.pcm([frame("G722", sent[3])])[640:] == b""
    assert listener.pcm([frame("G722", sent[4])]) == [reference(payload) for payload in sent[3:5]][1]


def test_an_invalid_packet_is_concealed() -> None:
    listener, sent = Concealment("OPUS"), voice("OPUS", 4)
    for payload in sent[:3]:
        listener.payload([frame("OPUS", payload)])
    pcm = listener.pcm([frame("OPUS", b"\xff\xff\xff")])
    assert len(pcm) == 1920
    assert np.abs(np.frombuffer(pcm, "<i2").astype(int)).max() > 4000
    assert len(Concealment("OPUS").pcm([frame("OPUS", b"\xff")])) == 1920, "also where nothing was before"
