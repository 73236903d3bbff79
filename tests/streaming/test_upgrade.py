"""Answers to the upgrade, as servers and proxies spell them: parsed byte for byte, and each once over a socket."""

import asyncio
import re
from base64 import b64encode
from contextlib import suppress
from hashlib import sha1
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.helpers import until
from trunkline import USER_AGENT
from trunkline.outbound.urls import WebSocketUrl
from trunkline.streaming.upgrade import BadAuthToken, HandshakeRefused, HandshakeResponse, NoUpgrade, request_headers

HEAD_LIMIT = 65_536

ACCEPT = b"s3pPLMBiTxaQ9kYGzhZRbK+xOo="
SPELLING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
WHOLE = SPELLING + ACCEPT + b"\r\n\r\n"


def answer(
    *more: bytes,
    status: bytes = b"HTTP/1.1 101 Switching Protocols",
    upgrade: bytes = b"Upgrade: websocket",
    connection: bytes = b"Connection: Upgrade",
    accept: bytes = b"Sec-WebSocket-Accept: " + ACCEPT,
) -> bytes:
    lines = [line for line in (status, upgrade, connection, accept, *more) if line]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def test_the_request_names_us_and_carries_token_and_user_info() -> None:
    assert request_headers(WebSocketUrl.parse("ws://app"), None) == {"User-Agent": USER_AGENT}
    headers = request_headers(WebSocketUrl.parse("ws://u:p@app"), "t0ken")
    assert headers["x-telnyx-streaming-auth-token"] == "t0ken"
    assert headers["Authorization"] == "Basic dTpw"


def test_a_token_cannot_add_headers() -> None:
    with pytest.raises(BadAuthToken, match="the auth token has control characters, which no HTTP header can carry"):
        request_headers(WebSocketUrl.parse("ws://app"), "x\r\nHost: evil")


UPGRADES = {
    "as usual": answer(),
    "a list": answer(connection=b"Connection: Upgrade, Keep-Alive"),
    "a list without spaces": answer(connection=b"Connection: keep-alive,Upgrade"),
    "a list with empty members": answer(connection=b"Connection: , ,upgrade ,"),
    "close besides": answer(connection=b"connection:close , UPGRADE"),
    "two lines": answer(b"Connection: Upgrade", connection=b"Connection: keep-alive"),
    "two lines, the other way": answer(b"Connection: keep-alive"),
    "two lines that are the same": answer(b"Connection: Upgrade"),
    "a folded line": answer(connection=b"Connection: keep-alive,\r\n\tUpgrade"),
    "a folded line of another field": answer(b"Via: 1.1 one,\r\n 1.1 two"),
    "a field that begins behind a fold": answer(connection=b"Connection:\r\n Upgrade"),
    "upper case": answer(upgrade=b"UPGRADE: WEBSOCKET", connection=b"CONNECTION: UPGRADE"),
    "lower case": answer(upgrade=b"upgrade: WebSocket", accept=b"sec-websocket-accept:" + ACCEPT),
    "a list of protocols": answer(upgrade=b"Upgrade: h2c, WebSocket"),
    "two lines of protocols": answer(b"Upgrade: websocket", upgrade=b"Upgrade: TLS/1.2"),
    "spaces around values": answer(
        connection=b"Connection: \t Upgrade \t ", accept=b"Sec-WebSocket-Accept:  " + ACCEPT
    ),
    "spaces before the colon": answer(connection=b"Connection : Upgrade"),
    "no reason phrase": answer(status=b"HTTP/1.1 101 "),
    "no space behind the status": answer(status=b"HTTP/1.1 101"),
    "more spaces in the status line": answer(status=b"HTTP/1.1  101  Switching  Protocols "),
    "a reason phrase in Latin-1": answer(status=b"HTTP/1.1 101 Protokoll\xfcbergang"),
    "a later version of HTTP/1": answer(status=b"HTTP/1.2 101 Switching Protocols"),
    "bare line feeds": answer().replace(b"\r\n", b"\n"),
    "an empty list of subprotocols": answer(b"Sec-WebSocket-Protocol:"),
    "an empty list of extensions": answer(b"Sec-WebSocket-Extensions: ,"),
    "an accept twice": answer(b"Sec-WebSocket-Accept: " + ACCEPT),
    "a length, which means nothing": answer(b"Content-Length: 5"),
    "a transfer coding, which means nothing": answer(b"Transfer-Encoding: chunked"),
    "an empty value": answer(b"X-Empty:"),
    "values in UTF-8": answer("X-Served-By: München".encode()),
    "early hints first": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(),
    "two answers first": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + answer(),
    "many cookies": answer(*(b"Set-Cookie: AWSALB%d=" % number + b"x" * 300 for number in range(150))),
}

REFUSED = {
    b"HTTP/1.1 403 Forbidden": 403,
    b"HTTP/1.1 200 OK": 200,
    b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /": 307,
    b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket": 426,
    b"HTTP/1.1 520 ": 520,  # a code of a proxy's own
    b"HTTP/1.1 999": 999,
}

