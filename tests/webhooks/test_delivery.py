"""Delivery to real HTTP receivers, through a real store."""

import asyncio
import base64
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from trunkline import USER_AGENT
from trunkline.config import CallbackSettings, StoreSettings
from trunkline.faces.telnyx.callbacks import CALLBACKS
from trunkline.outbound.dialler import Dialler
from trunkline.store import store as store_module
from trunkline.store.records import CallbackRecord
from trunkline.store.store import Store
from trunkline.webhooks import delivery as delivery_module
from trunkline.webhooks import outbox as outbox_module
from trunkline.webhooks.delivery import Delivery
from trunkline.webhooks.payloads import call_callback_of, callback_of, record_of
from trunkline.webhooks.signing import Signer

QUICK = CallbackSettings(tries=3, first_delay=0.05, delay_factor=1)
Start = Callable[..., Any]


@pytest.fixture
def signer(store: Store) -> Signer:
    return Signer.load(store.directory)


@pytest.fixture
async def start(store: Store, signer: Signer, dialler: Dialler) -> AsyncIterator[Start]:
    """Starts deliveries; stops at the end what the test has not stopped."""
    running: list[Delivery] = []

    async def begin(settings: CallbackSettings = QUICK) -> Delivery:
        running.append(Delivery(settings, store, signer, dialler))
        await running[-1].start()
        return running[-1]

    yield begin
    for delivery in running:
        await delivery.stop(0)


@pytest.fixture
def callback(event_of: Any) -> Callable[..., CallbackRecord]:
    """A callback to a URL; `n` makes id and stream differ."""

    def make(url: str, n: int = 1, *, stream: int | None = None, **more: Any) -> CallbackRecord:
        sid = f"0b9e4b0e-0000-4000-8000-{stream or n:012}"
        record = callback_of(event_of(url=url, sid=sid, **more), CallbackSettings(), f"id-{n}", CALLBACKS)
        assert record is not None
        return record

    return make


def rows(store: Store) -> dict[str, tuple[Any, ...]]:
    """Each callback's state, tries, last status and last error as they are in the database."""
    database = sqlite3.connect(store.directory / "trunkline.db")
    found = database.execute("SELECT id, state, tries, last_status, last_error FROM callbacks").fetchall()
    database.close()
    return {row[0]: row[1:] for row in found}


async def test_a_post_is_signed_so_that_the_official_sdk_accepts_it(
    start: Start, receiver: Any, callback: Any, keep: Any, signer: Signer, store: Store
) -> None:
    from telnyx.lib.webhook_verification import verify_webhook_signature  # takes seconds: not with this file

    delivery = await start()
    delivery.deliver(await keep(callback(receiver.url + "/cb?x=1")))
    (request,) = await receiver.got(1)
    assert (request.method, request.target) == ("POST", "/cb?x=1")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["user-agent"] == USER_AGENT
    assert request.headers["webhook-id"] == "id-1"
    assert request.form["StreamEvent"] == "stream-started"
    assert request.body.startswith(b"AccountSid=5f1c9d2e-0000-4000-8000-000000000001&CallSid=v3%3A")
    verify_webhook_signature(request.body, request.headers, signer.public_key)
    await delivery.stop(30)
    assert rows(store) == {"id-1": ("delivered", 1, 200, None)}
    assert delivery.counters == {"tries": 1, "delivered": 1}


