"""The page for people: complete, and without any help from elsewhere."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from trunkline.api import docs_page
from trunkline.api.console_pages import DIRECTORY
from trunkline.faces.telnyx.fields.streams import START_FIELDS
from trunkline.faces.telnyx.rest import REST


class _Page(HTMLParser):
    """Collects the page's text, and what it would load or run; every element must be closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.loaded = "", list[str]()
        self.ids, self.links = list[str](), list[str]()
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br", "link", "input"):
            self._open.append(tag)
        named = {name: value or "" for name, value in attrs}
        if tag in ("script", "link", "img", "iframe"):
            self.loaded.append(named.get("src", named.get("href", "inline")))
        assert "style" not in named
        assert tag != "style"
        self.ids += [named["id"]] if "id" in named else []
        self.links += [named["href"]] if tag == "a" else []

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_every_route_field_and_refusal() -> None:
    page = _Page(docs_page.render(REST))
    for operation in REST.operations:
        assert operation.path in page.text
        assert operation.summary.replace("`", "") in page.text
        for error in operation.refusals:
            assert error.detail in page.text
    for row in START_FIELDS:
        assert row.name in page.text
    assert "--json" in page.text
    assert "-d 'Url=wss%3A%2F%2Fwww.example.com%2Fwebsocket" in page.text


def test_fields_stand_under_where_they_go_and_what_they_may_be() -> None:
    def shown(operation: str) -> str:
        (only,) = (one for one in REST.operations if one.id == operation)
        silent: dict[str, object] = {"components": {"messages": {}}}
        return _Page(docs_page.render(replace(REST, operations=(only,), webhooks=(), asyncapi=silent))).text

    start = shown("StartTeXMLCallStreaming")
    assert "BodyValues" in start
    assert "QueryValues" not in start
    assert 'Track"inbound_track", "outbound_track", "both_tracks"; default "inbound_track"' in start
    assert 'curl -X POST -H "Authorization: Bearer $api_key"' in start
    create = shown("CreateTexmlApplication")
    assert "voice_urlrequiredstring" in create
    found = shown("FindTexmlApplications")
    assert "QueryValues" in found
    assert "BodyValues" not in found
    assert "required" not in found
    assert "Answers 200:" in found
    assert 'curl -H "Authorization: Bearer $api_key" "http://127.0.0.1:8080/v2/texml_applications"' in found
    assert 'curl "http://127.0.0.1:8080/v2/public_key"' in shown("GetPublicKey")


def test_the_page_loads_the_files_of_the_console_and_nothing_else() -> None:
    loaded = _Page(docs_page.render(REST)).loaded
    assert sorted(loaded) == [f"/console/{name}" for name in ("console.css", "docs.css", "docs.js", "icon.svg")]
    assert all((DIRECTORY / path.removeprefix("/console/")).exists() for path in loaded)


def test_the_contents_lead_to_every_section() -> None:
    page = _Page(docs_page.render(REST))
    assert len(page.ids) == len(set(page.ids))
    inner = [link.removeprefix("#") for link in page.links if link.startswith("#")]
    assert set(inner) <= set(page.ids)
    for operation in REST.operations:
        assert operation.id in inner
    assert [link for link in page.links if not link.startswith("#")] == ["/", "/openapi.json", "/asyncapi.json"]


def test_the_page_shows_every_message_with_its_members() -> None:
    page = _Page(docs_page.render(REST))
    components: Any = REST.asyncapi["components"]
    for name, message in components["messages"].items():
        assert name in page.ids
        for example in message.get("examples", ()):
            assert json.dumps(example["payload"], indent=2) in page.text
    assert "start.media_format.encodingrequiredstring" in page.text
    assert "bidirectional_media_format.sample_rate" in page.text


def test_the_page_shows_every_request_to_customers() -> None:
    page = _Page(docs_page.render(REST))
    for webhook in REST.webhooks:
        assert f"webhook-{webhook.name}" in page.ids
        assert webhook.summary.replace("`", "") in page.text
        assert all(field in page.text for field in webhook.fields)
    assert "&StreamError=the+app+refused+the+connection" in page.text
    assert "<Response><Say>Hello.</Say></Response>" in page.text


def test_what_the_table_says_is_escaped() -> None:
    page = _Page(
        docs_page.render(replace(REST, operations=(replace(REST.operations[0], summary="<script>alert(1)</script>"),)))
    )
    assert "<script>alert(1)</script>" in page.text
    assert "inline" not in page.loaded
