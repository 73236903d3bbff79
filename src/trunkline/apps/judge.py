"""Judges a bot by docs/reference/websocket.md, from what it did on its sockets. Pure.

What Telnyx documents and what this server merely accepts are apart (`Verdict.ACCEPTED`): a bot that does the latter
works here and may not work there.
"""

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trunkline.apps.items import Item, Verdict
from trunkline.apps.trace import Trace
from trunkline.media.audio.content import Kind, fix, recognise
from trunkline.media.codecs import CODECS
from trunkline.streaming.messages import FROM_APP, Clear, Mark, Problem, Refusal

SHORTEST_MS, LONGEST_MS = 20, 30_000
"""Audio of a `media` message as Telnyx documents it."""
BACKLOG_MS = 500
"""Audio that must be queued, or be played on, for an interruption to count."""
UNHEARD_MS = 400
"""Audible audio in the queue at the bot's close that is a loss: less may be on its way."""
BEHIND = 1.0
"""Seconds that a pong may take."""
SLOW_PACE = 0.8
"""Audio by time under which an utterance breaks up."""
PAUSE_MS = 400
"""Between two utterances."""
STEADY, STEADY_SECONDS = 15, 1.0
"""Messages in a row, and seconds, from which a pace is known."""
LOOKED_AT = 300
"""Messages of an utterance."""
UNSTEADY = 0.2
"""Seconds by which most messages are early or late at most, at such a pace."""
RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000)
"""Samples a second that speech services have."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """The caller spoke while the bot did. Times are milliseconds on the call's clock."""

    began: int
    queued_ms: int
    """Of the bot's audio, when it began."""
    marks_pending: int
    within: int
    """Milliseconds in which the bot is to be silent."""


def clear_after(trace: Trace, interruption: Interruption) -> float | None:
    """Milliseconds from the caller's first word to the bot's `clear`."""
    for one in trace.received:
        at = one.at * 1000 if one.leg_ms is None else one.leg_ms
        if isinstance(one.what, Clear) and at >= interruption.began:
            return at - interruption.began
    return None


def conversation(trace: Trace, interruption: Interruption | None) -> Iterator[Item]:
    """The items of the first socket."""
    yield messages(trace)
    yield sizes(trace)
    yield audio(trace)
    yield pace(trace)
    yield first_audio(trace)
    yield marks(trace, interruption)
    yield barge_in(trace, interruption)
    yield reading(trace)
    yield close(trace)


def messages(trace: Trace) -> Item:
    """JSON in text frames, with events and members that are documented."""
    name = "messages"
    counts = Counter(_kind(one.what) for one in trace.received)
    binary = [one.what for one in trace.received if isinstance(one.what, int)]
    if binary:
        return _violation(
            name,
            "binary_frames",
            f"{_counted(binary, 'binary frame')}, the first of {binary[0]} bytes; each is refused with error 100003.",
            'Send text frames: {"event": "media", "media": {"payload": "<base64 of the audio>"}}.',
        )
    refused = [one.what for one in trace.received if isinstance(one.what, Refusal)]
    unknown = [one for one in refused if one.problem is Problem.UNKNOWN]
    if unknown:
        return _violation(
            name,
            "unknown_event",
            f"{_counted(unknown, 'message')}: {unknown[0].detail}.",
            _meant(unknown[0].detail),
        )
    if refused:
        code = "malformed_message" if refused[0].problem is Problem.MALFORMED else "invalid_media"
        return _violation(
            name, code, f"{_counted(refused, 'message')}: {refused[0].detail}.", _shape(refused[0].detail)
        )
    errors = [one.message["payload"] for one in trace.sent if one.event == "error"]
    for error in errors:
        if trace.mode == "mp3" and error["code"] == Problem.INVALID_MEDIA.code:
            return _violation(
                name,
                "raw_audio_in_mp3_mode",
                f"{_refused(trace, 'invalid_media')} messages are not mp3 files, and are refused with error 100004.",
                "Start the stream with BidirectionalMode=rtp to send raw audio; the default is mp3, one whole file in "
                "each message.",
            )
        code = {100004: "invalid_media", 100005: "rate_limit"}.get(error["code"], "error_answers")
        return _violation(name, code, f"Answered with error {error['code']}: {error['detail']}.")
    if any(isinstance(one.what, Mark) and not one.what.name.startswith(b'"') for one in trace.received):
        return Item(
            name, Verdict.ACCEPTED, "A mark's name is no string. It comes back as it is; Telnyx documents strings."
        )
    words = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none"
    return Item(name, Verdict.OK, f"{words}.")


