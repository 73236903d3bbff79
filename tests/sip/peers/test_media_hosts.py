"""Events with host names in their SDP wait for the look-up, and no others do."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sip.message.test_numbers import INVITE
from trunkline.sdp.session import SessionDescription, parse
from trunkline.sip.peers.media_hosts import HostLookup, MediaHosts
from trunkline.sip.values import (
    AckReceived,
    DialogEnded,
    DialogId,
    InfoDigitReceived,
    InviteAccepted,
    InviteProgressed,
    ReinviteReceived,
    SipEvent,
)

HELD_LIMIT = 100


def sdp(*hosts: str) -> SessionDescription:
    media = "".join(f"m=audio 4000 RTP/AVP 0\r\nc=IN IP4 {host}\r\n" for host in hosts)
    return parse(f"v=0\r\n{media}".encode())


class Bench:
    def __init__(self) -> None:
        self.passed: list[SipEvent] = []
        self.lookups: list[HostLookup] = []
        self.counters: Counter[str] = Counter()
        self.react: Callable[[SipEvent], None] = lambda _event: None
        self.hosts = MediaHosts(self.counters)

    def send(self, *events: SipEvent) -> None:
        for event in events:
            self.hosts.put(event)
            self.drain()

    def find(self, address: str) -> None:
        """The result of the oldest look-up."""
        self.hosts.found(self.lookups.pop(0), address)
        self.drain()

    def drain(self) -> None:
        while (event := self.hosts.next_event()) is not None:
            if isinstance(event, HostLookup):
                self.lookups.append(event)
            else:
                self.passed.append(event)
                self.react(event)


ONE, TWO = DialogId(1), DialogId(2)
KEY = InfoDigitReceived(ONE, "1")


def test_an_event_without_names_passes_at_once() -> None:
    bench = Bench()
    events = (replace(INVITE, offer=sdp("192.0.2.1")), INVITE, AckReceived(ONE, None), KEY, DialogEnded(ONE, "bye", ""))
    bench.send(*events)
    assert bench.passed == list(events)
    assert (bench.lookups, len(bench.hosts)) == ([], 0)


def test_later_events_of_the_dialog_wait_and_other_dialogs_do_not() -> None:
    bench = Bench()
    invite, ended = replace(INVITE, offer=sdp("a.example")), DialogEnded(ONE, "cancel", "")
    other = replace(INVITE, dialog=TWO)
    bench.send(invite, ended, other)
    assert bench.passed == [other]
    assert [lookup.host for lookup in bench.lookups] == ["a.example"]
    bench.find("192.0.2.7")
    assert bench.passed == [other, replace(invite, offer=sdp("192.0.2.7")), ended]
    assert len(bench.hosts) == 0


def test_each_name_is_looked_up_and_an_unresolved_one_stays_empty() -> None:
    bench = Bench()
    bench.send(InviteAccepted(ONE, sdp("a.example", "b.example", "a.example")))
    assert [lookup.host for lookup in bench.lookups] == ["a.example", "b.example"]
    bench.find("192.0.2.7")
    assert bench.passed == []
    bench.find("")
    (event,) = bench.passed
    assert isinstance(event, InviteAccepted)
    assert event.answer is not None
    assert [media.connection and media.connection.host for media in event.answer.media] == [
        "192.0.2.7",
        "",
        "192.0.2.7",
    ]
    assert bench.counters == {"media_hosts_unknown": 1}


def test_all_events_with_a_description_wait_one_after_another() -> None:
    bench = Bench()
    named, placed = sdp("a.example"), sdp("192.0.2.7")
    kinds: list[Callable[[SessionDescription], SipEvent]] = [
        lambda text: replace(INVITE, offer=text),
        lambda text: AckReceived(ONE, text),
        lambda text: ReinviteReceived(ONE, text),
        lambda text: InviteProgressed(ONE, 183, "", text),
        lambda text: InviteAccepted(ONE, text),
    ]
    for kind in kinds:
        bench.send(kind(named), KEY)
    for number in range(len(kinds)):
        assert len(bench.passed) == 2 * number
        bench.find("192.0.2.7")
    assert bench.passed == [event for kind in kinds for event in (kind(placed), KEY)]


def test_a_dialog_that_the_application_has_ended_has_no_more_events() -> None:
    bench = Bench()
    bench.send(InviteProgressed(ONE, 183, "", sdp("a.example")), KEY, KEY)
    bench.react = lambda event: bench.hosts.forget(event.dialog)
    bench.find("192.0.2.7")
    assert len(bench.passed) == 1
    bench.send(InviteProgressed(ONE, 183, "", sdp("a.example")))
    bench.hosts.forget(ONE)
    bench.find("192.0.2.7")
    assert (len(bench.passed), len(bench.hosts)) == (1, 0)


def test_waiting_events_are_bounded() -> None:
    bench = Bench()
    ended = DialogEnded(ONE, "bye", "")
    bench.send(InviteAccepted(ONE, sdp("a.example")), *[KEY] * HELD_LIMIT, ended)
    assert bench.counters == {"held_dropped": 1}
    bench.find("192.0.2.7")
    assert bench.passed[1:] == [*[KEY] * (HELD_LIMIT - 1), ended]


@given(
    st.lists(
        st.tuples(st.sampled_from([ONE, TWO]), st.sampled_from(["name", "address", "key"])) | st.just(None), max_size=30
    )
)
def test_events_come_once_and_in_order_of_their_dialog(steps: list[tuple[DialogId, str] | None]) -> None:
    bench = Bench()
    sent: dict[DialogId, list[str]] = {ONE: [], TWO: []}
    for number, step in enumerate(steps):
        if step is None:
            if bench.lookups:
                bench.find("192.0.2.7")
            continue
        dialog, kind = step
        sent[dialog].append(str(number))
        answer = {"name": sdp("a.example"), "address": sdp("192.0.2.8"), "key": None}[kind]
        bench.send(InviteProgressed(dialog, 183, str(number), answer))
    while bench.lookups:
        bench.find("")
    for dialog, numbers in sent.items():
        progressed = [event for event in bench.passed if isinstance(event, InviteProgressed) and event.dialog == dialog]
        assert [event.reason for event in progressed] == numbers
    assert len(bench.hosts) == 0
