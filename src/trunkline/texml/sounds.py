"""What calls are played: files from the network, kept in the cache, and two tones of our own making.

A download is used again without asking for as long as its answer's `max-age` says (RFC 9111), and after that if its
server says that it has not changed (`ETag`, `Last-Modified`). What is known of answers lives in memory only, so after a
restart each file is asked for once more. Several calls that want one file at the same time share the download.
"""

import asyncio
import math
import re
import struct
import wave
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import httpx

from trunkline.config import TexmlSettings
from trunkline.texml.cache import FileCache
from trunkline.texml.fetch import UNSENDABLE, FetchError, http_client
from trunkline.webhooks.payloads import masked

CONNECTION_LIMIT = 50
KNOWN_LIMIT = 10000
"""Answers remembered; the one that was not used for longest goes first."""
_MAX_AGE = re.compile(r"max-age=(\d{1,9})")
_RATE = 8000
TONES: dict[str, tuple[tuple[int, ...], float, float]] = {
    # ITU-T E.180 supplement 2: North America's; a recorder's beep is nobody's standard.
    "ringback": ((440, 480), 2.0, 4.0),
    "beep": ((1000,), 0.4, 0.1),
}
"""Frequencies in Hz, and seconds of sound and of silence."""


class SoundError(Exception):
    """It cannot be played; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What an answer said of its file."""

    fresh_until: float
    tag: str
    modified: str


class Sounds:
    """Gives files on this machine for what is to be played."""

    def __init__(self, settings: TexmlSettings, cache: FileCache, directory: Path) -> None:
        """`directory` holds the tones."""
        self._settings = settings
        self._cache = cache
        self._directory = directory
        self._client = http_client(connections=CONNECTION_LIMIT)
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Path]] = {}

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in list(self._loading.values()):
            task.cancel()
        await asyncio.gather(*self._loading.values(), return_exceptions=True)
        await self._client.aclose()

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

    async def file(self, url: str) -> Path:
        """An mp3 or wav file of the network. Raises SoundError."""
        task = self._loading.get(url)
        if task is None:
            task = self._loading[url] = asyncio.create_task(self._file(url), name="sound")
            task.add_done_callback(lambda done: self._loaded(url, done))
        try:
            return await asyncio.shield(task)  # others may wait for it
        except (FetchError, *UNSENDABLE) as error:
            raise SoundError(f"{masked(url)}: {error or type(error).__name__}") from error
        except OSError as error:
            raise SoundError(f"the cache does not work: {error.strerror}") from error

    def _loaded(self, url: str, task: asyncio.Task[Path]) -> None:
        del self._loading[url]
        if not task.cancelled():
            task.exception()  # whoever waited for it may have left

    async def _file(self, url: str) -> Path:
        kept, known = self._cache.get("play", url), self._known.get(url)
        now = asyncio.get_running_loop().time()
        headers: dict[str, str] = {}
        if kept is not None and known is not None:
            self._known.move_to_end(url)
            if now < known.fresh_until:
                return kept
            if known.tag:
                headers["If-None-Match"] = known.tag
            if known.modified:
                headers["If-Modified-Since"] = known.modified
        limit = self._settings.sound_timeout
        try:
            async with asyncio.timeout(limit), self._client.stream("GET", url, headers=headers) as response:
                if response.status_code == httpx.codes.NOT_MODIFIED and kept is not None:
                    self._remember(url, response, now)
                    return kept
                if response.status_code != httpx.codes.OK:
                    raise FetchError(f"HTTP status {response.status_code}")
                path = await self._download(response)
        except TimeoutError:
            raise FetchError(f"not here within {limit:g} s") from None
        self._remember(url, response, now)
        return self._cache.put(path, "play", url)

    async def _download(self, response: httpx.Response) -> Path:
        path, size, limit = self._cache.blank(), 0, self._settings.sound_limit
        try:
            with path.open("wb") as file:
                async for chunk in response.aiter_raw():
                    if size == 0 and not _is_audio(chunk):
                        raise FetchError("it is neither mp3 nor wav")
                    size += len(chunk)
                    if size > limit:
                        raise FetchError(f"it has more than {limit} bytes")
                    file.write(chunk)
            if size == 0:
                raise FetchError("it is empty")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _remember(self, url: str, response: httpx.Response, now: float) -> None:
        said = response.headers
        age = _MAX_AGE.search(said.get("cache-control", ""))
        fresh = now + int(age[1]) if age else now
        self._known[url] = _Known(fresh, said.get("etag", ""), said.get("last-modified", ""))
        self._known.move_to_end(url)
        if len(self._known) > KNOWN_LIMIT:
            self._known.popitem(last=False)


def _is_audio(head: bytes) -> bool:
    """RIFF, ID3v2, or an MPEG audio frame's sync word (ISO 11172-3 section 2.4.1.3)."""
    return head.startswith((b"RIFF", b"ID3")) or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)


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
