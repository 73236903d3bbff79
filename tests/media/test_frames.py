"""A tap that overrides nothing, on a leg."""

from collections.abc import Callable
from inspect import getmembers, isfunction

import pytest

from trunkline.ids import Seconds
from trunkline.media.frames import BaseTap, LegTap
from trunkline.media.leg import Leg

MakeLeg = Callable[..., Leg]


class _Listener(BaseTap):
    inbound = outbound = True


class _Player(BaseTap):
    plays = True


@pytest.mark.parametrize("kind", [BaseTap, _Listener, _Player])
def test_a_tap_that_overrides_nothing_lets_audio_pass(
    make_leg: MakeLeg, rtp: Callable[..., bytes], kind: type[BaseTap]
) -> None:
    leg = make_leg()
    before = leg.next_packet()
    leg.attach(kind())
    leg.receive(rtp(0), Seconds(100))
    leg.inbound.on_dtmf("5")
    leg.held_up(20, 20)
    after = leg.next_packet()
    assert before is not None
    assert after is not None
    assert after[12:] == before[12:]
    assert (leg.report(Seconds(101)).frames_in, leg.failed_tap()) == (1, None)


def test_the_base_tap_has_every_method_of_a_leg_tap() -> None:
    called = {name for name, _ in getmembers(LegTap, isfunction) if not name.startswith("_")}
    assert called == {name for name, _ in getmembers(BaseTap, isfunction)}


def test_the_base_tap_wants_no_audio_and_plays_none() -> None:
    assert (BaseTap.inbound, BaseTap.outbound, BaseTap.plays) == (False, False, False)
    assert BaseTap().next_frame(0) is None
