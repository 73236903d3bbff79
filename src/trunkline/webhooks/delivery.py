"""Sends callbacks: the driver around `outbox.py`.

One task asks the outbox what is due, starts a task per try, stores the results of earlier tries, and loads callbacks
for which there was no room. At least once: a try whose result was not stored before a crash is repeated after it, with
the same `webhook-id`. Results are stored with the next changes of calls, or after `RESULT_DELAY` by themselves: a
transaction for each would be a third of all transactions.

No redirection is followed: the signature and the form are meant for one URL.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog

from trunkline.config import CallbackSettings
from trunkline.outbound.client import DRAIN_LIMIT, Client, Order, RequestFailed
from trunkline.outbound.dialler import Dialler
from trunkline.store.records import CallbackRecord, CallbackResult
from trunkline.store.store import STORE_ERRORS, Store
from trunkline.webhooks.outbox import RETRY_AFTER_LIMIT, AttemptDecision, AttemptResult, Outbox, retry_after
from trunkline.webhooks.payloads import FORM_TYPE, masked, request_parts
from trunkline.webhooks.signing import Signer

BODY_TIMEOUT = 1.0
"""Seconds for the body of an answer, which is read so that the connection can be used again."""
BODY_KEPT = 1000
"""Bytes of it that an observer is given."""
RESULT_DELAY = 0.1
"""Seconds that results wait for changes of calls. Their number is bounded, since only callbacks in memory are tried,
each a few times."""
HOLD_DELAY = 0.2
"""Seconds until it is asked again whether callbacks may be sent."""
STORE_DELAY = 1.0
"""Seconds before the store is asked again after it failed."""

log = structlog.get_logger()


class CallbackObserver(Protocol):
    """Who wants to know what becomes of callbacks. Called in the loop's thread; must not raise or block."""

    def stored(self, record: CallbackRecord) -> None:
        """A callback is stored, and will be sent."""

    def tried(self, record: CallbackRecord, decision: AttemptDecision, result: AttemptResult, at: datetime) -> None:
        """What came of a try."""


