"""What an app's audio suffers from the API: the playback clock's jitter while requests come in. Used by `bench.py`.

Twenty requests a second: streams are started and stopped again, calls and streams listed and fetched. So each second
brings eight callbacks, received here, and their writes to the database.
"""

import asyncio
import time

import httpx
from picows import ws_create_server
from product import HOST, Product, started
from runs import Run
from work import Sink

from trunkline.demo.callbacks import CallbackReceiver

RATE = 20
"""Requests per second."""


class Requests:
    """Makes them, one after the other."""

    def __init__(self, client: httpx.AsyncClient, product: Product, stream: dict[str, str]) -> None:
        """`stream`: what the started ones are like."""
        self._client, self._calls, self._stream = client, product.call_sids, stream
        self._sid = ""
        self.waits: list[float] = []

    async def make(self, number: int) -> None:
        """One request. Raises Invalid or httpx.HTTPError when it is refused."""
        call = self._calls[number // 5 % len(self._calls)]
        began = time.monotonic()
        match number % 5:
            case 0:
                self._sid = await started(self._client, call, self._stream)
            case 4:
                stopped = {"Status": "stopped"}
                (await self._client.post(f"/Calls/{call}/Streams/{self._sid}.json", data=stopped)).raise_for_status()
            case other:
                path = ("/Calls.json", f"/Calls/{call}.json", f"/Calls/{call}/Streams.json")[other - 1]
                (await self._client.get(path)).raise_for_status()
        self.waits.append(time.monotonic() - began)


async def under_requests(product: Product, seconds: float) -> Run:
    """Load the API for so long; how it answered."""
    sink = await ws_create_server(lambda _: Sink(echo=False), HOST, 0)
    url = f"ws://{HOST}:{sink.sockets[0].getsockname()[1]}/"
    async with CallbackReceiver() as callbacks, product.client() as client:
        requests = Requests(client, product, {"Url": url, "StatusCallback": callbacks.url})
        began = time.monotonic()
        number = 0
        while time.monotonic() - began < seconds:
            await requests.make(number)
            number += 1
            await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
        took = time.monotonic() - began
        heard = len(callbacks.received)
    sink.close()
    waits = sorted(requests.waits)
    return {
        "api_requests_per_s": number / took,
        "api_p50_ms": 1000 * waits[len(waits) // 2],
        "api_p99_ms": 1000 * waits[len(waits) * 99 // 100],
        "callbacks": heard,
    }
