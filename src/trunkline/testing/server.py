"""`trunkline serve` as a child process, on free ports, with a directory of its own, for as long as tests need it."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import quote, urlencode

from trunkline.demo.server import free_ports
from trunkline.errors import TrunklineError

MEDIA_PORTS = 80
"""Ports for RTP: 40 calls at once."""
START_TIMEOUT = 60.0
STOP_TIMEOUT = 15.0
"""Seconds; then the process is killed."""
ANSWER_TIMEOUT = 15.0
"""Seconds for an answer of the API."""
_POLL = 0.02
_HOST = "127.0.0.1"
_LOG_LINES = 20


class ServerProblem(TrunklineError):
    """The server did not start, or refused a request; the text says why."""


class LocalServer:
    """One server. Use as a context manager. `settings` by their dotted names go before what is set here."""

    def __init__(self, directory: Path, settings: Mapping[str, object] | None = None) -> None:
        self.account_sid, self.api_key = str(uuid.uuid4()), token_urlsafe(24)
        self.http_port = free_ports(2 + MEDIA_PORTS)
        self.sip_port = self.http_port + 1
        self.log_file = directory / "server.log"
        self._directory = directory
        self._settings: dict[str, object] = {
            "http.host": _HOST,
            "http.port": self.http_port,
            "sip.host": _HOST,
            "sip.port": self.sip_port,
            "sip.tls_port": 0,
            "media.host": _HOST,
            "media.port_min": self.http_port + 2,
            "media.port_max": self.http_port + 1 + MEDIA_PORTS,
            "media.workers": 1,
            "media.spare_worker": "false",
            "media.codecs": "PCMU,PCMA,G722,OPUS",
            "store.directory": directory,
            "drain.timeout": 0,
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "LocalServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """Of the API, as the SDKs want it."""
        return f"http://{_HOST}:{self.http_port}/v2"

    @property
    def pid(self) -> int | None:
        """Of its control process, while it runs."""
        return None if self._process is None else self._process.pid

    def sip_uri(self, number: str) -> str:
        """Where a number is called."""
        return f"sip:{number}@{_HOST}:{self.sip_port}"

    @property
    def log(self) -> str:
        """All that it has written so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def start(self) -> None:
        """Start and wait until it is ready. Raises ServerProblem."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start, and return at once."""
        flags = [part for name, value in self._settings.items() for part in (f"--{name}", str(value))]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
        account = {"TRUNKLINE_ACCOUNT_SID": self.account_sid, "TRUNKLINE_API_KEY": self.api_key}
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "trunkline", "serve", *flags],
                cwd=self._directory,  # not where a trunkline.toml may lie
                env=inherited | account,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for pytest; the server is ended by it
            )

    def wait_ready(self) -> None:
        """Wait until it takes calls, once launched. Raises ServerProblem."""
        process, give_up = self._process, time.monotonic() + START_TIMEOUT
        while not self._is_ready():
            code = None if process is None else process.poll()
            if code is not None or time.monotonic() > give_up:
                why = f"exited with code {code}" if code is not None else f"was not ready within {START_TIMEOUT:g} s"
                self.stop()
                raise ServerProblem(f"trunkline serve {why}:\n" + "\n".join(self.log.splitlines()[-_LOG_LINES:]))
            time.sleep(_POLL)

    def _is_ready(self) -> bool:
        try:
            return self._exchange("GET", "/readyz", None)[0] == 200
        except (OSError, HTTPException):
            return False

    def stop(self) -> None:
        """End it. Nothing happens if it does not run."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def request(self, method: str, path: str, fields: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The answer of the API, below the account. Raises ServerProblem for anything but a 2xx. Blocks."""
        whole = f"/v2/texml/Accounts/{self.account_sid}{path}"
        try:
            status, body = self._exchange(method, whole, fields)
            found = json.loads(body)
        except (OSError, HTTPException, ValueError) as error:
            raise ServerProblem(f"{method} {path}: {error!r}") from None
        if status >= 300 or not isinstance(found, dict):
            raise ServerProblem(f"{method} {path}: {status} {body.decode(errors='replace')[:500]}")
        return found

    def start_stream(self, call_sid: str, fields: Mapping[str, str]) -> str:
        """Stream a call; the stream's sid. Raises ServerProblem."""
        return str(self.request("POST", f"/Calls/{quote(call_sid, safe='')}/Streams.json", fields)["sid"])

    def findings(self, call_sid: str) -> list[str]:
        """What `trunkline why` says of a call, all but information. Raises ServerProblem."""
        report = self.request("GET", f"/Calls/{quote(call_sid, safe='')}/media.json")
        return [
            f"{finding['text']} [{finding['code']}]"
            for finding in report["findings"]
            if finding["severity"] in ("error", "warning")
        ]

    def _exchange(self, method: str, path: str, fields: Mapping[str, str] | None) -> tuple[int, bytes]:
        connection = HTTPConnection(_HOST, self.http_port, timeout=ANSWER_TIMEOUT)
        headers = {"Authorization": f"Bearer {self.api_key}"}
        body = None
        if fields is not None:
            body, headers["Content-Type"] = urlencode(fields), "application/x-www-form-urlencoded"
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
