"""Attacks on a call's audio by datagrams to its RTP port, and by INVITEs with another's address; on a real server."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from telnyx import AsyncTelnyx

from peers.called_party import PRIVATE, Callee, Calls, Phone, frames, sdp
from peers.harness import GLANCE, RecordingApp, RtpEndpoint, happens, new_server, running
from trunkline.demo.server import ServerProcess
from trunkline.media.leg import UNCONFIRMED_PACKETS

pytestmark = pytest.mark.peer

ATTACKER = "127.6.6.6"
PORTS = 40
"""RTP and RTCP ports of the server."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    async with running(new_server(tmp_path_factory.mktemp("server"), media_ports=PORTS, media__workers=2)) as server:
        yield server


@pytest.fixture
def calls(server: ServerProcess, client: AsyncTelnyx, app: RecordingApp) -> Calls:
    return Calls(server, client, app)


class Attacker(RtpEndpoint):
    """Sends from another address, to the server's."""

    def __init__(self) -> None:
        super().__init__(ATTACKER)

    def send(self, packet: bytes, port: int) -> None:
        self._transport.sendto(packet, ("127.0.0.1", port))

    async def sweeps(self, server: ServerProcess, calls: Calls, rounds: int) -> None:
        """A packet to each port of the server's range, as often as said: one stream to each, with more time between two
        rounds than a trial takes."""
        first = int(server.setting("media.port_min"))
        for n in range(rounds):
            for port in range(first, first + PORTS):
                number = (n + 1).to_bytes(2)
                self.send(bytes((0x80, 0)) + number + bytes(2) + number + self._ssrc + b"attacker" * 20, port)
            await calls.leg()  # which takes as long as the worker listens
            await calls.leg()


def assert_whole(heard: list[bytes], said: list[bytes]) -> None:
    """All that was said is heard in order, from the first frame on. A frame that a busy machine sends or reads too late
    is faded into behind one that is concealed (`media/bridge/buffer.py`): it is changed, and there is one more."""
    span = heard[heard.index(said[0]) : heard.index(said[-1]) + 1]
    same = [payload for payload in span if payload in said]
    assert same == [payload for payload in said if payload in same]
    assert len(said) - len(same) <= len(span) - len(said), "a frame is missing"
    assert len(same) > len(said) * 0.8


async def test_a_sweep_over_all_ports_takes_no_call(
    server: ServerProcess, client: AsyncTelnyx, app: RecordingApp
) -> None:
    """Two rounds before any of five peers speaks, one of them behind a NAT, and one dialled by a sixth: the audio of
    each call is its peer's, from the first word on and both ways."""
    said = [frames(100 * n, 50) for n in range(5)]
    natted, dialled = said[0], said[4]
    async with AsyncExitStack() as stack:
        attacker = await stack.enter_async_context(Attacker())
        parent, bridged = await stack.enter_async_context(Callee()), await stack.enter_async_context(Phone())
        phones = [await stack.enter_async_context(Phone()) for _ in said]
        parties = [(Calls(server, client, app), await stack.enter_async_context(Callee())) for _ in said]
        ports = []
        for (calls, callee), phone, words in zip(parties, phones, said, strict=True):
            if words is dialled:
                await calls.place(parent, f"<Dial><Sip>sip:bob@127.0.0.1:{callee.port}</Sip></Dial>")
                parent.answer(sdp("127.0.0.1", bridged.port))
                ports.append((await callee.gets("INVITE")).media_port)
            else:
                ports.append(await calls.place(callee))
            callee.answer(sdp(*((PRIVATE, 4000) if words is natted else ("127.0.0.1", phone.port))))
            await callee.gets("ACK")
        await happens(app.watch, "all streams start", lambda: sum(one.started for one in app.sockets) == 4)
        await attacker.sweeps(server, parties[0][0], 2)
        for phone, port, words in zip(phones, ports, said, strict=True):
            phone.speak(words, port)
        for words in said[:4]:
            await happens(app.watch, "all is heard", lambda: words in [one.payloads() for one in app.sockets])  # noqa: B023
        await happens(bridged.watch, "the last word", lambda: dialled[-1] in [one.payload for one in bridged.heard])
        assert_whole([one.payload for one in bridged.heard], dialled)
        legs = [await calls.leg() for calls, _ in parties]
        assert [leg["remote"] for leg in legs[:4]] == [f"127.0.0.1:{phone.port}" for phone in phones[:4]]
        assert {leg["unexpected_source"] for leg in legs[:4]} == {f"{ATTACKER}:{attacker.port}"}
        for (calls, callee), words in zip(parties, said, strict=True):
            await calls.end(parent if words is dialled else callee)
        assert attacker.heard == []


async def test_the_signalled_address_wins_over_an_accepted_source_at_once(calls: Calls) -> None:
    """An attacker that sends a whole stream is taken for a peer behind a NAT, until the peer speaks."""
    words, noise, more = frames(0, 25), frames(1000, 300), frames(100, 25)
    async with Callee() as callee, Phone() as phone, Attacker() as attacker:
        port = await calls.place(callee)
        callee.answer(sdp("127.0.0.1", phone.port))
        await callee.gets("ACK")
        app = await calls.app.socket()
        attacker.speak(noise, port)
        await calls.hears(noise[25])
        phone.speak(words, port)
        heard = await calls.hears(words[-1])
        assert heard[-25:] == words
        await app.play(b"\x05" * 160)
        await happens(phone.watch, "the app's audio", lambda: b"\x05" * 160 in [one.payload for one in phone.heard])
        phone.speak(more, port)
        assert (await calls.hears(more[-1]))[-50:] == words + more
        leg = await calls.leg()
        assert (leg["remote"], leg["unexpected_source"]) == (f"127.0.0.1:{phone.port}", f"{ATTACKER}:{attacker.port}")
        assert b"\x05" * 160 not in [one.payload for one in attacker.heard]
        await calls.end(callee)


