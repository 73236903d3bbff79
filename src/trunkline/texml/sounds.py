"""What calls are played: files from the network, kept in the cache, and two tones of our own making.

A download is used again, for calls of the same account, as its answer allows (`caching`): without asking for as long as
its `max-age` says, and after that if its server says that it has not changed. What is known of answers lives in memory
only, so after a restart each file is asked for once more. Several calls that want one file at the same time share the
download. A file that may not be kept is the caller's, who removes it.

Whether a file holds audio is for the decoder to say, which sees all of it.
"""

import asyncio
import math
import re
import struct
import wave
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from trunkline.config import TexmlSettings
from trunkline.outbound.client import Client, HttpResponse, Order, RequestFailed
from trunkline.outbound.dialler import Dialler
from trunkline.outbound.turns import Limits
from trunkline.texml.cache import FileCache
from trunkline.texml.caching import Known, known_of
from trunkline.webhooks.payloads import masked

LIMITS = Limits(total=1000, account=500, host=100, silent=2)
"""Downloads at once."""
KNOWN_LIMIT = 10000
"""Answers remembered; the one that was not used for longest goes first."""
HEAD = 256
"""Bytes that show whether it is text or audio."""
_TEXT = re.compile(rb"(?:\xef\xbb\xbf)?[\s\0]*(?:<[!?a-zA-Z]|[{\[]\s*[\"\]}{])")
_WHOLE = re.compile(r"bytes 0-(\d+)/(\d+)")
_RATE = 8000
TONES: dict[str, tuple[tuple[int, ...], float, float]] = {
    # ITU-T E.180 supplement 2: North America's; a recorder's beep has no standard.
    "ringback": ((440, 480), 2.0, 4.0),
    "beep": ((1000,), 0.4, 0.1),
}
"""Frequencies in Hz, and seconds of sound and of silence."""


class SoundError(Exception):
    """It cannot be played; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A file on this machine."""

    path: Path
    kept: bool
    """It is in the cache; else it is the caller's to remove, when it has been played."""


class Sounds:
    """Gives files on this machine for what is to be played."""

    def __init__(self, settings: TexmlSettings, cache: FileCache, directory: Path, dialler: Dialler) -> None:
        """`directory` holds the tones."""
        self._settings = settings
        self._cache = cache
        self._directory = directory
        self._client = Client(dialler, LIMITS)
        self._known: OrderedDict[tuple[str, str], Known] = OrderedDict()
        self._loading: dict[tuple[str, str], asyncio.Task[Sound]] = {}
        """By account and URL."""

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in list(self._loading.values()):
            task.cancel()
        await asyncio.gather(*self._loading.values(), return_exceptions=True)
        await self._client.stop()

    def tone(self, name: str) -> Path:
        """One of `TONES`, made when it is first asked for. Raises SoundError."""
        path = self._directory / f"{name}.wav"
        if not path.exists():
            try:
                self._directory.mkdir(parents=True, exist_ok=True)
                _write_tone(path, *TONES[name])
            except OSError as error:
                raise SoundError(f"cannot write {path}: {error.strerror}") from error
        return path

    async def file(self, account: str, url: str) -> Sound:
        """A file of the network, for a call of that account. Raises SoundError."""
        try:
            shared = self._loading.get((account, url))
            if shared is not None:
                sound = await asyncio.shield(shared)
                # What may not be kept is for one request alone.
                return sound if sound.kept else await self._file(account, url)
            task = self._loading[account, url] = asyncio.create_task(self._file(account, url), name="sound")
            task.add_done_callback(lambda done: self._loaded((account, url), done))
            try:
                return await asyncio.shield(task)  # others may wait for it
            except asyncio.CancelledError:
                task.add_done_callback(_discard)
                raise
        except RequestFailed as error:
            raise SoundError(f"{masked(url)}: {error or type(error).__name__}") from error
        except OSError as error:
            raise SoundError(f"the cache does not work: {error.strerror}") from error

    def _loaded(self, key: tuple[str, str], task: asyncio.Task[Sound]) -> None:
        del self._loading[key]
        if not task.cancelled():
            task.exception()  # the request that waited for it may be over

    async def _file(self, account: str, url: str) -> Sound:
        key = account, url
        kept, known = self._cache.get("play", *key), self._known.get(key)
        now = asyncio.get_running_loop().time()
        headers: list[tuple[str, str]] = []
        if kept is not None and known is not None:
            self._known.move_to_end(key)
            if now < known.fresh_until:
                return Sound(kept, True)
            headers = known.questions()
        order = Order(account, "GET", url, headers=(("Accept", "*/*"), *headers))
        limit = self._settings.sound_timeout
        try:
            async with asyncio.timeout(limit), self._client.follow(order, lambda _: None) as answer:
                if answer.status == 304 and kept is not None and headers:
                    self._remember(key, known_of(answer.all, now, known))
                    return Sound(kept, True)
                if not _is_whole(answer):
                    raise RequestFailed(f"HTTP status {answer.status}")
                path, said = await self._download(answer), known_of(answer.all, now)
        except TimeoutError:
            raise RequestFailed(f"not here within {limit:g} s") from None
        if not said.kept:
            self._known.pop(key, None)
            return Sound(path, False)
        self._remember(key, said)
        return Sound(self._cache.put(path, "play", *key), True)

    async def _download(self, answer: HttpResponse) -> Path:
        path, head = self._cache.blank(), b""
        try:
            with path.open("wb") as file:
                async for piece in answer.pieces(self._settings.sound_limit):
                    head += piece[: HEAD - len(head)]
                    file.write(piece)
            if not head:
                raise RequestFailed("it is empty")
            if _TEXT.match(head):
                raise RequestFailed(f"it is a text and no audio ({answer.get('content-type')[:80] or 'no type'})")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _remember(self, key: tuple[str, str], known: Known) -> None:
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > KNOWN_LIMIT:
            self._known.popitem(last=False)


def _discard(task: asyncio.Task[Sound]) -> None:
    """The owner that was to remove the file is gone."""
    if not task.cancelled() and task.exception() is None and not task.result().kept:
        task.result().path.unlink(missing_ok=True)


def _is_whole(answer: HttpResponse) -> bool:
    """A file, in whatever words: some servers call the whole of it a part (RFC 9110 section 14.4), and a proxy that has
    changed it says 203."""
    if answer.status == 206:
        match = _WHOLE.fullmatch(answer.get("content-range").strip())
        return match is not None and int(match[1]) + 1 == int(match[2])
    return answer.status in (200, 203)


def _write_tone(path: Path, frequencies: tuple[int, ...], sound: float, silence: float) -> None:
    loudness = 6000 / len(frequencies)
    samples = [
        round(sum(loudness * math.sin(2 * math.pi * frequency * index / _RATE) for frequency in frequencies))
        for index in range(round(sound * _RATE))
    ]
    samples += [0] * round(silence * _RATE)
    unfinished = path.with_suffix(".part")
    with wave.open(str(unfinished), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    unfinished.rename(path)