async def test_what_became_of_a_callback_is_written_though_nothing_else_is(
    start: Start, receiver: Any, callback: Any, keep: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = asyncio.Event()
    write = store.write_results

    async def watched() -> None:
        await write()
        written.set()

    monkeypatch.setattr(store, "write_results", watched)
    (await start()).deliver(await keep(callback(receiver.url)))
    async with asyncio.timeout(30):
        await written.wait()
    assert rows(store) == {"id-1": ("delivered", 1, 200, None)}


async def test_a_get_has_the_parameters_in_its_query_and_signs_an_empty_body(
    start: Start, receiver: Any, callback: Any, keep: Any, signer: Signer
) -> None:
    from telnyx.lib.webhook_verification import verify_webhook_signature

    (await start()).deliver(await keep(callback(receiver.url + "/cb?x=%20y", method="GET")))
    (request,) = await receiver.got(1)
    assert request.method == "GET"
    assert request.target.startswith("/cb?x=%20y&AccountSid=")
    assert request.form["StreamEvent"] == "stream-started"
    assert request.body == b""
    verify_webhook_signature(b"", request.headers, signer.public_key)


async def test_user_info_in_the_url_is_basic_auth(start: Start, receiver: Any, callback: Any, keep: Any) -> None:
    (await start()).deliver(await keep(callback(receiver.url.replace("//", "//me:secret@") + "/cb")))
    (request,) = await receiver.got(1)
    assert request.headers["authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()


async def test_a_retry_keeps_its_id_and_signs_a_fresh_timestamp(
    start: Start, receiver: Any, callback: Any, keep: Any, signer: Signer, reply: Any, store: Store
) -> None:
    from telnyx.lib.webhook_verification import verify_webhook_signature

    receiver.answer = lambda request: reply(500 if len(receiver.requests) == 1 else 200)
    delivery = await start(CallbackSettings(first_delay=1.3))
    delivery.deliver(await keep(callback(receiver.url)))
    first, second = await receiver.got(2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "id-1"
    assert int(first.headers["telnyx-timestamp"]) < int(second.headers["telnyx-timestamp"])
    for request in (first, second):
        verify_webhook_signature(request.body, request.headers, signer.public_key)
    await delivery.stop(30)
    assert rows(store) == {"id-1": ("delivered", 2, 200, None)}


async def test_a_streams_callbacks_arrive_in_order_although_the_first_is_retried(
    start: Start, receiver: Any, callback: Any, keep: Any, reply: Any
) -> None:
    receiver.answer = lambda request: reply(503 if len(receiver.requests) <= 2 else 200)
    records = await keep(
        callback(receiver.url, 1, stream=1), callback(receiver.url, 2, stream=1, kind="stream-stopped")
    )
    (await start()).deliver(records)
    requests = await receiver.got(4)
    assert [request.headers["webhook-id"] for request in requests] == ["id-1", "id-1", "id-1", "id-2"]
    assert requests[-1].form["StreamEvent"] == "stream-stopped"


async def test_a_dead_host_of_recordings_does_not_delay_callbacks_of_the_call(
    start: Start, receiver: Any, listen: Any, call_event_of: Any, keep: Any
) -> None:
    dead = await listen()
    dead.answer = lambda request: None
    event = call_event_of("completed", status_callback=receiver.url)
    status = call_callback_of(event, "status", CALLBACKS)
    call, form = event.call, [("RecordingSid", "r")]
    recording = record_of("recording", (dead.url, "POST"), form, event.at, call.account_sid, call.sid)
    (await start(CallbackSettings(timeout=100))).deliver(await keep(recording, status))
    await dead.got(1)
    (request,) = await receiver.got(1)
    assert request.headers["webhook-id"] == "status"


async def test_a_refusal_is_final_and_logged_without_secrets(
    start: Start, receiver: Any, callback: Any, keep: Any, reply: Any, store: Store
) -> None:
    receiver.answer = lambda request: reply(404)
    with structlog.testing.capture_logs() as logs:
        delivery = await start()
        record = callback(receiver.url.replace("//", "//me:hush@") + "/cb?token=hush")
        delivery.deliver(await keep(record))
        await receiver.got(1)
        await delivery.stop(30)
    assert rows(store) == {"id-1": ("failed", 1, 404, "HTTP status 404")}
    assert len(receiver.requests) == 1
    (line,) = logs
    assert (line["event"], line["log_level"], line["reason"]) == ("callback_failed", "warning", "HTTP status 404")
    assert (line["callback_id"], line["account_sid"]) == ("id-1", record.account)
    assert (line["call_sid"], line["stream_id"]) == (record.call_sid, record.stream_sid)
    assert line["url"] == receiver.url + "/cb?…"
    assert "hush" not in str(line)


async def test_a_redirect_is_final_and_not_followed(
    start: Start, receiver: Any, listen: Any, callback: Any, keep: Any, reply: Any, store: Store
) -> None:
    target = await listen()
    receiver.answer = lambda request: reply(302, f"Location: {target.url}/\r\n")
    delivery = await start()
    delivery.deliver(await keep(callback(receiver.url)))
    await receiver.got(1)
    await delivery.stop(30)
    assert rows(store) == {"id-1": ("failed", 1, 302, "HTTP status 302")}
    assert target.requests == []


async def test_retry_after_is_honoured(start: Start, receiver: Any, callback: Any, keep: Any, reply: Any) -> None:
    times: list[float] = []

    def answer(request: Any) -> bytes:
        times.append(asyncio.get_running_loop().time())
        return bytes(reply(429, "Retry-After: 1\r\n") if len(times) == 1 else reply(200))

    receiver.answer = answer
    (await start()).deliver(await keep(callback(receiver.url)))
    await receiver.got(2)
    assert times[1] - times[0] >= 1


async def test_tries_end_and_the_failure_is_stored(
    start: Start, receiver: Any, callback: Any, keep: Any, reply: Any, store: Store
) -> None:
    receiver.answer = lambda request: reply(500)
    delivery = await start()
    delivery.deliver(await keep(callback(receiver.url)))
    await receiver.got(3)
    await delivery.stop(30)
    assert rows(store) == {"id-1": ("failed", 3, 500, "HTTP status 500")}
    assert delivery.counters == {"tries": 3, "retried": 2, "failed": 1}


async def test_a_host_that_never_answers_delays_no_other(
    start: Start, receiver: Any, listen: Any, callback: Any, keep: Any, store: Store
) -> None:
    dead = await listen()
    dead.answer = lambda request: None
    delivery = await start(CallbackSettings(timeout=60))
    delivery.deliver(await keep(*(callback(dead.url, n) for n in range(1, 501))))
    await dead.got(8)
    delivery.deliver(await keep(*(callback(receiver.url, n) for n in range(501, 601))))
    await receiver.got(100, seconds=20)
    assert len(dead.requests) == 8
    # The last answers may be on their way still.
    await delivery.stop(1)
    assert [state for state, *_ in rows(store).values()].count("pending") == 500


async def test_no_answer_in_time_is_tried_again(
    start: Start, receiver: Any, callback: Any, keep: Any, reply: Any, store: Store
) -> None:
    receiver.answer = lambda request: None if len(receiver.requests) == 1 else reply(204)
    delivery = await start(CallbackSettings(timeout=1, first_delay=0.05))
    delivery.deliver(await keep(callback(receiver.url)))
    await receiver.got(2)
    await delivery.stop(30)
    assert rows(store) == {"id-1": ("delivered", 2, 204, None)}


async def test_a_body_that_never_ends_does_not_undo_its_status(
    start: Start, receiver: Any, callback: Any, keep: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "BODY_TIMEOUT", 0.1)
    receiver.answer = lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nmore to come"
    delivery = await start()
    delivery.deliver(await keep(callback(receiver.url)))
    await receiver.got(1)
    await delivery.stop(30)
    assert rows(store) == {"id-1": ("delivered", 1, 200, None)}


@pytest.mark.parametrize("answer", [b"\x00\xffnot HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200000, b""])
async def test_an_answer_that_is_not_http_is_tried_again(
    start: Start, receiver: Any, callback: Any, keep: Any, store: Store, answer: bytes
) -> None:
    def once(request: Any) -> bytes:
        return answer if len(receiver.requests) == 1 else b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    receiver.answer = once
    delivery = await start(QUICK.model_copy(update={"timeout": 0.3}))
    delivery.deliver(await keep(callback(receiver.url)))
    await receiver.got(2)
    await delivery.stop(30)
    assert rows(store) == {"id-1": ("delivered", 2, 200, None)}


@pytest.mark.parametrize("url", ["http://[/", "gopher://x/", "http://x:y/", "http://127.0.0.1:99999/", "nonsense"])
async def test_a_url_that_cannot_be_called_fails_at_once_and_alone(
    start: Start, receiver: Any, callback: Any, keep: Any, store: Store, url: str
) -> None:
    delivery = await start()
    delivery.deliver(await keep(callback(url, 1), callback(receiver.url, 2)))
    await receiver.got(1)
    await delivery.stop(30)
    states = rows(store)
    assert states["id-1"][:3] == ("failed", 1, None)
    assert states["id-2"][0] == "delivered"


async def test_a_refused_connection_and_an_untrusted_certificate_are_tried_again(
    start: Start, callback: Any, keep: Any, store: Store, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    talked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talked.append(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refused = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        delivery = await start()
        delivery.deliver(
            await keep(callback(refused, 1), callback(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", 2))
        )
        await delivery.stop(30)
    server.close()
    states = rows(store)
    assert states["id-1"][:3] == states["id-2"][:3] == ("failed", 3, None)
    assert "certificate of 127.0.0.1 port" in states["id-2"][3]
    assert talked == []


def self_signed(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return file


async def test_what_a_stop_left_undelivered_is_delivered_after_the_next_start(
    start: Start, receiver: Any, callback: Any, keep: Any, reply: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.answer = lambda request: None
    first = await start()
    first.deliver(await keep(*(callback(receiver.url, n, stream=1) for n in (1, 2))))
    await receiver.got(1)
    await first.stop(0.1)
    assert [state for state, *_ in rows(store).values()] == ["pending", "pending"]
    receiver.answer = lambda request: reply(200)
    monkeypatch.setattr(store, "newest_at_open", 2)  # as if it had been opened again
    second = await start()
    requests = await receiver.got(3)
    assert [request.headers["webhook-id"] for request in requests] == ["id-1", "id-1", "id-2"]
    await second.stop(30)
    assert {state for state, *_ in rows(store).values()} == {"delivered"}


async def test_stop_flushes_and_does_not_wait_for_what_is_due_after_its_grace(
    start: Start, receiver: Any, listen: Any, callback: Any, keep: Any, reply: Any, store: Store
) -> None:
    broken = await listen()
    broken.answer = lambda request: reply(500)
    delivery = await start(CallbackSettings(first_delay=300))
    delivery.deliver(await keep(callback(broken.url, 1), *(callback(receiver.url, n) for n in range(2, 40))))
    async with asyncio.timeout(30):
        await delivery.stop(30)
    assert len(receiver.requests) == 38
    assert rows(store)["id-1"] == ("pending", 1, 500, "HTTP status 500")


async def test_more_than_memory_may_hold_is_taken_from_the_store_in_order(
    start: Start, receiver: Any, callback: Any, keep: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "HOST_LIMIT", 6)
    delivery = await start()
    for begin in range(1, 61, 20):
        delivery.deliver(await keep(*(callback(receiver.url, n, stream=n % 3 + 1) for n in range(begin, begin + 20))))
    await receiver.got(60)
    await delivery.stop(30)
    assert delivery.counters["deferred"] >= 10
    assert delivery.counters["delivered"] == len(receiver.requests) == 60
    for stream in range(3):
        mine = [int(request.headers["webhook-id"][3:]) for request in receiver.requests]
        mine = [n for n in mine if n % 3 == stream]
        assert mine == sorted(mine)


async def test_a_store_that_fails_for_a_while_loses_no_result(
    receiver: Any, callback: Any, monkeypatch: pytest.MonkeyPatch, keep: Any, store: Store, dialler: Dialler
) -> None:
    monkeypatch.setattr(delivery_module, "STORE_DELAY", 0.05)
    records = await keep(*(callback(receiver.url, n) for n in (1, 2)))
    await store.close()
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT", 1)
    store = await Store.open(StoreSettings(directory=store.directory))
    delivery = Delivery(QUICK, store, Signer.load(store.directory), dialler)
    await delivery.start()
    blocker = sqlite3.connect(store.directory / "trunkline.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with structlog.testing.capture_logs() as logs:
        delivery.deliver([])
        await receiver.got(2)
    blocker.execute("ROLLBACK")
    blocker.close()
    await delivery.stop(30)
    assert {record.id for record in records} == {"id-1", "id-2"}
    assert {state for state, *_ in rows(store).values()} == {"delivered"}
    assert {line["event"] for line in logs} <= {"callback_store_unavailable"}
    assert len(logs) <= 1
    await store.close()


CHILD = """
import asyncio, sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from trunkline.config import StoreSettings
from trunkline.faces.telnyx.callbacks import CALLBACKS
from trunkline.ids import CallSid, StreamSid
from trunkline.store.records import CallbackRecord
from trunkline.store.store import Store
from trunkline.store.writer import Writer

async def main(directory, url):
    settings = StoreSettings(directory=Path(directory))
    store = await Store.open(settings)
    writer = Writer(store, settings, lambda records: None)
    writer.start()
    now = datetime.now(UTC)
    for n in count():
        await writer.submit(callbacks=[CallbackRecord(
            id=f"id-{n}", key="s", host=url, call_sid=CallSid("v3:x"), stream_sid=StreamSid("s"), url=url,
            method="POST", form=f"n={n}", created_at=now)])
        print(n, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.process
async def test_what_was_stored_before_kill_9_is_delivered_in_order_after_the_restart(
    receiver: Any, tmp_path: Path, dialler: Dialler
) -> None:
    directory = tmp_path / "crashed"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(directory), receiver.url, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    async with asyncio.timeout(30):
        while (await child.stdout.readline()).strip() != b"30":
            pass
        os.kill(child.pid, signal.SIGKILL)
        # It was writing all the while: what it said was durable must be there, whatever else is.
        durable = 1 + max([30, *map(int, (await child.stdout.read()).split())])
        assert await child.wait() == -signal.SIGKILL
    store = await Store.open(StoreSettings(directory=directory))
    delivery = Delivery(QUICK, store, Signer.load(directory), dialler)
    await delivery.start()
    await receiver.got(durable)
    await delivery.stop(30)
    sent = [int(request.form["n"]) for request in receiver.requests]
    assert sent == list(range(len(sent)))
    assert len(sent) in (durable, durable + 1)
    await store.close()


@pytest.mark.parametrize("value", ["1e400", "-1", "nan", "9" * 400, "Mon, 01 Jan 99999999999 00:00:00 GMT", "1, 2"])
async def test_a_delivered_callback_is_delivered_whatever_retry_after_says(
    start: Start, receiver: Any, callback: Any, keep: Any, reply: Any, store: Store, value: str
) -> None:
    receiver.answer = lambda request: reply(200, f"Retry-After: {value}\r\n")
    delivery = await start()
    delivery.deliver(await keep(callback(receiver.url)))
    await delivery.stop(30)
    assert rows(store) == {"id-1": ("delivered", 1, 200, None)}


async def test_a_connection_that_was_kept_and_has_died_costs_no_try(
    start: Start, receiver: Any, callback: Any, keep: Any, store: Store
) -> None:
    receiver.closes_on = 2
    delivery = await start()
    delivery.deliver(await keep(*(callback(receiver.url, n, stream=1) for n in (1, 2))))
    await delivery.stop(30)
    assert [request.headers["webhook-id"] for request in receiver.requests] == ["id-1", "id-2", "id-2"]
    assert {row[:2] for row in rows(store).values()} == {("delivered", 1)}
