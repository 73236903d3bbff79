"""Attacks on SIP against a running server: guessed passwords, forged addresses, scans."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import pytest
import pytest_asyncio
from telnyx import AsyncTelnyx, RateLimitError

from peers.harness import happens, new_server, running
from peers.sip_socket import SipSocket, authorization
from trunkline.demo.audio import speech
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer

PASSWORDS = {"ann": "secret", "bob": "hidden", "cat": "meow"}
PHONES = json.dumps([{"user": user, "password": password} for user, password in PASSWORDS.items()])
HOME, SPOOFER, ABROAD = "127.0.0.2", "127.0.0.3", "127.0.0.4"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A server that takes calls of phones alone."""
    directory = tmp_path_factory.mktemp("server")
    async with running(new_server(directory, sip__phones=PHONES, sip__unknown_callers="none")) as server:
        yield server


@pytest.fixture
async def quiet_server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """The same, with `sip.silent`."""
    server = new_server(tmp_path, sip__phones=PHONES, sip__unknown_callers="none", sip__silent=True)
    async with running(server):
        yield server


async def test_ten_forged_datagrams_do_not_lock_a_phone_out(server: ServerProcess) -> None:
    async with SipSocket(server.sip_address, HOME) as phone, SipSocket(server.sip_address, SPOOFER) as spoofer:
        # A forged datagram has the phone's address, and what the forger can know: a nonce of his own, or none of ours.
        theirs = await spoofer.response(spoofer.request("REGISTER", "ann"))
        (own,) = re.findall(r'nonce="([^"]*)"', theirs)
        async with SipSocket(server.sip_address, HOME) as forged:
            for number in range(30):
                nonce = (own, "made-up", "")[number % 3]
                guess = authorization(nonce, "ann", f"guess{number}", "REGISTER", forged.uri("REGISTER"))
                assert await forged.status(forged.request("REGISTER", "ann", guess)) == 401
        assert (await phone.register("ann", "secret")).startswith("SIP/2.0 200")


async def test_credentials_that_were_copied_are_of_no_use(server: ServerProcess) -> None:
    async with SipSocket(server.sip_address, HOME) as phone, SipSocket(server.sip_address, SPOOFER) as thief:
        challenge = await phone.response(phone.request("REGISTER", "ann"))
        copied = phone.credentials(challenge, "ann", "secret")
        first = phone.request("REGISTER", "ann", copied)
        assert await phone.status(first) == await phone.status(first) == 200
        for again in (
            await phone.response(phone.request("REGISTER", "ann", copied)),
            await thief.response(thief.request("REGISTER", "ann", copied)),
        ):
            assert again.startswith("SIP/2.0 401")
            assert "stale=true" in again


async def test_a_phone_with_a_new_address_is_challenged_and_not_counted(server: ServerProcess) -> None:
    async with SipSocket(server.sip_address, HOME) as home, SipSocket(server.sip_address, ABROAD) as abroad:
        challenge = await home.response(home.request("REGISTER", "bob"))
        for _ in range(12):  # more often than wrong passwords are allowed
            moved = abroad.request("REGISTER", "bob", home.credentials(challenge, "bob", "hidden"))
            again = await abroad.response(moved)
            assert "stale=true" in again
        answered = abroad.request("REGISTER", "bob", abroad.credentials(again, "bob", "hidden"), cseq=2)
        assert await abroad.status(answered) == 200


async def test_guesses_from_everywhere_ban_a_name_and_not_the_phone(server: ServerProcess) -> None:
    async with SipSocket(server.sip_address, HOME) as phone:
        assert (await phone.register("cat", "meow")).startswith("SIP/2.0 200")
        answers = []
        for number in range(20, 27):
            async with SipSocket(server.sip_address, f"127.0.0.{number}") as guesser:
                answers += [(await guesser.register("cat", f"guess{turn}")).split()[1] for turn in range(6)]
        assert answers == ["401"] * 30 + ["403"] * 12
        assert (await phone.register("cat", "meow")).startswith("SIP/2.0 200")


