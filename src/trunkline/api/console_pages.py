"""The console's files, served at `/` (docs/guide/console.md). A driver: it reads them once, from the package.

They are as they were written: modules and style sheets, no build. The policy lets a page load nothing but them, talk to
this server alone, and run no inline script.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

DIRECTORY = Path(__file__).parent.parent / "console"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "cache-control": "no-cache",
}


def routes() -> list[Route]:
    """`/` and each file under `/console/`."""
    return list(_routes())


def _routes() -> Iterator[Route]:
    for path in sorted(DIRECTORY.iterdir()):
        if path.suffix in KINDS:
            name = "/" if path.name == "index.html" else f"/console/{path.name}"
            yield _route(name, path.read_bytes(), KINDS[path.suffix])


def _route(path: str, body: bytes, kind: str) -> Route:
    tag = f'"{sha256(body).hexdigest()[:16]}"'

    async def serve(request: Request) -> Response:
        headers = {**HEADERS, "etag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(None, 304, headers)
        return Response(body, 200, headers, media_type=kind)

    return Route(path, serve, methods=["GET"])
