"""Runs TeXML documents on one call: facts in, effects out. Pure: no I/O, no clock, no randomness.

Verbs run one after another. One that takes time leaves a `_Wait` behind, which says what is waited for; `_TABLE` has
a row for each wait and fact that belong together, and any other fact changes nothing. What may come at any time (new
instructions, the call's answer and its end) has rows of its own.

* A verb that needs the call answered answers it first; `<Pause>`, `<Redirect>`, `<Reject>`, `<Hangup>`, `<Stop>` and
  `<Dial answerOnBridge>` do not need it. The end of a document ends the call, unless it was a dialled party's own; one
  that was never answered is refused then, not answered in order to be hung up.
* New instructions from the API replace what runs: playing stops, gathering ends, dialled calls and the stream of a
  `<Connect>` are ended. Streams of `<Start>` go on.
* A document that goes on and on without anything that takes time (a `<Redirect>` to itself) is ended by `step_limit`.
* A caller ends a voice mail by hanging up: the action of the `<Record>` is then requested after the call's end, and
  its answer ignored.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

from trunkline.calls.commands import AnswerCall, EndCall, Instructions, Note, RecordingCallback, RejectCall
from trunkline.calls.views import CallStatus
from trunkline.streaming.params import StreamParams
from trunkline.texml import effects, facts, verbs
from trunkline.texml.document import DocumentError
from trunkline.texml.verbs import Document, Method, Prompt, Read, Verb
from trunkline.workers.orders import RecordingOptions, SendDigits, StopPlayback, StopRecording
from trunkline.workers.reports import DigitHeard, PlaybackEnded

KEY_SECONDS = 0.2
"""One key with the gap behind it; `w` and `W` are half a second and a second."""
_REFUSALS = {"rejected": (404, "Not Found"), "busy": (486, "Busy Here")}
_BEST: tuple[CallStatus, ...] = ("busy", "no-answer", "canceled", "failed")
"""What `DialCallStatus` says when none of several answered: the first of these that any leg reported."""


# ── what may be waited for ──────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Idle:
    """Nothing was begun yet, or everything is over."""


@dataclass(slots=True)
class _Fetching:
    job: int


@dataclass(slots=True)
class _Answering:
    """The verb that needs it is still the first."""


@dataclass(slots=True)
class _Prompting:
    job: int


@dataclass(slots=True)
class _Connected:
    job: int


@dataclass(slots=True)
class _Gathering:
    verb: verbs.Gather
    prompts: deque[Prompt]
    job: int = 0
    """Of the prompt, or of the time-out."""
    prompting: bool = True
    digits: str = ""


@dataclass(slots=True)
class _Dialling:
    verb: verbs.Dial
    legs: set[int]
    ringback: int | None = None
    winner: int | None = None
    """Who answered."""
    bridged: int | None = None
    """Who is heard: the winner, or one that sends audio before it answers."""
    statuses: set[CallStatus] = field(default_factory=set)
    recording: int | None = None


@dataclass(slots=True)
class _PendingRecording:
    verb: verbs.Record
    job: int
    beeping: bool


_Wait = _Idle | _Fetching | _Answering | _Prompting | _Connected | _Gathering | _Dialling | _PendingRecording


class Interpreter:
    """One call's instructions. `handle` is the only way in."""

    def __init__(self, read: Read, *, answered: bool, step_limit: int) -> None:
        """`step_limit`: verbs and documents that may follow each other without anything that takes time."""
        self._read = read
        self._answered = answered
        self._step_limit = step_limit
        self._steps: int
        """Since the instructions came, or something took time."""
        self._jobs = 0
        self._base: str | None = None
        self._verbs: deque[Verb] = deque()
        self._wait: _Wait = _Idle()
        self._ending = False
        self._out: list[effects.Effect] = []

    @property
    def over(self) -> bool:
        """Nothing more will come of any fact."""
        return self._ending and isinstance(self._wait, _Idle)

    def handle(self, fact: facts.Fact) -> list[effects.Effect]:
        """Apply one fact; what is to be done, in order."""
        always = _ALWAYS.get(type(fact))
        if always is not None:
            always(self, fact)
        row = _TABLE.get((type(self._wait), type(fact)))
        if row is not None:
            row(self, self._wait, fact)
        out, self._out = self._out, []
        return out

    # ── documents ───────────────────────────────────────────────────────────────────────────────────────────

    def _instructed(self, fact: facts.Instructed) -> None:
        if self._ending:
            return
        self._abandon()
        given = fact.instructions
        if given.texml is not None:
            self._begin_text(given.texml)
            return
        found = _requests(given)
        if found:
            self._fetch(found[0], found[1] if len(found) > 1 else None)
        else:
            self._begin(Document(()), None)

    def _begin_text(self, text: str) -> None:
        try:
            found = self._read(text, None)
        except DocumentError as error:
            self._fail("no instructions", str(error))
        else:
            self._begin(found, None)

    def _begin(self, found: Document, url: str | None) -> None:
        self._out.extend(Note(warning) for warning in found.warnings)
        self._base = url
        self._verbs = deque(found.verbs)
        self._go_on()

    def _fetch(self, request: effects.DocumentRequest, fallback: effects.DocumentRequest | None = None) -> None:
        job = self._job()
        self._wait = _Fetching(job)
        self._out.append(effects.Fetch(job, request, fallback))

    def _fetched(self, wait: _Fetching, fact: facts.Fetched) -> None:
        if fact.job == wait.job:
            self._begin(fact.document, fact.url)

    def _fetch_failed(self, wait: _Fetching, fact: facts.FetchFailed) -> None:
        if fact.job == wait.job:
            self._fail("no instructions", fact.detail)

    def _go_on(self) -> None:
        """Run verbs until one takes time."""
        self._wait = _Idle()
        while isinstance(self._wait, _Idle) and not self._ending:
            self._steps += 1
            if self._steps > self._step_limit:
                self._fail(f"the instructions went on for {self._step_limit} steps without anything that takes time")
            elif not self._verbs:
                self._out.append(effects.FinishDocument())
                self._wait, self._ending = _Idle(), True
            elif not self._answered and _needs_answer(self._verbs[0]):
                self._out.append(AnswerCall())
                self._wait = _Answering()
            else:
                verb = self._verbs.popleft()
                _BEGIN[type(verb)](self, verb)

    def _took_time(self) -> None:
        self._steps = 0

    def _action(
        self, url: str | None, method: Method, parameters: tuple[tuple[str, str], ...], *, last: bool = False
    ) -> None:
        """Request a verb's action, if it has one, and do what it answers, unless the call is over; else go on."""
        found = self._resolve(url) if url else None
        if found is None:
            if not last:
                self._go_on()
        elif last:
            self._out.append(effects.Notify(effects.DocumentRequest(found, method, parameters)))
        else:
            self._fetch(effects.DocumentRequest(found, method, parameters))

    def _resolve(self, reference: str) -> str | None:
        """The URL that a reference in the document means (RFC 3986 section 5); None, and a warning, for none."""
        with suppress(ValueError):
            url = urljoin(self._base or "", reference)
            parts = urlsplit(url)
            if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
                return url
        self._out.append(Note(f"{reference[:100]} is no http URL" + ("" if self._base else " and has no base")))
        return None

    def _job(self) -> int:
        self._jobs += 1
        return self._jobs

    # ── the call ────────────────────────────────────────────────────────────────────────────────────────────

    def _call_answered(self, _fact: facts.CallAnswered) -> None:
        self._answered = True

    def _call_ended(self, _fact: facts.CallFinished) -> None:
        self._ending = True
        wait = self._wait
        if isinstance(wait, _PendingRecording) and not wait.beeping:
            return  # its file is still to come
        if isinstance(wait, _Dialling):
            self._out.extend(effects.EndLeg(leg, "ended") for leg in sorted(wait.legs))
        self._wait = _Idle()

    def _end(self, cause: str, detail: str = "") -> None:
        self._out.append(EndCall(cause, detail=detail))
        self._wait, self._ending = _Idle(), True

    def _fail(self, cause: str, detail: str = "") -> None:
        self._out.append(Note(f"{cause}: {detail}" if detail else cause))
        self._end(cause, detail)

    def _abandon(self) -> None:
        """Stop what runs, for something else."""
        wait = self._wait
        match wait:
            case _Prompting() | _Gathering():
                self._out.append(StopPlayback(wait.job))
            case _Connected():
                self._out.append(effects.StopStreaming(wait.job))
            case _PendingRecording(beeping=True):
                self._out.append(StopPlayback(wait.job))
            case _PendingRecording():
                self._out.append(StopRecording(wait.job))
            case _Dialling():
                self._quiet(wait)
                self._stop_taping(wait)
                self._out.extend(effects.EndLeg(leg, "redirected") for leg in sorted(wait.legs))
        self._wait, self._steps = _Idle(), 0

    def _reject(self, verb: verbs.Reject) -> None:
        if self._answered:
            self._end("the instructions reject the call")
            return
        self._out.append(RejectCall(*_REFUSALS[verb.reason]))
        self._ending = True

    def _nothing(self, _verb: verbs.Answer) -> None:
        """What the verb wants was done before it began."""

    def _hang_up(self, _verb: verbs.Hangup) -> None:
        self._end("the instructions hang up")

    def _redirect(self, verb: verbs.Redirect) -> None:
        self._action(verb.url, verb.method, ())

    def _now_answered(self, _wait: _Answering, _fact: facts.CallAnswered) -> None:
        self._go_on()

    # ── prompts ─────────────────────────────────────────────────────────────────────────────────────────────

    def _prompt(self, verb: Prompt) -> int | None:
        """Begin it: the job whose end is awaited; None when there is nothing to do."""
        job = self._job()
        match verb:
            case verbs.Say():
                self._out.append(effects.PlaySound(job, verb, verb.loop))
            case verbs.Pause():
                self._out.append(effects.StartTimer(job, verb.length))
            case verbs.Play() if verb.digits:
                self._out += [SendDigits(verb.digits), effects.StartTimer(job, seconds_of(verb.digits))]
            case verbs.Play():
                url = self._resolve(verb.url)
                if url is None:
                    return None
                self._out.append(effects.PlaySound(job, effects.RemoteFile(url), verb.loop))
        return job

    def _begin_prompt(self, verb: Prompt) -> None:
        job = self._prompt(verb)
        if job is not None:
            self._wait = _Prompting(job)

    def _prompted(self, wait: _Prompting, fact: PlaybackEnded | facts.TimerExpired) -> None:
        if fact.job == wait.job:
            self._played(fact)
            self._go_on()

    def _played(self, fact: PlaybackEnded | facts.TimerExpired) -> None:
        if isinstance(fact, PlaybackEnded) and fact.error is not None:
            self._out.append(Note(f"nothing was played: {fact.error}"))
        else:
            self._took_time()

    # ── streams ─────────────────────────────────────────────────────────────────────────────────────────────

    def _start_stream(self, params: StreamParams) -> int:
        job = self._job()
        if params.status_callback is not None:
            params = replace(params, status_callback=self._resolve(params.status_callback))
        self._out.append(effects.StartStreaming(job, params))
        return job

    def _start(self, verb: verbs.Start) -> None:
        for params in verb.streams:
            self._start_stream(params)

    def _connect(self, verb: verbs.Connect) -> None:
        self._wait = _Connected(self._start_stream(verb.stream))

    def _stop(self, verb: verbs.Stop) -> None:
        self._out.append(effects.StopStreams(verb.name))

    def _stream_over(self, wait: _Connected, fact: facts.StreamOver) -> None:
        if fact.job != wait.job:
            return
        if fact.error is None:
            self._took_time()
        self._go_on()

    # ── gather ──────────────────────────────────────────────────────────────────────────────────────────────

    def _gather(self, verb: verbs.Gather) -> None:
        self._wait = wait = _Gathering(verb, deque(verb.prompts))
        self._gather_next(wait)

    def _gather_next(self, wait: _Gathering) -> None:
        while wait.prompts:
            job = self._prompt(wait.prompts.popleft())
            if job is not None:
                wait.job = job
                return
        self._gather_wait(wait)

    def _gather_wait(self, wait: _Gathering) -> None:
        wait.prompting, wait.job = False, self._job()
        self._out.append(effects.StartTimer(wait.job, wait.verb.timeout))

    def _gather_told(self, wait: _Gathering, fact: PlaybackEnded | facts.TimerExpired) -> None:
        if fact.job != wait.job:
            return
        self._played(fact)
        if wait.prompting:
            self._gather_next(wait)
        else:
            self._gathered(wait, "")

    def _gather_key(self, wait: _Gathering, fact: DigitHeard) -> None:
        verb, finishing = wait.verb, fact.digit in wait.verb.finish_on
        if not finishing and fact.digit not in verb.valid:
            return
        self._took_time()
        if wait.prompting:
            self._out.append(StopPlayback(wait.job))
            wait.prompts.clear()
        if finishing:
            self._gathered(wait, fact.digit)
            return
        wait.digits += fact.digit
        if len(wait.digits) >= verb.max_digits:
            self._gathered(wait, "")
        else:
            self._gather_wait(wait)

    def _gathered(self, wait: _Gathering, key: str) -> None:
        action = wait.verb.action if wait.digits else None
        self._action(action, wait.verb.method, (("Digits", wait.digits), ("FinishedOnKey", key)))

    # ── dial ────────────────────────────────────────────────────────────────────────────────────────────────

    def _dial(self, verb: verbs.Dial) -> None:
        legs = [self._job() for _ in verb.targets]
        self._wait = wait = _Dialling(verb, set(legs))
        for leg, target in zip(legs, verb.targets, strict=True):
            if target.status_callback is not None:
                target = replace(target, status_callback=self._resolve(target.status_callback))
            if target.url is not None:
                target = replace(target, url=self._resolve(target.url))
            self._out.append(
                effects.PlaceLeg(leg, target, verb.caller_id, verb.caller_name, verb.timeout, verb.time_limit)
            )
        if self._answered:
            self._ring(wait)

    def _tape(self, wait: _Dialling) -> None:
        """Record the call with the sound of the one that is dialled; once."""
        verb = wait.verb
        if verb.record == "do-not-record" or wait.recording is not None:
            return
        wait.recording = self._job()
        events = verb.recording_callback_events
        callback = self._recording_callback(verb.recording_callback, verb.recording_callback_method, events)
        options = RecordingOptions(2 if verb.record.endswith("-dual") else 1)
        self._out.append(effects.RecordCall(wait.recording, options, "DialVerb", callback))

    def _stop_taping(self, wait: _Dialling) -> None:
        if wait.recording is not None:
            self._out.append(StopRecording(wait.recording))

    def _ring(self, wait: _Dialling) -> None:
        if wait.verb.record.startswith("record-from-ringing"):
            self._tape(wait)
        wait.ringback = self._job()
        self._out.append(effects.PlaySound(wait.ringback, effects.Tone("ringback"), 0))

    def _quiet(self, wait: _Dialling) -> None:
        if wait.ringback is not None:
            self._out.append(StopPlayback(wait.ringback))
            wait.ringback = None

    def _leg_progressed(self, wait: _Dialling, fact: facts.LegProgressed) -> None:
        # Of several parties that ring, none is heard before one answers.
        if self._answered and wait.legs == {fact.leg}:
            self._bridge(wait, fact.leg)

    def _leg_answered(self, wait: _Dialling, fact: facts.LegAnswered) -> None:
        if fact.leg not in wait.legs or wait.winner is not None:
            return
        self._took_time()
        self._out.extend(effects.EndLeg(leg, "elsewhere") for leg in sorted(wait.legs - {fact.leg}))
        wait.legs, wait.winner = {fact.leg}, fact.leg
        if self._answered:
            self._bridge(wait, fact.leg)
        else:
            self._out.append(AnswerCall())

    def _dial_answered(self, wait: _Dialling, _fact: facts.CallAnswered) -> None:
        if wait.winner is not None:
            self._bridge(wait, wait.winner)
        else:
            self._ring(wait)

    def _bridge(self, wait: _Dialling, leg: int) -> None:
        self._quiet(wait)
        if wait.bridged != leg:
            wait.bridged = leg
            self._out.append(effects.BridgeLeg(leg))
        if wait.winner is not None:
            self._tape(wait)

    def _dial_key(self, wait: _Dialling, fact: DigitHeard) -> None:
        if fact.digit == "*" and wait.verb.hangup_on_star and wait.winner is not None:
            self._out.append(effects.EndLeg(wait.winner, "star"))

    def _leg_over(self, wait: _Dialling, fact: facts.LegOver) -> None:
        if fact.leg not in wait.legs:
            return
        wait.legs.discard(fact.leg)
        # One that answered, and went before it was connected, did not take the call.
        wait.statuses.add("no-answer" if fact.status == "completed" else fact.status)
        if wait.legs:
            return
        self._quiet(wait)
        self._stop_taping(wait)
        status = fact.status
        if wait.winner is None:
            status = next((best for best in _BEST if best in wait.statuses), _BEST[-1])
        self._action(
            wait.verb.action,
            wait.verb.method,
            (("DialCallStatus", status), ("DialCallSid", fact.sid), ("DialCallDuration", str(fact.seconds))),
        )

    # ── record ──────────────────────────────────────────────────────────────────────────────────────────────

    def _record(self, verb: verbs.Record) -> None:
        self._wait = wait = _PendingRecording(verb, self._job(), beeping=verb.play_beep)
        if verb.play_beep:
            self._out.append(effects.PlaySound(wait.job, effects.Tone("beep")))
        else:
            self._roll(wait)

    def _beeped(self, wait: _PendingRecording, fact: PlaybackEnded) -> None:
        if wait.beeping and fact.job == wait.job:
            wait.beeping, wait.job = False, self._job()
            self._roll(wait)

    def _roll(self, wait: _PendingRecording) -> None:
        verb = wait.verb
        track: Literal["inbound", "both"] = "both" if verb.channels == 2 else "inbound"
        options = RecordingOptions(verb.channels, verb.max_length, verb.timeout, verb.finish_on, track)
        callback = self._recording_callback(verb.status_callback, verb.status_callback_method)
        self._out.append(effects.RecordCall(wait.job, options, "RecordVerb", callback))

    def _recording_callback(self, url: str | None, method: Method, events: str = "completed") -> RecordingCallback:
        return RecordingCallback(self._resolve(url) if url else None, method, events)

    def _recorded(self, wait: _PendingRecording, fact: facts.RecordingSaved) -> None:
        if wait.beeping or fact.ended.job != wait.job:
            return
        verb, self._wait = wait.verb, _Idle()
        if self._is_lost(fact):
            if not self._ending:
                self._go_on()
            return
        self._took_time()
        hung_up = fact.ended.reason == "hangup"
        digits = "hangup" if hung_up else fact.ended.digit
        self._action(verb.action, verb.method, (*_about(fact), ("Digits", digits)), last=self._ending or hung_up)

    def _saved(self, fact: facts.RecordingSaved) -> None:
        wait = self._wait
        if not (isinstance(wait, _PendingRecording) and wait.job == fact.ended.job):
            self._is_lost(fact)  # that of a <Dial>, or one that other instructions cut off: nothing waits for it

    def _is_lost(self, fact: facts.RecordingSaved) -> bool:
        ended = fact.ended
        if ended.error is not None and ended.reason != "hangup":
            self._out.append(Note(f"nothing was recorded: {ended.error}"))
        return ended.error is not None