async def test_no_answer_says_which_names_there_are(server: ServerProcess) -> None:
    async with SipSocket(server.sip_address, SPOOFER) as scanner:
        for method in ("REGISTER", "INVITE"):
            answers = {}
            for name in ("ann", "eve"):
                asked = await scanner.response(scanner.request(method, name, to="+15550001"))
                credentials = scanner.credentials(asked, name, "guess", method, "+15550001")
                guessed = await scanner.response(scanner.request(method, name, credentials, to="+15550001", cseq=2))
                answers[name] = [without_ids(asked), without_ids(guessed)]
            assert answers["ann"] == answers["eve"]
            assert answers["ann"][0].startswith("SIP/2.0 401 Unauthorized")


def without_ids(response: str) -> str:
    """A response without what differs with each request."""
    text = re.sub(r"(?m)^(Via|From|To|Call-ID|CSeq):.*$", "", response)
    return re.sub(r'nonce="[^"]*"', "", text)


async def test_scanners_get_no_answer_from_a_silent_server(quiet_server: ServerProcess) -> None:
    server = quiet_server
    async with SipSocket(server.sip_address, SPOOFER) as scanner:
        requests = [scanner.request(method, "100", to="x") for method in ("INVITE", "REGISTER", "OPTIONS", "MESSAGE")]
        requests.append(scanner.request("CANCEL", "100"))
        requests.append(scanner.request("INVITE", "100").replace(b"CSeq: 1 INVITE", b"CSeq: x"))
        requests.append(scanner.request("BYE", "100").replace(b"\r\nCall-ID", b";tag=1\r\nCall-ID"))
        for request in requests:
            scanner.send(request)
        async with SipSocket(server.sip_address, HOME) as phone:
            assert (await phone.register("ann", "secret")).startswith("SIP/2.0 200")
            assert await phone.status(phone.request("OPTIONS", "100")) == 200, "from where a phone is registered"
        # What was sent earlier would have come earlier.
        assert scanner.received == 0


async def test_no_document_dials_a_number_that_no_trunk_allows(tmp_path: Path) -> None:
    async with SipSocket(("127.0.0.1", 1), "127.0.0.5") as carrier:
        trunk = {"name": "carrier", "targets": [f"sip:127.0.0.5:{carrier.port}"], "keep_alive": 0}
        trunks = json.dumps([{**trunk, "dial_prefixes": ["+49*"]}])
        server = new_server(tmp_path, sip__trunks=trunks)
        async with running(server), AsyncTelnyx(api_key=server.api_key, base_url=server.base_url) as client:
            calls = client.texml.accounts.calls
            for dialled in (
                "<Number>+19005550100</Number>",
                f"<Sip>sip:+19005550100@127.0.0.5:{carrier.port}</Sip>",
            ):
                async with DemoCaller(server.sip_address, speech(100)) as caller:
                    await caller.call()
                    body = {"texml": f"<Response><Dial>{dialled}</Dial><Hangup/></Response>"}
                    path = f"/texml/Accounts/{server.account_sid}/Calls/{caller.call_sid}"
                    await client.post(path, body=body, cast_to=object)
                    await happens(caller.watch, "the document has ended", lambda: caller.ended_by_server)
            assert carrier.received == 0
            async with DemoCaller(server.sip_address, speech(100)) as caller:
                await caller.call()
                body = {"texml": "<Response><Dial><Number>+49301234567</Number></Dial></Response>"}
                path = f"/texml/Accounts/{server.account_sid}/Calls/{caller.call_sid}"
                await client.post(path, body=body, cast_to=object)
                assert (await carrier.receive()).startswith("INVITE sip:+49301234567@")
            await calls.with_raw_response.calls(
                server.account_sid, body={"to": "+19005550100", "from_": "+1555", "texml": "<Response/>"}
            )
            while not (text := await carrier.receive()).startswith("INVITE sip:+19005550100@"):
                assert text.startswith(("INVITE sip:+49301234567@", "ACK "))
        assert "dial_prefixes of trunk carrier do not allow documents to call this number" in server.log