def _counted(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}" if len(things) == 1 else f"{len(things)} {noun}s"


def _refused(trace: Trace, title: str) -> int:
    return trace.errors.get(title, 0)


def _kind(what: object) -> str:
    return type(what).__name__.lower() if not isinstance(what, int) else "binary"


def _meant(detail: str) -> str:
    """The event that was probably meant."""
    sent = detail.partition("'")[2].partition("'")[0]
    near = difflib.get_close_matches(sent.lower(), FROM_APP, 1, 0.5)
    if near:
        return f'Did you mean "{near[0]}"? Names are in lower case.'
    return 'Audio is sent as {"event": "media", "media": {"payload": "..."}}; there are mark and clear besides.'


def _shape(detail: str) -> str:
    if "base64" in detail:
        return "Use the standard alphabet with padding (RFC 4648 section 4): base64.b64encode, not urlsafe_b64encode."
    if "payload" in detail:
        return 'The audio is a member of a member: {"event": "media", "media": {"payload": "..."}}.'
    return "See docs/reference/websocket.md, Messages from the app."


def sizes(trace: Trace) -> Item:
    """How much audio is in a message."""
    name = "sizes"
    found = sorted(trace.milliseconds(len(message.media.payload)) for _, message in trace.media())
    if not found or not found[-1]:
        return Item(name, Verdict.SKIPPED, "No message whose audio has a known length.")
    words = (
        f"{found[0]:g} to {found[-1]:g} ms of audio in a message" if found[0] < found[-1] else f"{found[0]:g} ms each"
    )
    if found[0] >= SHORTEST_MS and found[-1] <= LONGEST_MS:
        return Item(name, Verdict.OK, f"{words}.")
    short = sum(one < SHORTEST_MS for one in found)
    what = f"{short} {'is' if short == 1 else 'are'} shorter than 20 ms" if short else "some are longer than 30 s"
    return Item(name, Verdict.ACCEPTED, f"{words}; {what}. Any length is played here; Telnyx documents 20 ms to 30 s.")


def audio(trace: Trace) -> Item:
    """Whether the audio is in the codec of the stream."""
    name, codec = "audio", trace.bot_codec
    data = trace.audio()
    if trace.mode == "mp3":
        return Item(name, Verdict.OK if data else Verdict.SKIPPED, "mp3 files." if data else "No audio came.")
    found = recognise(data, codec)
    if found is not None and (found.certain or not trace.echoes()):
        return _violation(
            name, _MISTAKES.get(found.kind, f"{found.kind}_audio"), *_explained(trace, found.kind, found.words)
        )
    if not data:
        return Item(name, Verdict.SKIPPED, "No audio came.")
    if (faster := _steady_pace(trace)) is not None:
        rate = CODECS[codec].sample_rate
        real = min(RATES, key=lambda one: abs(one - faster * rate))
        return _violation(
            name,
            "wrong_sample_rate",
            f"Audio comes at a steady {faster:.1f} times the pace of {codec} at {rate} Hz: is it {real} Hz?",
            f"Resample it to {rate} Hz before it is sent, or start the stream with the BidirectionalSamplingRate that "
            "the speech service has (L16).",
        )
    echo = ", an echo of the caller's" if trace.echoes() else ""
    return Item(name, Verdict.OK, f"{trace.milliseconds(len(data)) / 1000:.1f} s of {codec}{echo}.")


