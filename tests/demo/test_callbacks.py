"""The callback receiver: forms by POST and GET, signatures good and bad, senders that are no HTTP clients."""

import asyncio
import base64

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trunkline.demo.callbacks import Callback, CallbackReceiver

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()


def signed(body: bytes, timestamp: str = "1700000000") -> dict[str, str]:
    signature = KEY.sign(timestamp.encode() + b"|" + body)
    return {"telnyx-timestamp": timestamp, "telnyx-signature-ed25519": base64.b64encode(signature).decode()}


async def test_a_signed_post_is_kept_and_verified() -> None:
    body = b"StreamEvent=stream-started&StreamName="
    async with CallbackReceiver() as receiver, httpx.AsyncClient() as client:
        response = await client.post(receiver.url, content=body, headers=signed(body))
    assert response.status_code == 200
    (callback,) = receiver.received
    assert callback.fields == {"StreamEvent": "stream-started", "StreamName": ""}
    assert callback.verified(PUBLIC)


async def test_a_get_carries_its_form_in_the_query_and_signs_nothing() -> None:
    async with CallbackReceiver() as receiver, httpx.AsyncClient() as client:
        await client.get(receiver.url + "?StreamEvent=stream-stopped", headers=signed(b""))
    (callback,) = receiver.received
    assert callback.fields["StreamEvent"] == "stream-stopped"
    assert callback.verified(PUBLIC)


@pytest.mark.parametrize(
    "headers",
    [{}, {"telnyx-signature-ed25519": "no base64!"}, signed(b"else"), signed(b"body") | {"telnyx-timestamp": "1"}],
)
def test_a_missing_broken_or_foreign_signature_is_not_verified(headers: dict[str, str]) -> None:
    assert not Callback("POST", "/", headers, b"body").verified(PUBLIC)


async def test_the_answer_can_be_chosen() -> None:
    async with CallbackReceiver(respond=lambda _: 500) as receiver, httpx.AsyncClient() as client:
        assert (await client.post(receiver.url)).status_code == 500


async def test_garbage_is_disconnected_and_the_next_sender_is_served() -> None:
    async with CallbackReceiver() as receiver, httpx.AsyncClient() as client:
        url = httpx.URL(receiver.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"\x00\x01\r\n\r\n")
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
        await writer.wait_closed()
        assert (await client.post(receiver.url)).status_code == 200
