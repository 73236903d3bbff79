"""Runs documents on calls: one interpreter per call, its effects turned into commands, requests and files.

`TexmlRunner` is the `CallScript` of `control/runner.py`. All of it runs on one loop: what was applied to a call becomes
a fact, and an effect of the interpreter becomes a command (`Runner.apply`), which is reported back while the
interpreter's other effects still wait. So the facts of a call are queued in its inbox and handled one after another.
What cannot be done at once (a request, a file to be spoken or downloaded) is a task of the call's run; its end is a
fact too.

A dialled party that has a document of its own does what that says first, in a run like any other; at its end the two
are connected.

A run lasts from the first instructions until its call is over and its recordings are complete.
"""

import asyncio
import re
import secrets
import shutil
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import structlog

from trunkline.calls import events
from trunkline.calls.call import CallState
from trunkline.calls.commands import (
    AnswerCall,
    CallRequest,
    Command,
    EndCall,
    Instructions,
    Note,
    RecordingCallback,
    RejectCall,
    Route,
    StartStream,
    StopStream,
)
from trunkline.calls.recordings import RecordingFiles
from trunkline.calls.registry import LiveCall
from trunkline.calls.views import CallStatus
from trunkline.config import Settings
from trunkline.errors import ApiError, StartupError
from trunkline.ids import AccountSid, CallSid, IdsOfLife, StreamSid
from trunkline.outbound.cookies import Cookies
from trunkline.outbound.dialler import Dialler
from trunkline.texml import effects, facts
from trunkline.texml.cache import FileCache
from trunkline.texml.fetch import Fetcher, FetchError, Parameters
from trunkline.texml.interpreter import Interpreter
from trunkline.texml.sounds import Sound, SoundError, Sounds
from trunkline.texml.verbs import Read, Say
from trunkline.texml.voice import Espeak, SpeechError, Voice
from trunkline.webhooks.payloads import masked
from trunkline.webhooks.signing import Signer
from trunkline.workers.orders import (
    Bridge,
    RecordingOptions,
    SendDigits,
    StartPlayback,
    StopPlayback,
    StopRecording,
    Unbridge,
)
from trunkline.workers.reports import DigitHeard, PlaybackEnded, RecordingEnded, StreamEnded, WorkerLost

_log = structlog.get_logger()

_INTERNAL_ERROR = "internal error while executing TeXML"


class CallCommands(Protocol):
    """What `TexmlRunner` needs of the call runner."""

    def apply(self, entry: LiveCall, what: Command) -> asyncio.Future[None] | None:
        """Carry out a command. Raises ApiError for one that is refused."""

    def place(
        self, account: AccountSid, request: CallRequest, route: Route, parent: LiveCall | None = None
    ) -> tuple[LiveCall, asyncio.Future[None]]:
        """Place a call. Raises ApiError."""

    def record(
        self, entry: LiveCall, job: int, options: RecordingOptions, source: str, callback: RecordingCallback
    ) -> str:
        """Record a call until `job`'s RecordingEnded; returns the recording's sid. Raises ApiError."""

    def notify(self, entry: LiveCall, url: str, method: str, form: Sequence[tuple[str, str]]) -> None:
        """Send an application one more callback of a call, behind those before it."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What `TexmlRunner` works with."""

    fetcher: Fetcher
    voice: Voice
    sounds: Sounds
    recordings: RecordingFiles
    step_limit: int
    codecs: tuple[str, ...]
    """To offer on dialled calls, behind the first call's own."""
    ids: IdsOfLife
    read: Read
    captures: bool = False
    """Streams can be captured."""

    def beep(self) -> Path:
        """The file of what a recording begins with."""
        return self.sounds.tone("beep")

    @classmethod
    def of(
        cls,
        settings: Settings,
        signer: Signer,
        dialler: Dialler,
        recordings: RecordingFiles,
        ids: IdsOfLife,
        read: Read,
    ) -> "Tools":
        """As the settings have them. Raises StartupError."""
        texml, home = settings.texml, settings.store.directory.expanduser()
        try:
            cache = FileCache(home / "cache", texml.cache_limit)
        except OSError as error:
            raise StartupError(f"cannot use {error.filename}: {error.strerror}") from error
        if shutil.which(texml.speaker) is None:
            _log.warning("say_unavailable", program=texml.speaker)
        sounds = Sounds(texml, cache, home / "tones", dialler)
        fetcher = Fetcher(texml, signer, dialler, read)
        return cls(
            fetcher,
            Espeak(texml, cache),
            sounds,
            recordings,
            texml.step_limit,
            settings.media.codecs,
            ids,
            read,
            captures=settings.streams.capture is not None,
        )


