"""A server on each database, asked by the official Python and Node SDKs, and what it leaves there."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from peers.customer import needs_node, node
from peers.harness import new_server, running
from trunkline.config import StoreSettings
from trunkline.demo.server import ServerProcess
from trunkline.store.store import Store

if TYPE_CHECKING:
    from telnyx import AsyncTelnyx  # takes seconds to import: not with this file

pytestmark = [pytest.mark.peer, needs_node]

CONFIGURED = '[{"name": "configured", "voice_url": "http://127.0.0.1:9/", "sid": "7"}]'
WANTED: dict[str, Any] = {
    "voice_url": "https://app.example/voice?a=%20",
    "voice_method": "get",
    "voice_fallback_url": "https://fallback.example",
    "status_callback": "https://app.example/status",
    "inbound": {"channel_limit": 10},
    "tags": ["tag1", "tag2"],
}


def sdk(server: ServerProcess) -> "AsyncTelnyx":
    from telnyx import AsyncTelnyx

    return AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0)


async def test_applications_made_by_the_sdks_outlive_the_server(any_settings: StoreSettings, tmp_path: Path) -> None:
    import telnyx

    store: dict[str, Any] = {} if any_settings.url is None else {"store__url": any_settings.url}
    process = new_server(tmp_path, applications=CONFIGURED, **store)
    async with running(process) as server, sdk(server) as client:
        texml = client.texml_applications
        made = [(await texml.create(friendly_name=f"router {n}", **WANTED)).data for n in range(3)]
        first, second, third = (application for application in made if application is not None)
        assert (first.record_type, first.active, first.voice_method) == ("texml_application", True, "get")
        assert first.inbound is not None
        assert (first.inbound.channel_limit, first.tags) == (10, ["tag1", "tag2"])
        assert first.id
        assert second.id
        assert third.id
        names = [one.friendly_name async for one in texml.list(page_size=2, sort="friendly_name")]
        assert names == ["configured", "router 0", "router 1", "router 2"]
        found = await texml.list(filter={"friendly_name": "ROUTER 1"})
        assert [one.id for one in found.data] == [second.id]
        updated = (
            await texml.update(second.id, friendly_name="changed", voice_url="https://b.example", active=False)
        ).data
        deleted = (await texml.delete(third.id)).data
        assert updated is not None
        assert deleted == third
        with pytest.raises(telnyx.NotFoundError):
            await texml.retrieve(third.id)
        with pytest.raises(telnyx.UnprocessableEntityError, match="configuration"):
            await texml.update("7", friendly_name="mine", voice_url="https://b.example")
        with pytest.raises(telnyx.UnprocessableEntityError, match="voice_url must be"):
            await texml.create(friendly_name="bad", voice_url="ftp://b.example")
        await node_makes_changes_lists_and_deletes(server)
    kept = await Store.open(any_settings if any_settings.url else StoreSettings(directory=tmp_path))
    stored = await kept.applications()
    await kept.close()
    assert [(one.sid, one.friendly_name, one.active) for one in stored] == [
        (first.id, "router 0", True),
        (second.id, "changed", False),
    ]
    assert {one.status_callback for one in stored} == {WANTED["status_callback"]}


async def node_makes_changes_lists_and_deletes(server: ServerProcess) -> None:
    """The same by the official Node SDK."""
    report = await node("applications", api_key=server.api_key, base_url=server.base_url, wanted=WANTED, configured="7")
    made = report["made"]
    assert WANTED.items() <= (made | {"inbound": WANTED["inbound"]}).items()
    assert report["fetched"] == made
    changed = {"friendly_name": "changed", "inbound": made["inbound"] | {"channel_limit": 3}}
    assert report["updated"] == made | changed | {"updated_at": report["updated"]["updated_at"]}
    assert report["listed"] == ["changed", "changed", "configured", "router 0"]
    assert report["deleted"] == report["updated"]
    assert (report["gone"]["status"], report["configured"]["status"]) == (404, 422)
    assert (report["no_url"]["status"], report["no_url"]["body"]["errors"][0]["code"]) == (422, "10004")
