"""Requests that are marked as repeats, with the server's own memory of first tries."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from starlette.requests import Request

from trunkline.api.app import IdempotencyCache
from trunkline.api.retries import fingerprint, once_per_key

Made = Callable[[], Awaitable[str]]


class Client:
    """Sends the same request again and again."""

    def __init__(self) -> None:
        self.now = 0.0
        self.counters: Counter[str] = Counter()
        self.tries: IdempotencyCache[str] = IdempotencyCache(lambda: self.now)

    async def send(self, make: Made, count: str | None = None, key: bytes = b"k") -> str:
        """`count`: what the request says of its tries."""
        headers = [] if count is None else [(b"x-stainless-retry-count", count.encode())]
        return await once_per_key(Request({"type": "http", "headers": headers}), self.tries, key, make, self.counters)


def making(*answers: str) -> Made:
    """Gives one answer after the other."""
    left = iter(answers)

    async def make() -> str:
        return next(left)

    return make


async def fail() -> str:
    raise ConnectionError


@pytest.mark.parametrize("count", ["1", "2"])
async def test_a_repeat_gets_what_the_first_try_made(count: str) -> None:
    client, make = Client(), making("a", "b")
    assert await client.send(make, "0") == "a"
    assert await client.send(make, count) == "a"
    assert client.counters == {"starts_recalled": 1}
    assert await client.send(make, count) == "a"
    assert client.counters == {"starts_recalled": 2}


@pytest.mark.parametrize("count", [None, "0", "3", "", "1 "])
async def test_what_does_not_say_that_it_is_a_repeat_is_none(count: str | None) -> None:
    client, make = Client(), making("a", "b", "c")
    assert await client.send(make) == "a"
    assert await client.send(make, count) == "b"
    assert client.counters == {}
    assert await client.send(make, "1") == "b", "the last one made is what is repeated"


async def test_a_repeat_of_what_failed_or_of_something_else_tries_for_itself() -> None:
    client = Client()
    with pytest.raises(ConnectionError):
        await client.send(fail)
    assert await client.send(making("a"), "1") == "a"
    assert await client.send(making("b"), "1", key=b"other") == "b"
    assert client.counters == {}


async def test_a_repeat_waits_for_the_first_try() -> None:
    client, go = Client(), asyncio.Event()

    async def slowly() -> str:
        await go.wait()
        return "a"

    first = asyncio.create_task(client.send(slowly))
    await asyncio.sleep(0)
    repeat = asyncio.create_task(client.send(making("b"), "1"))
    await asyncio.sleep(0)
    assert not repeat.done()
    go.set()
    assert [await first, await repeat] == ["a", "a"]


def test_a_fingerprint_is_of_key_path_and_body() -> None:
    parts = ("key", "/path", b"body")
    assert fingerprint(*parts) == fingerprint("key", "/path", b"body")
    others = [("kez", "/path", b"body"), ("key", "/pat", b"hbody"), ("key", "/path", b"")]
    assert len({fingerprint(*parts), *(fingerprint(*other) for other in others)}) == 4
    assert b"key" not in fingerprint(*parts)
