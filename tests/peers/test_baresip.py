"""baresip, a softphone, hears what the app plays, and the app hears baresip: voice and keys."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from telnyx import AsyncTelnyx

from peers.baresip import CODECS, Baresip, Namespace, missing
from peers.harness import RecordingApp, ended, happens, listed_calls, new_server, no_call_left, running
from trunkline.demo.audio import RATE, dominant_frequency, level, tone
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.server import ServerProcess, free_ports

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(missing()), reason=missing() or "")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(tmp_path_factory: pytest.TempPathFactory, space: Namespace) -> AsyncIterator[ServerProcess]:
    """A server at the outer end of the namespace's veth pair."""
    server = new_server(
        tmp_path_factory.mktemp("server"),
        host=space.outer,
        sip__unknown_callers="all",
        media__codecs="PCMU,PCMA,G722,OPUS",
        streams__extensions=True,
    )
    async with running(server):
        yield server


@pytest.mark.parametrize(
    ("codec", "encryption"), [*((codec, "") for codec in CODECS), ("PCMU", "encrypted"), ("PCMU", "optional")]
)
async def test_baresip_and_the_app_hear_each_other(
    codec: str,
    encryption: str,
    server: ServerProcess,
    space: Namespace,
    client: AsyncTelnyx,
    app: RecordingApp,
    callbacks: CallbackReceiver,
    tmp_path: Path,
) -> None:
    directory = tmp_path / "baresip"
    directory.mkdir()
    await no_call_left(client, server.account_sid)
    mandatory, optional = encryption == "encrypted", encryption == "optional"
    async with Baresip(directory, space, codec, encrypted=mandatory, optional=optional) as phone:
        await phone.says("baresip is ready")
        phone.dial(server.sip_address)
        await phone.says("Call established")
        calls = await listed_calls(client, server.account_sid, "in-progress")
        assert calls[0].sid
        stream = await client.texml.accounts.calls.streams_json(
            calls[0].sid,
            account_sid=server.account_sid,
            url=app.url,
            bidirectional_mode="rtp",
            bidirectional_codec="PCMU",
            status_callback=callbacks.url,
        )
        assert stream.sid
        sid = stream.sid
        socket = await app.socket()
        assert socket.all("start")[0]["start"]["media_format"]["encoding"] == codec
        await happens(app.watch, "100 frames arrive", lambda: len(socket.payloads()) >= 100)
        if codec == "PCMU":
            assert level(b"".join(socket.payloads())) > -40, "baresip speaks"
        await socket.play(tone(3000, 1000))
        await socket.send({"event": "mark", "mark": {"name": "played"}})
        await happens(app.watch, "the tone is played", lambda: bool(socket.all("mark")))
        await socket.send({"event": "dtmf", "dtmf": {"digit": "0*A"}})
        await socket.send({"event": "dtmf", "dtmf": {"digit": "#"}})
        output = await phone.says("received event: '#' (end=1)")
        assert re.findall(r"received event: '(.)' \(end=1\)", output) == list("0*A#")
        for key in "15#":
            phone.press(key)
            await happens(app.watch, f"key {key}", lambda key=key: _digits(socket.all("dtmf")).endswith(key))
        phone.type("/hangup\n")
        assert (await ended(callbacks, sid))["StreamEvent"] == "stream-stopped"
    heard = phone.heard()
    _, rate = CODECS[codec]
    loud = heard[abs(heard) > 2000]
    assert len(loud) > 2 * rate, "two seconds at least of three"
    assert dominant_frequency(heard, rate) == pytest.approx(1000, abs=3)
    assert _digits(socket.all("dtmf")) == "15#"
    assert calls[0].sid
    path = f"/texml/Accounts/{server.account_sid}/Calls/{calls[0].sid}/media.json"
    media: Any = await client.get(path, cast_to=object)
    assert media["leg"]["srtp"] == ("AES_CM_128_HMAC_SHA1_80" if encryption else "")