@dataclass(slots=True, eq=False)
class _Run:
    """One call that runs instructions."""

    entry: LiveCall
    interpreter: Interpreter
    inbox: deque[facts.Fact] = field(default_factory=deque)
    """Bounded by the effects of one fact."""
    busy: bool = False
    answered: bool = False
    tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    """By job; the interpreter waits for at most a few."""
    timer: asyncio.TimerHandle | None = None
    streams: dict[StreamSid, int] = field(default_factory=dict)
    legs: dict[int, LiveCall] = field(default_factory=dict)
    recordings: dict[int, str] = field(default_factory=dict)
    """Sids, by job."""
    sounds: dict[int, tuple[str, Sound]] = field(default_factory=dict)
    """What is being played of the network, with its URL, by job."""
    cookies: Cookies = field(default_factory=Cookies)

    @property
    def sid(self) -> CallSid:
        return self.entry.call.view.sid

    @property
    def account(self) -> AccountSid:
        return self.entry.call.view.account_sid


class TexmlRunner:
    """The one `CallScript`."""

    def __init__(self, calls: CallCommands, route: Callable[[str], Route | str], tools: Tools) -> None:
        """`route` finds the way to what a document dials, or says why there is none."""
        self._calls = calls
        self._route = route
        self._tools = tools
        self._runs: dict[CallSid, _Run] = {}
        self._legs: dict[CallSid, tuple[_Run, int]] = {}
        """Calls that a run dialled."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.counters: Counter[str] = Counter()
        """`runs`, and each kind of effect by its class name in snake case."""

    async def stop(self) -> None:
        """Give up what is under way. The calls are over by now."""
        for run in list(self._runs.values()):
            self._close(run)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._tools.sounds.stop()
        await self._tools.fetcher.stop()

    # ── what the runner reports ─────────────────────────────────────────────────────────────────────────────

    def start(self, entry: LiveCall, instructions: Instructions) -> None:
        """See `CallScript`."""
        run = self._runs.get(entry.call.view.sid)
        if run is None:
            run = _Run(entry, Interpreter(self._tools.read, answered=_ready(entry), step_limit=self._tools.step_limit))
            run.answered = _ready(entry)
            self._runs[run.sid] = run
            self.counters["runs"] += 1
        self._feed(run, facts.Instructed(instructions))

    def redirect(self, entry: LiveCall, instructions: Instructions) -> None:
        """See `CallScript`. For the call that dialled this one, its `<Dial>` is over then."""
        dialled = self._legs.get(entry.call.view.sid)
        if dialled is not None:
            self._ask(entry, Unbridge())
            self._leg_over(*dialled, entry)
        self.start(entry, instructions)

    def on_applied(self, entry: LiveCall, what: events.Fact | Command) -> None:
        """See `CallScript`."""
        sid = entry.call.view.sid
        if sid in self._legs:
            self._leg_applied(entry, what)
        run = self._runs.get(sid)
        if run is None:
            return
        if not run.answered and _ready(entry):
            run.answered = True
            self._feed(run, facts.CallAnswered())
        fact = self._fact_of(run, what)
        if fact is not None:
            self._feed(run, fact)
        if entry.call.state is not CallState.ENDED:
            return
        self._feed(run, facts.CallFinished())
        if isinstance(what, WorkerLost):
            self._lose_recordings(run, what.detail)
        if run.interpreter.over:
            self._close(run)

    def _lose_recordings(self, run: _Run, why: str) -> None:
        """Their ends will not be reported."""
        for job, sid in run.recordings.items():
            self._feed(run, facts.RecordingSaved(sid, "", RecordingEnded(job, 0, "error", error=why)))
        run.recordings.clear()

    def _fact_of(self, run: _Run, what: events.Fact | Command) -> facts.Fact | None:
        match what:
            case DigitHeard():
                return what
            case PlaybackEnded():
                url = _played_to_its_end(run, what.job)
                return what if what.error is None else PlaybackEnded(what.job, f"{url}{what.error}")
            case StreamEnded() if what.sid in run.streams:
                return facts.StreamOver(run.streams.pop(what.sid), what.error)
            case RecordingEnded() if what.job in run.recordings:
                sid = run.recordings.pop(what.job)
                url = self._tools.recordings.url(run.account, sid)
                return facts.RecordingSaved(sid, url, what)
        return None

    def _leg_applied(self, entry: LiveCall, what: events.Fact | Command) -> None:
        run, leg = self._legs[entry.call.view.sid]
        if entry.call.state is CallState.ENDED:
            self._leg_over(run, leg, entry)
        elif entry.instructions is not None:
            return  # the end of its document is its answer
        elif isinstance(what, events.Progressed) and what.answer is not None:
            self._feed(run, facts.LegProgressed(leg))
        elif isinstance(what, events.Accepted):
            self._feed(run, facts.LegAnswered(leg))

    def _leg_over(self, run: _Run, leg: int, entry: LiveCall) -> None:
        view = entry.call.view
        self._legs.pop(view.sid, None)
        run.legs.pop(leg, None)
        status: CallStatus = view.status if entry.call.state is CallState.ENDED else "completed"
        ended = view.ended_at or entry.clock()
        seconds = int((ended - view.answered_at).total_seconds()) if view.answered_at else 0
        self._feed(run, facts.LegOver(leg, view.sid, status, seconds))

    # ── a run ───────────────────────────────────────────────────────────────────────────────────────────────

    def _feed(self, run: _Run, fact: facts.Fact) -> None:
        """Give the interpreter a fact, behind those that wait, and carry out its effects."""
        run.inbox.append(fact)
        if run.busy:
            return
        run.busy = True
        try:
            while run.inbox:
                for effect in run.interpreter.handle(run.inbox.popleft()):
                    self.counters[_EVENTS[type(effect)]] += 1
                    _PERFORM[type(effect)](self, run, effect)
        except Exception as error:
            _log.exception("texml_failed", call_sid=run.sid, reason=repr(error))
            run.inbox.clear()
            self._ask(run.entry, EndCall(_INTERNAL_ERROR, "failed"))
        finally:
            run.busy = False

    def _ask(self, entry: LiveCall, command: Command) -> str | None:
        """Have the runner do something; why it does not, if so."""
        try:
            self._calls.apply(entry, command)
        except ApiError as error:
            return error.detail
        return None

    def _close(self, run: _Run) -> None:
        self._runs.pop(run.sid, None)
        if run.timer is not None:
            run.timer.cancel()
        for task in run.tasks.values():
            task.cancel()
        for job in list(run.sounds):
            _played_to_its_end(run, job)

    def _work(self, run: _Run, job: int, work: Callable[[], Awaitable[facts.Fact | None]]) -> None:
        """Do something that takes time, and give the interpreter the resulting fact, if any."""
        task = asyncio.create_task(self._worked(run, job, work), name=f"texml {run.sid} {job}")
        run.tasks[job] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _worked(self, run: _Run, job: int, work: Callable[[], Awaitable[facts.Fact | None]]) -> None:
        try:
            fact = await work()
        except Exception as error:
            _log.exception("texml_failed", call_sid=run.sid, reason=repr(error))
            self._ask(run.entry, EndCall(_INTERNAL_ERROR, "failed"))
            return
        finally:
            run.tasks.pop(job, None)
        if fact is not None and run.sid in self._runs:
            self._feed(run, fact)

    def _common(self, run: _Run) -> Parameters:
        """The fields of the call in every request (docs/reference/texml.md)."""
        view, origin = run.entry.call.view, run.entry.origin
        about = (
            ("AccountSid", str(view.account_sid)),
            ("CallSid", str(view.sid)),
            ("CallSidLegacy", str(view.sid)),
            ("CallStatus", view.status),
            ("CallerId", view.caller_name or view.from_),
            ("From", view.from_),
            ("To", view.to),
            ("FromSipUri", origin.from_uri),
            ("ToSipUri", origin.to_uri),
            ("Direction", view.direction),
            ("ConnectionId", view.application_sid or ""),
        )
        parent = (("ParentCallSid", str(view.parent_sid)),) if view.parent_sid else ()
        custom = ((f"SipHeader_{name}", text) for name, text in origin.headers if name[:2].lower() == "x-")
        return (*about, *parent, *custom)

    # ── what the interpreter wants ──────────────────────────────────────────────────────────────────────────

    def _fetch(self, run: _Run, effect: effects.Fetch) -> None:
        self._work(run, effect.job, partial(self._fetched, effect, self._common(run), run.cookies))

    async def _fetched(self, effect: effects.Fetch, common: Parameters, cookies: Cookies) -> facts.Fact:
        try:
            document, url = await self._tools.fetcher.document(effect, common, cookies)
        except FetchError as error:
            return facts.FetchFailed(effect.job, str(error))
        return facts.Fetched(effect.job, document, url)

    def _notify(self, run: _Run, effect: effects.Notify) -> None:
        request = effect.request
        self._calls.notify(run.entry, request.url, request.method, self._common(run) + request.parameters)

    def _command(self, run: _Run, effect: Command) -> None:
        self._ask(run.entry, effect)

    def _note(self, run: _Run, effect: Note) -> None:
        _log.warning("texml_warning", call_sid=run.sid, reason=effect.text)
        self._ask(run.entry, effect)

    def _answer(self, run: _Run, _effect: AnswerCall) -> None:
        # Of those that are dialled one has answered, or none is: then the codec is open.
        codec = next((leg.call.view.codec for leg in run.legs.values() if leg.call.answered), None)
        self._ask(run.entry, AnswerCall(codec))

    def _finish(self, run: _Run, _effect: effects.FinishDocument) -> None:
        dialled = self._legs.get(run.sid)
        if dialled is None:
            self._ask(run.entry, EndCall("the instructions ended"))
            return
        parent, leg = dialled
        self._close(run)
        self._feed(parent, facts.LegAnswered(leg))

    def _start_stream(self, run: _Run, effect: effects.StartStreaming) -> None:
        if effect.params.capture and not self._tools.captures:
            self._note(run, Note("<Stream capture> needs the operator's setting streams.capture; nothing is captured"))
        sid = self._tools.ids.stream(secrets.token_bytes(16))
        run.streams[sid] = effect.job
        refused = self._ask(run.entry, StartStream(sid, effect.params))
        if refused is not None:
            del run.streams[sid]
            _log.warning("texml_stream_refused", call_sid=run.sid, reason=refused)
            run.inbox.append(facts.StreamOver(effect.job, refused))

    def _stop_stream(self, run: _Run, effect: effects.StopStreaming) -> None:
        for sid in [sid for sid, job in run.streams.items() if job == effect.job]:
            self._ask(run.entry, StopStream(sid))

    def _stop_streams(self, run: _Run, effect: effects.StopStreams) -> None:
        for view in run.entry.call.live_streams:
            if effect.name is None or view.name == effect.name:
                self._ask(run.entry, StopStream(view.sid))

    def _play(self, run: _Run, effect: effects.PlaySound) -> None:
        self._work(run, effect.job, partial(self._played, run, effect))

    async def _played(self, run: _Run, effect: effects.PlaySound) -> facts.Fact | None:
        """Get the file and have it played; a fact only when nothing plays: otherwise the worker reports the end."""
        try:
            path = await self._file_of(run, effect)
        except (SoundError, SpeechError) as error:
            return PlaybackEnded(effect.job, str(error))
        refused = self._ask(run.entry, StartPlayback(effect.job, str(path), effect.loop))
        if refused is not None:
            _played_to_its_end(run, effect.job)
        return None if refused is None else PlaybackEnded(effect.job, refused)

    async def _file_of(self, run: _Run, effect: effects.PlaySound) -> Path:
        match sound := effect.sound:
            case Say():
                return await self._tools.voice.speak(run.account, sound.text, sound.voice, sound.language)
            case effects.RemoteFile():
                recording = self._tools.recordings.path_of(run.account, sound.url)
                if recording is not None:
                    return recording
                found = await self._tools.sounds.file(run.account, sound.url)
                run.sounds[effect.job] = sound.url, found
                return found.path
            case effects.Tone():
                return self._tools.sounds.tone(sound.name)

    def _stop_playing(self, run: _Run, effect: StopPlayback) -> None:
        task = run.tasks.pop(effect.job, None)
        if task is None:
            self._ask(run.entry, effect)
        else:
            task.cancel()

    def _send_digits(self, run: _Run, effect: SendDigits) -> None:
        refused = self._ask(run.entry, effect)
        if refused is not None:
            _log.warning("texml_digits_refused", call_sid=run.sid, reason=refused)

    def _set_timer(self, run: _Run, effect: effects.StartTimer) -> None:
        if run.timer is not None:
            run.timer.cancel()
        loop = asyncio.get_running_loop()
        run.timer = loop.call_later(effect.seconds, self._feed, run, facts.TimerExpired(effect.job))

    def _record(self, run: _Run, effect: effects.RecordCall) -> None:
        try:
            sid = self._calls.record(run.entry, effect.job, effect.options, effect.source, effect.callback)
            run.recordings[effect.job] = sid
        except ApiError as error:
            ended = RecordingEnded(effect.job, 0, "error", error=error.detail)
            run.inbox.append(facts.RecordingSaved("", "", ended))

    def _place_leg(self, run: _Run, effect: effects.PlaceLeg) -> None:
        target = effect.target
        route = self._route(target.to)
        if isinstance(route, str):
            self._not_placed(run, effect, route)
            return
        try:
            entry, _ = self._calls.place(run.account, self._request(run, effect), route, run.entry)
        except ApiError as error:
            self._not_placed(run, effect, error.detail)
            return
        run.legs[effect.leg] = entry
        self._legs[entry.call.view.sid] = run, effect.leg
        if entry.call.state is CallState.ENDED:
            self._leg_over(run, effect.leg, entry)

    def _not_placed(self, run: _Run, effect: effects.PlaceLeg, why: str) -> None:
        _log.warning("dial_failed", call_sid=run.sid, to=effect.target.to, reason=why)
        self._ask(run.entry, Note(f"<Dial> failed: {why}"))
        run.inbox.append(facts.LegOver(effect.leg, "", "failed", 0))

    def _request(self, run: _Run, effect: effects.PlaceLeg) -> CallRequest:
        view, target = run.entry.call.view, effect.target
        own = (view.codec,) if view.codec in self._tools.codecs else ()
        return CallRequest(
            to=target.to,
            from_=effect.caller_id or view.from_,
            caller_name=effect.caller_name or ("" if effect.caller_id else view.caller_name),
            application_sid=view.application_sid,
            instructions=Instructions(url=target.url, method=target.method) if target.url else None,
            status_callback=target.status_callback,
            status_callback_method=target.status_callback_method,
            status_callback_events=target.status_callback_events,
            timeout=effect.timeout,
            time_limit=effect.time_limit,
            codecs=tuple(dict.fromkeys((*own, *self._tools.codecs))),
            headers=target.headers,
            username=target.username,
            password=target.password,
            send_digits=target.send_digits,
        )

    def _end_leg(self, run: _Run, effect: effects.EndLeg) -> None:
        entry = run.legs.get(effect.leg)
        if entry is None:
            return
        view = run.entry.call.view
        detail = (view.hangup_cause or "") if effect.why == "ended" else ""
        by_party = effect.why == "star" or (effect.why == "ended" and view.hangup_source in ("caller", "callee"))
        source: Literal["caller", "system"] = "caller" if by_party else "system"
        self._ask(entry, EndCall(_LEG_ENDS[effect.why], source=source, detail=detail))

    def _bridge_leg(self, run: _Run, effect: effects.BridgeLeg) -> None:
        entry = run.legs.get(effect.leg)
        refused = self._ask(run.entry, Bridge(entry.call.view.sid)) if entry else "it is over"
        if refused is not None:
            _log.warning("dial_bridge_failed", call_sid=run.sid, reason=refused)


_LEG_ENDS = {
    "ended": "the call that dialled it is over",
    "elsewhere": "another party answered",
    "redirected": "the call that dialled it got other instructions",
    "star": "the caller pressed *",
}


def _played_to_its_end(run: _Run, job: int) -> str:
    """The sound of a job is not needed any more; its URL to put before an error, if it was one of the network."""
    if job not in run.sounds:
        return ""
    url, sound = run.sounds.pop(job)
    if not sound.kept:
        sound.path.unlink(missing_ok=True)
    return f"{masked(url)}: "


def _ready(entry: LiveCall) -> bool:
    """It is answered and its codec known, which after an offer of ours is in the ACK."""
    return entry.call.answered and entry.call.view.codec is not None


_PERFORM: dict[type, Callable[[TexmlRunner, _Run, Any], None]] = {
    effects.Fetch: TexmlRunner._fetch,
    effects.Notify: TexmlRunner._notify,
    Note: TexmlRunner._note,
    AnswerCall: TexmlRunner._answer,
    **dict.fromkeys((EndCall, RejectCall, StopRecording), TexmlRunner._command),
    effects.FinishDocument: TexmlRunner._finish,
    effects.StartStreaming: TexmlRunner._start_stream,
    effects.StopStreaming: TexmlRunner._stop_stream,
    effects.StopStreams: TexmlRunner._stop_streams,
    effects.PlaySound: TexmlRunner._play,
    StopPlayback: TexmlRunner._stop_playing,
    SendDigits: TexmlRunner._send_digits,
    effects.StartTimer: TexmlRunner._set_timer,
    effects.RecordCall: TexmlRunner._record,
    effects.PlaceLeg: TexmlRunner._place_leg,
    effects.EndLeg: TexmlRunner._end_leg,
    effects.BridgeLeg: TexmlRunner._bridge_leg,
}
_EVENTS = {kind: re.sub("(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower() for kind in _PERFORM}
"""The names under which effects are counted: `StartStream` as `start_stream`."""
