"""The console's files: what is served, under which policy, and that nothing in them breaks it."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette

from trunkline.api.console_pages import DIRECTORY, KINDS, POLICY, routes

FILES = sorted(path for path in DIRECTORY.iterdir() if path.suffix in KINDS)


@pytest.fixture
async def pages() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=Starlette(routes=routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
        yield client


async def test_every_file_is_served_with_its_type_and_the_policy(pages: httpx.AsyncClient) -> None:
    assert len(FILES) > 10
    for path in FILES:
        name = "/" if path.name == "index.html" else f"/console/{path.name}"
        answer = await pages.get(name)
        assert (answer.status_code, answer.content) == (200, path.read_bytes())
        assert answer.headers["content-type"] == KINDS[path.suffix]
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_file_that_has_not_changed_is_not_sent_again(pages: httpx.AsyncClient) -> None:
    tag = (await pages.get("/")).headers["etag"]
    again = await pages.get("/", headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert (await pages.get("/", headers={"if-none-match": '"another"'})).status_code == 200


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere() -> None:
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY
    assert not re.search(r"https?:|\*|data:", POLICY)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_loads_from_elsewhere_or_writes_markup(path: object) -> None:
    text = (DIRECTORY / str(path)).read_text()
    assert not re.search(r"""(src|href|import|from|url\()\s*=?\s*["'(]?(https?:)?//""", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|<style|\sstyle=", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
