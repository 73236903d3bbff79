"""The four machines of RFC 3261 section 17, state by state."""

from itertools import product
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.sip.transaction_states import (
    CLIENT,
    INVITE_CLIENT,
    INVITE_SERVER,
    SERVER,
    Do,
    Input,
    Machine,
    Transaction,
    TransactionState,
)

T2 = 4.0
T4 = 5.0
TRANSACTION_TIME = 32.0
UNANSWERED_LIMIT = 300.0

MACHINES = {"INVITE client": INVITE_CLIENT, "client": CLIENT, "INVITE server": INVITE_SERVER, "server": SERVER}
FINAL = (Input.SUCCESS, Input.FAILURE)


def through(machine: Machine, *inputs: Input, reliable: bool = False) -> tuple[Transaction, list[Do]]:
    """A transaction after these inputs at time 0, and its actions."""
    transaction = Transaction(machine, 0, reliable=reliable)
    return transaction, [action for one in inputs for action in transaction.apply(one, 0)]


def repeats(transaction: Transaction) -> list[float]:
    """When a message is repeated, until the state ends."""
    times = []
    while transaction.next_deadline != inf:
        now = transaction.next_deadline
        due = transaction.due(now)
        assert due is not None
        if due is Input.END:
            break
        times.append(now)
        transaction.apply(due, now)
    return times


@pytest.mark.parametrize(
    ("name", "inputs", "state", "lasts"),
    [
        ("INVITE client", (), TransactionState.CALLING, TRANSACTION_TIME),
        ("INVITE client", (Input.PROVISIONAL,), TransactionState.PROCEEDING, 3600),
        ("INVITE client", (Input.FAILURE,), TransactionState.COMPLETED, TRANSACTION_TIME),
        ("INVITE client", (Input.PROVISIONAL, Input.SUCCESS), TransactionState.ACCEPTED, TRANSACTION_TIME),
        ("client", (), TransactionState.TRYING, TRANSACTION_TIME),
        ("client", (Input.PROVISIONAL,), TransactionState.PROCEEDING, TRANSACTION_TIME),
        ("client", (Input.SUCCESS,), TransactionState.COMPLETED, T4),
        ("INVITE server", (), TransactionState.PROCEEDING, UNANSWERED_LIMIT),
        ("INVITE server", (Input.PROVISIONAL,), TransactionState.PROCEEDING, UNANSWERED_LIMIT),
        ("INVITE server", (Input.SUCCESS,), TransactionState.ACCEPTED, TRANSACTION_TIME),
        ("INVITE server", (Input.FAILURE,), TransactionState.COMPLETED, TRANSACTION_TIME),
        ("INVITE server", (Input.FAILURE, Input.ACK), TransactionState.CONFIRMED, T4),
        ("server", (), TransactionState.TRYING, TRANSACTION_TIME),
        ("server", (Input.FAILURE,), TransactionState.COMPLETED, TRANSACTION_TIME),
    ],
)
def test_each_state_is_reached_and_lasts_as_long_as_its_timer(
    name: str, inputs: tuple[Input, ...], state: TransactionState, lasts: float
) -> None:
    transaction, _ = through(MACHINES[name], *inputs)
    assert (transaction.state, transaction.ends_at) == (state, lasts)


@pytest.mark.parametrize(
    ("name", "inputs", "times"),
    [
        ("INVITE client", (), [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]),
        ("client", (), [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]),
        ("client", (Input.PROVISIONAL,), [4, 8, 12, 16, 20, 24, 28]),
        ("INVITE client", (Input.PROVISIONAL,), []),
        ("INVITE server", (Input.FAILURE,), [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]),
        ("INVITE server", (Input.SUCCESS,), [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]),
        ("INVITE server", (Input.FAILURE, Input.ACK), []),
        ("server", (Input.SUCCESS,), []),
    ],
)
def test_messages_are_repeated_over_udp_at_t1_doubling(
    name: str, inputs: tuple[Input, ...], times: list[float]
) -> None:
    transaction, _ = through(MACHINES[name], *inputs)
    assert repeats(transaction) == times


@pytest.mark.parametrize("name", MACHINES)
def test_over_streams_nothing_is_repeated_but_a_2xx_to_an_invite(name: str) -> None:
    for inputs in ((), (Input.PROVISIONAL,), (Input.FAILURE,), (Input.SUCCESS,)):
        transaction, _ = through(MACHINES[name], *inputs, reliable=True)
        assert bool(repeats(transaction)) is (name == "INVITE server" and inputs == (Input.SUCCESS,))


@pytest.mark.parametrize("inputs", [(Input.FAILURE,), (Input.SUCCESS,)])
def test_states_that_absorb_datagrams_end_at_once_on_a_stream(inputs: tuple[Input, ...]) -> None:
    assert through(CLIENT, *inputs, reliable=True)[0].state is TransactionState.TERMINATED
    failed, _ = through(INVITE_CLIENT, Input.FAILURE, reliable=True)
    assert failed.state is TransactionState.TERMINATED
    assert through(INVITE_SERVER, Input.FAILURE, Input.ACK, reliable=True)[0].state is TransactionState.TERMINATED


