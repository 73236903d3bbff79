"""The hub: numbers, rings, clients that read slowly, and what is watched."""

import json
from typing import Any

import pytest

from trunkline.errors import TooManyRequests
from trunkline.ids import AccountSid, CallSid
from trunkline.live import hub as module
from trunkline.live.hub import BATCH, CLIENTS_OF_ACCOUNT, RING, WATCHES, EventClient, Hub

ONE, OTHER = AccountSid("one"), AccountSid("other")
CALL, CALL_2 = CallSid("v3:1"), CallSid("v3:2")


def new_hub() -> tuple[Hub, list[tuple[CallSid, bool]]]:
    watched: list[tuple[CallSid, bool]] = []
    return Hub("life", lambda call, on: watched.append((call, on))), watched


def connected(hub: Hub, account: AccountSid = ONE, **options: Any) -> EventClient:
    return hub.connect(account, lambda: None, **options)


def read(client: EventClient) -> list[dict[str, Any]]:
    """All that it is given now."""
    found: list[dict[str, Any]] = []
    while messages := client.take():
        found += map(json.loads, messages)
    return found


def publish(hub: Hub, name: str, account: AccountSid = ONE, only: CallSid | None = None) -> None:
    hub.publish(account, lambda: {"event": name}, only)


def test_a_client_gets_the_events_of_its_account_alone_with_their_numbers() -> None:
    hub, _ = new_hub()
    mine, theirs = connected(hub), connected(hub, OTHER)
    publish(hub, "a")
    publish(hub, "b", OTHER)
    publish(hub, "c")
    assert read(mine) == [{"sequence": 1, "event": "a"}, {"sequence": 2, "event": "c"}]
    assert read(theirs) == [{"sequence": 1, "event": "b"}]
    assert read(mine) == []


def test_a_client_is_woken_by_events_of_its_account_alone() -> None:
    hub, _ = new_hub()
    woken: list[str] = []
    hub.connect(ONE, lambda: woken.append("one"))
    hub.connect(OTHER, lambda: woken.append("other"))
    publish(hub, "a")
    assert woken == ["one"]


def test_a_client_that_comes_back_gets_what_it_missed() -> None:
    hub, _ = new_hub()
    for name in "abc":
        publish(hub, name)
    again = connected(hub, after=1, session="life")
    assert [event["event"] for event in read(again)] == ["b", "c"]
    assert json.loads(hub.hello(again)) == {
        "event": "hello",
        "account_sid": "one",
        "session": "life",
        "first_sequence": 1,
        "last_sequence": 3,
    }


@pytest.mark.parametrize("place", [{"after": 2, "session": "an earlier one"}, {"after": 99, "session": "life"}])
def test_a_place_in_another_life_gives_all_that_is_kept(place: dict[str, Any]) -> None:
    hub, _ = new_hub()
    for name in "abc":
        publish(hub, name)
    assert [event["event"] for event in read(connected(hub, **place))] == ["a", "b", "c"]


def test_a_new_client_gets_only_what_is_new() -> None:
    hub, _ = new_hub()
    publish(hub, "a")
    client = connected(hub)
    publish(hub, "b")
    assert [event["event"] for event in read(client)] == ["b"]


def test_a_slow_client_learns_how_many_events_were_dropped() -> None:
    hub, _ = new_hub()
    slow = connected(hub)
    for _ in range(RING + 7):
        publish(hub, "a")
    first, second, *_ = read(slow)
    assert first == {"event": "dropped", "events": 7, "next_sequence": 8}
    assert second["sequence"] == 8


def test_the_largest_ring_makes_room_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALL_RINGS", 10)
    hub, _ = new_hub()
    quiet, loud = connected(hub, OTHER, after=0), connected(hub, after=0)
    publish(hub, "quiet", OTHER)
    for _ in range(20):
        publish(hub, "loud")
    assert [event["event"] for event in read(quiet)] == ["quiet"]
    assert read(loud)[0]["events"] == 11, "nine of twenty are kept beside the other account's"


def test_messages_come_in_batches() -> None:
    hub, _ = new_hub()
    client = connected(hub)
    for _ in range(BATCH + 1):
        publish(hub, "a")
    assert (len(client.take()), len(client.take()), len(client.take())) == (BATCH, 1, 0)


def test_an_event_is_made_once_and_only_when_it_is_taken() -> None:
    hub, _ = new_hub()
    made: list[int] = []

    def make() -> dict[str, object]:
        made.append(1)
        return {"event": "a"}

    hub.publish(ONE, make)
    assert not made
    read(connected(hub, after=0))
    read(connected(hub, after=0))
    assert len(made) == 1


