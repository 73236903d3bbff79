"""Every dialect has a row, which the commands name."""

import pytest

from test_cli_check import trunkline
from trunkline.apps.dialects import WIRES
from trunkline.apps.stream import BotStream


def test_each_stream_has_a_dialect() -> None:
    assert BotStream("ws://a/").wire in WIRES
    assert all(row.whose for row in WIRES.values())


@pytest.mark.process
async def test_a_dialect_that_there_is_not_is_named_with_those_that_there_are() -> None:
    for arguments in (("check", "ws://a/"), ("replay", "none", "ws://a/")):
        code, out, err = await trunkline(*arguments, "--wire", "other")
        assert (code, out, err) == (4, "", f"trunkline: --wire 'other': there is {', '.join(WIRES)}\n")
