"""Running baresip, a softphone: in a network namespace of its own, since it refuses the loopback interface.

The server listens at the outer end of a veth pair, baresip lives at the inner one. What it hears it writes to a wav
file (its `sndfile` module); keys are typed at its UDP console (`cons`).
"""

import asyncio
import os
import shutil
import socket
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trunkline.demo.audio import RATE, Samples, decode, speech, tone

MODULES = Path("/usr/lib/baresip/modules")
_CONSOLE = 5555
_SECONDS = 20
"""Of what it says; then it is silent."""
CODECS = {
    "PCMU": ("g711.so", RATE),
    "PCMA": ("g711.so", RATE),
    "G722": ("g722.so", 16000),
    "OPUS": ("opus.so", 48000),
}
"""Its module, and the rate of what it hears."""


def missing() -> str | None:
    """Why baresip cannot be run here, or None."""
    if os.geteuid() != 0:
        return "making a network namespace needs root"
    for command, package in (("baresip", "baresip-core"), ("ip", "iproute2")):
        if shutil.which(command) is None:
            return f"{command} is not installed (Debian: {package}); `make test` installs it"
    return None


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace with one veth pair into it."""

    name: str
    outer: str
    """Address of our end."""
    inner: str
    """Address of its end."""
    interface: str
    """Name of its end."""


async def _ip(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec("ip", *arguments, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert process.returncode == 0, f"ip {' '.join(arguments)}: {errors.decode()}"


async def make_namespace() -> Namespace:
    """A new one, named and addressed by our process id so that two test runs do not meet."""
    number = os.getpid() % 16384
    name = f"tl{number}"
    base = f"10.{201 + number // 4096}.{number // 16 % 256}"
    host = number % 16 * 16
    space = Namespace(name, f"{base}.{host + 1}", f"{base}.{host + 2}", f"{name}i")
    await _ip("netns", "add", name)
    await _ip("link", "add", f"{name}o", "type", "veth", "peer", "name", space.interface, "netns", name)
    await _ip("addr", "add", f"{space.outer}/30", "dev", f"{name}o")
    await _ip("link", "set", f"{name}o", "up")
    await _ip("-n", name, "addr", "add", f"{space.inner}/30", "dev", space.interface)
    await _ip("-n", name, "link", "set", space.interface, "up")
    await _ip("-n", name, "link", "set", "lo", "up")
    return space


async def remove_namespace(space: Namespace) -> None:
    """The veth pair first: the kernel takes it down with the namespace too, but after `ip` has returned, and the next
    namespace has the same name."""
    await _ip("link", "del", f"{space.name}o")
    await _ip("netns", "del", space.name)


def _write_wav(file: Path, payload: bytes) -> None:
    with wave.open(str(file), "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes(decode(payload).astype("<i2").tobytes())


def read_wav(file: Path) -> Samples:
    """The first channel of a 16-bit file, also of one that is still being written."""
    data = file.read_bytes()
    size = 2 * int.from_bytes(data[22:24], "little")  # of a sample in all channels
    whole = data[44 : 44 + (len(data) - 44) // size * size]
    return np.frombuffer(whole, dtype="<i2")[:: size // 2].astype(np.float64)


class Baresip:
    """One baresip that speaks babble, or whistles. Use as an async context manager."""

    def __init__(
        self,
        directory: Path,
        space: Namespace,
        codec: str = "PCMU",
        *,
        encrypted: bool = False,
        optional: bool = False,
        port: int = 0,
        account: str = "",
        ca_file: Path | None = None,
        hertz: float | None = None,
        line: int = 0,
    ) -> None:
        """`codec` may be several, separated by commas, in the order of its preference. `optional` encryption is offered
        under RTP/AVP, and left to us. `port` is where it listens, 0 = anywhere; `account` is an address with parameters
        to register with, else it does not register; `ca_file` is what it trusts over TLS; `hertz` is the tone that it
        whistles; of several in one namespace each has a `line` of its own."""
        self._directory, self._space, self._codec = directory, space, codec
        self._encryption = "srtp" if optional else "srtp-mand" if encrypted else ""
        self._port, self._account, self._ca_file = port, account, ca_file
        self._hertz, self._console = hertz, _CONSOLE + line

    async def __aenter__(self) -> "Baresip":
        space, directory = self._space, self._directory
        said = b"".join(speech(_SECONDS * 50)) if self._hertz is None else tone(_SECONDS * 1000, self._hertz)
        _write_wav(directory / "speech.wav", said)
        rows = [CODECS[codec] for codec in self._codec.split(",")]
        rate = max(rate for _, rate in rows)
        coders = dict.fromkeys(module for module, _ in rows)
        modules = (*coders, "srtp.so", "aufile.so", "aubridge.so", "sndfile.so", "cons.so")
        config = [
            f"sip_listen {space.inner}:{self._port}",
            f"net_interface {space.interface}",
            f"module_path {MODULES}",
            f"snd_path {directory}",
            f"cons_listen {space.inner}:{self._console}",
            f"audio_source aufile,{directory / 'speech.wav'}",
            "audio_player aubridge,ear",
            "audio_alert aubridge,bell",
            f"ausrc_srate {RATE}",
            f"auplay_srate {rate}",
            "ausrc_channels 1",
            "auplay_channels 1",
            *(f"module {name}" for name in modules),
            *(f"module_app {name}" for name in ("account.so", "menu.so")),
        ]
        if self._ca_file is not None:
            config.append(f"sip_cafile {self._ca_file}")
        account = self._account or f"<sip:baresip@{space.inner}>;regint=0"
        account += f";audio_codecs={self._codec.lower()}"
        (directory / "config").write_text("\n".join(config) + "\n")
        account += f";mediaenc={self._encryption}\n" if self._encryption else "\n"
        (directory / "accounts").write_text(account)
        self._process = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", space.name, "baresip", "-f", str(directory), "-v"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.communicate()

    async def says(self, words: str, timeout: float = 30) -> str:  # noqa: ASYNC109 - fails the test
        """Wait until its output has the words; what it said until then, from the last time on."""
        assert self._process.stdout is not None
        seen = b""
        try:
            async with asyncio.timeout(timeout):
                while words.encode() not in seen:
                    chunk = await self._process.stdout.read(4096)
                    assert chunk, f"baresip ended: {seen.decode(errors='replace')}"
                    seen += chunk
        except TimeoutError:
            raise AssertionError(f"baresip did not say {words!r}: {seen.decode(errors='replace')}") from None
        return seen.decode(errors="replace")

    def type(self, keys: str) -> None:
        """Type at the console: one key, or a command such as `/hangup` and a line end."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as console:
            console.sendto(keys.encode(), (self._space.inner, self._console))

    def accept(self) -> None:
        """Answer the call that rings."""
        self.type("/accept\n")

    def press(self, key: str) -> None:
        """One key of the phone, down and up: baresip ends the tone at its key release code."""
        self.type(key)
        self.type("\x04")

    def dial(self, target: tuple[str, int]) -> None:
        """Place a call."""
        self.type(f"/dial sip:+13125550123@{target[0]}:{target[1]}\n")

    def heard(self) -> Samples:
        """All audio that it has received until now."""
        return read_wav(next(self._directory.glob("dump-*-dec.wav")))
