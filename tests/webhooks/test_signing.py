"""Signatures, checked by code that is not ours."""

import json
import shutil
import stat
import subprocess
import time
from base64 import b64decode
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from trunkline.errors import InvalidRequest, StartupError
from trunkline.webhooks.signing import KEY_FILE, Signer

BODY = b"CallSid=v3%3Aabc&StreamName=&StreamEvent=stream-started"

NODE_CHECK = """
const { createPublicKey, verify } = require("crypto");
const { key, stamp, body, signature } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const x = Buffer.from(key, "base64").toString("base64url");
const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
const good = verify(null, Buffer.from(stamp + "|" + body), publicKey, Buffer.from(signature, "base64"));
process.exit(good ? 0 : 1);
"""


def headers(signer: Signer, body: bytes) -> dict[str, str]:
    stamp = str(int(time.time()))
    return {"telnyx-timestamp": stamp, "telnyx-signature-ed25519": signer.sign(stamp, body)}


@pytest.mark.peer
@pytest.mark.parametrize("body", [BODY, b""])
def test_the_official_sdk_accepts_the_signature(tmp_path: Path, body: bytes) -> None:
    from telnyx.lib.webhook_verification import verify_webhook_signature  # takes seconds: not with this file

    signer = Signer.load(tmp_path)
    verify_webhook_signature(body, headers(signer, body), signer.public_key)


@pytest.mark.peer
def test_the_official_sdk_refuses_another_body_and_another_key(tmp_path: Path) -> None:
    from telnyx.lib.webhook_verification import WebhookVerificationError, verify_webhook_signature

    signer = Signer.load(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(WebhookVerificationError, match="does not match"):
        verify_webhook_signature(BODY + b"x", headers(signer, BODY), signer.public_key)
    with pytest.raises(WebhookVerificationError, match="does not match"):
        verify_webhook_signature(BODY, headers(signer, BODY), Signer.load(other).public_key)


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize(("sent", "good"), [(BODY, True), (BODY + b"x", False)])
def test_node_comes_to_the_same_judgement(tmp_path: Path, sent: bytes, good: bool) -> None:
    signer = Signer.load(tmp_path)
    case = {
        "key": signer.public_key,
        "stamp": "1700000000",
        "body": sent.decode(),
        "signature": signer.sign("1700000000", BODY),
    }
    done = subprocess.run(["node", "-e", NODE_CHECK], input=json.dumps(case).encode(), timeout=30, check=False)
    assert (done.returncode == 0) is good


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    first = Signer.load(tmp_path)
    assert Signer.load(tmp_path).public_key == first.public_key
    assert len(b64decode(first.public_key)) == 32
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_an_unusable_key_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("nonsense")
    with pytest.raises(StartupError, match="is not a private key in PEM"):
        Signer.load(tmp_path)
    curve = ec.generate_private_key(ec.SECP256R1())
    pem = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / KEY_FILE).write_bytes(pem)
    with pytest.raises(StartupError, match="is not an Ed25519 key"):
        Signer.load(tmp_path)
    with pytest.raises(StartupError, match="cannot write"):
        Signer.load(tmp_path / "missing")


DAY = 86_400


def _accepted_by(signer: Signer, stamp: int) -> list[str]:
    """The keys that accept a signature of that time."""
    signature = b64decode(signer.sign(str(stamp), BODY))
    good = []
    for key in signer.public_keys().accepted:
        with suppress(InvalidSignature):
            Ed25519PublicKey.from_public_bytes(b64decode(key)).verify(signature, f"{stamp}|".encode() + BODY)
            good.append(key)
    return good


def test_a_rotation_announces_its_key_and_accepts_the_old_one_for_a_day_after(tmp_path: Path) -> None:
    now = [1_000_000]
    signer = Signer.load(tmp_path, lambda: now[0])
    old = signer.public_key
    keys = signer.rotate(7)
    new = keys.accepted[1]
    assert (keys.accepted, keys.next_from) == ((old, new), datetime.fromtimestamp(now[0] + 7 * DAY, UTC))
    for at, signs, accepted in (
        (0, old, (old, new)),
        (7 * DAY - 1, old, (old, new)),
        (7 * DAY, new, (new, old)),
        (8 * DAY - 1, new, (new, old)),
        (8 * DAY, new, (new,)),
    ):
        now[0] = 1_000_000 + at
        for one in (signer, Signer.load(tmp_path, lambda: now[0])):
            assert (one.public_key, one.public_keys().accepted) == (signs, accepted)
            assert _accepted_by(one, now[0]) == [signs]
    assert stat.S_IMODE((tmp_path / f"signing-{1_000_000 + 7 * DAY}.key").stat().st_mode) == 0o600


def test_a_leaked_key_is_replaced_at_once_and_gone(tmp_path: Path) -> None:
    now = [1_000_000]
    signer = Signer.load(tmp_path, lambda: now[0])
    old = signer.public_key
    signer.rotate(7)
    [new] = signer.rotate(0).accepted
    assert new != old
    assert [path.name for path in tmp_path.iterdir()] == ["signing-1000000.key"]
    assert Signer.load(tmp_path, lambda: now[0]).public_keys().accepted == (new,)
    now[0] += DAY
    signer.rotate(1)
    now[0] += 2 * DAY
    newest = signer.public_key
    signer.rotate(1)
    assert len(list(tmp_path.iterdir())) == 2, "keys that nothing accepts are deleted"
    assert signer.public_key == newest


def test_one_rotation_at_a_time(tmp_path: Path) -> None:
    signer = Signer.load(tmp_path)
    keys = signer.rotate(7)
    with pytest.raises(InvalidRequest, match="waits already"):
        signer.rotate(7)
    assert signer.public_keys() == keys