_MISTAKES = {
    Kind.PCM16: "pcm16",
    Kind.BYTE_ORDER: "wrong_byte_order",
    Kind.WAV: "wav_header",
    Kind.MP3: "mp3_in_rtp_mode",
    Kind.NOISE: "noise",
}


def _explained(trace: Trace, kind: Kind, words: str) -> tuple[str, str]:
    """What the audio is instead, and what to do."""
    text = f"The audio is {words}; the stream's codec is {trace.bot_codec}."
    if (faster := _steady_pace(trace)) is not None:
        per_second = 1000 * CODECS[trace.bot_codec].bytes_per_ms
        text += f" {faster * per_second:.0f} bytes come in a second, {trace.bot_codec} has {per_second}."
    return text, fix(kind, trace.bot_codec)


def _runs(trace: Trace) -> Iterator[list[tuple[float, float]]]:
    """The utterances: of each message the seconds when it came, and those of its audio."""
    run: list[tuple[float, float]] = []
    for one, message in trace.media():
        if run and one.at - run[-1][0] > max(PAUSE_MS / 1000, 3 * run[-1][1]):
            yield run
            run = []
        run.append((one.at, trace.milliseconds(len(message.media.payload)) / 1000))
    if run:
        yield run


def _span(run: list[tuple[float, float]]) -> tuple[float, float]:
    """Seconds from the first message of an utterance to its last, and of the audio before the last."""
    return run[-1][0] - run[0][0], sum(length for _, length in run[:-1])


def _steady_pace(trace: Trace) -> float | None:
    """How many times faster than it plays the audio comes, if it comes as steadily as from a clock and at the pace of
    another sample rate; None otherwise. Speech services that send faster than they speak are not that steady."""
    rate = CODECS[trace.bot_codec].sample_rate
    for run in _runs(trace):
        seconds, _ = _span(run)
        if len(run) < STEADY or seconds < STEADY_SECONDS:
            continue
        times = np.array([at for at, _ in run])
        sent = np.cumsum([length for _, length in run])
        ratio, off = _line(times[:LOOKED_AT], sent[:LOOKED_AT])
        known = any(abs(ratio * rate / one - 1) < 0.05 for one in RATES)
        if ratio > 1.2 and known and off < UNSTEADY:
            return ratio
    return None


def _line(times: NDArray[np.float64], sent: NDArray[np.float64]) -> tuple[float, float]:
    """The slope of the line through these points, and by how many seconds three quarters of them are off it at most. It
    is the median of the slopes between all pairs, which a machine that stood still for a while does not change."""
    first, second = np.triu_indices(len(times), 5)
    slopes = (sent[second] - sent[first]) / np.maximum(times[second] - times[first], 1e-6)
    ratio = float(np.median(slopes))
    rests = sent - ratio * times
    return ratio, float(np.quantile(np.abs(rests - np.median(rests)), 0.75)) / max(ratio, 0.1)


def pace(trace: Trace) -> Item:
    """Whether the audio comes in time."""
    name = "pace"
    spans = [_span(run) for run in _runs(trace) if len(run) > 5]
    found = [(seconds, length) for seconds, length in spans if seconds >= 1 and length]
    slow = [(seconds, length) for seconds, length in found if length < SLOW_PACE * seconds]
    if slow and trace.underruns >= 3:
        share = sum(length for _, length in slow) / sum(seconds for seconds, _ in slow)
        return Item(
            name,
            Verdict.MISSED,
            f"Audio comes at {share:.0%} of the speed at which it is played, and broke up {trace.underruns} times.",
            "late_audio",
            "Does the bot sleep for longer than each piece lasts, or send half of each? Send it as it is made: this "
            "server queues and paces it.",
        )
    if trace.first_audio is None:
        return Item(name, Verdict.SKIPPED, "No audio came.")
    if not found:
        return Item(name, Verdict.OK, "In bursts, which are queued and played at the call's pace.")
    share = sum(length for _, length in found) / sum(seconds for seconds, _ in found)
    return Item(name, Verdict.OK, f"{share:.1f} times the speed at which it is played; {trace.underruns} underruns.")


