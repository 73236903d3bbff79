"""Where RTP comes from, on real calls: the test is the called party, and decides when its 200 leaves and from where it
sends RTP."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from telnyx import AsyncTelnyx

from peers.called_party import PRIVATE, Callee, Calls, Phone, frames, sdp
from peers.harness import RecordingApp, RtpEndpoint, happens, new_server, running
from trunkline.demo.server import ServerProcess
from trunkline.ids import Ssrc
from trunkline.media.rtp import rtcp

pytestmark = pytest.mark.peer

KEPT = 1.0
"""Seconds of audio that wait for a stream."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    async with running(new_server(tmp_path_factory.mktemp("server"), media__workers=2)) as server:
        yield server


@pytest.fixture
def calls(server: ServerProcess, client: AsyncTelnyx, app: RecordingApp) -> Calls:
    return Calls(server, client, app)


def started(app: RecordingApp, phone: Phone) -> Callable[[], float]:
    """Seconds of what the phone said that were over, by more than is kept, when the stream started."""
    late = 0.0

    def look() -> bool:
        nonlocal late
        late = asyncio.get_running_loop().time() - phone.said[0] - KEPT if phone.said else 0.0
        return bool(app.sockets) and app.sockets[0].started

    waiting = asyncio.ensure_future(happens(app.watch, "the stream starts", look))

    def lost() -> float:
        assert waiting.done()
        return max(0.0, late)

    return lost


@pytest.mark.parametrize("host", [PRIVATE, "127.0.0.1"], ids=["private", "its own"])
@pytest.mark.parametrize("answered_at", [1, 15], ids=["with the 200", "before the 200"])
async def test_no_audio_of_a_callee_is_lost_and_an_unexpected_source_is_ignored(
    host: str, answered_at: int, calls: Calls, app: RecordingApp
) -> None:
    said, rest, noise = frames(0, 60), frames(60, 40), frames(1000, 100)
    async with Callee() as callee, Phone() as phone, Phone() as unexpected:
        port = await calls.place(callee)
        address = (host, 4000 if host == PRIVATE else phone.port)
        phone.at[answered_at] = lambda: callee.answer(sdp(*address))
        lost = started(app, phone)
        phone.speak([*said, *rest], port)
        unexpected.speak(noise, port)
        report = rtcp.build(rtcp.Report(Ssrc(7)), "callee")
        RtpEndpoint.send(phone, report, port + 1)
        RtpEndpoint.send(unexpected, report, port + 1)
        heard = await calls.hears(rest[-1])
        late = round(lost() / 0.02)
        speech = [*said, *rest]
        assert heard == speech[len(speech) - len(heard) :]
        assert len(heard) >= len(speech) - late
        leg = await calls.leg()
        assert (leg["remote"], leg["lost"], leg["rtcp_in"]) == (f"127.0.0.1:{phone.port}", 0, 2)
        assert leg["wrong_source"] > 0
        assert leg["unexpected_source"] == f"127.0.0.1:{unexpected.port}"
        await calls.end(callee)


async def test_a_callee_is_heard_from_the_start_after_early_media_of_another(calls: Calls, app: RecordingApp) -> None:
    noise, said = frames(1000, 100), frames(0, 80)
    async with Callee() as callee, Phone() as phone, Phone() as gateway:
        port = await calls.place(callee)
        callee.answer(sdp("127.0.0.1", gateway.port), "183 Session Progress")
        lost = started(app, phone)
        gateway.at[50] = lambda: phone.speak(said, port)
        phone.at[10] = lambda: callee.answer(sdp(PRIVATE, 4000))
        gateway.speak(noise, port)
        heard = await calls.hears(said[-1])
        late = round(lost() / 0.02)
        assert heard == said[len(said) - len(heard) :]
        assert len(heard) >= len(said) - late
        await calls.end(callee)


