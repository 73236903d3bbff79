"""Where a stream's URL leads: address and handshake (docs/reference/websocket.md#handshake). Pure."""

from dataclasses import dataclass, field

from trunkline import USER_AGENT
from trunkline.outbound.urls import BadUrl, place_of


class BadTarget(ValueError):
    """Nothing that can be dialled; the text is for the customer."""


@dataclass(frozen=True, slots=True)
class Target:
    """A place to dial."""

    url: str
    """ASCII only, without user-info; path and query byte for byte as given."""
    secure: bool
    host: str
    """A name or a literal address, without brackets."""
    port: int
    headers: dict[str, str] = field(repr=False)
    """Request headers beyond those that every WebSocket handshake has."""


def target(url: str, auth_token: str | None) -> Target:
    """Raises BadTarget."""
    try:
        place = place_of(url, "ws", "wss")
    except BadUrl as problem:
        raise BadTarget(str(problem)) from problem
    headers = {"User-Agent": USER_AGENT}
    if auth_token is not None:
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in auth_token):
            raise BadTarget("the auth token has control characters, which no HTTP header can carry")
        headers["x-telnyx-streaming-auth-token"] = auth_token
    if place.basic is not None:
        headers["Authorization"] = place.basic
    return Target(place.url, place.secure, place.host, place.port, headers)
