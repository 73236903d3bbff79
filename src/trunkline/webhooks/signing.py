"""Signs callbacks as Telnyx does (docs/reference/callbacks.md#requests): the official SDKs verify them.

`telnyx-signature-ed25519` is the standard base64 of Ed25519 (RFC 8032) over the timestamp's decimal digits, a `|` and
the raw body. The private key is made on the first start and kept as PEM (PKCS #8) beside the database, readable by its
owner only. It is written under another name and renamed, so a crash cannot leave half a key.

A rotation makes the next key days before it signs. It is served from then on, so that receivers accept both before the
first signature by the new one; the old one is accepted for a day afterwards.
"""

import os
import re
import time
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from trunkline.calls.views import PublicKeys
from trunkline.errors import InvalidRequest, StartupError

KEY_FILE = "signing.key"
NEXT_FILE = "signing-{start}.key"
"""A key that signs from `start` on (Unix seconds): rotations make such."""
_NEXT = re.compile(r"signing-([0-9]{1,12})\.key")
AFTERWARDS = 86_400
"""Seconds for which a key is accepted after it has signed for the last time: of requests that were under way, and of
receivers whose clock is off."""


class Signer:
    """Ed25519 key pairs, of which one signs at a time."""

    def __init__(self, directory: Path, keys: dict[int, Ed25519PrivateKey], clock: Callable[[], float]) -> None:
        """`keys` by the time from which each signs; the first does from 0."""
        self._directory = directory
        self._keys = dict(sorted(keys.items()))
        self._clock = clock

    @classmethod
    def load(cls, directory: Path, clock: Callable[[], float] = time.time) -> "Signer":
        """The keys in `directory` (which exists); a first one is made. Raises StartupError."""
        directory = directory.expanduser()
        first = directory / KEY_FILE
        later = {int(found[1]): file for file in _files(directory) if (found := _NEXT.fullmatch(file.name))}
        keys = {start: _read(file) for start, file in later.items()}
        if first.exists() or not keys:
            keys[0] = _read_or_make(first)
        return cls(directory, keys, clock)

    @property
    def public_key(self) -> str:
        """Of the key that signs now: standard base64 of the 32 bytes, what goes into an SDK's `public_key`."""
        return _public(self._keys[self._start(self._clock())])

    def public_keys(self) -> PublicKeys:
        """Of all keys that receivers should accept."""
        now = self._clock()
        signing = self._start(now)
        starts = list(self._keys)
        upcoming = [start for start in starts if start > now]
        before = [start for start in starts if start < signing and now < signing + AFTERWARDS]
        accepted = [signing, *upcoming, *before[-1:]]
        return PublicKeys(
            tuple(_public(self._keys[start]) for start in accepted),
            datetime.fromtimestamp(upcoming[0], UTC) if upcoming else None,
        )

    def rotate(self, days: float) -> PublicKeys:
        """Make a key that signs in so many days, and is served from now on. With 0 it signs at once, and no other is
        accepted any longer. Raises InvalidRequest while an earlier one waits, and StartupError."""
        now = self._clock()
        if days and any(start > now for start in self._keys):
            raise InvalidRequest("A new key waits already: GET /v2/public_key says until when.", pointer="/days")
        start = int(now + days * 86_400)
        key = Ed25519PrivateKey.generate()
        _keep(key, self._directory / NEXT_FILE.format(start=start))
        kept = {start: key} if not days else {self._start(now): self._keys[self._start(now)], start: key}
        for old in self._keys.keys() - kept.keys():
            (self._directory / (NEXT_FILE.format(start=old) if old else KEY_FILE)).unlink(missing_ok=True)
        self._keys = dict(sorted(kept.items()))
        return self.public_keys()

    def _start(self, at: float) -> int:
        """When the key began to sign that does at this time."""
        return max((start for start in self._keys if start <= at), default=min(self._keys))

    def sign(self, timestamp: str, body: bytes) -> str:
        """The signature of a body at a time (Unix seconds in decimal), in base64."""
        key = self._keys[self._start(float(timestamp))]
        return b64encode(key.sign(timestamp.encode() + b"|" + body)).decode()

    def headers(self, timestamp: str, body: bytes) -> list[tuple[str, str]]:
        """The headers of a request with that body, which may be empty."""
        return [("telnyx-timestamp", timestamp), ("telnyx-signature-ed25519", self.sign(timestamp, body))]


def _public(key: Ed25519PrivateKey) -> str:
    return b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def _files(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []  # what follows says why


def _read_or_make(path: Path) -> Ed25519PrivateKey:
    if path.exists():
        return _read(path)
    key = Ed25519PrivateKey.generate()
    _keep(key, path)
    return key


def _read(path: Path) -> Ed25519PrivateKey:
    try:
        loaded = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise StartupError(f"signing key: cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StartupError(f"signing key: {path} is not a private key in PEM") from error
    if not isinstance(loaded, Ed25519PrivateKey):
        raise StartupError(f"signing key: {path} is not an Ed25519 key")
    return loaded


def _keep(key: Ed25519PrivateKey, path: Path) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    except OSError as error:
        raise StartupError(f"signing key: cannot write {path}: {error.strerror}") from error
