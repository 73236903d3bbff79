"""Receives status callbacks, and checks that they are the server's: `eval "$(trunkline env)"; python callbacks.py`."""

import base64
import json
import os
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def public_key():
    with urllib.request.urlopen(f"{os.environ['TELNYX_BASE_URL']}/public_key") as answer:
        key = json.load(answer)["data"]["public"]
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(key))


KEY = public_key()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.is_genuine(body):
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            print(form.get("StreamEvent") or form.get("CallStatus"), form["CallSid"], flush=True)
            self.send_response(200)
        else:
            self.send_response(403)
        self.end_headers()

    def is_genuine(self, body):
        """Signed by the server, less than five minutes ago."""
        at = self.headers.get("telnyx-timestamp", "0")
        try:
            signature = base64.b64decode(self.headers.get("telnyx-signature-ed25519", ""))
            KEY.verify(signature, at.encode() + b"|" + body)
        except (InvalidSignature, ValueError):
            return False
        return abs(time.time() - int(at)) < 300

    def log_message(self, *_):
        pass


HTTPServer(("127.0.0.1", 8001), Receiver).serve_forever()
