"""The SIP messages of real calls: kept, masked, and read by tshark."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from commands import trunkline
from peers import kamailio
from peers.harness import GLANCE, happens, new_server, running
from peers.hep_capture import HepCapture
from peers.sipp import PCMU_LINES, SippRun, ack, answered, bye, invite, sdp
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer
KEY = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
SECRET = sdp(f"{PCMU_LINES}a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\n")


async def sip(server: ServerProcess, tmp_path: Path, *arguments: str) -> str:
    own = ("--http.port", str(server.http_port), "--account_sid", server.account_sid, "--api_key", server.api_key)
    done = await asyncio.to_thread(trunkline, tmp_path, "sip", *arguments, *own)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed (Debian: tshark)")
async def test_a_calls_messages_are_kept_beyond_its_end(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "sipp").mkdir()
    to = ("127.0.0.1", server.sip_port)
    async with SippRun(tmp_path / "sipp", to, (invite(SECRET), answered(), ack(), bye(2))) as run:
        call = (await run.answered()).call_sid
        await run.succeeds()
    path = tmp_path / "call.pcap"
    shown = await sip(server, tmp_path, call)
    assert [line.partition("─ ")[2].partition(" ─")[0].partition(" sip:")[0] for line in shown.splitlines()[4:]] == [
        *("INVITE", "100 Trying (INVITE)", "180 Ringing (INVITE)", "200 OK (INVITE), SDP", "ACK", "BYE"),
        "200 OK (BYE)",
    ]
    assert KEY not in await sip(server, tmp_path, call, "--json", "--pcap", str(path))
    command = ("tshark", "-r", str(path), "-T", "fields", "-e", "sip.CSeq.method", "-e", "sdp.media.proto")
    read = (await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=120)).stdout
    assert [line.split("\t")[0] for line in read.splitlines()] == [*["INVITE"] * 4, "ACK", "BYE", "BYE"]
    assert "RTP/AVP" in read
    assert KEY.encode() not in path.read_bytes()


async def test_an_invite_that_is_refused_is_listed(tmp_path: Path) -> None:
    async with running(new_server(tmp_path, sip__unknown_callers="none")) as server:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=("127.0.0.1", server.sip_port)
        )
        port = transport.get_extra_info("sockname")[1]
        lines = (
            *("INVITE sip:+13125550123@127.0.0.1 SIP/2.0", f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK1"),
            *("From: <sip:a@127.0.0.1>;tag=1", "To: <sip:+13125550123@127.0.0.1>", "Call-ID: refused@host"),
            *("CSeq: 1 INVITE", "Max-Forwards: 70", f"Contact: <sip:a@127.0.0.1:{port}>", "Content-Length: 0", "", ""),
        )
        transport.sendto("\r\n".join(lines).encode())
        headers = {"authorization": f"Bearer {server.api_key}"}
        async with httpx.AsyncClient(base_url=server.base_url, headers=headers) as client, asyncio.timeout(30):
            while not (await client.get("/trunkline/sip")).json()["data"]:  # noqa: ASYNC110 - nothing reports it
                await asyncio.sleep(GLANCE)
        transport.close()
        [found] = json.loads(await sip(server, tmp_path, "--json"))
        assert (found["call_sid"], found["sip_call_id"]) == (None, "refused@host")
        assert [one["summary"] for one in found["messages"]][-1] == "401 Unauthorized"
        assert "refused@host" in await sip(server, tmp_path)


async def test_those_of_a_failed_call_outlive_the_server(tmp_path: Path) -> None:
    server = new_server(tmp_path)
    headers = {"authorization": f"Bearer {server.api_key}"}
    async with running(server), httpx.AsyncClient(base_url=server.base_url, headers=headers) as client:
        calls = f"/texml/Accounts/{server.account_sid}/Calls"
        body = {"To": "sip:callee@127.0.0.1:9", "From": "+15550001111", "Texml": "<Response/>"}
        call = (await client.post(calls, json=body)).json()["sid"]
        async with asyncio.timeout(30):
            while (await client.get(f"{calls}/{call}")).json()["status"] != "failed":  # noqa: ASYNC110
                await asyncio.sleep(GLANCE)
    async with running(server), httpx.AsyncClient(base_url=server.base_url, headers=headers) as client:
        found = (await client.get(f"/trunkline/calls/{call}/sip")).json()["data"]
    assert {one["summary"] for one in found["messages"]} == {"INVITE sip:callee@127.0.0.1:9"}


@pytest.mark.skipif(kamailio.missing() is not None, reason=str(kamailio.missing()))
async def test_kamailio_decodes_each_message_that_is_sent_to_it(tmp_path: Path) -> None:
    async with HepCapture() as capture:
        hep: dict[str, Any] = {
            "sip__hep__target": f"127.0.0.1:{capture.port}",
            "sip__hep__id": 2001,
            "sip__hep__password": "a key",
        }
        async with running(new_server(tmp_path, **hep)) as server:
            (tmp_path / "sipp").mkdir()
            to = ("127.0.0.1", server.sip_port)
            async with SippRun(tmp_path / "sipp", to, (invite(SECRET), answered(), ack(), bye(2))) as run:
                await run.succeeds()
            await happens(capture.watch, "seven packets", lambda: len(capture.packets) >= 7)
    starts = [packet[-1].partition(" sip:")[0] for packet in capture.packets]
    assert starts == [
        *("INVITE", "SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", "SIP/2.0 200 OK", "ACK", "BYE", "SIP/2.0 200 OK")
    ]
    ours = str(server.sip_port)
    theirs = capture.packets[0][7]
    for packet, received in zip(capture.packets, (True, False, False, False, True, True, False), strict=True):
        assert packet[:5] == ["3", "2", "17", "127.0.0.1", "127.0.0.1"]
        assert packet[7:9] == ([theirs, ours] if received else [ours, theirs])
        assert packet[11:14] == ["1", "2001", "a key"]
    assert "(left out)" in capture.text
    assert KEY not in capture.text
