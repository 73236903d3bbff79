"""Speaks `<Say>`: text -> wav file, by the program espeak-ng, or whatever else has the shape of `Voice`.

The program is run without a shell and gets the text on its standard input, so nothing that a document says becomes an
option or a command. Files are kept in the cache: a prompt that every caller hears is spoken once.
"""

import asyncio
import os
import re
import shutil
from collections.abc import Iterator
from errno import EACCES
from pathlib import Path
from typing import Protocol

from trunkline.config import TexmlSettings
from trunkline.confinement import command, environment
from trunkline.outbound.line import Line
from trunkline.outbound.turns import Limits, TooMany
from trunkline.texml.cache import FileCache

DEFAULT_LANGUAGE = "en-us"
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*")
_ALIASES = {
    "zh": "cmn",
    "zh-cn": "cmn",
    "zh-tw": "cmn",
    "zh-hk": "yue",
    "no": "nb",
    "en-uk": "en-gb",
    "es-mx": "es-419",
}
"""Languages that espeak-ng knows by another name."""
_VARIANTS = {"woman": "+f3", "alice": "+f2"}
"""Telnyx's basic voices as the program's variants; the rest speaks as `man` does."""


class SpeechError(Exception):
    """It cannot be spoken; the text says why, for people."""


class Voice(Protocol):
    """Who speaks."""

    async def speak(self, account: str, text: str, voice: str, language: str) -> Path:
        """A wav file of a text in SSML without its root, by a voice of Telnyx's naming, in a language like `en-US`;
        either may be empty or unknown, and then is what the speaker thinks best. Accounts take turns. Raises
        SpeechError."""


class Espeak:
    """The embedded one."""

    def __init__(self, settings: TexmlSettings, cache: FileCache) -> None:
        self._settings = settings
        self._cache = cache
        most = settings.speakers
        self._line = Line(Limits(total=most, account=most, host=most, silent=most, spare=False))

    async def speak(self, account: str, text: str, voice: str, language: str) -> Path:
        """See `Voice`."""
        key = ("say", text, voice.lower(), language.lower())
        try:
            kept = self._cache.get(*key)
            if kept is not None:
                return kept
            async with self._line.turn(account):
                return self._cache.get(*key) or await self._spoken(text, key)
        except TooMany:
            raise SpeechError("too many texts of this account wait to be spoken already") from None
        except FileNotFoundError:
            raise SpeechError(f"{self._settings.speaker} is not installed") from None
        except OSError as error:
            raise SpeechError(f"{self._settings.speaker}: {error.strerror}") from error

    async def _spoken(self, text: str, key: tuple[str, str, str, str]) -> Path:
        path, said = self._cache.blank(), ""
        try:
            async with asyncio.timeout(self._settings.speak_timeout):
                for voice in _voices(*key[2:]):
                    code, said = await self._run(text, voice, path)
                    if code == 0:
                        return self._cache.put(path, *key)
        except TimeoutError:
            said = f"not done within {self._settings.speak_timeout:g} s"
        finally:
            path.unlink(missing_ok=True)
        raise SpeechError(f"{self._settings.speaker}: {said}")

    async def _run(self, text: str, voice: str, path: Path) -> tuple[int | None, str]:
        program = shutil.which(self._settings.speaker)
        if program is None:
            kind = PermissionError if os.path.exists(self._settings.speaker) else FileNotFoundError  # noqa: ASYNC240
            raise kind(EACCES, os.strerror(EACCES))
        process = await asyncio.create_subprocess_exec(
            *command(program, "-m", "-v", voice, "-w", str(path), "--stdin"),
            env=environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, said = await process.communicate(text.encode(errors="replace") + b"\n")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode, said.decode(errors="replace").strip()[:200]


def _voices(voice: str, language: str) -> Iterator[str]:
    """The program's names for a voice, best first: in that language, in its main one, in English."""
    variant = _VARIANTS.get(voice, "")
    wanted = language if _LANGUAGE.fullmatch(language) else DEFAULT_LANGUAGE
    main = wanted.partition("-")[0]
    names = (_ALIASES.get(wanted, wanted), _ALIASES.get(main, main), DEFAULT_LANGUAGE)
    return (name + variant for name in dict.fromkeys(names))
