"""Who listens in: the audio that waits for each is bounded, and a call is heard only while someone listens."""

import pytest

from trunkline.errors import TooManyRequests
from trunkline.ids import AccountSid, CallSid
from trunkline.live.listening import LISTENERS, LISTENERS_OF_ACCOUNT, WAITING, HeardPiece, Listening

ACCOUNT, CALL, OTHER = AccountSid("one"), CallSid("v3:1"), CallSid("v3:2")


class Bench:
    def __init__(self) -> None:
        self.asked: list[tuple[CallSid, bool]] = []
        self.listening = Listening(lambda call, on: self.asked.append((call, on)))
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


def piece(number: int) -> HeardPiece:
    return HeardPiece(number * 100, bytes([number]))


def test_a_call_is_heard_from_the_first_listener_to_the_last() -> None:
    bench = Bench()
    assert not bench.listening.listened(CALL)
    one, two = (bench.listening.connect(ACCOUNT, CALL, bench.wake) for _ in range(2))
    assert bench.asked == [(CALL, True)]
    bench.listening.disconnect(one)
    bench.listening.disconnect(one)
    assert bench.listening.listened(CALL)
    bench.listening.disconnect(two)
    assert bench.asked == [(CALL, True), (CALL, False)]
    assert not bench.listening.listened(CALL)


def test_each_listener_gets_the_audio_of_its_call_in_order() -> None:
    bench = Bench()
    mine = bench.listening.connect(ACCOUNT, CALL, bench.wake)
    theirs = bench.listening.connect(AccountSid("two"), OTHER, bench.wake)
    for number in range(3):
        bench.listening.heard(CALL, piece(number))
    assert [mine.take() for _ in range(4)] == [piece(0), piece(1), piece(2), None]
    assert theirs.take() is None
    assert bench.woken == 3


def test_one_that_reads_slowly_loses_the_oldest() -> None:
    bench = Bench()
    slow = bench.listening.connect(ACCOUNT, CALL, bench.wake)
    for number in range(WAITING + 5):
        bench.listening.heard(CALL, piece(number))
    assert slow.take() == piece(5)


def test_the_end_of_a_call_is_the_end_of_its_listeners() -> None:
    bench = Bench()
    one = bench.listening.connect(ACCOUNT, CALL, bench.wake)
    bench.listening.heard(CALL, piece(1))
    bench.listening.ended(CALL)
    assert (one.over, one.take(), bench.woken) == (True, piece(1), 2)
    bench.listening.disconnect(one)
    assert bench.asked == [(CALL, True)]  # the leg ends by itself


def test_listeners_are_bounded_for_each_account_and_for_all() -> None:
    bench = Bench()
    for _ in range(LISTENERS_OF_ACCOUNT):
        last = bench.listening.connect(ACCOUNT, CALL, bench.wake)
    with pytest.raises(TooManyRequests):
        bench.listening.connect(ACCOUNT, OTHER, bench.wake)
    for _ in range(LISTENERS - LISTENERS_OF_ACCOUNT):
        bench.listening.connect(AccountSid("two"), OTHER, bench.wake)
    with pytest.raises(TooManyRequests):
        bench.listening.connect(AccountSid("three"), OTHER, bench.wake)
    bench.listening.disconnect(last)
    bench.listening.connect(AccountSid("three"), OTHER, bench.wake)
