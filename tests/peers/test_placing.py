"""Calls that the API places, answered or not by sipp, and their status callbacks."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest
import telnyx
from telnyx import AsyncTelnyx
from telnyx.types.texml.accounts.call_resource import CallResource

from peers.harness import GLANCE, RecordingApp, children, happens, new_server, running
from peers.sipp import (
    PCMA_LINES,
    PCMU_LINES,
    SippRun,
    accepts,
    accepts_again,
    acked,
    byed,
    called,
    hangs_up,
    pause,
    responds,
    sdp,
    stream,
    waits,
    was_cancelled,
)
from trunkline.demo.audio import speech
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import parse_rtp
from trunkline.demo.server import ServerProcess, free_ports

pytestmark = pytest.mark.peer

ANSWER = sdp(PCMU_LINES)


class Placed:
    """One call that the official SDK placed."""

    def __init__(self, server: ServerProcess, client: AsyncTelnyx, callbacks: CallbackReceiver) -> None:
        self._server = server
        self._client = client
        self._callbacks = callbacks
        self.sid = ""

    async def place(self, port: int, **fields: str | int) -> None:
        await self.call(f"sip:callee@127.0.0.1:{port}", **fields)

    async def call(self, to: str, **fields: str | int) -> None:
        response = await self._client.texml.accounts.calls.with_raw_response.calls(
            self._server.account_sid,
            body={
                "to": to,
                "from_": "+15550001111",
                "texml": "<Response><Pause length='30'/></Response>",
                "status_callback": self._callbacks.url,
                "status_callback_event": "initiated ringing answered completed",
            },
            extra_body=fields,
        )
        answer = json.loads(await response.text())
        assert answer["status"] == "queued"
        self.sid = answer["call_sid"]

    async def fetch(self) -> CallResource:
        return await self._client.texml.accounts.calls.retrieve(self.sid, account_sid=self._server.account_sid)

    async def events(self, count: int) -> list[dict[str, str]]:
        """The first callbacks, once there are that many."""
        await happens(self._callbacks.watch, f"{count} callbacks", lambda: len(self._callbacks.received) >= count)
        return [callback.fields for callback in self._callbacks.received]


@pytest.fixture
def placed(server: ServerProcess, client: AsyncTelnyx, callbacks: CallbackReceiver) -> Placed:
    return Placed(server, client, callbacks)


async def test_a_placed_call_is_answered_streamed_and_ended_by_the_callee(
    placed: Placed, callee: Callable[..., SippRun], app: RecordingApp, client: AsyncTelnyx, server: ServerProcess,
    tmp_path: Path,
) -> None:  # fmt: skip
    sent = b"".join(speech(50))
    (tmp_path / "speech.raw").write_bytes(sent)
    steps = (
        called("X-Ref: 7"),
        responds(180, "Ringing"),
        accepts(ANSWER),
        waits(),
        stream(tmp_path / "speech.raw", 1),
        waits(),
        hangs_up(),
    )
    async with callee(*steps) as run:
        await placed.place(run.port, CustomHeaders='[{"name": "X-Ref", "value": "7"}]')
        forms = await placed.events(3)
        assert [form["CallStatus"] for form in forms] == ["initiated", "ringing", "in-progress"]
        await client.texml.accounts.calls.streams_json(placed.sid, account_sid=server.account_sid, url=app.url)
        socket = await app.socket()
        await run.answered()
        await run.go_on()
        await happens(app.watch, "all that was sent", lambda: sent in b"".join(socket.payloads()))
        await run.go_on()
        await run.succeeds()
        forms = await placed.events(4)
    last = forms[3]
    assert [form["SequenceNumber"] for form in forms] == ["0", "1", "2", "3"]
    assert (last["CallStatus"], last["HangupCause"], last["HangupSource"]) == ("completed", "normal_clearing", "callee")
    assert (forms[2]["Codec"], forms[2]["SamplingRate"]) == ("PCMU", "8000")
    assert (await placed.fetch()).status == "completed"


@pytest.mark.parametrize(
    ("status", "shown", "cause"),
    [
        (486, "busy", "user_busy"),
        (480, "no-answer", "timeout"),
        (404, "failed", "not_found"),
        (603, "busy", "call_rejected"),
    ],
)
async def test_a_refusal_is_reported(
    placed: Placed, callee: Callable[..., SippRun], status: int, shown: str, cause: str
) -> None:
    async with callee(called(), responds(status, "No"), acked()) as run:
        await placed.place(run.port)
        await run.succeeds()
        forms = await placed.events(2)
    assert [form["CallStatus"] for form in forms] == ["initiated", shown]
    assert (forms[1]["HangupCause"], forms[1]["SipHangupCause"]) == (cause, str(status))
    assert forms[1]["HangupSource"] == "callee"


@pytest.mark.parametrize(
    ("to", "shown", "cause"),
    [
        ("sip:callee@127.0.0.1:{closed};transport=tcp", "failed", "unreachable"),
        ("sip:callee@127.0.0.1:{closed}", "failed", "unreachable"),
        ("+15550002", "failed", "unreachable"),
        ("sips:callee@127.0.0.1:{tls}", "failed", "unreachable"),
        ("sip:callee@127.0.0.1:{silent}", "failed", "unreachable"),
        ("sip:callee@unknown.invalid:5060", "failed", "unspecified"),
        ("ann", "no-answer", "timeout"),
    ],
    ids=[
        "no listener by TCP",
        "no listener by UDP",
        "a trunk",
        "bad certificate",
        "silence",
        "unknown name",
        "not registered",
    ],
)
async def test_an_unreachable_callee_is_not_the_hangup_source(
    to: str, shown: str, cause: str, callbacks: CallbackReceiver, tmp_path: Path
) -> None:
    tls = free_ports(1)
    # Sockets that are bound, so that no other process gets their port: one takes no connections, and no datagrams but
    # those of one port; the other takes datagrams and does not answer.
    with (
        closing(socket.socket()) as closed,
        closing(socket.socket(type=socket.SOCK_DGRAM)) as deaf,
        closing(socket.socket(type=socket.SOCK_DGRAM)) as silent,
    ):
        closed.bind(("127.0.0.1", 0))
        deaf.bind(closed.getsockname())
        deaf.connect(("127.0.0.1", 9))
        silent.bind(("127.0.0.1", 0))
        ports = {"closed": closed.getsockname()[1], "tls": tls, "silent": silent.getsockname()[1]}
        targets = ["sip:127.0.0.1:{closed}", "sip:127.0.0.1:{closed};transport=tcp"]
        server = new_server(
            tmp_path,
            sip__tls_port=tls,
            sip__connect_timeout=2,
            sip__phones=json.dumps([{"user": "ann", "password": "secret"}]),
            sip__trunks=json.dumps([{"name": "carrier", "targets": [target.format(**ports) for target in targets]}]),
        )
        api = AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0)
        async with running(server), api as client:
            placed = Placed(server, client, callbacks)
            await placed.call(to.format(**ports), Timeout=5 if "silent" in to else 120)
            forms = await placed.events(2)
    last = forms[1]
    assert (last["CallStatus"], last["HangupSource"], last["SipHangupCause"]) == (shown, "system", "unspecified")
    assert last["HangupCause"] == cause


async def test_the_answer_to_our_refresh_moves_the_media(
    callee: Callable[..., SippRun], callbacks: CallbackReceiver, app: RecordingApp, tmp_path: Path
) -> None:
    server = new_server(tmp_path, sip__session_expires=3, sip__min_se=2)
    loop = asyncio.get_running_loop()
    timer = "Session-Expires: 3;refresher=uac\n"
    with (
        closing(socket.socket(type=socket.SOCK_DGRAM)) as first,
        closing(socket.socket(type=socket.SOCK_DGRAM)) as second,
    ):
        for place in (first, second):
            place.bind(("127.0.0.1", 0))
            place.setblocking(False)
        answers = [sdp(PCMU_LINES, place.getsockname()[1]) for place in (first, second)]
        steps = called(), accepts(answers[0], timer), accepts_again(answers[1], timer), waits(), hangs_up()
        api = AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0)
        async with running(server), api as client, callee(*steps) as run:
            placed = Placed(server, client, callbacks)
            await placed.place(run.port)
            await placed.events(2)
            await client.texml.accounts.calls.streams_json(
                placed.sid, account_sid=server.account_sid, url=app.url, track="outbound_track"
            )
            for place in (first, second):
                assert parse_rtp(await asyncio.wait_for(loop.sock_recv(place, 2000), 30), 0) is not None
            await run.answered()
            await run.go_on()
            await run.succeeds()


async def test_an_unanswered_call_is_cancelled_after_its_timeout(
    placed: Placed, callee: Callable[..., SippRun]
) -> None:
    async with callee(called(), responds(180, "Ringing"), was_cancelled()) as run:
        await placed.place(run.port, Timeout=5)
        await run.succeeds()
        forms = await placed.events(3)
    assert [form["CallStatus"] for form in forms] == ["initiated", "ringing", "no-answer"]


@pytest.mark.parametrize("status", ["completed", "canceled"])
async def test_ending_a_call_that_rings_cancels_it(
    placed: Placed, callee: Callable[..., SippRun], client: AsyncTelnyx, server: ServerProcess, status: str
) -> None:
    async with callee(called(), responds(180, "Ringing"), was_cancelled()) as run:
        await placed.place(run.port)
        await placed.events(2)
        await client.texml.accounts.calls.update(placed.sid, account_sid=server.account_sid, status=status)
        await run.succeeds()
        forms = await placed.events(3)
    assert (forms[2]["CallStatus"], forms[2]["HangupCause"]) == ("canceled", "originator_cancel")


async def test_ending_an_answered_call_says_bye(
    placed: Placed, callee: Callable[..., SippRun], client: AsyncTelnyx, server: ServerProcess
) -> None:
    async with callee(called(), accepts(sdp(PCMA_LINES)), byed()) as run:
        await placed.place(run.port, PreferredCodecs="PCMA")
        forms = await placed.events(2)
        assert forms[1]["Codec"] == "PCMA"
        with pytest.raises(telnyx.UnprocessableEntityError, match="was answered"):
            await client.texml.accounts.calls.update(placed.sid, account_sid=server.account_sid, status="canceled")
        await client.texml.accounts.calls.update(placed.sid, account_sid=server.account_sid, status="completed")
        await run.succeeds()
        assert (await placed.events(3))[2]["HangupSource"] == "system"


async def test_new_instructions_for_a_live_call(
    placed: Placed, callee: Callable[..., SippRun], client: AsyncTelnyx, server: ServerProcess
) -> None:
    async with callee(called(), accepts(ANSWER), byed()) as run:
        await placed.place(run.port)
        await placed.events(2)
        texml = "<Response><Hangup/></Response>"
        await client.texml.accounts.calls.update(placed.sid, account_sid=server.account_sid, texml=texml)
        await run.succeeds()
        assert (await placed.events(3))[2]["CallStatus"] == "completed"


async def test_early_media_is_heard_before_the_answer(placed: Placed, callee: Callable[..., SippRun]) -> None:
    steps = (called(), responds(183, "Session Progress", ANSWER), pause(300), accepts(ANSWER), byed())
    async with callee(*steps) as run:
        await placed.place(run.port, TimeLimit=30)
        forms = await placed.events(3)
        assert [form["CallStatus"] for form in forms] == ["initiated", "ringing", "in-progress"]
        await placed._client.texml.accounts.calls.update(
            placed.sid, account_sid=placed._server.account_sid, status="completed"
        )
        await run.succeeds()


def command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_a_call_that_is_placed_while_the_server_starts_is_put_off(tmp_path: Path) -> None:
    """The API is up before calls can be placed; stopped media workers hold the server in that state."""
    server = new_server(tmp_path)
    starting, workers = asyncio.create_task(server.start()), list[int]()
    while not workers:
        # Any other child, as a worker that is not yet its own program, would hold up the server itself.
        with suppress(RuntimeError, ProcessLookupError, FileNotFoundError):
            workers = [pid for pid in children(server) if b"trunkline.workers.process" in command(pid)]
        await asyncio.sleep(GLANCE)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    calls = f"{server.base_url}/texml/Accounts/{server.account_sid}/Calls"
    call = {"To": f"sip:callee@127.0.0.1:{free_ports(2)}", "From": "+15550001111", "Texml": "<Response/>"}
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {server.api_key}"}) as client:
        try:
            answer: httpx.Response | None = None
            while answer is None:
                with suppress(httpx.TransportError):
                    answer = await client.post(calls, data=call)
        finally:
            for pid in workers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["errors"][0]["detail"] == "The server is starting."
        await starting
        assert (await client.post(calls, data=call)).is_success
    assert await server.stop() == 0
    assert "Traceback" not in server.log
