"""What `trunkline doctor` asks the machine: files, buffers, clock, processors, disk, and programs that the server
starts."""

import ctypes
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from trunkline import compiled
from trunkline.doctor_values import Subject, Symptom
from trunkline.portable import LINUX
from trunkline.workers.pool import LEG_LOAD

FILES_PER_CALL = 3
"""RTP, RTCP and a WebSocket, in the media worker."""
FILES_OF_A_PROCESS = 200
"""Those that a process has whatever the calls: code, logs, the database, links."""
BUFFER = 212992
"""Bytes: what Linux grants a socket that asks for nothing; half a second of 100 calls fits."""
PYTHON_COST = 2
"""By which a call costs more if the packet path is not compiled, at most."""
DISK_WARNING = 1024
"""MB of the disk."""
DECODER_TIMEOUT = 60.0
"""Seconds to load the decoder's libraries, on a machine that has far too much to do."""
_STA_UNSYNC = 0x40
_STATUS = 5
"""The place of `status` in struct timex of adjtimex(2), in longs."""


def workers(subject: Subject) -> int:
    """How many media workers the server has."""
    return subject.settings.media.workers or max(1, (os.cpu_count() or 1) - 1)


def files(subject: Subject) -> Iterator[Symptom]:
    """Descriptors that a process may open; the server raises the soft limit to the hard one itself."""
    limit = file_limit(subject.pid)
    needed = subject.settings.sip.call_limit * FILES_PER_CALL // workers(subject) + FILES_OF_A_PROCESS
    text = f"a process may open {limit} files, and a media worker needs up to {needed} for sip.call_limit"
    if limit >= needed:
        yield Symptom("ok", text)
    else:
        yield Symptom("warning", text, f"set LimitNOFILE={needed} in the unit (`ulimit -Hn` elsewhere), or lower it")


def file_limit(pid: int | None) -> int:
    """The hard limit of a process, else of this one."""
    try:
        if sys.platform == "linux" and LINUX and pid is not None:
            limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
        else:
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    except OSError:  # of another user
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def buffers(_subject: Subject) -> Iterator[Symptom]:
    """What a UDP socket is granted to receive into."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    text = f"UDP sockets get {granted} bytes to receive into"
    if not LINUX or granted >= BUFFER:
        yield Symptom("ok", text)
    else:
        yield Symptom("warning", f"{text}: bursts are lost", f"sysctl -w net.core.rmem_default={BUFFER}")


def clock(_subject: Subject) -> Iterator[Symptom]:
    """Whether the kernel's clock is kept by NTP: callbacks' signatures, certificates and records depend on it."""
    if not LINUX:
        yield Symptom("ok", "not known on this system: it must be kept by NTP")
        return
    state = (ctypes.c_long * 64)()  # more than the kernel fills; modes 0 changes nothing
    if ctypes.CDLL(None, use_errno=True).adjtimex(state) < 0:
        yield Symptom("ok", f"not known: adjtimex: {os.strerror(ctypes.get_errno())}")
    elif state[_STATUS] & _STA_UNSYNC:
        change = "run chrony or systemd-timesyncd here, or on the machine that hosts this container"
        yield Symptom("warning", "the clock is not synchronised: signatures and certificates need the time", change)
    else:
        yield Symptom("ok", "the clock is synchronised")


def processors(subject: Subject) -> Iterator[Symptom]:
    """Whether the calls that the settings allow fit on the processors."""
    count, calls = workers(subject), subject.settings.sip.call_limit
    cost = LEG_LOAD * (PYTHON_COST if compiled.FALLBACK_REASON else 1)
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" and LINUX else os.cpu_count() or 1
    room = int(count / cost)
    text = f"room for about {room} streams (workers: {count}, processors: {cores}); sip.call_limit is {calls}"
    if count > cores:
        yield Symptom("warning", text, "lower media.workers to the number of processors less one")
    elif room < calls:
        yield Symptom(
            "warning", text, f"set sip.call_limit={room}, so that calls over it are refused, or add processors"
        )
    else:
        yield Symptom("ok", text)


def packet_path(_subject: Subject) -> Iterator[Symptom]:
    """Whether it is compiled."""
    if compiled.FALLBACK_REASON:
        text = f"it runs as Python, and streams take up to twice the CPU: {compiled.FALLBACK_REASON}"
        yield Symptom("warning", text, "install gcc and Python's headers, then install Trunkline again")
    else:
        yield Symptom("ok", "it is compiled")


def disk(subject: Subject) -> Iterator[Symptom]:
    """Room where the server writes."""
    settings = subject.settings
    floor = settings.store.recordings_floor
    directory = settings.store.directory.expanduser()
    recordings = (settings.texml.recordings or directory / "recordings").expanduser()
    for name, path, least in (("store.directory", directory, DISK_WARNING), ("recordings", recordings, floor)):
        free = shutil.disk_usage(existing(path)).free // 1_000_000
        text = f"{name}: {free} MB are free in {path}"
        if name == "recordings" and free < least:
            change = "free some, move texml.recordings, or lower store.recordings_floor"
            yield Symptom("error", f"{text}, under store.recordings_floor: no recording begins", change)
        elif free < least:
            yield Symptom("warning", text, "free some: without room new calls are refused")
        else:
            yield Symptom("ok", text)


def existing(path: Path) -> Path:
    """The folder, or the nearest above it that there is."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def speech(subject: Subject) -> Iterator[Symptom]:
    """The program that speaks `<Say>`."""
    speaker = subject.settings.texml.speaker
    found = shutil.which(speaker)
    if found is None:
        change = "install it (Debian: espeak-ng), or name another program in texml.speaker"
        yield Symptom("warning", f"{speaker} is not installed: <Say> is skipped", change)
    else:
        yield Symptom("ok", f"<Say> is spoken by {found}")


def decoder(_subject: Subject) -> Iterator[Symptom]:
    """The libraries that decode mp3, in a process of their own, as in the server."""
    command = [sys.executable, "-c", "import trunkline.media.audio.decoding"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DECODER_TIMEOUT, check=False)
        reason = (done.stderr.strip().splitlines() or ["it failed"])[-1] if done.returncode else ""
    except subprocess.TimeoutExpired:
        reason = f"it took longer than {DECODER_TIMEOUT:g} s"
    if reason:
        yield Symptom(
            "error", f"mp3 cannot be decoded: {reason}", "install Trunkline again: pip install --force-reinstall"
        )
    else:
        yield Symptom("ok", "mp3 and other files can be decoded")
