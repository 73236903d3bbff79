"""The AsyncAPI document of the WebSocket, served as `/asyncapi.json`. Pure."""

from typing import Any

from trunkline import __version__
from trunkline.streaming import schemas

CHANNEL = {"$ref": "#/channels/stream"}


def document() -> dict[str, object]:
    """AsyncAPI 3.0, from our side: we send to the app and receive from it."""
    both = {"ToApp": schemas.to_app(), "FromApp": schemas.from_app()}
    messages = {
        f"{event}{way}": _message(event, dict(schema)) for way, found in both.items() for event, schema in found.items()
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Trunkline: the WebSocket of a stream",
            "version": __version__,
            "description": "We dial the `Url` of the stream. All messages are JSON objects in text frames.",
        },
        "defaultContentType": "application/json",
        "servers": {"app": {"host": "127.0.0.1:9000", "protocol": "ws", "description": "Your app, for example."}},
        "channels": {
            "stream": {
                "address": "/",
                "description": "Whatever path and query the `Url` has.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": {
            way[0].lower() + way[1:]: {
                "action": action,
                "channel": CHANNEL,
                "messages": [{"$ref": f"#/channels/stream/messages/{event}{way}"} for event in both[way]],
            }
            for way, action in (("ToApp", "send"), ("FromApp", "receive"))
        },
        "components": {"messages": messages},
    }


def _message(event: str, schema: dict[str, Any]) -> dict[str, object]:
    examples = [{"payload": payload} for payload in schema.pop("examples", ())]
    summary = schema.pop("description", None)
    made: dict[str, object] = {"name": event, "payload": schema}
    return made | ({"summary": summary} if summary else {}) | ({"examples": examples} if examples else {})
