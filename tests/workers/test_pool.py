"""The media workers as real processes: legs are placed, a death is reported, a new process takes over."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from errno import EAGAIN
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from trunkline import log
from trunkline.config import LogSettings, MediaSettings, Settings
from trunkline.demo.server import free_ports
from trunkline.ids import CallSid, LegId
from trunkline.outbound.egress import EgressRules
from trunkline.sdp.values import Endpoint, MediaParams
from trunkline.workers import messages, orders, reports
from trunkline.workers import pool as pool_module
from trunkline.workers.link import Link
from trunkline.workers.pool import WorkerPool, _lightest, _share, _Worker
from workers.bench import ReceivedReports

pytestmark = pytest.mark.process
in_the_shared_pool = pytest.mark.asyncio(loop_scope="module")

PARAMS = MediaParams("PCMU", 0, 20, Endpoint("127.0.0.1", 9), dtmf_payload_type=101)
BASE = free_ports(20)
PORTS: dict[str, Any] = {"port_min": BASE, "port_max": BASE + 19, "spare_worker": False, "port_rest": 0}
SETTINGS = Settings(media=MediaSettings(workers=2, advertised_host="203.0.113.1", **PORTS))
ONE_WORKER = Settings(media=MediaSettings(workers=1, host="127.0.0.7", **PORTS))


@pytest.fixture
def received() -> ReceivedReports:
    return ReceivedReports()


@pytest.fixture
async def fresh(received: ReceivedReports) -> AsyncIterator[WorkerPool]:
    """A pool of two workers that a test may harm."""
    pool = WorkerPool(SETTINGS, received, sign_of_life=5)
    await pool.start()
    yield pool
    await pool.stop(30)


@pytest.fixture(scope="module")
def heard() -> ReceivedReports:
    """The reports of `shared`."""
    return ReceivedReports()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(heard: ReceivedReports) -> AsyncIterator[WorkerPool]:
    """A pool of two workers for the tests that harm none."""
    pool = WorkerPool(SETTINGS, heard, sign_of_life=5)
    await pool.start()
    yield pool
    await pool.stop(30)


@pytest_asyncio.fixture(loop_scope="module")
async def pool(shared: WorkerPool, heard: ReceivedReports) -> AsyncIterator[WorkerPool]:
    """The shared one; afterwards it has no legs."""
    heard.events.clear()
    yield shared
    for leg in list(shared._by_leg):
        shared.send(leg, orders.CloseLeg("the test is over"))
        await shared.report(leg)  # which is answered after what came before
        shared.release(leg)


@pytest.fixture
def idle_pool() -> WorkerPool:
    """Two workers that would take legs, and no process."""
    pool = WorkerPool(SETTINGS, lambda _: None)
    for worker in pool._workers:
        worker.link = Link(messages.ToControl, lambda _: None, lambda: None)
        worker.ready.set()
    return pool


def _contains(wanted: messages.FromLeg, events: list[messages.FromLeg]) -> bool:
    return wanted in events


def idle(pool: WorkerPool) -> None:
    """Report no load of any worker; holds until the next turn of the loop."""
    for worker in pool._workers:
        pool._on_report(worker, messages.Status(0, 0, {}))


async def open_legs(pool: WorkerPool, received: ReceivedReports, *legs: int) -> dict[LegId, int]:
    idle(pool)
    for number in legs:
        leg = LegId(number)
        assert pool.place(leg)
        pool.send(leg, orders.OpenLeg(CallSid(f"v3:{leg}"), PARAMS))
    return await received.opened(*map(LegId, legs))


@in_the_shared_pool
async def test_legs_are_spread_and_get_even_ports_of_their_workers_share(
    pool: WorkerPool, heard: ReceivedReports
) -> None:
    opened = await open_legs(pool, heard, 1, 2, 3, 4)
    assert all(port % 2 == 0 for port in opened.values())
    halves = [sorted(leg for leg, port in opened.items() if (port < BASE + 10) is low) for low in (True, False)]
    assert sorted(map(len, halves)) == [2, 2]


def test_a_leg_is_placed_by_least_load_and_then_by_fewest_legs() -> None:
    one, other = _Worker(0, (0, 1)), _Worker(1, (2, 3))
    one.legs.update(map(LegId, range(10)))
    assert _lightest([one, other]) is other
    other.status = messages.Status(0, 0, {}, load=0.6)  # few legs with a high load
    assert _lightest([one, other]) is one
    one.status = messages.Status(10, 10, {}, load=0.57)  # hardly less
    assert _lightest([one, other]) is other


def test_legs_placed_at_once_do_not_all_go_to_the_idle_worker(idle_pool: WorkerPool) -> None:
    busy, other = idle_pool._workers
    for worker, load in ((busy, 0.5), (other, 0.0)):
        idle_pool._on_report(worker, messages.Status(0, 0, {}, load=load))
    for number in range(400):  # before any status arrives
        idle_pool.place(LegId(number))
    assert len(busy.legs) > 50
    assert len(other.legs) - len(busy.legs) > 100


def test_a_worker_that_lags_twice_gets_no_call_while_another_does_not(idle_pool: WorkerPool) -> None:
    late, other = idle_pool._workers

    def report(worker: _Worker, lag: float, load: float = 0.0) -> None:
        idle_pool._on_report(worker, messages.Status(0, 0, {}, load, lag))

    def placed(leg: int) -> _Worker:
        assert idle_pool.place(LegId(leg))
        return idle_pool._by_leg[LegId(leg)]

    idle(idle_pool)
    report(late, 0.5)
    report(other, 0, load=0.9)
    assert placed(1) is late, "it stalled once"
    with capture_logs() as logs:
        report(late, 0.03)
        assert placed(2) is other
        assert idle_pool.refusal is None
        report(other, 0.5)
        report(other, 0.021)
        assert idle_pool.refusal == "all media workers lag"
        assert idle_pool.lags == {"0": 0.03, "1": 0.021}
        assert idle_pool.place(LegId(3), same_worker_as=LegId(1)), "calls that run keep their rights"
        report(late, 0.02)
        assert placed(4) is late
    assert [(line["event"], line["worker"]) for line in logs] == [
        ("worker_lagging", 0), ("worker_lagging", 1), ("worker_caught_up", 0),
    ]  # fmt: skip


def test_a_worker_that_is_late_with_its_reports_lags(idle_pool: WorkerPool) -> None:
    silent, other = idle_pool._workers
    idle(idle_pool)
    silent.silence.passed(2)
    assert idle_pool.lags == {"0": 0, "1": 0}
    silent.silence.passed(1.5)
    assert idle_pool.lags == {"0": 1.5, "1": 0}
    assert idle_pool.place(LegId(1))
    assert idle_pool._by_leg[LegId(1)] is other


async def test_a_pause_of_the_control_process_ends_no_worker(received: ReceivedReports) -> None:
    pool = WorkerPool(ONE_WORKER, received, sign_of_life=3.5)
    await pool.start()
    await open_legs(pool, received, 1)
    time.sleep(4)  # noqa: ASYNC251 - stops this process, and all its timers
    assert await pool.report(LegId(1)) is not None
    assert (pool.restarts, pool.refusal) == (0, None)
    await pool.stop(5)


def test_a_leg_beside_another_goes_to_its_worker_at_any_load(idle_pool: WorkerPool) -> None:
    busy, idle = idle_pool._workers
    for worker, load in ((busy, 0.9), (idle, 0.0)):
        idle_pool._on_report(worker, messages.Status(0, 0, {}, load=load))
    busy.legs.add(LegId(1))
    idle.legs.add(LegId(2))
    assert idle_pool.place(LegId(3), same_worker_as=LegId(1))
    assert idle_pool.place(LegId(4), same_worker_as=LegId(2))
    assert (busy.legs, idle.legs) == ({1, 3}, {2, 4})
    assert idle_pool.place(LegId(5), same_worker_as=LegId(3)), "and one beside that"
    assert LegId(5) in busy.legs


async def test_a_leg_cannot_be_placed_beside_a_closed_one(fresh: WorkerPool, received: ReceivedReports) -> None:
    await open_legs(fresh, received, 1)
    (parent,) = (worker for worker in fresh._workers if LegId(1) in worker.legs)
    parent.gone.set()
    assert not fresh.place(LegId(2), same_worker_as=LegId(1))
    parent.gone.clear()
    fresh.release(LegId(1))
    assert not fresh.place(LegId(2), same_worker_as=LegId(1))


@in_the_shared_pool
async def test_workers_report_their_load(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, loaded = pool._on_report, asyncio.Event()

    def on_report(worker: _Worker, report: messages.ToControl) -> None:
        forward(worker, report)
        if all(status.load > 0 for status in pool.statuses):
            loaded.set()

    monkeypatch.setattr(pool, "_on_report", on_report)
    await asyncio.wait_for(loaded.wait(), 20)


@in_the_shared_pool
async def test_a_closed_leg_reports_its_counters(pool: WorkerPool, heard: ReceivedReports) -> None:
    (port,) = (await open_legs(pool, heard, 1)).values()
    assert heard.events == [messages.FromLeg(LegId(1), reports.LegOpened(Endpoint("203.0.113.1", port)))]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", 0))
        phone.setblocking(False)
        phone.sendto(b"this is no RTP packet", ("127.0.0.1", port))
        for sequence in range(4):  # as many as an address that was not signalled must send
            phone.sendto(bytes([0x80, 0, 0, sequence]) + bytes(8) + b"\xff" * 160, ("127.0.0.1", port))
        audio = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(phone, 2048), 30)
    assert len(audio) == 172
    pool.send(LegId(1), orders.CloseLeg("over"))
    await heard.until(lambda events: isinstance(events[-1].report, reports.LegClosed))
    closed = heard.events[-1].report
    assert isinstance(closed, reports.LegClosed)
    assert (closed.report.packets_in, closed.report.malformed) == (4, 1)
    await open_legs(pool, heard, 2)
    async with asyncio.timeout(5):
        while sum(status.counters.get("malformed", 0) for status in pool.statuses) != 1:
            await pool.report(LegId(2))  # which takes as long as the worker listens


@in_the_shared_pool
async def test_updates_of_a_leg_are_answered_in_order_unless_it_is_closed(
    pool: WorkerPool, heard: ReceivedReports
) -> None:
    await open_legs(pool, heard, 1)
    leg = LegId(1)
    for number in (1, 2):
        pool.send(leg, orders.UpdateLeg(PARAMS, number))
    pool.send(leg, orders.CloseLeg("over"))
    pool.send(leg, orders.UpdateLeg(PARAMS, 3))
    pool.send(leg, orders.StartPlayback(1, "/nowhere.wav", 1))
    await heard.until(lambda events: isinstance(events[-1].report, reports.PlaybackEnded))
    updated, closed, played = reports.LegUpdated, reports.LegClosed, reports.PlaybackEnded
    assert [type(event.report) for event in heard.events[1:]] == [updated, updated, closed, played]
    assert [event.report for event in heard.events[1:3]] == [updated(1), updated(2)]


async def test_call_orders_reach_the_worker_and_are_answered(
    fresh: WorkerPool, received: ReceivedReports, tmp_path: Path
) -> None:
    await open_legs(fresh, received, 1)
    leg = LegId(1)
    fresh.send(leg, orders.StartPlayback(1, "/nowhere.wav", 1))
    await received.until(lambda events: isinstance(events[-1].report, reports.PlaybackEnded))
    played = reports.PlaybackEnded(1, "No such file or directory")
    assert received.events[-1] == messages.FromLeg(leg, played), "a fresh worker plays at once"
    sent: list[orders.Order] = [
        orders.StartPlayback(2, "/nowhere.wav", 1),
        orders.StopPlayback(2),
        orders.StartRecording(3, str(tmp_path / "a.wav")),
        orders.StopRecording(3),
        orders.SendDigits("1"),
        orders.Bridge(CallSid("v3:9")),
        orders.Unbridge(),
        orders.CloseLeg("over"),
    ]
    for order in sent:
        fresh.send(leg, order)
    kinds = {reports.LegClosed, reports.RecordingEnded}
    await received.until(lambda events: kinds <= {type(event.report) for event in events})
    kind = reports.PlaybackEnded | reports.RecordingEnded
    answers = [event.report for event in received.events if isinstance(event.report, kind)]
    assert [answer.job for answer in answers] == [1, 2, 3]
    assert answers[2] == reports.RecordingEnded(3, 0.0, "stopped", "", None, 44), "the size is that of a header"
    closed = next(event.report for event in received.events if isinstance(event.report, reports.LegClosed))
    assert closed.report.digits_out == 1 or closed.report.digits_waiting == 1


@in_the_shared_pool
async def test_a_live_leg_is_reported_after_listening_to_it(pool: WorkerPool, heard: ReceivedReports) -> None:
    await open_legs(pool, heard, 1)
    said = 0
    while said <= 5:  # fewer where the worker was held up while it listened
        both = await asyncio.gather(pool.report(LegId(1)), pool.report(LegId(1)))
        for reported in both:
            assert reported is not None
            assert reported.leg is not None
            assert (reported.leg.expected, reported.leg.heard_frames) == ("127.0.0.1:9", 0)
            assert reported.streams == []
            said = max(said, reported.leg.said_frames)
    assert await pool.report(LegId(9)) is None


async def test_a_closed_leg_or_a_dead_worker_gives_no_live_report(fresh: WorkerPool, received: ReceivedReports) -> None:
    await open_legs(fresh, received, 1, 2)
    asked = [asyncio.create_task(fresh.report(LegId(leg))) for leg in (1, 2)]
    await asyncio.sleep(0)  # both have been asked
    fresh.send(LegId(1), orders.CloseLeg("over"))
    os.kill(fresh.pids[fresh._workers.index(fresh._by_leg[LegId(2)])], signal.SIGKILL)
    closed, lost = await asyncio.gather(*asked)
    assert closed is not None
    assert (closed.leg, closed.streams) == (None, [])
    assert lost is None


@in_the_shared_pool
async def test_running_out_of_ports_fails_the_leg_only(pool: WorkerPool, heard: ReceivedReports) -> None:
    idle(pool)
    for number in range(1, 12):
        pool.place(LegId(number))
        pool.send(LegId(number), orders.OpenLeg(CallSid(f"v3:{number}"), PARAMS))
    await heard.until(lambda events: len(events) == 11)
    failed = [event.report for event in heard.events if isinstance(event.report, reports.LegFailed)]
    assert len(failed) == 1
    assert "port" in failed[0].detail


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_dead_or_frozen_worker_loses_its_legs_and_is_replaced(
    fresh: WorkerPool, received: ReceivedReports, number: signal.Signals
) -> None:
    opened = await open_legs(fresh, received, 1, 2)
    victim = fresh.pids[0]
    os.kill(victim, number)
    await received.until(lambda events: any(isinstance(event.report, reports.WorkerLost) for event in events))
    (lost,) = [event for event in received.events if isinstance(event.report, reports.WorkerLost)]
    assert opened[lost.leg] < BASE + 10
    await asyncio.wait_for(fresh.all_ready(), 60)
    assert len(fresh.pids) == 2
    assert victim not in fresh.pids
    assert fresh.restarts == 1


async def test_a_spare_takes_the_place_of_a_dead_worker_and_is_replaced(received: ReceivedReports) -> None:
    media = ONE_WORKER.media.model_copy(update={"spare_worker": True})
    pool = WorkerPool(ONE_WORKER.model_copy(update={"media": media}), received)
    await pool.start()
    for leg in (1, 2):
        async with asyncio.timeout(60):
            while pool._spare is None or pool._spare.process is None:  # noqa: ASYNC110 - no event reports a spare
                await asyncio.sleep(0.02)
        spare = pool._spare.process.pid
        await open_legs(pool, received, leg)
        os.kill(pool.pids[0], signal.SIGKILL)
        lost = messages.FromLeg(LegId(leg), reports.WorkerLost("the media worker died"))
        await received.until(partial(_contains, lost))
        await asyncio.wait_for(pool.all_ready(), 60)
        assert pool.pids == [spare]
    await pool.stop(5)
    with pytest.raises(ProcessLookupError):
        os.kill(spare, 0)


async def test_a_worker_that_cannot_be_started_is_tried_again(
    received: ReceivedReports, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, faults = pool_module._start_process, [OSError(EAGAIN, "Resource temporarily unavailable"), RuntimeError("x")]

    async def faulty(theirs: socket.socket) -> asyncio.subprocess.Process:
        if faults:
            raise faults.pop()
        return await start(theirs)

    monkeypatch.setattr(pool_module, "_start_process", faulty)
    monkeypatch.setattr(pool_module, "RESTART_DELAY", 0.01)
    pool = WorkerPool(ONE_WORKER, received)
    before = set(os.listdir("/proc/self/fd"))
    await pool.start()
    assert pool.restarts == 2
    (port,) = (await open_legs(pool, received, 1)).values()
    local = Endpoint("127.0.0.7", port)
    assert received.events == [messages.FromLeg(LegId(1), reports.LegOpened(local))], (
        "media.host without another address"
    )
    await pool.stop(5)
    assert set(os.listdir("/proc/self/fd")) <= before


async def test_an_exception_about_one_lost_leg_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    received = ReceivedReports()

    def takes(event: messages.FromLeg) -> None:
        received(event)
        if isinstance(event.report, reports.WorkerLost) and event.leg == 1:
            raise RuntimeError("a fault of ours")

    monkeypatch.setattr(pool_module, "RESTART_DELAY", 0.01)
    pool = WorkerPool(ONE_WORKER, takes)
    await pool.start()
    await open_legs(pool, received, 1, 2)
    os.kill(pool.pids[0], signal.SIGKILL)
    await received.until(
        lambda events: {event.leg for event in events if isinstance(event.report, reports.WorkerLost)} == {1, 2}
    )
    await asyncio.wait_for(pool.all_ready(), 60)
    await pool.stop(5)


async def test_log_lines_of_workers_arrive_by_the_link_as_configured(
    fresh: WorkerPool, received: ReceivedReports, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[dict[str, str]] = []
    monkeypatch.setattr(log, "relay", lambda line, _dropped: lines.append(json.loads(line)))

    async def run_out(first: int) -> None:
        """Open one leg more than there are ports."""
        idle(fresh)
        wanted = [LegId(number) for number in range(first, first + 11)]
        for leg in wanted:
            fresh.place(leg)
            fresh.send(leg, orders.OpenLeg(CallSid(f"v3:{leg}"), PARAMS))
        await received.until(lambda events: {event.leg for event in events} >= set(wanted))
        for leg in wanted:
            fresh.send(leg, orders.CloseLeg("over"))
            fresh.release(leg)

    await run_out(1)
    assert [(line["event"], line["call_sid"], line["level"]) for line in lines] == [("leg_failed", "v3:11", "error")]
    fresh.take(SETTINGS.model_copy(update={"log": LogSettings(level="debug")}), EgressRules())
    await fresh.report(LegId(1))  # by which time they have taken it
    await run_out(100)
    assert {line["event"] for line in lines} == {"leg_failed"}


async def test_the_output_of_a_worker_that_cannot_start_is_logged(
    tmp_path: Path, received: ReceivedReports, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho this python is broken >&2\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    pool = WorkerPool(ONE_WORKER, received)
    with capture_logs() as lines:
        pool.launch()
        async with asyncio.timeout(30):
            while not pool.restarts or len(lines) < 2:  # noqa: ASYNC110 - no event reports a restart
                await asyncio.sleep(0.02)
        await pool.stop(5)
    said = {(line["text"], line["worker"]) for line in lines if line["event"] == "worker_wrote"}
    assert said == {("this python is broken", 0)}


async def test_workers_end_with_the_pool(received: ReceivedReports) -> None:
    pool = WorkerPool(SETTINGS, received)
    await pool.start()
    pids = pool.pids
    assert len(pids) == 2
    await pool.stop(5)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_port_shares_cover_the_range_in_whole_pairs(count: int) -> None:
    shares = [_share(MediaSettings(), index, count) for index in range(count)]
    assert shares[0][0] == 20000
    assert shares[-1][1] == 29999
    assert all(low % 2 == 0 and high % 2 == 1 for low, high in shares)
    assert all(left[1] + 1 == right[0] for left, right in pairwise(shares))