async def test_without_signalling_only_the_same_rtp_stream_may_change_its_source(calls: Calls) -> None:
    said, noise, rest = frames(0, 50), frames(1000, 200), frames(100, 200)
    async with Callee() as callee, Phone() as phone, Phone() as moved, Phone() as other, Phone() as astray:
        port = await calls.place(callee)
        callee.answer(sdp(PRIVATE, 4000))
        await callee.gets("ACK")
        await calls.app.socket()
        phone.speak(said, port)
        await calls.hears(said[-1])
        astray.goes_on_with(phone, 5000)
        other.speak(noise, port)
        astray.speak(noise, port)
        moved.goes_on_with(phone, 0)
        moved.speak(rest, port)
        heard = await calls.hears(rest[-1])
        assert heard[:50] == said
        assert heard[50:] == rest[250 - len(heard) :]
        leg = await calls.leg()
        assert leg["remote"] == f"127.0.0.1:{moved.port}"
        assert leg["wrong_source"] > 0
        await calls.end(callee)


async def test_of_audio_before_the_200_the_last_second_is_heard_and_the_rest_counted(
    calls: Calls, app: RecordingApp
) -> None:
    speech = frames(0, 200)
    async with Callee() as callee, Phone() as phone:
        port = await calls.place(callee)
        phone.at[120] = lambda: callee.answer(sdp(PRIVATE, 4000))
        phone.speak(speech, port)
        heard = await calls.hears(speech[-1])
        assert heard == speech[len(speech) - len(heard) :]
        assert len(heard) <= 80 + 55
        leg = await calls.leg()
        assert leg["packets_in"] + leg["kept_dropped"] == 200
        assert leg["kept_dropped"] >= 120 - 55
        await calls.end(callee)


async def test_no_audio_is_lost_when_re_invites_move_the_media(calls: Calls) -> None:
    speech = [frames(100 * n, 100) for n in range(4)]
    async with Callee() as callee, Phone() as phone, Phone() as moved, Phone() as again:
        port = await calls.place(callee)
        callee.answer(sdp(PRIVATE, 4000))
        await callee.gets("ACK")
        await calls.app.socket()
        phone.speak(speech[0], port)
        await calls.hears(speech[0][-1])
        # Another private address, the same source.
        await callee.offers(sdp("127.9.9.8", 4002))
        phone.speak(speech[1], port)
        await calls.hears(speech[1][-1])
        # The same address after a hold, another source.
        await callee.offers(sdp("127.9.9.8", 4002, "inactive"))
        await callee.offers(sdp("127.9.9.8", 4002))
        moved.speak(speech[2], port)
        await calls.hears(speech[2][-1])
        # Our offer: it speaks from elsewhere, and then its ACK says so.
        await callee.offers("")
        again.at[10] = lambda: callee.acknowledges(sdp("127.9.9.7", 4004))
        again.speak(speech[3], port)
        assert await calls.hears(speech[3][-1]) == [frame for part in speech for frame in part]
        assert (await calls.leg())["remote"] == f"127.0.0.1:{again.port}"
        await calls.end(callee)


async def test_a_dialled_call_is_on_its_parents_worker_and_loses_no_audio(calls: Calls) -> None:
    speech = frames(0, 100)
    async with Callee() as parent, Callee() as callee, Phone() as phone, Phone() as other:
        await calls.place(parent, f"<Dial><Sip>sip:bob@127.0.0.1:{callee.port}</Sip></Dial>")
        parent.answer(sdp("127.0.0.1", phone.port))
        port = (await callee.gets("INVITE")).media_port
        other.at[10] = lambda: callee.answer(sdp(PRIVATE, 4000))
        other.speak(speech, port)
        await happens(phone.watch, "the last frame", lambda: speech[-1] in [one.payload for one in phone.heard], 20)
        heard = [one.payload for one in phone.heard if one.payload in speech]
        assert heard[:10] == speech[:10]
        await calls.end(parent)
        await callee.gets("BYE")