def _about(fact: facts.RecordingSaved) -> tuple[tuple[str, str], ...]:
    return (("RecordingUrl", fact.url), ("RecordingSid", fact.sid), ("RecordingDuration", str(int(fact.ended.seconds))))


def _requests(given: Instructions) -> list[effects.DocumentRequest]:
    method = given.method or "POST"
    both = ((given.url, method), (given.fallback_url, given.fallback_method or method))
    return [effects.DocumentRequest(url, method) for url, method in both if url is not None]


def _needs_answer(verb: Verb) -> bool:
    return not (verb.answer_on_bridge if isinstance(verb, verbs.Dial) else isinstance(verb, _UNANSWERED))


def seconds_of(digits: str) -> float:
    """How long the keys of a `<Play digits>` take."""
    return sum({"w": 0.5, "W": 1.0}.get(key, KEY_SECONDS) for key in digits)


_UNANSWERED = (verbs.Pause, verbs.Stop, verbs.Redirect, verbs.Reject, verbs.Hangup)

_BEGIN: dict[type, Callable[[Interpreter, Any], None]] = {
    verbs.Answer: Interpreter._nothing,
    verbs.Say: Interpreter._begin_prompt,
    verbs.Play: Interpreter._begin_prompt,
    verbs.Pause: Interpreter._begin_prompt,
    verbs.Start: Interpreter._start,
    verbs.Connect: Interpreter._connect,
    verbs.Stop: Interpreter._stop,
    verbs.Gather: Interpreter._gather,
    verbs.Dial: Interpreter._dial,
    verbs.Record: Interpreter._record,
    verbs.Redirect: Interpreter._redirect,
    verbs.Reject: Interpreter._reject,
    verbs.Hangup: Interpreter._hang_up,
}