class Delivery:
    """Delivers stored callbacks until each has got a 2xx, a final refusal or its last try."""

    def __init__(
        self,
        settings: CallbackSettings,
        store: Store,
        signer: Signer,
        dialler: Dialler,
        may_send: Callable[[], bool] = lambda: True,
        observer: CallbackObserver | None = None,
    ) -> None:
        """`may_send`: whether this server certainly lives. One that was declared dead must not send what another server
        sends; where that is not certain, callbacks wait."""
        self._observer = observer
        self._may_send = may_send
        self._settings = settings
        self._store = store
        self._signer = signer
        self._outbox = Outbox(settings)
        self._results_at = 0.0
        """When results are stored that no change of a call took along."""
        self._tries: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._client = Client(dialler, None)  # the outbox has bounds of its own
        self._deadline: float | None = None
        self._store_again_at = 0.0
        self._store_failing = False
        self.counters: dict[str, int] = Counter()
        """tries, delivered, retried, failed, and deferred: left in the store for lack of room in memory."""

    async def start(self) -> None:
        """Go on with what the store still has, then with what `deliver` brings. Raises STORE_ERRORS."""
        self._outbox.resume(await self._store.pending_hosts(), self._store.newest_at_open)
        self._task = asyncio.create_task(self._run(), name="callback delivery")

    def deliver(self, records: Sequence[CallbackRecord]) -> None:
        """Send callbacks that the store has; `Writer` calls this after each commit, in order."""
        now = self._now()
        for record in records:
            if self._observer is not None:
                self._observer.stored(record)
            if not self._outbox.offer(record, now):
                self.counters["deferred"] += 1
        self._wake.set()

    async def stop(self, grace: float) -> None:
        """Send for `grace` seconds more what can be sent; the rest stays stored for the next start."""
        self._deadline = self._now() + grace
        self._wake.set()
        if self._task is not None:
            await self._task
        for task in self._tries:
            task.cancel()
        await asyncio.gather(*self._tries, return_exceptions=True)
        if self._store.has_results:
            await self._with_store(self._store.write_results())
        await self._client.stop()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def _run(self) -> None:
        while not self._finished():
            try:
                await self._step()
            except Exception as error:
                log.error("callback_queue_failed", reason=repr(error), exc_info=True)
                await asyncio.sleep(STORE_DELAY)

    def _finished(self) -> bool:
        if self._deadline is None:
            return False
        if self._now() >= self._deadline:
            return True
        due = self._outbox.next_due()
        later = due is None or due > self._deadline
        outbox = self._outbox
        return later and not (outbox.in_flight or outbox.ready or outbox.behind or self._store.has_results)

    async def _step(self) -> None:
        self._wake.clear()
        if not self._may_send():
            await self._wait_until(self._now() + HOLD_DELAY)
            return
        work = self._outbox.due(self._now())
        for record in work.expired:
            self._settled(
                record,
                AttemptDecision("failed", record.tries, None),
                AttemptResult(error="its host has stopped answering"),
            )
        for record in work.start:
            task = asyncio.create_task(self._try(record), name=f"callback {record.id}")
            self._tries.add(task)
            task.add_done_callback(self._tries.discard)
        if await self._use_store():
            return
        await self._wait_until(self._next_deadline())

    async def _wait_until(self, deadline: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._wake.wait()

    def _next_deadline(self) -> float | None:
        times = [self._outbox.next_due(), self._deadline]
        if self._store_failing:
            times = [self._store_again_at, self._outbox.next_due(), self._deadline]
        elif self._store.has_results:
            times.append(self._results_at)
        return min((at for at in times if at is not None), default=None)

    # The store.

    async def _use_store(self) -> bool:
        """Do one step that needs the store; whether there may be another at once."""
        now = self._now()
        if now < self._store_again_at:
            return False
        if self._store.has_results and (now >= self._results_at or self._outbox.behind or self._deadline is not None):
            return await self._with_store(self._store.write_results())
        load = self._outbox.load()
        if load is not None:
            return await self._with_store(self._load(*load))
        return False

    async def _with_store(self, work: Coroutine[Any, Any, None]) -> bool:
        try:
            await work
        except STORE_ERRORS as error:
            if not self._store_failing:
                log.error("callback_store_unavailable", reason=str(error))
            self._store_failing = True
            self._store_again_at = self._now() + STORE_DELAY
            return False
        self._store_failing = False
        return True

    async def _load(self, host: str, after: int, limit: int) -> None:
        try:
            records = await self._store.pending_callbacks(host, after=after, limit=limit)
        except Exception:
            self._outbox.not_loaded(host)  # to be loaded again, whatever the error
            raise
        wall = datetime.now(UTC)
        found = [(record, (wall - record.created_at).total_seconds(), _wait(record, wall)) for record in records]
        self._outbox.loaded(host, found, self._now(), all_of_it=len(records) < limit)
        self._wake.set()

    # One try.

    async def _try(self, record: CallbackRecord) -> None:
        self.counters["tries"] += 1
        try:
            answer = await self._send(record)
        except TimeoutError:
            answer = AttemptResult(error=f"no answer within {self._settings.timeout:g} s")
        except RequestFailed as error:
            words = f"cannot be sent: {error}" if error.permanent else str(error)
            answer = AttemptResult(error=words, permanent=error.permanent)
        except Exception as error:
            log.error("callback_attempt_failed", reason=repr(error), exc_info=True, **_ids(record))
            answer = AttemptResult(error=type(error).__name__)
        # Not for security: it spreads the load of retries.
        verdict = self._outbox.answered(record.id, answer, self._now(), random.random())
        self._settled(record, verdict, answer)
        self._wake.set()

    async def _send(self, record: CallbackRecord) -> AttemptResult:
        url, body = request_parts(record)
        headers = [("webhook-id", record.id)]
        if record.method == "POST":
            headers.append(("Content-Type", FORM_TYPE))
        order = Order(record.account, record.method, url, body, tuple(headers), self._signer.headers)
        async with asyncio.timeout(self._settings.timeout) as limit, self._client.ask(order) as answer:
            # The status is the answer, whatever happens to the body.
            limit.reschedule(None)
            body = b""
            with suppress(TimeoutError):
                async with asyncio.timeout(BODY_TIMEOUT):
                    body = await answer.drain(DRAIN_LIMIT, BODY_KEPT)
        status, wait = answer.status, answer.all("retry-after")
        failed = not 200 <= status < 300
        return AttemptResult(
            status=status,
            error=f"HTTP status {status}" if failed else None,
            retry_after=retry_after(wait, datetime.now(UTC)) if failed else None,
            body=body.decode(errors="replace"),
        )

    def _settled(self, record: CallbackRecord, verdict: AttemptDecision, answer: AttemptResult) -> None:
        self.counters["retried" if verdict.state == "pending" else verdict.state] += 1
        wall = datetime.now(UTC)
        if not self._store.has_results:
            self._results_at = self._now() + RESULT_DELAY
        self._store.note_result(
            CallbackResult(
                id=record.id,
                state=verdict.state,
                tries=verdict.tries,
                last_status=answer.status,
                last_error=answer.error,
                next_try_at=None if verdict.wait is None else wall + timedelta(seconds=verdict.wait),
                finished_at=wall if verdict.wait is None else None,
            )
        )
        if self._observer is not None:
            self._observer.tried(record, verdict, answer, wall)
        if verdict.state == "failed":
            log.warning(
                "callback_failed", reason=answer.error, url=masked(record.url), tries=verdict.tries, **_ids(record)
            )


def _ids(record: CallbackRecord) -> dict[str, str]:
    """The keys of a log line about a callback."""
    ids = {"callback_id": record.id, "account_sid": record.account, "call_sid": record.call_sid}
    return ids if record.stream_sid is None else {**ids, "stream_id": record.stream_sid}


def _wait(record: CallbackRecord, wall: datetime) -> float:
    """Seconds until the next try of a stored callback; bounded, in case the clock was set back meanwhile."""
    if record.next_try_at is None:
        return 0.0
    return min(max((record.next_try_at - wall).total_seconds(), 0.0), RETRY_AFTER_LIMIT)