WRONG = {
    "no Upgrade": (answer(upgrade=b""), "it has no Upgrade: websocket"),
    "another Upgrade": (answer(upgrade=b"Upgrade: h2c"), "it has no Upgrade: websocket"),
    "a version of Upgrade": (answer(upgrade=b"Upgrade: websocket/8"), "it has no Upgrade: websocket"),
    "a part of a token": (answer(connection=b"Connection: upgrades, x-upgrade"), "it has no Connection: upgrade"),
    "two tokens without a comma": (answer(connection=b"Connection: keep-alive Upgrade"), "it has no Connection"),
    "no Connection": (answer(connection=b""), "it has no Connection: upgrade"),
    "a subprotocol": (answer(b"Sec-WebSocket-Protocol: twilio"), "it chooses a subprotocol"),
    "an extension": (answer(b"sec-websocket-extensions:\r\n permessage-deflate"), "it chooses an extension"),
    "no accept": (answer(accept=b""), "it has no Sec-WebSocket-Accept"),
    "two accepts": (answer(b"Sec-WebSocket-Accept: other"), "it has more than one Sec-WebSocket-Accept"),
    "HTTP/1.0": (answer(status=b"HTTP/1.0 101 Switching Protocols"), "HTTP/1.1"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", "it does not begin with HTTP/1.1 and a status"),
    "an empty line": (b"\r\n\r\n", "it does not begin with HTTP/1.1 and a status"),
    "no status": (b"HTTP/1.1 OK\r\n", "it does not begin with HTTP/1.1 and a status"),
    "a line without a colon": (answer(b"nonsense"), "no header field"),
    "a name that is none": (answer(b"a b: c"), "no header field"),
    "without end": (b"x" * (HEAD_LIMIT + 1), "longer than"),
    "answers without end": (b"HTTP/1.1 100 Continue\r\n\r\n" * (HEAD_LIMIT // 25 + 1), "longer than"),
}


@pytest.mark.parametrize("came", UPGRADES.values(), ids=UPGRADES)
def test_any_valid_spelling_of_an_upgrade_is_accepted(came: bytes) -> None:
    assert HandshakeResponse().feed(came + b"\x81\x00") == WHOLE + b"\x81\x00"


@pytest.mark.parametrize("came", REFUSED)
def test_a_refusal_has_its_status(came: bytes) -> None:
    with pytest.raises(HandshakeRefused, match=f"^HTTP {REFUSED[came]}$"):
        HandshakeResponse().feed(came + b"\r\n\r\n<html>")


@pytest.mark.parametrize(("came", "words"), WRONG.values(), ids=WRONG)
def test_a_response_that_is_no_upgrade_is_refused_with_the_reason(came: bytes, words: str) -> None:
    with pytest.raises(NoUpgrade, match=re.escape(words)) as raised:
        HandshakeResponse().feed(came)
    assert not isinstance(raised.value, HandshakeRefused)


@given(st.sampled_from(sorted(UPGRADES)), st.lists(st.integers(1, 40), max_size=200))
def test_a_response_in_any_pieces_is_parsed(name: str, sizes: list[int]) -> None:
    came, made = HandshakeResponse(), None
    rest = UPGRADES[name] + b"\x81\x00"
    for size in [*sizes, len(rest)]:
        piece, rest = rest[:size], rest[size:]
        if made is None:
            made = came.feed(piece)
        else:
            made += piece
    assert made == WHOLE + b"\x81\x00"


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_a_reason(noise: bytes) -> None:
    for came in (noise, b"HTTP/1.1 101\r\n" + noise + b"\r\n\r\n"):
        with suppress(NoUpgrade):
            HandshakeResponse().feed(came)


def proof(head: bytes) -> bytes:
    """The accept value for the key of a request (RFC 6455 section 1.3)."""
    key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
    return b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


@pytest.mark.parametrize("came", UPGRADES.values(), ids=UPGRADES)
async def test_a_stream_starts_after_any_valid_answer(raw_peer: Any, make_stream: Any, came: bytes) -> None:
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/")
    stream.connection.start()
    _, writer, head = await raw_peer.accept()
    mark = b'{"event":"mark","mark":{"name":"early"}}'
    writer.write(came.replace(ACCEPT, proof(head)) + bytes((0x81, len(mark))) + mark)
    async with asyncio.timeout(30):
        await stream.started.wait()
    await until(lambda: stream.connection.stream.report().marks == 1)  # data right after the answer is received
    stream.connection.close("done")
    writer.write(b"\x88\x00")
    assert (await stream.end()).error is None


@pytest.mark.parametrize(("came", "words"), WRONG.values(), ids=WRONG)
async def test_a_stream_ends_with_the_reason_of_a_refusal(
    raw_peer: Any, make_stream: Any, came: bytes, words: str
) -> None:
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/")
    stream.connection.start()
    _, writer, head = await raw_peer.accept()
    writer.write(came.replace(ACCEPT, proof(head)))
    error = (await stream.end()).error
    assert error.startswith(f"no proper answer to the upgrade from 127.0.0.1 port {raw_peer.port}: ")
    assert words in error


async def test_an_answer_to_another_request_is_refused(raw_peer: Any, make_stream: Any) -> None:
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/")
    stream.connection.start()
    _, writer, _ = await raw_peer.accept()
    writer.write(UPGRADES["as usual"])
    assert "sec-websocket-accept" in (await stream.end()).error