async def test_an_app_may_hear_and_speak_other_codecs_than_the_call(
    server: ServerProcess, space: Namespace, client: AsyncTelnyx, app: RecordingApp, tmp_path: Path
) -> None:
    directory = tmp_path / "baresip"
    directory.mkdir()
    await no_call_left(client, server.account_sid)
    async with Baresip(directory, space, "OPUS") as phone:
        await phone.says("baresip is ready")
        phone.dial(server.sip_address)
        await phone.says("Call established")
        (call,) = await listed_calls(client, server.account_sid, "in-progress")
        assert call.sid
        stream = await client.texml.accounts.calls.streams_json(
            call.sid,
            account_sid=server.account_sid,
            url=app.url,
            bidirectional_mode="rtp",
            extra_body={
                "Codec": "L16",
                "SamplingRate": 16000,
                "BidirectionalCodec": "L16",
                "BidirectionalSamplingRate": 22050,
            },
        )
        assert stream.sid
        socket = await app.socket()
        media_format = socket.all("start")[0]["start"]["media_format"]
        assert media_format == {"encoding": "L16", "sample_rate": 16000, "channels": 1}
        await happens(app.watch, "100 frames arrive", lambda: len(socket.payloads()) >= 100)
        assert {len(payload) for payload in socket.payloads()} == {640}
        speech = np.frombuffer(b"".join(socket.payloads()), "<i2").astype(float)
        assert np.sqrt((speech**2).mean()) > 300, "baresip speaks"
        times = np.arange(3 * 22050) / 22050
        await socket.play(np.rint(16000 * np.sin(2 * np.pi * 1000 * times)).astype("<i2").tobytes())
        await socket.send({"event": "mark", "mark": {"name": "played"}})
        await happens(app.watch, "the tone is played", lambda: bool(socket.all("mark")))
        phone.type("/hangup\n")
        await happens(app.watch, "the stream stops", lambda: bool(socket.all("stop")))
    heard = phone.heard()
    assert (abs(heard) > 2000).sum() > 2 * 48000, "two seconds at least of three"
    assert dominant_frequency(heard, 48000) == pytest.approx(1000, abs=3)


@pytest.mark.parametrize("placed", [False, True])
async def test_a_phone_that_prefers_wideband_has_a_pcmu_call(
    placed: bool, server: ServerProcess, space: Namespace, client: AsyncTelnyx, app: RecordingApp, tmp_path: Path
) -> None:
    directory = tmp_path / "baresip"
    directory.mkdir()
    await no_call_left(client, server.account_sid)
    port = free_ports(1, space.outer)
    async with Baresip(directory, space, "G722,PCMU,PCMA", port=port) as phone:
        await phone.says("baresip is ready")
        if placed:
            await client.texml.accounts.calls.calls(
                server.account_sid,
                body={
                    "to": f"sip:baresip@{space.inner}:{port}",
                    "from_": "+15550001111",
                    "texml": "<Response><Pause length='60'/></Response>",
                },
            )
            await phone.says("Incoming call")
            phone.accept()
        else:
            phone.dial(server.sip_address)
        await phone.says("Call established")
        (call,) = await listed_calls(client, server.account_sid, "in-progress")
        assert call.sid
        await client.texml.accounts.calls.streams_json(
            call.sid, account_sid=server.account_sid, url=app.url, bidirectional_mode="rtp"
        )
        socket = await app.socket()
        assert socket.all("start")[0]["start"]["media_format"]["encoding"] == "PCMU"
        await happens(app.watch, "100 frames arrive", lambda: len(socket.payloads()) >= 100)
        assert level(b"".join(socket.payloads())) > -40, "baresip speaks"
        await socket.play(tone(3000, 1000))
        await socket.send({"event": "mark", "mark": {"name": "played"}})
        await happens(app.watch, "the tone is played", lambda: bool(socket.all("mark")))
        phone.press("7")
        await happens(app.watch, "a key", lambda: _digits(socket.all("dtmf")) == "7")
        phone.type("/hangup\n")
        await happens(app.watch, "the stream stops", lambda: bool(socket.all("stop")))
    heard = phone.heard()
    assert (abs(heard) > 2000).sum() > 2 * RATE, "two seconds at least of three"


def _digits(messages: list[dict[str, dict[str, str]]]) -> str:
    return "".join(message["dtmf"]["digit"] for message in messages)
