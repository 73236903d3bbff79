"""Calls in a row or at once, measured one by one (driver).

A call that fails is a result like others: its `failure` says why.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trunkline.media.rtp.dtmf import NoTelephoneEvent
from trunkline.phone import sounds
from trunkline.phone.call import RATE, PhoneCall
from trunkline.phone.conversation import Script, converse
from trunkline.phone.measures import CallResult, measure, not_placed
from trunkline.phone.values import PhoneError, PhoneEvent

CALLS_LIMIT = 1000
"""Calls of one batch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Calls to one address."""

    uri: str
    script: Script = field(default_factory=Script)
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of `PhoneCall`."""
    calls: int = 1
    per_second: float = 5.0
    """Calls that begin in a second."""
    record: Path | None = None
    """Wav file of what was heard; of several calls each has its number before the suffix."""

    def recording(self, number: int) -> Path | None:
        """The file of a call, counted from 1."""
        if self.record is None or self.calls == 1:
            return self.record
        return self.record.with_name(f"{self.record.stem}-{number}{self.record.suffix}")


async def run(batch: Batch, on_event: Callable[[int, PhoneEvent], None] = lambda *_: None) -> list[CallResult]:
    """All calls, in the order in which they began. `on_event` gets each event with the number of its call, counted from
    1. Raises PhoneError for a bad URI, and sounds.NoSound if a recording cannot be written."""
    PhoneCall(batch.uri)
    begun = asyncio.get_running_loop().time()

    async def one(number: int) -> tuple[CallResult, bytes]:
        await asyncio.sleep(max(0.0, begun + (number - 1) / batch.per_second - asyncio.get_running_loop().time()))
        return await _call(batch, number, on_event)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number)) for number in range(1, batch.calls + 1)]
    for number, task in enumerate(tasks, 1):
        record, (_, pcm) = batch.recording(number), task.result()
        if record is not None:
            sounds.save(record, pcm, batch.options.get("rate", RATE))
    return [task.result()[0] for task in tasks]


async def _call(batch: Batch, number: int, on_event: Callable[[int, PhoneEvent], None]) -> tuple[CallResult, bytes]:
    """A call, and what was heard if it is to be recorded."""
    seed = batch.options.get("seed")
    options = {**batch.options, "seed": None if seed is None else seed + number}
    keep = batch.record is not None
    call = PhoneCall(batch.uri, keep=keep, on_event=lambda event: on_event(number, event), **options)
    failure, refused_keys = "", ""
    try:
        async with call:
            try:
                await converse(call, batch.script)
            except NoTelephoneEvent as error:
                refused_keys = f"keys: {error}"
            except PhoneError as error:
                failure = str(error)
            await call.hang_up()
            result = measure(call.core, call.loop_time)
    except PhoneError as error:
        return not_placed(batch.uri, str(error)), b""
    violations = (*result.violations, *([refused_keys] if refused_keys else []))
    return replace(result, failure=result.failure or failure, violations=violations), call.recording()
