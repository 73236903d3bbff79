"""What an app's audio really is: espeak-ng's voices, tones and noise, each in each codec, taken for each other one."""

import base64
import io
import struct
import subprocess
import wave

import numpy as np
import pytest

from mp3files import mp3
from trunkline.demo.audio import speech
from trunkline.media.audio.content import ContentCheck, Kind, container, fix, recognise, roughness
from trunkline.media.codecs import CODECS
from trunkline.media.codecs.resample import resampler

KEPT = 24
LEAST_PIECE = 400
NOISE_VOTES = 6
VOTES = 3

TEXT = "Hello, this is the voice of your assistant. She sells sea shells. How can I help you today?"
STREAM_CODECS = ("PCMU", "PCMA", "G722", "L16/8000", "L16/16000", "L16/24000", "L16/8000/big", "L16/16000/big")
GOOD = b"".join(speech(10))
"""PCMU."""
SILENT_WAYS = {"PCMU": b"\xff", "PCMA": b"\xd5"}


def spoken(voice: str) -> dict[int, bytes]:
    """The text as PCM at each sample rate."""
    made = subprocess.run(["espeak-ng", "-v", voice, "--stdout", TEXT], capture_output=True, check=True).stdout
    with wave.open(io.BytesIO(made)) as file:
        pcm, rate = file.readframes(1 << 24), file.getframerate()
    return {wanted: resampler(rate, wanted)(pcm) for wanted in (8000, 16000, 24000)}


def encoded(pcm: dict[int, bytes], codec: str) -> bytes:
    return CODECS[codec].encoder()(pcm[CODECS[codec].sample_rate])


def tone(hertz: float, rate: int, amplitude: float = 0.3) -> bytes:
    time = np.arange(2 * rate) / rate
    return (np.sin(2 * np.pi * hertz * time) * amplitude * 32767).astype("<i2").tobytes()


def noise(rate: int) -> bytes:
    return (np.random.default_rng(1).normal(size=2 * rate) * 3000).astype("<i2").tobytes()


@pytest.mark.process
@pytest.mark.parametrize("voice", ["en", "de+f4"])
def test_a_voice_in_each_codec_taken_for_each_other_one(voice: str) -> None:
    pcm = spoken(voice)
    for sent in STREAM_CODECS:
        audio = encoded(pcm, sent)
        for codec in STREAM_CODECS:
            found = recognise(audio, codec)
            kind = None if found is None else found.kind
            linear, big = sent.startswith("L16"), sent.endswith("/big")
            if sent == codec or (linear and codec.startswith("L16") and big == codec.endswith("/big")):
                assert kind is None, f"{sent} as {codec}"  # rates are not heard here
            elif sent == "G722":
                assert kind is Kind.NOISE, f"{sent} as {codec}"
            elif not linear:
                assert kind in (Kind(sent.lower()), None), f"{sent} as {codec}"
                assert kind or codec.startswith("L16"), f"{sent} as {codec}"
            elif codec.startswith("L16"):
                if CODECS[codec].sample_rate == CODECS[sent].sample_rate:
                    assert kind is Kind.BYTE_ORDER, f"{sent} as {codec}"
            else:
                assert kind is Kind.PCM16, f"{sent} as {codec}"


@pytest.mark.parametrize("codec", STREAM_CODECS)
def test_nothing_is_said_of_tones_and_silence(codec: str) -> None:
    row = CODECS[codec]
    for hertz in (50, 350, 440, 1209, 1633, 2000, 3000, 3900):
        for amplitude in (0.9, 0.3, 0.01):
            audio = row.encoder()(tone(hertz, row.sample_rate, amplitude))
            found = recognise(audio, codec)
            assert found is None, f"{hertz} Hz, {amplitude}: {found}"
    assert recognise(row.silence(2000), codec) is None


@pytest.mark.parametrize("codec", STREAM_CODECS)
def test_noise_is_not_taken_for_a_codec(codec: str) -> None:
    row = CODECS[codec]
    found = recognise(row.encoder()(noise(row.sample_rate)), codec)
    assert found is None or not found.certain
    random = np.random.default_rng(2).bytes(40_000)
    compressed = recognise(random, codec)
    assert compressed is None or compressed.kind is Kind.NOISE
    assert compressed or codec == "G722"


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_the_silence_of_pcm_is_no_silence_of_g711(codec: str) -> None:
    found = recognise(bytes(4000), codec)
    assert found is not None
    assert found.kind is Kind.PCM16
    assert recognise(SILENT_WAYS[codec] * 4000, codec) is None