async def test_calls_beyond_the_limits_of_a_trunk_and_an_account_are_refused(tmp_path: Path) -> None:
    trunk = {"name": "carrier", "targets": [f"sip:{HOME}"], "keep_alive": 0, "call_limit": 1}
    server = new_server(tmp_path, sip__trunks=json.dumps([trunk]), sip__account_call_limit=2)
    async with (
        running(server),
        SipSocket(server.sip_address, HOME) as carrier,
        SipSocket(server.sip_address) as caller,
    ):
        assert await carrier.status(carrier.request("INVITE", "+1")) == 200
        busy = await carrier.response(carrier.request("INVITE", "+1"))
        assert busy.startswith("SIP/2.0 503")
        assert "\r\nRetry-After: 5\r\n" in busy
        assert await caller.status(caller.request("INVITE", "+1")) == 200
        busy = await caller.response(caller.request("INVITE", "+1"))
        assert busy.startswith("SIP/2.0 486")
        assert "\r\nRetry-After: 5\r\n" in busy
        async with AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client:
            with pytest.raises(RateLimitError, match=r"2 calls, which is sip\.account_call_limit"):
                await client.texml.accounts.calls.with_raw_response.calls(
                    server.account_sid, body={"to": "sip:x@127.0.0.1:9", "from_": "+1", "texml": "<Response/>"}
                )


class Crowd:
    """TCP connections to a server, which end together."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def connect(self, host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One more, from that address."""
        reader, writer = await asyncio.open_connection(*self._server.sip_address, local_addr=(host, 0))
        self._writers.append(writer)
        return reader, writer


async def answered(reader: asyncio.StreamReader) -> str:
    """The head of a response; empty if the connection was closed."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        return (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).decode()
    return ""


async def test_a_thousand_idle_connections_do_not_shut_sip(server: ServerProcess) -> None:
    async with Crowd(server) as crowd, SipSocket(server.sip_address, SPOOFER) as scanner:
        for _ in range(1000):
            reader, writer = await crowd.connect(SPOOFER)
            writer.write(scanner.request("OPTIONS", "x").replace(b"/UDP", b"/TCP"))
        assert (await answered(reader)).startswith("SIP/2.0 200")
        for host in (HOME, SPOOFER):
            async with SipSocket(server.sip_address, host) as phone:
                reader, writer = await crowd.connect(host)
                writer.write(phone.request("REGISTER", "bob").replace(b"/UDP", b"/TCP"))
                credentials = phone.credentials(await answered(reader), "bob", "hidden")
                writer.write(phone.request("REGISTER", "bob", credentials).replace(b"/UDP", b"/TCP"))
                assert (await answered(reader)).startswith("SIP/2.0 200"), host


async def test_unanswered_invites_of_one_address_leave_places_for_others(tmp_path: Path) -> None:
    trunk = json.dumps([{"name": "carrier", "targets": [f"sip:{HOME}"], "keep_alive": 0}])
    server = new_server(tmp_path, sip__call_limit=8, sip__trunks=trunk, sip__idle_timeout=0.2)
    async with (
        running(server),
        SipSocket(server.sip_address, SPOOFER) as flood,
        SipSocket(server.sip_address, HOME) as carrier,
        SipSocket(server.sip_address, ABROAD) as caller,
        Crowd(server) as crowd,
    ):
        idle, _ = await crowd.connect(SPOOFER)
        # The 200s are never acknowledged.
        statuses = [await flood.status(flood.request("INVITE", "+1")) for _ in range(8)]
        assert statuses == [200] * 4 + [503] * 4
        assert await caller.status(caller.request("INVITE", "+1")) == 200
        assert await carrier.status(carrier.request("INVITE", "+1")) == 200
        assert await answered(idle) == "", "it idled out"
