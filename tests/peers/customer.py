"""The customer's program on the official Node SDK, in node/."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from trunkline.demo.callbacks import Callback
from trunkline.demo.server import ServerProcess

NODE = Path(__file__).with_name("node")
needs_node = pytest.mark.skipif(
    not shutil.which("node") or not (NODE / "node_modules" / "telnyx").exists(),
    reason="node or its telnyx package is not installed; `make test` installs both",
)


async def node(job: str, **task: Any) -> Any:
    """Run the program on one task; its report."""
    process = await asyncio.create_subprocess_exec(
        *("node", str(NODE / "customer.mjs")), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        report, _ = await process.communicate(json.dumps({"job": job, **task}).encode())
    assert process.returncode == 0
    return json.loads(report)


async def node_verifies(server: ServerProcess, received: list[Callback]) -> None:
    """The SDK and Node's crypto find the callbacks' signatures good, and that of a forged one bad."""
    pairs = [{"body": callback.body.decode(), "headers": callback.headers} for callback in received]
    forged = {"body": received[0].body.decode() + "x", "headers": received[0].headers}
    verdicts = await node("signatures", public_key=await server.public_key(), callbacks=[*pairs, forged])
    assert verdicts[:-1] == ["good"] * len(received)
    assert verdicts[-1] != "good"
    assert "crypto says" not in verdicts[-1]