def wav(codec: int, rate: int, bits: int, channels: int = 1) -> bytes:
    fmt = struct.pack("<HHIIHH", codec, channels, rate, rate * bits // 8, bits // 8, bits)
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data\xff\xff\xff\xff" + bytes(800)


@pytest.mark.parametrize(
    ("head", "kind", "words"),
    [
        (wav(1, 24000, 16), "wav", "a WAV file (16-bit PCM, 24000 Hz, 1 channel)"),
        (wav(7, 8000, 8, 2), "wav", "a WAV file (8-bit mu-law, 8000 Hz, 2 channels)"),
        (wav(85, 8000, 0), "wav", "a WAV file (0-bit format 85, 8000 Hz, 1 channel)"),
        (wav(1, 24000, 16)[:30], "wav", "a WAV file"),
        (b"RIFF\x00\x00\x00\x00", "wav", "a WAV file"),
        (b"ID3\x04" + bytes(60), "mp3", "an mp3 file"),
        (b"OggS\x00\x02" + bytes(60), "ogg", "an Ogg file"),
        (b"fLaC" + bytes(60), "flac", "a FLAC file"),
        (b"\x1aE\xdf\xa3" + bytes(60), "webm", "a WebM file"),
        (b"\x00\x00\x00\x1cftypisom" + bytes(60), "mp4", "an MP4 file"),
        (b".snd" + bytes(60), "au", "an AU file"),
        (b"FORM" + bytes(60), "aiff", "an AIFF file"),
        (base64.b64encode(bytes(range(200))), "base64", "base64 of audio, encoded twice"),
    ],
)
def test_files_are_recognised_by_their_first_bytes(head: bytes, kind: str, words: str) -> None:
    found = container(head)
    assert found is not None
    assert (found.kind, found.words, found.certain) == (kind, words, True)


def test_an_mp3_file_without_a_tag_is_recognised_and_bare_audio_is_no_file() -> None:
    found = container(mp3("mpeg2-22050-mono"))
    assert found is not None
    assert found.kind is Kind.MP3
    for audio in (b"", b"\xff" * 160, bytes(160), bytes(range(256)), b"\x7e" * 160, b"A" * 20):
        assert container(audio) is None


@pytest.mark.parametrize("codec", ["PCMU", "G722", "L16/16000", "L16/22050", "OPUS"])
def test_a_file_says_more_than_the_noise_of_its_bytes(codec: str) -> None:
    rng = np.random.default_rng(3)
    found = recognise(wav(1, 24000, 16) + rng.bytes(30_000), codec)
    assert found is not None
    assert found.kind is Kind.WAV


def test_a_file_in_the_middle_of_a_stream_is_found() -> None:
    check = ContentCheck("PCMU")
    decode = CODECS["PCMU"].decoder()
    for piece in (b"OggS" + bytes(800), b"\xff" * 800):
        check.see(piece, decode(piece))
    assert check.found is not None
    assert check.found.kind is Kind.OGG


def test_some_pieces_must_agree_and_a_few_may_be_undecided() -> None:
    decode, check = CODECS["PCMU"].decoder(), ContentCheck("PCMU")
    bad, good = decode(GOOD)[:800], GOOD[:800]
    check.see(good, decode(good))
    for _ in range(VOTES - 1):
        check.see(bad, decode(bad))
        assert check.suspicious
        assert check.found is None
    check.see(bad[: LEAST_PIECE - 1], decode(bad))
    check.see(b"\xff" * 800, bytes(1600))
    assert check.found is None, "neither too short nor silent pieces count"
    check.see(bad, decode(bad))
    assert check.found is not None
    assert check.found.kind is Kind.PCM16


def test_a_mistake_that_begins_late_is_found_too() -> None:
    decode, check = CODECS["PCMU"].decoder(), ContentCheck("PCMU")
    bad, good = decode(GOOD)[:800], GOOD[:800]
    for _ in range(5 * KEPT):
        check.see(good, decode(good))
    assert not check.suspicious
    for _ in range(3 * KEPT):
        check.see(bad, decode(bad))
    assert check.found is not None


def test_noise_needs_more_pieces() -> None:
    random = np.random.default_rng(2).bytes(800 * NOISE_VOTES)
    assert recognise(random[:-800], "PCMU") is None
    found = recognise(random, "PCMU")
    assert found is not None
    assert (found.kind, found.certain) == (Kind.NOISE, False)


def test_roughness_is_that_of_white_noise_of_a_tone_and_of_nothing() -> None:
    assert roughness(noise(8000)) == pytest.approx(2, abs=0.1)
    assert roughness(tone(2000, 8000)) == pytest.approx(2, abs=0.01)
    assert (roughness(tone(200, 8000)) or 1) < 0.1
    assert roughness(b"") is roughness(b"\0") is roughness(bytes(800)) is roughness(b"\x00\x80" * 400) is None


@pytest.mark.parametrize("kind", list(Kind))
def test_each_mistake_has_a_fix_that_names_what_to_change(kind: Kind) -> None:
    for codec in STREAM_CODECS:
        words = fix(kind, codec)
        assert words.endswith((".", "?"))
        assert len(words) < 200
    assert "BidirectionalMode=mp3" in fix("mp3", "PCMU")
    assert "BidirectionalCodec=L16" in fix("pcm16", "PCMU")
    assert "to big" in fix("byte_order", "L16/16000")
    assert "to little" in fix("byte_order", "L16/16000/big")
    assert "BidirectionalCodec=PCMA" in fix("pcma", "PCMU")
