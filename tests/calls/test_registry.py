"""The live calls, found by each of their three numbers."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from trunkline.calls.call import Call, CallRules
from trunkline.calls.commands import Instructions
from trunkline.calls.registry import InviteInfo, Registry
from trunkline.calls.views import CallView
from trunkline.ids import AccountSid, CallSessionId, CallSid, LegId

NOW = datetime(2025, 6, 5, tzinfo=UTC)
VIEW = CallView(
    *(CallSid("v3:a"), AccountSid("x"), CallSessionId("c"), "inbound", "+1", "+2", "", "ringing"),
    created_at=NOW,
    updated_at=NOW,
)


def call(sid: str) -> Call:
    return Call(replace(VIEW, sid=CallSid(sid)), CallRules(), sdp_session=1, random=bytes)


def test_a_call_is_found_by_each_of_its_numbers_until_it_is_removed() -> None:
    registry, wanted = Registry(), Instructions(url="http://a/")
    origin = InviteInfo("sip:a@b", "sip:c@d", (("X-A", "1"),))
    first = registry.add(call("v3:a"), 7, origin, wanted, None, lambda: NOW)
    second = registry.add(call("v3:b"), 8, InviteInfo(), None, first.leg, lambda: NOW)
    assert (first.dialog, first.origin, first.instructions, first.same_worker_as) == (7, origin, wanted, None)
    assert (second.instructions, second.same_worker_as) == (None, first.leg)
    assert first.leg != second.leg
    for entry, sid, dialog in ((first, "v3:a", 7), (second, "v3:b", 8)):
        assert registry.by_sid(CallSid(sid)) is entry
        assert registry.by_dialog(dialog) is entry
        assert registry.by_leg(entry.leg) is entry
    assert (len(registry), list(registry)) == (2, [first, second])
    registry.remove(first)
    assert registry.by_sid(CallSid("v3:a")) is registry.by_dialog(7) is registry.by_leg(first.leg) is None
    assert (len(registry), list(registry)) == (1, [second])
    with pytest.raises(KeyError):
        registry.remove(first)


def test_no_media_leg_has_the_number_of_an_earlier_one() -> None:
    registry = Registry()
    legs: list[LegId] = []
    for _ in range(3):
        entry = registry.add(call("v3:a"), 7, InviteInfo(), None, None, lambda: NOW)
        legs.append(entry.leg)
        registry.remove(entry)
    assert legs == [1, 2, 3]


def test_calls_may_go_while_one_looks_at_them() -> None:
    registry = Registry()
    for number in range(3):
        registry.add(call(f"v3:{number}"), number, InviteInfo(), None, None, lambda: NOW)
    for entry in registry:
        registry.remove(entry)
    assert len(registry) == 0
