"""The outbox under a hand-driven clock."""

from collections import Counter
from datetime import UTC, datetime
from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.config import CallbackSettings
from trunkline.ids import CallSid
from trunkline.store.records import CallbackRecord
from trunkline.webhooks.outbox import AttemptResult, Outbox, judge, retry_after, wait_before

HOST_LIMIT = 1000
SCARCE_LIMIT = 10
TOTAL_LIMIT = 20_000

SETTINGS = CallbackSettings()
OK = AttemptResult(status=200)
SILENCE = AttemptResult(error="no answer within 5 s")
MIDDLE = 0.5


def record(position: int, key: str = "s1", host: str = "a") -> CallbackRecord:
    return CallbackRecord(
        id=f"c{position}",
        key=key,
        host=host,
        call_sid=CallSid("v3:x"),
        stream_sid=None,
        url=host,
        method="POST",
        form="",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        position=position,
    )


def started(outbox: Outbox, now: float) -> list[str]:
    work = outbox.due(now)
    assert work.expired == []
    return [item.id for item in work.start]


# The schedule and the rules.


def test_six_tries_take_about_ten_minutes() -> None:
    waits = [wait_before(SETTINGS, n) for n in range(1, SETTINGS.tries)]
    assert len(waits) == 5
    assert waits == sorted(waits)
    assert 540 <= sum(waits) <= 720


def test_jitter_moves_a_wait_by_a_fifth_at_most() -> None:
    assert wait_before(SETTINGS, 1, 0.0) == pytest.approx(3.2)
    assert wait_before(SETTINGS, 1, 1.0) == pytest.approx(4.8)


@pytest.mark.parametrize("code", [200, 201, 204, 299])
def test_2xx_is_delivered(code: int) -> None:
    assert judge(SETTINGS, AttemptResult(status=code), 1, MIDDLE).state == "delivered"


@pytest.mark.parametrize("answer", [*(AttemptResult(status=code) for code in (408, 429, 500, 503, 599)), SILENCE])
def test_what_may_pass_is_tried_again_until_the_last_try(answer: AttemptResult) -> None:
    assert judge(SETTINGS, answer, 5, MIDDLE).state == "pending"
    assert judge(SETTINGS, answer, 6, MIDDLE).state == "failed"


@pytest.mark.parametrize(
    "answer",
    [
        *(AttemptResult(status=code) for code in (199, 300, 301, 302, 304, 307, 400, 401, 404, 410)),
        AttemptResult(error="URL", permanent=True),
    ],
)
def test_redirects_other_4xx_and_the_impossible_are_final(answer: AttemptResult) -> None:
    assert judge(SETTINGS, answer, 1, MIDDLE).state == "failed"


def test_retry_after_makes_a_wait_longer_never_shorter_and_not_endless() -> None:
    def wait(seconds: float) -> float | None:
        return judge(SETTINGS, AttemptResult(status=429, retry_after=seconds), 1, MIDDLE).wait

    assert [wait(30), wait(1), wait(1e9)] == [30, 4, 600]


# Order.


def test_the_next_of_a_stream_waits_for_the_one_before() -> None:
    outbox = Outbox(SETTINGS)
    for n in (1, 2):
        assert outbox.offer(record(n), now=0)
    assert started(outbox, 0) == ["c1"]
    assert started(outbox, 0) == []
    verdict = outbox.answered("c1", AttemptResult(status=500), 1, MIDDLE)
    assert (verdict.state, verdict.tries, verdict.wait) == ("pending", 1, 4)
    assert outbox.next_due() == 5
    assert started(outbox, 4.9) == []
    assert started(outbox, 5) == ["c1"]
    assert outbox.answered("c1", OK, 5, MIDDLE).state == "delivered"
    assert started(outbox, 5) == ["c2"]
    assert outbox.answered("c2", OK, 5, MIDDLE).state == "delivered"
    assert len(outbox) == 0
    assert outbox.next_due() is None


