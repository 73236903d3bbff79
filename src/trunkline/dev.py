"""`trunkline dev`: one server on this machine, to which every call brings a bot.

It is the server of `trunkline serve` with other defaults: loopback, a temporary store, free ports, an account and a key
of its own, and short lines for people instead of a log.
"""

import asyncio
import os
import shlex
import shutil
import socket
import sys
import tempfile
import time
import uuid
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trunkline import __version__, log, own_key
from trunkline.cli_console import console_url
from trunkline.config import Settings
from trunkline.confinement import no_new_privileges
from trunkline.dev_lines import Lines, Place, filled, greeting
from trunkline.errors import StartupError
from trunkline.outbound.urls import PORTS
from trunkline.running import DEV_PREFIX, DIRECTORY
from trunkline.setting_types import is_loopback
from trunkline.settings import Loaded, with_value

KEY_FILE = "dev.key"
"""In the default directory of a store, so that the key is the same each time and other terminals can go on with it."""
ORIGIN = "dev"
_MOVABLE = {"http.port": ("HTTP", (socket.SOCK_STREAM,)), "sip.port": ("SIP", (socket.SOCK_STREAM, socket.SOCK_DGRAM))}
"""Ports that others may have, what they are for, and of which kinds they are."""
_TRIES = 100
"""Ports after the usual one."""
_LISTENING = "0A"
"""State of a socket in /proc/net/tcp."""
_LOOK = 0.5
"""Seconds between two looks whether the bot listens."""
_DIAL = 3.0
"""Seconds to connect to a bot on another machine."""


