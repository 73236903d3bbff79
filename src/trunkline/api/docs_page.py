"""`/docs`: the API as one HTML page for people, made of the tables of the OpenAPI and AsyncAPI documents. Pure.

Contents, operations, the messages of the WebSocket, the requests to customers' servers. The style sheet and the script
of the search are among the console's files (`api/console_pages.py`): the page loads nothing from another server, so
that it shows on a machine without the internet as well, and reads the same without the script.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Any
from urllib.parse import quote, urlencode

from trunkline.api import bodies
from trunkline.api.openapi import ALWAYS
from trunkline.api.operation import Operation, RestFace, Webhook

TO_APP, FROM_APP = "Messages to your app", "Messages from your app"
WEBHOOKS = "Requests to your server"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One section."""

    id: str
    group: str
    label: str
    """In the contents, as HTML."""
    body: str


def render(face: RestFace) -> str:
    """The page."""
    entries = [*_operations(face), *_messages(face), *_webhooks(face)]
    groups = [(name, list(found)) for name, found in groupby(entries, lambda entry: entry.group)]
    contents = "".join(_contents(name, found) for name, found in groups)
    sections = "".join(_group(name, found) for name, found in groups)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Trunkline API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        '<link rel="icon" href="/console/icon.svg" type="image/svg+xml">'
        '<link rel="stylesheet" href="/console/console.css"><link rel="stylesheet" href="/console/docs.css">'
        '<script type="module" src="/console/docs.js"></script></head><body>'
        '<a class="skip" href="#content">Skip to the content</a>'
        '<header class="top"><a class="brand" href="/">Trunkline</a>'
        '<form id="find" role="search" hidden><input type="search" id="words" autocomplete="off" '
        'aria-label="Search the API" placeholder="Search (press /)"><output for="words"></output></form></header>'
        f'<div class="docs"><nav aria-label="Contents"><details id="contents"><summary>Contents</summary>{contents}'
        f'</details></nav><main id="content" tabindex="-1">{_introduction()}{sections}</main></div></body></html>'
    )


def _introduction() -> str:
    return (
        "<h1>Trunkline API</h1><p>The Telnyx TeXML Streams API on your own server. Every path is served with and "
        "without <code>.json</code>. Field names may be CamelCase or snake_case, and every body "
        f"<code>{bodies.JSON}</code> or <code>{bodies.FORM}</code>. Send your API key as "
        "<code>Authorization: Bearer …</code>. The same for machines: "
        f'<a href="/openapi.json">openapi.json</a>; the messages of the WebSocket: '
        f'<a href="/asyncapi.json">asyncapi.json</a>.</p>'
    )


def _anchor(group: str) -> str:
    return "group-" + group.lower().replace(" ", "-")


def _contents(name: str, entries: Iterable[_Entry]) -> str:
    links = "".join(f'<li><a href="#{entry.id}">{entry.label}</a></li>' for entry in entries)
    return f'<section><a class="group" href="#{_anchor(name)}">{name}</a><ul>{links}</ul></section>'


def _group(name: str, entries: Iterable[_Entry]) -> str:
    shown = "".join(f'<section class="entry card" id="{entry.id}">{entry.body}</section>' for entry in entries)
    return f'<section class="group" id="{_anchor(name)}"><h2>{name}</h2>{shown}</section>'


# ── operations ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _operations(face: RestFace) -> Iterator[_Entry]:
    for operation in face.operations:
        words = escape(re.split(r"[.:;] |\.$", operation.summary)[0].replace("`", ""))
        label = f"<b>{operation.method}</b> {words}"
        yield _Entry(operation.id, face.groups[operation.id], label, _operation(operation, face))