def test_after_the_last_failure_the_stream_goes_on() -> None:
    outbox = Outbox(CallbackSettings(tries=1))
    for n in (1, 2):
        outbox.offer(record(n), now=0)
    started(outbox, 0)
    assert outbox.answered("c1", SILENCE, 5, MIDDLE).state == "failed"
    assert started(outbox, 5) == ["c2"]


# Fairness.


def test_one_host_gets_an_eighth_of_the_slots_and_others_are_served_at_once() -> None:
    outbox = Outbox(CallbackSettings(concurrency=64))
    for n in range(1, 501):
        outbox.offer(record(n, key=f"s{n}", host="dead"), now=0)
    assert len(started(outbox, 0)) == 8
    outbox.offer(record(501, key="other", host="alive"), now=0)
    assert started(outbox, 0) == ["c501"]


def test_hosts_that_do_not_answer_share_three_quarters_of_the_slots() -> None:
    outbox = Outbox(CallbackSettings(concurrency=16, tries=1))
    for n in range(1, 301):
        outbox.offer(record(n, key=f"s{n}", host=f"dead{n % 30}"), now=0)
    for name in started(outbox, 0):
        outbox.answered(name, SILENCE, 5, MIDDLE)
    for name in started(outbox, 5):
        outbox.answered(name, SILENCE, 10, MIDDLE)
    # All 30 hosts have been silent once by now.
    assert len(started(outbox, 10)) == 9, "of the twelve that one account gets"
    outbox.offer(record(301, key="x", host="other alive"), now=10)
    assert started(outbox, 10) == ["c301"]


def test_a_single_slot_still_serves_everybody_in_turn() -> None:
    outbox = Outbox(CallbackSettings(concurrency=1))
    for n in range(1, 7):
        outbox.offer(record(n, key=f"s{n}", host=f"h{n % 3}"), now=0)
    order = []
    while len(outbox):
        (name,) = started(outbox, 0)
        order.append(name)
        outbox.answered(name, OK, 0, MIDDLE)
    assert order == ["c1", "c2", "c3", "c4", "c5", "c6"]


def test_a_host_silent_for_two_schedules_gets_no_more_tries_for_old_callbacks() -> None:
    outbox = Outbox(SETTINGS)
    outbox.offer(record(1, key="s1"), now=0)
    started(outbox, 0)
    outbox.answered("c1", SILENCE, 0, MIDDLE)
    outbox.offer(record(2, key="s2"), now=0)
    outbox.offer(record(3, key="s3"), now=1400)
    work = outbox.due(1400)
    assert sorted(item.id for item in work.expired) == ["c1", "c2"]
    assert [item.id for item in work.start] == ["c3"], "a young one is a fresh question to the host"
    assert len(outbox) == 1


@pytest.mark.parametrize(("tries", "limit"), [(2, 600.0), (3, 768.0), (4, 1792.0)])
@pytest.mark.parametrize(("born", "silent"), [(8, 0), (0, 8)])
def test_a_host_is_given_up_after_two_schedules_or_ten_minutes(
    tries: int, limit: float, born: int, silent: int
) -> None:
    def expired(now: float) -> list[str]:
        outbox = Outbox(CallbackSettings(tries=tries, first_delay=128, delay_factor=2))
        events = [(born, "offer"), (silent, "silence")]
        outbox.offer(record(1, key="s1"), now=0)
        assert started(outbox, 0) == ["c1"]
        for at, what in sorted(events):
            if what == "offer":
                outbox.offer(record(2, key="s2"), now=at)
            else:
                outbox.answered("c1", SILENCE, at, MIDDLE)
        return [item.id for item in outbox.due(now).expired]

    assert "c2" not in expired(8 + limit)
    assert "c2" in expired(8 + limit + 0.001)


def test_any_answer_ends_a_hosts_silence() -> None:
    outbox = Outbox(SETTINGS)
    outbox.offer(record(1, key="s1"), now=0)
    outbox.offer(record(2, key="s2"), now=0)
    started(outbox, 0)
    outbox.answered("c1", SILENCE, 0, MIDDLE)
    outbox.answered("c2", AttemptResult(status=500), 0, MIDDLE)
    assert started(outbox, 1400) == ["c1", "c2"]


