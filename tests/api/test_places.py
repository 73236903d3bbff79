"""Who holds the HTTP server's connections, and who makes room."""

from hypothesis import given
from hypothesis import strategies as st

from trunkline.api.places import Doing, Places, Standing


def filled(places: Places, origin: str, count: int, doing: Doing = Doing.SENDING) -> list[Standing]:
    made = [Standing(origin, doing) for _ in range(count)]
    for one in made:
        places.take(one)
    return made


def test_a_place_that_is_free_is_taken_and_left() -> None:
    places = Places(10, 2)
    one = Standing("a")
    assert places.take(one) == (True, None)
    assert (len(places), places.held, one.reserved) == (1, {"a": 1}, False)
    for _ in range(2):
        places.leave(one)
    assert (len(places), places.held) == (0, {})


def test_an_origin_with_half_of_the_places_closes_one_of_its_own() -> None:
    places = Places(11, 2)
    filled(places, "older", 1)
    first, *_ = filled(places, "a", 5)
    assert places.take(Standing("a")) == (True, first)
    assert places.take(Standing("b")) == (True, None)
    assert (len(places), places.held) == (7, {"older": 1, "a": 5, "b": 1})


def test_an_origin_with_half_of_them_at_work_gets_no_more() -> None:
    places = Places(10, 2)
    filled(places, "a", 5, Doing.ANSWERED)
    assert places.take(Standing("a")) == (False, None)
    assert places.take(Standing("b")) == (True, None)


def test_customers_behind_one_proxy_are_not_one_peer() -> None:
    places = Places(10, 2)
    for one in filled(places, "proxy", 5):
        places.identified(one, authenticated=True)
    assert places.held == {}
    for _ in range(2):
        assert places.take(Standing("proxy")) == (True, None)


def test_one_whose_next_request_has_no_key_counts_again() -> None:
    places = Places(10, 2)
    (one,) = filled(places, "a", 1)
    for authenticated, held in ((True, {}), (True, {}), (False, {"a": 1}), (False, {"a": 1})):
        places.identified(one, authenticated=authenticated)
        assert places.held == held
    places.leave(one)
    places.identified(one, authenticated=True)
    assert places.held == {}


def test_what_waits_makes_room_first_then_what_sends_and_with_a_key_last() -> None:
    places = Places(4, 1)
    made = [Standing(name, doing) for name, doing in zip("abcd", 2 * [Doing.SENDING, Doing.WAITING], strict=True)]
    for one in made:
        places.take(one)
    for one in made[:2]:
        places.identified(one, authenticated=True)
    order = [places.take(Standing(name, Doing.ANSWERED))[1] for name in "efgh"]
    assert order == [made[3], made[2], made[1], made[0]]


def test_the_reserve_is_for_one_request_each_where_nothing_can_be_closed() -> None:
    places = Places(2, 1)
    for name in "ab":
        filled(places, name, 1, Doing.ANSWERED)
    spare = Standing("c", Doing.ANSWERED)
    assert places.take(spare) == (True, None)
    assert spare.reserved
    assert places.take(Standing("d")) == (False, None)
    places.leave(spare)
    assert places.take(Standing("d")) == (True, None)


@given(st.lists(st.tuples(st.sampled_from("aabc"), st.sampled_from(Doing), st.booleans(), st.booleans())))
def test_nothing_at_work_is_closed_and_the_bound_holds(
    steps: list[tuple[str, Doing, bool, bool]],
) -> None:
    places, held = Places(6, 2), list[Standing]()
    for origin, doing, authenticated, leaves in steps:
        one = Standing(origin)
        admitted, closed = places.take(one)
        assert closed is None or closed.doing is not Doing.ANSWERED
        if closed is not None:
            held.remove(closed)
        if admitted:
            held.append(one)
            one.doing = doing
            places.identified(one, authenticated=authenticated)
        if leaves and held:
            places.leave(held.pop(0))
        assert len(places) == len(held) <= 8
        assert sum(places.held.values()) == sum(not one.authenticated for one in held)
