"""Signatures, checked by code that is not ours."""

import json
import shutil
import stat
import subprocess
import time
from base64 import b64decode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from telnyx.lib.webhook_verification import WebhookVerificationError, verify_webhook_signature

from trunkline.errors import StartupError
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
    signer = Signer.load(tmp_path)
    verify_webhook_signature(body, headers(signer, body), signer.public_key)


@pytest.mark.peer
def test_the_official_sdk_refuses_another_body_and_another_key(tmp_path: Path) -> None:
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
