"""`/docs`: the routes as one HTML page for people, made of the same table as the OpenAPI document. The page needs no
script and nothing from another server, so that it shows on a machine without the internet as well."""

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

from trunkline.api import bodies
from trunkline.api.openapi import ALWAYS
from trunkline.api.operation import Operation, RestFace

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1f }
h2 { margin-top: 3rem; font-size: 1.1rem; overflow-wrap: anywhere }
h2 b { background: #e4e7f5; border-radius: 4px; padding: .1rem .5rem; margin-right: .3rem }
table { border-collapse: collapse; width: 100% }
td, th { border-top: 1px solid #d5d5dd; padding: .35rem .6rem .35rem 0; text-align: left; vertical-align: top }
pre { background: #f5f5f8; padding: .8rem; overflow-x: auto; font-size: .85rem }
"""


def render(face: RestFace) -> str:
    """The page."""
    sections = "".join(_section(operation, face) for operation in face.operations)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Trunkline API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        "<h1>Trunkline API</h1><p>The Telnyx TeXML Streams API on your own server. Every path is served with and "
        "without <code>.json</code>. Field names may be CamelCase or snake_case, and every body "
        f"<code>{bodies.JSON}</code> or <code>{bodies.FORM}</code>. Send your API key as "
        "<code>Authorization: Bearer …</code>. The same for machines: "
        f'<a href="/openapi.json">openapi.json</a>; the messages of the WebSocket: '
        f'<a href="/asyncapi.json">asyncapi.json</a>.</p>{sections}</body></html>'
    )


def _section(operation: Operation, face: RestFace) -> str:
    parts = [
        f'<h2 id="{operation.id}"><b>{operation.method}</b> <code>{escape(operation.path)}</code></h2>',
        f"<p>{escape(operation.summary)}</p>",
    ]
    if operation.query:
        parts.append(_fields("Query", operation.query, required=()))
    properties: Any = (operation.body or {}).get("properties")
    if properties:
        required: Any = (operation.body or {}).get("required", ())
        parts.append(_fields("Body", properties, required))
    parts += [_pre(example) for example in _examples(operation)]
    parts.append(
        f"<p>Answers {operation.status}:</p>{_pre(json.dumps(operation.example, indent=2))}"
        f"<p>Refusals:</p>{_refusals(operation, face)}"
    )
    return "".join(parts)


def _fields(kind: str, fields: Mapping[str, Mapping[str, Any]], required: Iterable[str]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code>{'<br>required' if name in required else ''}</td>"
        f"<td>{escape(_values(schema))}</td><td>{escape(schema.get('description', ''))}</td></tr>"
        for name, schema in fields.items()
    )
    return f"<table><tr><th>{kind}</th><th>Values</th><th></th></tr>{rows}</table>"


def _values(schema: Mapping[str, Any]) -> str:
    values = ", ".join(map(json.dumps, schema["enum"])) if "enum" in schema else str(schema["type"])
    return values + (f"; default {json.dumps(schema['default'])}" if "default" in schema else "")


def _examples(operation: Operation) -> list[str]:
    """Command lines that can be typed once the placeholders are filled in: one per content type."""
    path = operation.path.replace("{", "$").replace("}", "")
    key = "" if operation.public else ' -H "Authorization: Bearer $api_key"'
    if operation.body_example is None:
        method = "" if operation.method == "GET" else f" -X {operation.method}"
        return [f'curl{method}{key} "http://127.0.0.1:8080{path}"']
    command = f'curl -X {operation.method}{key} "http://127.0.0.1:8080{path}"'
    form = urlencode(operation.body_example, quote_via=quote)
    return [
        f"{command} \\\n  --json '{json.dumps(operation.body_example)}'",
        f"{command} \\\n  -d '{form}'",
    ]


def _refusals(operation: Operation, face: RestFace) -> str:
    errors = (() if operation.public else ALWAYS) + operation.refusals
    rows = "".join(
        f"<tr><td>{error.status}</td><td><code>{escape(json.dumps(face.error_body(error)))}</code></td></tr>"
        for error in sorted(errors, key=lambda error: error.status)
    )
    return f"<table>{rows}</table>"


def _pre(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"
