"""What a stream is asked to be, in short."""

from typing import Any

from trunkline.outbound.urls import WebSocketUrl
from trunkline.streaming.params import StreamParams


def stream_params(url: str = "ws://app/", **asked: Any) -> StreamParams:
    """`asked`: fields of `StreamParams`."""
    return StreamParams(WebSocketUrl.parse(url), **asked)