def first_audio(trace: Trace) -> Item:
    """When the bot spoke first."""
    name = "first audio"
    if trace.first_audio is None:
        words = "The bot never spoke" if trace.closed is None or not trace.closed.by_bot else "The socket closed first"
        return Item(name, Verdict.SKIPPED, f"{words}: no media message came.", "never_spoke")
    return Item(name, Verdict.OK, f"{trace.first_audio * 1000:.0f} ms after start.")


def marks(trace: Trace, interruption: Interruption | None) -> Item:
    """Whether the bot knows what was heard."""
    name = "marks"
    asked = sum(isinstance(one.what, Mark) for one in trace.received)
    returned = sum(one.event == "mark" for one in trace.sent)
    if not asked:
        return Item(name, Verdict.SKIPPED, "The bot sends none, so it does not learn when its audio has been heard.")
    closed = trace.closed
    if closed is not None and closed.by_bot and trace.marks_pending and trace.unheard() >= UNHEARD_MS:
        return _missed(
            name,
            "marks_ignored",
            f"The bot closed the socket while {trace.marks_pending} of its marks were pending: "
            f"{trace.unheard() / 1000:.1f} s of its audio were never heard.",
            "Wait until the last mark comes back before you close the socket or hang up.",
        )
    if interruption is not None and interruption.marks_pending and _went_on(trace, interruption):
        return _missed(
            name,
            "marks_ignored",
            f"{interruption.marks_pending} marks were pending when the caller interrupted, and the bot did not clear: "
            "it takes audio for heard once it is sent.",
            "The bot is speaking until its last mark comes back. Keep the names of the marks that are pending.",
        )
    return Item(name, Verdict.OK, f"{asked} sent, {returned} returned.")


def _went_on(trace: Trace, interruption: Interruption) -> bool:
    """The bot was heard on until the limit, and did not clear."""
    if clear_after(trace, interruption) is not None or trace.echoes():
        return False
    end = interruption.began + interruption.within
    return trace.audible(end - 1000, end) >= BACKLOG_MS


def barge_in(trace: Trace, interruption: Interruption | None) -> Item:
    """Whether the bot stops when the caller speaks."""
    name = "barge-in"
    if interruption is None:
        if trace.first_audio is not None and trace.echoes():
            return Item(name, Verdict.SKIPPED, "The bot echoes: it has nothing queued that could be interrupted.")
        return Item(name, Verdict.SKIPPED, "The bot was not speaking when the caller could have interrupted it.")
    after = clear_after(trace, interruption)
    if after is not None:
        late = after > interruption.within
        verdict = Verdict.MISSED if late else Verdict.OK
        words = f"clear came {after:.0f} ms after the caller's first word"
        return Item(
            name, verdict, f"{words}{f', the limit is {interruption.within}' if late else ''}.", "late_clear" * late
        )
    if _went_on(trace, interruption):
        return _missed(
            name,
            "no_clear",
            f"The caller spoke for {interruption.within / 1000:g} s, and the bot was heard on: it sent no clear, with "
            f"{interruption.queued_ms / 1000:.1f} s of its audio queued.",
            'Send {"event": "clear"} when the caller begins to speak: what is queued here would be played to its end.',
        )
    return Item(name, Verdict.OK, "No clear, but the bot fell silent by itself.")