def test_what_is_said_of_a_watched_call_goes_to_those_who_watch_it() -> None:
    hub, watched = new_hub()
    looks, does_not = connected(hub), connected(hub)
    assert hub.watch(looks, CALL) is None
    assert watched == [(CALL, True)]
    publish(hub, "stream-message", only=CALL)
    publish(hub, "stream-message", only=CALL_2)
    hub.levels(ONE, CALL, {"event": "levels"})
    assert [event["event"] for event in read(looks)] == ["stream-message", "levels"]
    assert read(does_not) == []


def test_of_levels_only_the_newest_waits() -> None:
    hub, _ = new_hub()
    client = connected(hub)
    hub.watch(client, CALL)
    for number in range(3):
        hub.levels(ONE, CALL, {"event": "levels", "at_ms": number})
    assert read(client) == [{"event": "levels", "at_ms": 2}]


def test_levels_of_another_account_do_not_come() -> None:
    hub, _ = new_hub()
    client = connected(hub, OTHER)
    hub.watch(client, CALL)
    hub.levels(ONE, CALL, {"event": "levels"})
    assert read(client) == []


def test_a_call_is_watched_until_its_last_client_looks_away() -> None:
    hub, watched = new_hub()
    first, second = connected(hub), connected(hub)
    hub.watch(first, CALL)
    hub.watch(second, CALL)
    hub.watch(second, CALL)
    hub.unwatch(first, CALL)
    hub.unwatch(first, CALL)
    assert watched == [(CALL, True)]
    assert hub.watched(CALL)
    hub.disconnect(second)
    assert watched == [(CALL, True), (CALL, False)]
    assert not hub.watched(CALL)


def test_the_end_of_a_call_ends_its_watch() -> None:
    hub, watched = new_hub()
    client = connected(hub)
    hub.watch(client, CALL)
    hub.ended(ONE, CALL)
    assert not client.watches
    assert watched[-1] == (CALL, False)


def test_one_who_watches_all_watches_new_calls_of_its_account() -> None:
    hub, watched = new_hub()
    looks, does_not = connected(hub, watches_all=True), connected(hub)
    hub.begun(ONE, CALL)
    hub.begun(OTHER, CALL_2)
    assert watched == [(CALL, True)]
    assert (looks.watches, does_not.watches) == ({CALL}, set())


def test_watches_are_bounded_for_each_client_and_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, _ = new_hub()
    client = connected(hub)
    for number in range(WATCHES):
        assert hub.watch(client, CallSid(f"v3:{number}")) is None
    assert hub.watch(client, CallSid("v3:more")) == "10 calls are watched by this socket already"
    monkeypatch.setattr(module, "WATCHED", WATCHES)
    assert hub.watch(connected(hub), CallSid("v3:more")) == "10 calls are watched on this server already"
    assert hub.watch(connected(hub), CallSid("v3:0")) is None, "it is watched already"


def test_clients_are_bounded_and_give_their_places_back(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, _ = new_hub()
    clients = [connected(hub) for _ in range(CLIENTS_OF_ACCOUNT)]
    with pytest.raises(TooManyRequests):
        connected(hub)
    monkeypatch.setattr(module, "CLIENTS", CLIENTS_OF_ACCOUNT)
    with pytest.raises(TooManyRequests):
        connected(hub, OTHER)
    hub.disconnect(clients[0])
    hub.disconnect(clients[0])
    connected(hub, OTHER)


def test_what_an_account_s_own_bound_has_dropped_takes_no_room_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RING", 3)
    monkeypatch.setattr(module, "ALL_RINGS", 5)
    hub, _ = new_hub()
    loud, quiet = connected(hub, after=0), connected(hub, OTHER, after=0)
    for _ in range(10):
        publish(hub, "loud")
    for _ in range(2):
        publish(hub, "quiet", OTHER)
    assert [event["event"] for event in read(quiet)] == ["quiet"] * 2
    assert [event["event"] for event in read(loud)] == ["dropped", *["loud"] * 3]
    publish(hub, "quiet", OTHER)
    assert read(connected(hub, after=0))[0] == {"event": "dropped", "events": 8, "next_sequence": 9}


def test_a_client_that_missed_nothing_gets_nothing() -> None:
    hub, _ = new_hub()
    publish(hub, "a")
    for place in ({"after": 1, "session": "life"}, {"after": 1}):
        assert read(connected(hub, **place)) == []
    assert [event["sequence"] for event in read(connected(hub, after=0))] == [1]