def _operation(operation: Operation, face: RestFace) -> str:
    parts = [
        f"<h3><b>{operation.method}</b> <code>{escape(operation.path)}</code></h3>",
        f"<p>{_prose(operation.summary)}</p>",
    ]
    if operation.query:
        parts.append(_fields("Query", operation.query, required=()))
    properties: Any = (operation.body or {}).get("properties")
    if properties:
        required: Any = (operation.body or {}).get("required", ())
        parts.append(_fields("Body", properties, required))
    parts += [_pre(example) for example in _examples(operation)]
    answer = _pre(json.dumps(operation.example, indent=2)) if operation.result else ""
    parts.append(
        f"<p>Answers {operation.status}{':' if answer else ', without a body.'}</p>{answer}"
        f"<details><summary>Refusals</summary>{_refusals(operation, face)}</details>"
    )
    return "".join(parts)


def _fields(kind: str, fields: Mapping[str, Mapping[str, Any]], required: Iterable[str]) -> str:
    need = '<br><span class="need">required</span>'
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code>{need if name in required else ''}</td>"
        f"<td>{escape(_values(schema))}</td><td>{_prose(schema.get('description', ''))}</td></tr>"
        for name, schema in fields.items()
    )
    head = f'<thead><tr><th scope="col">{kind}</th><th scope="col">Values</th><th scope="col"></th></tr></thead>'
    return f'<div class="scroll"><table>{head}<tbody>{rows}</tbody></table></div>'


def _values(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return json.dumps(schema["const"])
    if "anyOf" in schema:
        return " or ".join(_values(one) for one in schema["anyOf"])
    kinds = schema.get("type", "any")
    values = ", ".join(map(json.dumps, schema["enum"])) if "enum" in schema else kinds
    if isinstance(values, list):
        values = " or ".join(values)
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
    return f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>'


# ── messages of the WebSocket ───────────────────────────────────────────────────────────────────────────────────────


def _messages(face: RestFace) -> Iterator[_Entry]:
    components: Any = face.asyncapi["components"]
    for name, message in components["messages"].items():
        group = TO_APP if name.endswith("ToApp") else FROM_APP
        yield _Entry(name, group, f"<b>{escape(message['name'])}</b>", _message(message))


def _message(message: Mapping[str, Any]) -> str:
    fields = dict(_members(message["payload"]))
    required = [name for name, (_, needed) in fields.items() if needed]
    table = _fields("Member", {name: schema for name, (schema, _) in fields.items()}, required)
    examples = "".join(_pre(json.dumps(one["payload"], indent=2)) for one in message.get("examples", ()))
    summary = f"<p>{_prose(message['summary'])}</p>" if "summary" in message else ""
    return f"<h3><code>{escape(message['name'])}</code></h3>{summary}{table}{examples}"


def _members(schema: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, tuple[Mapping[str, Any], bool]]]:
    """Each member with its path, its schema, and whether it is required where its object is."""
    for name, member in schema.get("properties", {}).items():
        yield above + name, (member, name in schema.get("required", ()))
        yield from _members(member, f"{above}{name}.")


# ── requests to customers ───────────────────────────────────────────────────────────────────────────────────────────


def _webhooks(face: RestFace) -> Iterator[_Entry]:
    for webhook in face.webhooks:
        words = escape(webhook.name)
        yield _Entry(f"webhook-{webhook.name}", WEBHOOKS, f"<b>{words}</b>", _webhook(webhook))


def _webhook(webhook: Webhook) -> str:
    required = [name for name in webhook.fields if name not in webhook.optional]
    example = urlencode(webhook.example).replace("&", "\n&")
    answer = f"<p>Your answer, for example:</p>{_pre(webhook.answer)}" if webhook.answer else ""
    return (
        f"<h3><code>{escape(webhook.name)}</code></h3><p>{_prose(webhook.summary)}</p>"
        f"<p><code>POST</code> with the fields as a form, or <code>GET</code> with them in the query.</p>"
        f"{_fields('Field', webhook.fields, required)}{_pre(example)}{answer}"
    )


def _prose(text: str) -> str:
    """What stands in backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _pre(text: str) -> str:
    return f'<pre tabindex="0">{escape(text)}</pre>'