# Bounded memory.


def test_what_has_no_room_stays_in_the_store_and_is_loaded_in_order() -> None:
    outbox = Outbox(CallbackSettings(concurrency=64))
    records = [record(n, key=f"s{n % 7}") for n in range(1, HOST_LIMIT + 51)]
    taken = [outbox.offer(item, now=0) for item in records]
    assert taken.count(True) == HOST_LIMIT
    assert not any(taken[HOST_LIMIT:])
    assert outbox.load() is None, "no room yet"
    seen = []
    loads = 0
    while len(outbox):
        for name in started(outbox, 0):
            seen.append(name)
            outbox.answered(name, OK, 0, MIDDLE)
        wanted = outbox.load()
        if wanted is not None:
            host, after, limit = wanted
            assert host == "a"
            loads += 1
            found = [(item, 0.0, 0.0) for item in records if item.position > after][:limit]
            outbox.loaded(host, found, 0, all_of_it=len(found) < limit)
    assert loads == 1
    assert not outbox.behind
    for key in range(7):
        mine = [name for name in seen if int(name[1:]) % 7 == key]
        assert mine == [item.id for item in records if item.position % 7 == key]


def test_with_much_in_memory_each_host_gets_a_little_room_and_none_gets_none() -> None:
    outbox, position = Outbox(CallbackSettings(concurrency=64)), count(1)

    def taken(host: str, most: int) -> int:
        """How many of a host's callbacks find room."""
        return sum(outbox.offer(record(next(position), host=host), now=0) for _ in range(most))

    assert [taken(f"h{n}", HOST_LIMIT + 1) for n in range(19)] == [1000] * 19
    assert taken("last", 989) == 989
    assert taken("z", 11) == 11, "there is room for 20 000"
    assert len(outbox) == TOTAL_LIMIT
    assert taken("z", 1) == 0
    assert taken("y", 12) == SCARCE_LIMIT == 10


def test_what_is_offered_during_a_load_is_not_forgotten() -> None:
    outbox = Outbox(SETTINGS)
    outbox.resume(["a"], newest=1)
    assert outbox.load() == ("a", 0, HOST_LIMIT)
    assert not outbox.offer(record(2), now=0), "the load may or may not have seen it"
    outbox.loaded("a", [(record(1), 0.0, 0.0)], 0, all_of_it=True)
    assert outbox.load() == ("a", 1, HOST_LIMIT - 1)
    outbox.loaded("a", [(record(2), 0.0, 0.0)], 0, all_of_it=True)
    assert outbox.load() is None
    assert outbox.offer(record(3), now=0)


def test_what_is_loaded_before_it_is_offered_is_not_sent_twice() -> None:
    outbox = Outbox(SETTINGS)
    outbox.resume(["a"], newest=1)
    outbox.load()
    # The second was committed before the load, but the writer offers it only afterwards.
    outbox.loaded("a", [(record(1), 0.0, 0.0), (record(2), 0.0, 0.0)], 0, all_of_it=True)
    assert outbox.load() is None, "nothing more to load, so nothing to ask the store for again and again"
    assert not outbox.offer(record(2), now=0)
    assert outbox.load() == ("a", 2, HOST_LIMIT - 2)
    outbox.loaded("a", [], 0, all_of_it=True)
    assert len(outbox) == 2
    assert not outbox.behind
    assert outbox.offer(record(3), now=0)


def test_a_load_that_failed_is_asked_for_again() -> None:
    outbox = Outbox(SETTINGS)
    outbox.resume(["a"], newest=1)
    assert outbox.load() == ("a", 0, HOST_LIMIT)
    assert outbox.load() is None
    outbox.not_loaded("a")
    assert outbox.load() == ("a", 0, HOST_LIMIT)


