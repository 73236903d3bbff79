"""What the command line asks of a running server: one request with the account's key, or the operator's.

`httpx` is imported where it is used: every command imports this, and most, `serve` too, ask nothing.
"""

import ssl
from typing import Any

from trunkline import operator_key, own_key
from trunkline.config import HttpSettings, Settings
from trunkline.errors import StartupError

TIMEOUT = 10.0
"""Seconds for the server's answer."""


class AnswerRefused(StartupError):
    """The server answered with another status than 200 or 201."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def request(settings: Settings, method: str, path: str, *, unknown: str = "") -> dict[str, Any]:
    """The body of a 200, with the key of the settings or the command line's own. `{account}` in `path` is filled in.
    Raises StartupError with one line for anything else; `unknown` says what a 404 means."""
    account, key = own_key.credentials(settings, operator_request)
    base, trusted = base_url(settings.http), _trusted(settings.http)
    try:
        return _request(base, trusted, method, path.format(account=account), key, unknown=unknown)
    except AnswerRefused as refused:
        if refused.status != 401 or settings.api_key is not None:
            raise
    account, key = own_key.credentials(settings, operator_request, fresh=True)
    return _request(base, trusted, method, path.format(account=account), key, unknown=unknown)


def credentials(settings: Settings) -> tuple[str, str]:
    """The account and a key of it that the running server takes. Raises StartupError."""
    request(settings, "GET", "/v2/texml/Accounts/{account}/Calls?PageSize=1")
    return own_key.credentials(settings, operator_request)


def base_url(http: HttpSettings) -> str:
    """Of the server that the settings describe, without a path."""
    return _base(http, http.host, http.port)


def operator_request(
    settings: Settings, method: str, path: str, body: dict[str, object] | None = None, *, unknown: str = ""
) -> dict[str, Any]:
    """The same with the operator's key, of a 201 too."""
    http = settings.http
    own = http.operators_port is not None
    base = _base(http, http.operators_host if own else http.host, http.operators_port if own else http.port)
    return _request(base, _trusted(http), method, path, operator_key.read(settings), body, unknown=unknown)


def metrics(settings: Settings) -> str:
    """The server's metrics (docs/operations/metrics.md), for an operator; empty when they cannot be had."""
    import httpx

    http = settings.http
    own = http.operators_port is not None
    base = _base(http, http.operators_host if own else http.host, http.operators_port if own else http.port)
    try:
        with httpx.Client(base_url=base, timeout=TIMEOUT, trust_env=False, verify=_trusted(http)) as client:
            key = operator_key.read(settings)
            answer = client.get("/metrics", headers={"authorization": f"Bearer {key}"})
    except (httpx.HTTPError, StartupError):
        return ""
    return answer.text if answer.status_code == 200 else ""


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
    import httpx

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
        raise AnswerRefused(f"{base} answered {answer.status_code}: {detail}", answer.status_code)
    return found
