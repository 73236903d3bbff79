"""The pool of RTP ports."""

import pytest

from trunkline.ids import Seconds
from trunkline.media.rtp.ports import NoPorts, PortPool


def test_only_even_ports_with_their_odd_neighbour_in_the_range_are_given() -> None:
    pool = PortPool(range(20001, 20007), Seconds(2))
    assert [pool.take(Seconds(0)), pool.take(Seconds(0))] == [20002, 20004]
    with pytest.raises(NoPorts, match="all RTP ports are in use"):
        pool.take(Seconds(0))


def test_a_port_rests_before_it_is_used_again() -> None:
    pool = PortPool(range(20000, 20002), Seconds(2))
    pool.give_back(pool.take(Seconds(0)), Seconds(10))
    with pytest.raises(NoPorts):
        pool.take(Seconds(11.9))
    assert pool.take(Seconds(12)) == 20000


def test_the_longest_unused_port_goes_first() -> None:
    pool = PortPool(range(20000, 20006), Seconds(0))
    pool.give_back(pool.take(Seconds(0)), Seconds(0))
    assert [pool.take(Seconds(1)) for _ in range(3)] == [20002, 20004, 20000]


def test_the_length_of_the_pool_is_the_number_of_free_ports() -> None:
    pool = PortPool(range(20000, 20006), Seconds(2))
    port = pool.take(Seconds(0))
    assert len(pool) == 2
    pool.give_back(port, Seconds(0))
    assert len(pool) == 3
