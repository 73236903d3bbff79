"""Repeats of POST requests get the answer of the first try (docs/reference/rest.md#requests).

Such a request has no idempotency key, and the official SDKs repeat it when its answer is lost. The results of the last
minute are kept, and a request that is marked as a repeat gets the result of the first try.
"""

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from starlette.requests import Request

T = TypeVar("T")

RETRY_COUNTS = ("1", "2")
"""`x-stainless-retry-count` of a repeat; the SDKs send 0 with a first try."""


class Tries(Protocol[T]):
    """Recent results. A key identifies a request, see `fingerprint`."""

    async def recall(self, key: bytes) -> T | None:
        """The result of the first try, awaited if it runs; None when there was none or it failed."""

    async def first(self, key: bytes, make: Awaitable[T]) -> T:
        """Await `make` and keep the result. Raises what `make` raises."""


async def once_per_key(
    request: Request, tries: Tries[T], key: bytes, make: Callable[[], Awaitable[T]], counters: Counter[str]
) -> T:
    """The result of `make`, or for a request that is marked as a repeat that of its first try. Raises as `make`."""
    if request.headers.get("x-stainless-retry-count") in RETRY_COUNTS:
        made = await tries.recall(key)
        if made is not None:
            counters["starts_recalled"] += 1
            return made
    return await tries.first(key, make())


def fingerprint(key_sid: str, path: str, body: bytes) -> bytes:
    """Of a request; hashed so that bodies are not kept. NUL occurs in neither sid nor path."""
    return hashlib.sha256(b"\0".join((key_sid.encode(), path.encode(), body))).digest()