def reading(trace: Trace) -> Item:
    """Whether the bot reads as fast as we send."""
    name = "reading"
    answered = [seconds for _, seconds in trace.pings if seconds is not None]
    unanswered = len(trace.pings) - len(answered)
    advice = "Is there a blocking call in the bot's loop, or work of more than 20 ms for each message? Do it in a task."
    if trace.dropped or (unanswered and trace.closed is not None and not trace.closed.by_bot):
        lost = f"; {trace.dropped} messages were dropped" if trace.dropped else ""
        return Item(
            name, Verdict.MISSED, f"The bot does not read: a ping was not answered{lost}.", "slow_reader", advice
        )
    if answered and answered[-1] > BEHIND:
        text = f"The bot is {answered[-1]:.1f} s behind, after {trace.pings[-1][0]:.0f} s."
        return Item(name, Verdict.MISSED, text, "slow_reader", advice)
    if not answered:
        return Item(name, Verdict.SKIPPED, "No ping was answered before the socket closed.")
    return Item(name, Verdict.OK, f"{max(answered) * 1000:.0f} ms behind at most.")


def close(trace: Trace) -> Item:
    """How the socket ended."""
    name, closed = "close", trace.closed
    if closed is None:
        return Item(
            name, Verdict.MISSED, "The bot did not close within 5 s after stop and our close frame.", "late_close"
        )
    words = "without a close frame" if closed.code is None else f"with {closed.code}"
    if not closed.by_bot:
        if trace.closing is None:
            text = "The bot sent no close frame within 5 s after stop and ours."
            return Item(name, Verdict.MISSED, text, "late_close", "Leave the loop at stop, or when the socket closes.")
        return Item(name, Verdict.OK, f"The bot answered our close frame {trace.closing * 1000:.0f} ms after stop.")
    when = f"The bot closed {words} after {closed.at:.1f} s"
    if closed.code not in (1000, 1001, 1005):
        return _violation(
            name,
            "early_close",
            f"{when}, before stop.",
            "Did it raise an exception? Its log or its console may show it.",
        )
    if trace.first_audio is None:
        return _violation(name, "early_close", f"{when}, before stop, and had sent no audio.")
    if trace.unheard() >= UNHEARD_MS:
        text = f"{when}, and {trace.unheard() / 1000:.1f} s of its audio were never heard."
        return _missed(name, "early_close", text, "Send a mark behind the audio, and wait until it comes back.")
    return Item(name, Verdict.OK, f"{when}: the stream ends, and the call goes on.")


def survived(name: str, trace: Trace, what: str, at: float | None) -> Item:
    """Whether the socket outlived what was sent at `at` (seconds); None: it was not sent."""
    if at is None:
        return Item(name, Verdict.SKIPPED, "The socket was closed before.")
    closed = trace.closed
    if closed is not None and closed.by_bot and closed.code not in (1000, 1001, 1005) and closed.at >= at:
        text = f"The bot closed with {closed.code or 'no close frame'} after {what}."
        return Item(
            name, Verdict.MISSED, text, f"{name.replace(' ', '_')}_closes", "Ignore what the bot does not know."
        )
    return Item(name, Verdict.OK, f"The bot goes on after {what}.")


def reconnected(trace: Trace | None, refusal: str) -> Item:
    """The socket that follows one that broke; None where there is none."""
    name = "reconnect"
    advice = "The server dials again under the same stream_id, with a new connected and start: take a second socket."
    if trace is None:
        return Item(name, Verdict.MISSED, f"After a broken connection: {refusal}.", "no_reconnect", advice)
    closed = trace.closed
    if closed is not None and closed.by_bot and closed.code not in (1000, 1001, 1005):
        words = f"The second socket was closed with {closed.code or 'no close frame'} after {closed.at:.1f} s."
        return Item(name, Verdict.MISSED, words, "no_reconnect", advice)
    spoke = "and spoke" if trace.first_audio is not None else "silently"
    return Item(name, Verdict.OK, f"The bot took a second socket of the same stream {spoke}.")


def _violation(name: str, code: str, text: str, advice: str = "") -> Item:
    return Item(name, Verdict.VIOLATION, text, code, advice)


def _missed(name: str, code: str, text: str, advice: str = "") -> Item:
    return Item(name, Verdict.MISSED, text, code, advice)
