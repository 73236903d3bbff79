"""Signs callbacks as Telnyx does (docs/reference/callbacks.md#requests): the official SDKs verify them.

`telnyx-signature-ed25519` is the standard base64 of Ed25519 (RFC 8032) over the timestamp's decimal digits, a `|` and
the raw body. The private key is made on the first start and kept as PEM (PKCS #8) beside the database, readable by its
owner only. It is written under another name and renamed, so a crash cannot leave half a key.
"""

import os
from base64 import b64encode
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

from trunkline.errors import StartupError

KEY_FILE = "signing.key"


class Signer:
    """One Ed25519 key pair."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
        """Standard base64 of the 32 bytes: what goes into an SDK's `public_key`."""

    @classmethod
    def load(cls, directory: Path) -> "Signer":
        """The key in `directory` (which exists), made if there is none. Raises StartupError."""
        path = directory.expanduser() / KEY_FILE
        try:
            pem = path.read_bytes()
        except FileNotFoundError:
            key = Ed25519PrivateKey.generate()
            _keep(key, path)
            return cls(key)
        except OSError as error:
            raise StartupError(f"signing key: cannot read {path}: {error.strerror}") from error
        try:
            loaded = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise StartupError(f"signing key: {path} is not a private key in PEM") from error
        if not isinstance(loaded, Ed25519PrivateKey):
            raise StartupError(f"signing key: {path} is not an Ed25519 key")
        return cls(loaded)

    def sign(self, timestamp: str, body: bytes) -> str:
        """The signature of a body at a time (Unix seconds in decimal), in base64."""
        return b64encode(self._key.sign(timestamp.encode() + b"|" + body)).decode()

    def headers(self, timestamp: str, body: bytes) -> list[tuple[str, str]]:
        """The headers of a request with that body, which may be empty."""
        return [("telnyx-timestamp", timestamp), ("telnyx-signature-ed25519", self.sign(timestamp, body))]


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
