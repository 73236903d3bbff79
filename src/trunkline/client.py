"""What the command line asks of a running server: one request with the account's key, or the operator's."""

import ssl
from typing import Any

import httpx

from trunkline import operator_key
from trunkline.config import HttpSettings, Settings
from trunkline.errors import StartupError

TIMEOUT = 10.0
"""Seconds for the server's answer."""


def request(settings: Settings, method: str, path: str, *, unknown: str = "") -> dict[str, Any]:
    """The body of a 200. `{account}` in `path` is filled in. Raises StartupError with one line for anything else;
    `unknown` says what a 404 means."""
    account, key = settings.account_sid, settings.api_key
    if account is None or key is None:
        raise StartupError("set account_sid and api_key (TRUNKLINE_ACCOUNT_SID, TRUNKLINE_API_KEY) to the server's")
    base = _base(settings.http, settings.http.host, settings.http.port)
    return _request(base, _trusted(settings.http), method, path.format(account=account), key, unknown=unknown)


def operator_request(
    settings: Settings, method: str, path: str, body: dict[str, object] | None = None, *, unknown: str = ""
) -> dict[str, Any]:
    """The same with the operator's key, of a 201 too."""
    http = settings.http
    own = http.operators_port is not None
    base = _base(http, http.operators_host if own else http.host, http.operators_port if own else http.port)
    return _request(base, _trusted(http), method, path, operator_key.read(settings), body, unknown=unknown)


def _base(http: HttpSettings, host: str, port: int | None) -> str:
    scheme = "http" if http.tls_certificate_file is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _trusted(http: HttpSettings) -> ssl.SSLContext | bool:
    """Our own certificate and no other, whatever it is for: the host is often a loopback address."""
    if http.tls_certificate_file is None:
        return False
    try:
        context = ssl.create_default_context(cafile=http.tls_certificate_file)
    except OSError as error:
        raise StartupError(f"http.tls_certificate_file: cannot use {http.tls_certificate_file}: {error}") from None
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def _request(
    base: str,
    trusted: ssl.SSLContext | bool,
    method: str,
    path: str,
    key: str,
    body: dict[str, object] | None = None,
    *,
    unknown: str,
) -> dict[str, Any]:
    try:
        # A server of one's own: no certificates of others to load, no proxy to go through.
        with httpx.Client(base_url=base, timeout=TIMEOUT, trust_env=False, verify=trusted) as client:
            answer = client.request(method, path, headers={"authorization": f"Bearer {key}"}, json=body)
            found = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise StartupError(f"no answer from {base} (http.host, http.port): {error}") from None
    if answer.status_code == 404 and unknown:
        raise StartupError(f"{unknown} to {base}")
    if answer.status_code not in (200, 201) or not isinstance(found, dict):
        detail = found["errors"][0]["detail"] if isinstance(found, dict) and found.get("errors") else answer.text[:200]
        raise StartupError(f"{base} answered {answer.status_code}: {detail}")
    return found