def test_a_provisional_response_does_not_put_off_the_end_of_a_request() -> None:
    transaction = Transaction(CLIENT, 0, reliable=False)
    transaction.apply(Input.PROVISIONAL, 20)
    assert (transaction.ends_at, transaction.repeats_at) == (TRANSACTION_TIME, 20 + T2)


def test_a_failure_is_acknowledged_each_time_and_passed_once() -> None:
    transaction, actions = through(INVITE_CLIENT, Input.FAILURE, Input.FAILURE, Input.PROVISIONAL)
    assert actions == [Do.ACKNOWLEDGE, Do.PASS, Do.ACKNOWLEDGE]
    assert through(CLIENT, Input.FAILURE, Input.FAILURE)[1] == [Do.PASS]
    assert transaction.live is False


def test_each_2xx_to_an_invite_is_passed_and_others_once() -> None:
    assert through(INVITE_CLIENT, *[Input.SUCCESS] * 3)[1] == [Do.PASS, Do.PASS_REPEATED, Do.PASS_REPEATED]
    assert through(CLIENT, *[Input.SUCCESS] * 3)[1] == [Do.PASS]


def test_a_timeout_or_an_unreachable_peer_is_passed_once() -> None:
    for machine in (INVITE_CLIENT, CLIENT):
        assert through(machine, Input.END, Input.END)[1] == [Do.TIME_OUT]
        assert through(machine, Input.UNREACHABLE, Input.END)[1] == [Do.FAIL]
        assert through(machine, Input.PROVISIONAL, Input.UNREACHABLE)[1] == [Do.PASS], "it was there"
        assert through(machine, Input.PROVISIONAL, Input.END)[1] == [Do.PASS, Do.TIME_OUT]


def test_a_repeated_request_gets_the_last_response() -> None:
    assert through(SERVER, Input.REQUEST)[1] == [], "there is none yet"
    assert through(SERVER, Input.FAILURE, Input.REQUEST)[1] == [Do.PASS, Do.SEND]
    for response in (Input.PROVISIONAL, *FINAL):
        assert through(INVITE_SERVER, response, Input.REQUEST)[1] == [Do.PASS, Do.SEND]


def test_an_unanswered_invite_expires_once() -> None:
    transaction, actions = through(INVITE_SERVER, Input.END)
    assert (actions, transaction.next_deadline, transaction.live) == ([Do.EXPIRE], inf, True)
    assert transaction.apply(Input.FAILURE, 0) == (Do.PASS,)


def test_a_2xx_is_confirmed_by_its_ack_or_reported_without_one() -> None:
    confirmed, actions = through(INVITE_SERVER, Input.SUCCESS, Input.ACK, Input.ACK)
    assert (actions, confirmed.state) == ([Do.PASS, Do.PASS], TransactionState.TERMINATED)
    assert through(INVITE_SERVER, Input.SUCCESS, Input.END)[1] == [Do.PASS, Do.NO_ACK]


def test_repeats_can_be_stopped_and_the_deadline_set() -> None:
    transaction = Transaction(INVITE_CLIENT, 0, reliable=False)
    transaction.stop_repeating()
    assert repeats(transaction) == []
    transaction.end_in(7, 1)
    assert transaction.next_deadline == 8
    transaction.terminate()
    assert (transaction.state, transaction.next_deadline) == (TransactionState.TERMINATED, inf)


@pytest.mark.parametrize("name", MACHINES)
def test_the_state_tables_are_consistent(name: str) -> None:
    machine = MACHINES[name]
    reached = {machine.start} | {state for state, _ in machine.table.values()}
    assert reached - {TransactionState.TERMINATED} == set(machine.spans)
    assert {state for state, _ in machine.table} == set(machine.spans), "each can be left"
    assert machine.live <= reached
    for state in machine.spans:
        assert (state, Input.END) in machine.table
        assert not machine.spans[state].repeat or (state, Input.REPEAT) in machine.table


@given(
    st.sampled_from(sorted(MACHINES)),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(Input), st.floats(0, 50)), max_size=25),
)
def test_a_transaction_ends_after_any_inputs(name: str, reliable: bool, steps: list[tuple[Input, float]]) -> None:
    transaction, now = Transaction(MACHINES[name], 0, reliable=reliable), 0.0
    passed: list[Do] = []
    for what, seconds in steps:
        now += seconds
        passed += transaction.apply(what, now)
    # The transaction user of a server answers at last.
    if name in ("INVITE server", "server") and transaction.live:
        passed += transaction.apply(Input.FAILURE, now)
    for _ in range(200):
        if transaction.state is TransactionState.TERMINATED:
            break
        now = transaction.next_deadline
        due = transaction.due(now)
        assert due is not None
        passed += transaction.apply(due, now)
    assert transaction.state is TransactionState.TERMINATED
    if "client" in name:
        assert sum(action in (Do.TIME_OUT, Do.FAIL) for action in passed) <= 1
    assert transaction.next_deadline == inf
    assert [transaction.apply(what, now) for what, _ in product(Input, [0])] == [()] * len(Input)
