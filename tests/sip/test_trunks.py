"""Trunks, on a wire in memory and with sipp as the carrier."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sip.bench import Bench, HandClock, Watched, header
from sip.callee import Scenario, sipp
from trunkline.config import SipSettings
from trunkline.sip.endpoint import SipEndpoint
from trunkline.sip.trunks import Trunks

CARRIER = {"name": "carrier", "targets": ["sip:192.0.2.1", "sip:192.0.2.2:5070"]}


class Carrier:
    """The other end of one trunk."""

    def __init__(self, bench: Bench, **trunk: Any) -> None:
        self.bench = bench
        self.changes: list[tuple[str, str, str]] = []
        settings = SipSettings.model_validate({"trunks": [CARRIER | trunk], "target_timeout": 5})
        tags = iter(range(1000))
        self.trunks = Trunks(
            settings, bench.connect, lambda: f"tag{next(tags)}", lambda *change: self.changes.append(change)
        )
        self.trunks.start(bench.dialogs.transactions)

    def hosts(self) -> list[str]:
        """Which targets a call tries."""
        found = self.trunks.targets("carrier", "1")
        assert isinstance(found, Sequence)
        return [target.endpoint.host for target in found]

    def take(self) -> list[str]:
        """The requests since the last look."""
        return self.bench.wire.take()

    def wait(self, seconds: int, answering: Sequence[str] = ()) -> None:
        """Time goes by, in which only some targets answer."""
        for _ in range(seconds):
            for text in self.take():
                if any(f" sip:{host}" in text.split("\r\n", 1)[0] for host in answering):
                    self.bench.answer(text, "405 Method Not Allowed")
            self.bench.clock.advance(1)


BOTH = ("192.0.2.1", "192.0.2.2")


@pytest.fixture
def carrier(bench: Bench) -> Carrier:
    return Carrier(bench)


def test_targets_are_asked_after_and_any_answer_will_do(carrier: Carrier) -> None:
    texts = carrier.take()
    assert [text.split("\r\n", 1)[0] for text in texts] == [
        "OPTIONS sip:192.0.2.1 SIP/2.0",
        "OPTIONS sip:192.0.2.2:5070 SIP/2.0",
    ]
    assert len({header(text, "Call-ID") for text in texts}) == 2
    for text in texts:
        carrier.bench.answer(text, "501 Not Implemented")
    carrier.wait(300, BOTH)
    assert carrier.changes == []
    assert [target.up for target in carrier.trunks.status[0].targets] == [True, True]


def test_a_target_that_misses_two_is_passed_over_until_it_answers_again(carrier: Carrier) -> None:
    carrier.wait(39, ["192.0.2.2"])
    assert carrier.hosts() == ["192.0.2.1", "192.0.2.2"], "one miss is no proof"
    carrier.wait(2, ["192.0.2.2"])
    assert carrier.hosts() == ["192.0.2.2"]
    carrier.wait(200, ["192.0.2.2"])
    assert carrier.changes == [("target_down", "carrier", "192.0.2.1:5060: No Answer")]
    carrier.wait(36, BOTH)
    assert carrier.hosts() == ["192.0.2.1", "192.0.2.2"]
    assert carrier.changes[1:] == [("target_up", "carrier", "192.0.2.1:5060")]


def test_an_answer_between_two_misses_clears_the_first(carrier: Carrier) -> None:
    for _ in range(4):
        carrier.wait(35)
        carrier.wait(30, BOTH)
    assert carrier.changes == []


def test_where_all_targets_are_down_all_are_tried_in_order(carrier: Carrier) -> None:
    carrier.wait(90)
    assert [change for change, _, _ in carrier.changes] == ["target_down", "target_down"]
    assert carrier.hosts() == ["192.0.2.1", "192.0.2.2"]


def test_questions_to_a_dead_target_leave_nothing_behind(carrier: Carrier, clock: HandClock) -> None:
    carrier.wait(300)
    assert carrier.bench.dialogs.sizes["client"] <= 2
    carrier.trunks.stop()
    clock.advance(100)
    assert len(carrier.trunks) == carrier.bench.dialogs.sizes["client"] == 0
    assert carrier.take() == carrier.take() == []


def test_a_trunk_may_ask_nothing(bench: Bench, clock: HandClock) -> None:
    carrier = Carrier(bench, keep_alive=0)
    clock.advance(100)
    assert carrier.take() == []
    assert carrier.hosts() == ["192.0.2.1", "192.0.2.2"]


def test_a_trunk_with_an_account_asks_in_its_name(bench: Bench) -> None:
    carrier = Carrier(bench, username="me", password="secret")
    assert header(carrier.take()[0], "From").startswith("<sip:me@192.0.2.1>;tag=")


@pytest.mark.peer
async def test_a_carrier_dies_and_comes_back(tmp_path: Path) -> None:
    scenario = Scenario().recv("OPTIONS").answer("200 OK")
    async with sipp(scenario, tmp_path, calls=2) as port:
        endpoint = SipEndpoint(
            SipSettings.model_validate(
                {
                    "port": 0,
                    "target_timeout": 0.3,
                    "trunks": [{"name": "a", "targets": [f"sip:127.0.0.1:{port}"], "keep_alive": 0.1}],
                }
            ),
            lambda _event: None,
        )
        counters = endpoint.counters = Watched()
        await endpoint.start()
    try:
        await counters.reached("target_down")
        assert not endpoint.trunks[0].targets[0].up
        assert endpoint.gauges["sip_targets_down"] == 1
        async with sipp(scenario, tmp_path, calls=2, port=port):
            await counters.reached("target_up")
            assert endpoint.trunks[0].targets[0].up
    finally:
        await endpoint.stop()
    assert Counter(counters)["target_up"] == 1
    assert endpoint.sizes["asking"] == 0