_ALWAYS: dict[type, Callable[[Interpreter, Any], None]] = {
    facts.Instructed: Interpreter._instructed,
    facts.CallAnswered: Interpreter._call_answered,
    facts.CallFinished: Interpreter._call_ended,
    facts.RecordingSaved: Interpreter._saved,
}

_TABLE: dict[tuple[type, type], Callable[[Interpreter, Any, Any], None]] = {
    (_Fetching, facts.Fetched): Interpreter._fetched,
    (_Fetching, facts.FetchFailed): Interpreter._fetch_failed,
    (_Answering, facts.CallAnswered): Interpreter._now_answered,
    (_Prompting, PlaybackEnded): Interpreter._prompted,
    (_Prompting, facts.TimerExpired): Interpreter._prompted,
    (_Connected, facts.StreamOver): Interpreter._stream_over,
    (_Gathering, PlaybackEnded): Interpreter._gather_told,
    (_Gathering, facts.TimerExpired): Interpreter._gather_told,
    (_Gathering, DigitHeard): Interpreter._gather_key,
    (_Dialling, facts.LegProgressed): Interpreter._leg_progressed,
    (_Dialling, facts.LegAnswered): Interpreter._leg_answered,
    (_Dialling, facts.CallAnswered): Interpreter._dial_answered,
    (_Dialling, facts.LegOver): Interpreter._leg_over,
    (_Dialling, DigitHeard): Interpreter._dial_key,
    (_PendingRecording, PlaybackEnded): Interpreter._beeped,
    (_PendingRecording, facts.RecordingSaved): Interpreter._recorded,
}
