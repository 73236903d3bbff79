"""Several players on one leg: one alone passes unchanged, several are added and clipped."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trunkline.config import MediaSettings
from trunkline.media.audio.mixer import Mixer, Player
from trunkline.media.codecs import CODECS
from trunkline.media.leg import Leg, TooManyPlayers
from trunkline.media.rtp.packet import parse
from trunkline.sdp.values import MediaParams

if TYPE_CHECKING:
    from media.conftest import RecordingTap

MakeLeg = Callable[..., Leg]
MakeTap = Callable[..., "RecordingTap"]
Pcm = NDArray[np.int16]


def levels(codec: str, payload: bytes) -> list[int]:
    """The samples of a G.711 payload."""
    return [int(level) for level in np.frombuffer(CODECS[codec].decoder()(payload), "<i2")]


def played(leg: Leg) -> bytes:
    packet = parse(leg.outbound.next_packet() or b"")
    assert packet is not None
    return packet.payload


def tone(hertz: float, level: float, rate: int, samples: int) -> Pcm:
    signal: Pcm = np.rint(level * np.sin(2 * np.pi * hertz / rate * np.arange(samples))).astype(np.int16)
    return signal


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
@given(voices=st.lists(st.none() | st.binary(min_size=8, max_size=8), min_size=2, max_size=4))
def test_any_players_are_mixed_into_the_clipped_sum(codec: str, voices: list[bytes | None]) -> None:
    def player(voice: bytes | None) -> Player:
        return lambda at: voice

    mixed = Mixer(codec, [player(voice) for voice in voices]).next_frame(0)
    speaking = [voice for voice in voices if voice is not None]
    if len(speaking) < 2:
        assert mixed == (speaking[0] if speaking else None)
        return
    assert mixed is not None
    encode = CODECS[codec].encoder()
    sums = [max(-32768, min(32767, sum(column))) for column in zip(*(levels(codec, v) for v in speaking), strict=True)]
    assert mixed == encode(np.array(sums, "<i2").tobytes())


@pytest.mark.parametrize(
    ("one", "other", "heard"),
    [(-20000, -12768, -32768), (-20000, -12769, -32768), (20000, 12767, 32767), (20000, 12768, 32767), (5, -7, -2)],
)
def test_a_sum_may_be_as_loud_as_a_sample(one: int, other: int, heard: int) -> None:
    def player(level: int) -> Player:
        return lambda at: np.full(160, level, "<i2").tobytes()

    mixed = Mixer("L16/8000", [player(one), player(other)]).next_frame(0)
    assert mixed is not None
    assert set(np.frombuffer(mixed, "<i2").tolist()) == {heard}


def test_two_ports_of_a_leg_are_mixed_and_one_alone_is_untouched(make_leg: MakeLeg, make_tap: MakeTap) -> None:
    leg, one, two, listener = make_leg(), make_tap(plays=True), make_tap(plays=True), make_tap(outbound=True)
    for tap in (one, two, listener):
        leg.attach(tap)
    one.to_play = [b"\x7f" * 160, b"\x90" * 160]  # 0x7f is minus zero, which no encoder gives
    two.to_play = []
    assert played(leg) == b"\x7f" * 160
    two.to_play = [b"\x90" * 160, b"\x91" * 160]
    (ninety,) = set(levels("PCMU", b"\x90" * 160))
    assert levels("PCMU", played(leg)) == [pytest.approx(2 * ninety, rel=0.05)] * 160
    assert played(leg) == b"\x91" * 160
    assert played(leg) == b"\xff" * 160
    assert one.asked == two.asked == [0, 20, 40, 60]
    assert len(listener.sent) == 4


def test_a_loud_mix_is_clipped_not_wrapped(make_leg: MakeLeg, make_tap: MakeTap) -> None:
    leg, one, two = make_leg(), make_tap(plays=True), make_tap(plays=True)
    leg.attach(one)
    leg.attach(two)
    one.to_play, two.to_play = [b"\x80" * 80 + b"\x00" * 80], [b"\x80" * 80 + b"\x00" * 80]
    assert played(leg) == b"\x80" * 80 + b"\x00" * 80


def test_the_last_player_left_is_asked_directly(make_leg: MakeLeg, make_tap: MakeTap) -> None:
    leg, one, two = make_leg(), make_tap(plays=True), make_tap(plays=True)
    leg.attach(one)
    assert leg.outbound.player == one.next_frame
    leg.attach(two)
    assert leg.outbound.player not in (one.next_frame, two.next_frame)
    leg.detach(one)
    assert leg.outbound.player == two.next_frame


def test_no_more_players_than_the_setting_allows(make_leg: MakeLeg, make_tap: MakeTap) -> None:
    leg = make_leg(settings=MediaSettings(players_per_leg=2))
    first = make_tap(plays=True)
    leg.attach(first)
    leg.attach(make_tap(plays=True))
    with pytest.raises(TooManyPlayers, match="2 sources"):
        leg.attach(make_tap(plays=True))
    leg.attach(make_tap())
    leg.detach(first)
    leg.attach(make_tap(plays=True))


def test_the_player_that_raised_is_identified(
    make_leg: MakeLeg, make_tap: MakeTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    leg, good, bad = make_leg(), make_tap(plays=True), make_tap(plays=True)
    leg.attach(good)
    leg.attach(bad)
    bad.to_play = [b"too short", b"x" * 160]
    good.to_play = [b"x" * 160, b"x" * 160]
    with pytest.raises(ValueError, match="shape"):
        leg.outbound.next_packet()
    assert leg.failed_tap() is None  # the sum itself failed
    bad.to_play = [b"never played"]
    monkeypatch.setattr(bad, "asked", None)
    with pytest.raises(AttributeError):
        leg.outbound.next_packet()
    assert leg.failed_tap() is bad
    assert leg.failed_tap() is None
    leg.detach(bad)
    assert played(leg) == b"\xff" * 160


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722"])
def test_a_second_player_starts_and_stops_without_clicks_in_the_first(
    codec: str, make_leg: MakeLeg, make_tap: MakeTap, params: MediaParams
) -> None:
    row = CODECS[codec]
    per_frame = row.sample_rate // 50
    low, high = (tone(hertz, 8000, row.sample_rate, 60 * per_frame) for hertz in (400, 1100))

    def frames(signal: Pcm) -> list[bytes]:
        encode = row.encoder()
        return [encode(signal[n : n + per_frame].astype("<i2").tobytes()) for n in range(0, len(signal), per_frame)]

    leg, one, two = make_leg(replace(params, codec=codec)), make_tap(plays=True), make_tap(plays=True)
    leg.attach(one)
    leg.attach(two)
    one.to_play = frames(low)
    heard = []
    decode = row.decoder()
    for n in range(60):
        if n == 20:
            two.to_play = frames(high[20 * per_frame : 40 * per_frame])
        heard.append(np.frombuffer(decode(played(leg)), "<i2"))
    got = np.concatenate(heard).astype(np.float64)
    wanted = low.astype(np.float64)
    wanted[20 * per_frame : 40 * per_frame] += high[20 * per_frame : 40 * per_frame]
    assert max(abs(got)) < 1.05 * max(abs(wanted))  # no click at the borders either
    for frame in range(2, 60):
        if codec == "G722":  # each coding delays by 22 samples, and mixing, once begun, goes on
            if frame in (20, 40):
                continue
            delay = 22 if frame < 20 else 44
        else:
            delay = 0
        start = frame * per_frame - delay
        part, clean = got[frame * per_frame : (frame + 1) * per_frame], wanted[start : start + per_frame]
        ratio = 10 * np.log10(np.mean(clean**2) / np.mean((part - clean) ** 2))
        assert ratio > (30 if codec != "G722" else 18), frame


def test_after_mixing_g722_is_passed_through_again(make_leg: MakeLeg, make_tap: MakeTap, params: MediaParams) -> None:
    leg, one, two = make_leg(replace(params, codec="G722")), make_tap(plays=True), make_tap(plays=True)
    leg.attach(one)
    leg.attach(two)
    one.to_play, two.to_play = [b"a" * 160, b"b" * 160], [b"c" * 160]
    assert played(leg) not in (b"a" * 160, b"c" * 160)
    assert played(leg) != b"b" * 160
    played(leg)
    two.to_play = [b"d" * 160]
    assert played(leg) == b"d" * 160


def test_invalid_opus_is_left_out_of_the_mix(make_leg: MakeLeg, make_tap: MakeTap, params: MediaParams) -> None:
    leg, one, two = make_leg(replace(params, codec="OPUS")), make_tap(plays=True), make_tap(plays=True)
    leg.attach(one)
    leg.attach(two)
    silence = CODECS["OPUS"].silence(20)
    one.to_play, two.to_play = [b"\xfb\x41\xff"] * 2, [silence, b"\xfb\x41\xff"]
    decode = CODECS["OPUS"].decoder()
    assert len(decode(played(leg))) == 1920
    assert played(leg) == silence