async def test_early_media_and_the_callee_are_heard_beside_a_stream_of_another(calls: Calls) -> None:
    ringing, words, noise = frames(200, 60), frames(0, 60), frames(1000, 400)
    async with Callee() as callee, Phone() as phone, Phone() as gateway, Attacker() as attacker:
        port = await calls.place(callee)
        attacker.speak(noise, port)
        callee.answer(sdp("127.0.0.1", gateway.port), "183 Session Progress")
        gateway.at[50] = lambda: callee.answer(sdp("127.0.0.1", phone.port))
        gateway.at[60] = lambda: phone.speak(words, port)
        gateway.speak(ringing, port)
        heard = await calls.hears(words[-1])
        assert heard[-60:] == words
        assert not set(heard) & set(noise)
        await calls.end(callee)


async def test_after_a_hold_the_peer_is_heard_again_and_not_who_spoke_meanwhile(calls: Calls) -> None:
    words, more, noise = frames(0, 25), frames(100, 25), frames(1000, 400)
    async with Callee() as callee, Phone() as phone, Attacker() as attacker:
        port = await calls.place(callee)
        callee.answer(sdp("127.0.0.1", phone.port))
        await callee.gets("ACK")
        await calls.app.socket()
        phone.speak(words, port)
        await calls.hears(words[-1])
        await callee.offers(sdp("127.0.0.1", phone.port, "inactive"))
        attacker.speak(noise, port)
        for _ in range(2):
            assert (await calls.leg())["remote"] == f"127.0.0.1:{phone.port}"
        await callee.offers(sdp("127.0.0.1", phone.port))
        phone.speak(more, port)
        assert await calls.hears(more[-1]) == words + more
        await calls.end(callee)


async def test_a_calls_own_password_is_not_stored(server: ServerProcess, calls: Calls) -> None:
    """SECURITY.md: a copy of the database gives no access, to no other server either."""

    def stored() -> bytes:
        return b"".join(path.read_bytes() for path in server.log_file.parent.rglob("*.db*") if path.is_file())

    async with Callee() as callee, Phone() as phone:
        await calls.place(callee, SipAuthUsername="ann-of-the-call", SipAuthPassword="hush-of-the-call")
        callee.answer(sdp("127.0.0.1", phone.port))
        await callee.gets("ACK")
        dialog = (await callee.gets("INVITE"))["Call-ID"].encode()
        async with asyncio.timeout(30):
            while dialog not in stored():  # noqa: ASYNC110 - the database notifies no other process
                await asyncio.sleep(GLANCE)
        await calls.end(callee)
    assert b"hush-of-the-call" not in stored()


class Forger(asyncio.DatagramProtocol):
    """Sends an INVITE with the media address of another host. It gets the answers, unlike one with a forged source."""

    def __init__(self, server: ServerProcess, media_port: int) -> None:
        self._server = server.sip_address
        self._media_port = media_port
        self.answers: asyncio.Queue[str] = asyncio.Queue()

    async def __aenter__(self) -> "Forger":
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self._port = self._transport.get_extra_info("sockname")[1]
        self._call = secrets.token_hex(8)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.answers.put_nowait(data.decode())

    def sends(self, method: str, to_tag: str = "", body: str = "") -> None:
        number = 2 if method == "BYE" else 1
        self._transport.sendto(
            (
                f"{method} sip:1@127.0.0.1 SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP 127.0.0.1:{self._port};branch=z9hG4bK{secrets.token_hex(6)};rport\r\n"
                f"From: <sip:2@127.0.0.1>;tag=1\r\nTo: <sip:1@127.0.0.1>{to_tag}\r\nCall-ID: {self._call}\r\n"
                f"CSeq: {number} {method}\r\nContact: <sip:2@127.0.0.1:{self._port}>\r\nMax-Forwards: 70\r\n"
                f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            ).encode(),
            self._server,
        )

    async def calls(self) -> str:
        """The 200 to the INVITE."""
        self.sends("INVITE", body=sdp("127.0.0.1", self._media_port))
        while not (answer := await asyncio.wait_for(self.answers.get(), 30)).startswith("SIP/2.0 200"):
            pass
        return answer


async def test_an_invite_without_ack_sends_a_third_party_ten_packets_at_most(
    server: ServerProcess, client: AsyncTelnyx, app: RecordingApp
) -> None:
    audio = frames(0, 40)
    async with Phone() as victim, Forger(server, victim.port) as forger:
        answer = await forger.calls()
        sid, tag = (re.search(f"{name}(.+?)\r", answer) for name in ("X-Trunkline-Call-Sid: ", "To: .*(?=;tag)"))
        assert sid is not None
        assert tag is not None
        await client.texml.accounts.calls.streams_json(
            sid[1], account_sid=server.account_sid, url=app.url, bidirectional_mode="rtp"
        )
        socket = await app.socket()
        await socket.play(b"".join(audio))
        await happens(victim.watch, "ten packets", lambda: len(victim.heard) == UNCONFIRMED_PACKETS)
        calls = Calls(server, client, app)
        calls.sid = sid[1]
        for _ in range(2):
            assert (await calls.leg())["packets_out"] == UNCONFIRMED_PACKETS
        forger.sends("ACK", tag[1])
        await happens(victim.watch, "all of it", lambda: audio[-1] in [one.payload for one in victim.heard])
        assert [one.payload for one in victim.heard][:40] == audio, "playback has waited"
        forger.sends("BYE", tag[1])