def test_a_stored_wait_goes_on_after_a_restart() -> None:
    outbox = Outbox(SETTINGS)
    outbox.resume(["a"], newest=1)
    outbox.load()
    outbox.loaded("a", [(record(1), 20.0, 33.0)], now=100, all_of_it=True)
    assert started(outbox, 132) == []
    assert outbox.next_due() == 133
    assert started(outbox, 133) == ["c1"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 20))
def test_whatever_happens_all_are_settled_once_and_in_order(seed: int, concurrency: int) -> None:
    chance = Random(seed)
    options = CallbackSettings(concurrency=concurrency)
    outbox = Outbox(options)
    hosts = {f"s{n}": f"h{chance.randrange(4)}" for n in range(12)}
    todo = [record(n, key=(key := chance.choice(sorted(hosts))), host=hosts[key]) for n in range(1, 60)]
    everything = {item.id: item for item in todo}
    settled: list[str] = []
    flying: list[str] = []
    now = 0.0
    while todo or len(outbox):
        now += chance.random() * 30
        if todo and chance.random() < 0.7:
            assert outbox.offer(todo.pop(0), now)
        work = outbox.due(now)
        settled += [item.id for item in work.expired]
        flying += [item.id for item in work.start]
        assert len(flying) == outbox.in_flight <= concurrency
        per_host = Counter(everything[name].host for name in flying)
        assert all(count <= max(1, concurrency // 8) for count in per_host.values())
        chance.shuffle(flying)
        while flying and chance.random() < 0.8:
            name = flying.pop()
            answer = chance.choice([OK, OK, SILENCE, AttemptResult(status=500), AttemptResult(status=404)])
            if outbox.answered(name, answer, now, chance.random()).state != "pending":
                settled.append(name)
    assert sorted(settled) == sorted(everything)
    for key in hosts:
        mine = [name for name in settled if everything[name].key == key]
        assert mine == sorted(mine, key=lambda name: everything[name].position)


# Retry-After.

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_DATES = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Sun", "Xyz", ""]),
    *(st.integers(-(10**12), 10**12) for _ in range(1)),
    st.sampled_from(["Nov", "Foo", ""]),
    *(st.integers(-(10**12), 10**12) for _ in range(4)),
    st.sampled_from(["GMT", "+0000", "-9999999999", "+99999999", "EST", ""]),
)


@given(st.lists(st.text(max_size=60) | _DATES | st.integers().map(str) | st.floats().map(str), max_size=3))
def test_any_retry_after_is_a_number_of_seconds_or_nothing(values: list[str]) -> None:
    seconds = retry_after(values, NOON)
    assert seconds is None or 0 <= seconds <= 600


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (["30"], 30),
        ([" 30 "], 30),
        (["1e400"], None),
        (["-5"], None),
        (["nan"], None),
        (["inf"], None),
        (["30.5"], None),
        (["9" * 5000], 600),
        (["10, 20"], 20),
        (["10", "20"], 20),
        (["soon", "20"], 20),
        (["\u0663"], None),
        ([""], None),
        ([], None),
        (["Thu, 01 Jan 2026 12:01:40 GMT"], 100),
        (["Thursday, 01-Jan-26 12:01:40 GMT"], 100),
        (["Thu Jan  1 12:01:40 2026"], 100),
        (["Thu, 01 Jan 2026 13:01:40 +0100"], 100),
        (["Thu, 01 Jan 1970 00:00:00 GMT"], 0),
        (["Fri, 31 Dec 9999 23:59:59 GMT"], 600),
        (["Sat, 01 Jan 0000 00:00:00 GMT"], 0),
        (["Mon, 01 Jan 99999999999 00:00:00 GMT"], None),
        (["Thu, 01 Jan 2026 12:01:40 -99999999999999"], None),
        (["Thu, 99 Jan 2026 12:01:40 GMT"], None),
    ],
)
def test_what_retry_after_says(values: list[str], seconds: float | None) -> None:
    assert retry_after(values, NOON) == seconds