def defaults(target: Mapping[str, Any], directory: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """What the settings are unless something else is given. `target` has the setting that leads calls to the bot."""
    named = {"TRUNKLINE_ACCOUNT_SID", "TRUNKLINE_API_KEY", "TRUNKLINE_API_KEY_FILE"} & environ.keys()
    return {
        **({} if named else _account()),
        **target,
        "sip": {"tls_port": "off", "unknown_callers": "loopback"},
        "media": {"workers": 1, "spare_worker": False},
        "drain": {"timeout": 0},
        "log": {"mask_numbers": False},
        "store": {"directory": directory},
    }


def _account() -> dict[str, str]:
    """An account and its key, the same each time if they can be kept."""
    from trunkline.control.accounts import new_secret

    file = Settings().store.directory.expanduser() / KEY_FILE
    kept = own_key.read(file) or {str(uuid.uuid4()): new_secret()}
    with suppress(StartupError, OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        own_key.write(file, kept)
    sid, key = next(iter(kept.items()))
    return {"account_sid": sid, "api_key": key}


@contextmanager
def temporary_store() -> Iterator[Path]:
    """A folder for the store, which other terminals find; it is removed at the end."""
    with tempfile.TemporaryDirectory(prefix=DEV_PREFIX, ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def with_free_ports(loaded: Loaded) -> tuple[Settings, tuple[str, ...]]:
    """The settings with ports that are free, and in words which those are that were not. What was asked for stays."""
    settings, moved = loaded.settings, []
    for name, (what, kinds) in _MOVABLE.items():
        section, _, leaf = name.partition(".")
        host, usual = getattr(settings, section).host, getattr(getattr(settings, section), leaf)
        if loaded.origins[name] != "default" or _is_free(host, usual, kinds):
            continue
        port = next((one for one in range(usual + 2, usual + _TRIES) if _is_free(host, one, kinds)), 0)
        settings = with_value(settings, name, port)
        moved.append(f"Port {usual} is taken: {what} is on {port or 'another one'}.")
    return settings, tuple(moved)


def _is_free(host: str, port: int, kinds: tuple[int, ...]) -> bool:
    for kind in kinds:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:  # as the server does
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


@dataclass(frozen=True, slots=True)
class Bot:
    """Where the bot is."""

    url: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Bot":
        """Of a URL that the settings have accepted."""
        parts = urlsplit(url)
        return cls(url, parts.hostname or "", parts.port or PORTS[parts.scheme])

    async def listens(self) -> str:
        """Empty if something listens there, else why not."""
        # To connect and go away again would be an error with a stack in the log of many a bot.
        listening = _listening_here(self.port) if is_loopback(self.host) else None
        if listening is not None:
            return "" if listening else "nothing listens there"
        try:
            async with asyncio.timeout(_DIAL):
                _, writer = await asyncio.open_connection(self.host, self.port)
        except TimeoutError:
            return "it does not answer"
        except OSError as error:
            return os.strerror(error.errno).lower() if error.errno else str(error)
        writer.close()
        return ""


def _listening_here(port: int) -> bool | None:
    """Whether something on this machine listens on a TCP port; None where the kernel does not say."""
    rows: list[str] = []
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            rows += Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    if not rows:
        return None
    fields = (row.split() for row in rows)
    return any(one[3] == _LISTENING and int(one[1].rpartition(":")[2], 16) == port for one in fields)


class Dev:
    """The server with its lines on standard output."""

    def __init__(self, loaded: Loaded, bot: str, *, kept: bool, browse: bool) -> None:
        """`kept`: the store outlives the server. `browse`: open the console in a browser."""
        self._browse = browse
        self._settings, self._moved = with_free_ports(loaded)
        self._bot = Bot.of(bot)
        self._kept = kept
        self._out = log.Outlet(1)
        self._early: list[str] | None = []
        """Lines from before the first words; None: these are shown."""
        self._lines = Lines(self._settings.streams.reconnect_window, command())

    def run(self) -> int:
        """Until Ctrl-C; the exit code. Raises StartupError."""
        import uvloop

        log.configure(self._settings.log, self._out, render=self._line)
        log.take_over()
        no_new_privileges()
        os.environ.setdefault("UV_THREADPOOL_SIZE", "16")
        return uvloop.run(self._run())

    async def _run(self) -> int:
        from trunkline.control.accounts import new_secret
        from trunkline.server import Server
        from trunkline.tasks import owned

        ready = asyncio.Event()
        server = Server(self._settings, make_key=new_secret, announce=self._out.put, on_ready=ready.set)
        async with owned(lambda: self._meanwhile(ready), "dev"):
            code = await server.run()
        self._say("ended")
        return code

    async def _meanwhile(self, ready: asyncio.Event) -> None:
        await ready.wait()
        self._keep_key()
        console = await asyncio.to_thread(_console_of, self._settings)
        for line in (*greeting(self._place(console), __version__), *(self._early or ())):
            self._out.put(line)
        self._early = None
        if console is not None and self._browse:
            await asyncio.to_thread(webbrowser.open, console)
        reason = await self._bot.listens()
        if reason:
            self._say(f"! {self._bot.url}: {reason}. Start your bot, then call it.")
        while reason:
            await asyncio.sleep(_LOOK)
            reason = await self._bot.listens()
        self._say(f"{self._bot.url} is there: call it.")

    def _keep_key(self) -> None:
        """For `trunkline env` and all that asks the server."""
        settings = self._settings
        if settings.account_sid is not None and settings.api_key is not None:
            file = settings.store.directory.expanduser() / own_key.FILE
            own_key.write(file, {settings.account_sid: settings.api_key})

    def _place(self, console: str | None) -> Place:
        settings = self._settings
        directory = settings.store.directory.expanduser()
        named = f" --{DIRECTORY} {shlex.quote(str(directory))}" if self._kept else ""
        return Place(
            bot=self._bot.url,
            base=f"http://{_endpoint(settings.http.host, settings.http.port)}",
            sip=_endpoint(settings.sip.host, settings.sip.port),
            console=console,
            moved=self._moved,
            directory=str(directory) if self._kept else None,
            env=f"{command()} env{named}",
            command=command(),
        )

    def _say(self, text: str) -> None:
        self._out.put(filled(f"{_clock()}  {text}"))

    def _line(self, event: Mapping[str, Any]) -> str:
        line = self._lines.line(event, _clock())
        if self._early is None or not line:
            return line
        self._early.append(line)
        return ""


def _console_of(settings: Settings) -> str | None:
    """Where the console is, with a token for one login; None where the server is not found, as with port 0."""
    try:
        return console_url(settings)
    except StartupError:
        return None


def command() -> str:
    """How this program is called in another terminal."""
    called = Path(sys.argv[0])
    found = shutil.which("trunkline")
    elsewhere = called.name == "trunkline" and called.exists() and (found is None or not called.samefile(found))
    return shlex.quote(str(called.absolute())) if elsewhere else "trunkline"


def _endpoint(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _clock() -> str:
    return time.strftime("%H:%M:%S")
