"""Why is there no audio? Counters in, sentences out: pure.

Two tables, one of a call's media leg and one of a stream, with a row for each thing that can be wrong: severity, code
(stable, for machines), condition, sentence, and the counters that show it. Rows stand in the order in which one would
look, and that order is kept within a severity.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from string import Formatter
from typing import Any, Generic, Literal, TypeVar

from trunkline.calls.views import CallView, StreamView
from trunkline.ids import StreamSid
from trunkline.media.report import QUIET, LegReport, LiveLegReport
from trunkline.outbound.urls import WebSocketUrl
from trunkline.streaming.params import StreamReport

Severity = Literal["error", "warning", "info", "ok"]
_ORDER: tuple[Severity, ...] = ("error", "warning", "info", "ok")

JUDGED = 5
"""Stretches of an app's audio from which on one may say that it is silent, and not just that it was."""
SETTLED = 2000
"""Milliseconds after which something should have happened."""

Value = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know."""

    severity: Severity
    code: str
    text: str
    """A sentence or two for people."""
    numbers: Mapping[str, Value]
    """The counters behind it."""
    stream: StreamSid | None = None
    """None: it is about the call."""


@dataclass(frozen=True, slots=True)
class StreamMedia:
    """A stream and what is known of its media."""

    view: StreamView
    state: str
    """Of its socket: `connecting`, `open`, …; `ended`."""
    report: StreamReport | None
    """None = none has come yet."""


@dataclass(frozen=True, slots=True)
class MediaReport:
    """What a call's media is doing, or did."""

    call: CallView
    live: bool
    leg: LegReport | None
    """Counters of the media leg, `LiveLegReport` while it is up; None when there are none."""
    streams: tuple[StreamMedia, ...]
    findings: tuple[Finding, ...]
    """Errors first."""


@dataclass(frozen=True, slots=True)
class _Leg(LiveLegReport):
    """A leg's counters, and what else its rows look at."""

    live: bool = True
    streams: int = 0
    """Those that run."""
    no_stream: str = ""

    @property
    def arrived(self) -> int:
        """What came and was not taken."""
        return self.unknown_payload_type + self.wrong_source + self.malformed + self.srtp_auth_failed

    @property
    def moved(self) -> bool:
        """The peer has gone silent, and another source has not."""
        return bool(self.wrong_source) and self.last_packet_ms > SETTLED and self.unexpected_source_ms < SETTLED

    @property
    def refused(self) -> int:
        """Packets of ours that the network refused."""
        return self.send_errors + self.receive_errors

    @property
    def seconds(self) -> int:
        """Age of the leg."""
        return round(self.duration_ms / 1000)

    @property
    def silent_s(self) -> float:
        """Seconds since the peer's last packet."""
        return round(self.last_packet_ms / 1000, 1)

    @property
    def expected_words(self) -> str:
        """For people."""
        return self.expected or "no address that its SDP gave"

    @property
    def hold(self) -> str:
        """For people."""
        return _HOLDS.get(self.direction, "the peer's SDP stops the audio")


@dataclass(frozen=True, slots=True)
class _StreamCounters(StreamReport):
    """A stream's counters, and what else its rows look at."""

    state: str = ""
    status: str = ""
    mode: str | None = None
    codec: str = ""
    track: str = ""
    reason: str = ""
    host: str = ""
    why_waiting: str = ""

    @property
    def error_invalid_media(self) -> int:
        """Messages of the app."""
        return self.errors.get("invalid_media", 0)

    @property
    def error_malformed_frame(self) -> int:
        """Messages of the app."""
        return self.errors.get("malformed_frame", 0)

    @property
    def error_unknown_error(self) -> int:
        """Messages of the app."""
        return self.errors.get("unknown_error", 0)

    @property
    def error_rate_limit_reached(self) -> int:
        """Messages of the app."""
        return self.errors.get("rate_limit_reached", 0)

    @property
    def bad(self) -> int:
        """Messages of the app that are no messages of ours."""
        return self.error_malformed_frame + self.error_unknown_error


class _Words(Formatter):
    """`{lost:packet}` is `1 packet` or `2 packets`, by the attribute `lost` of the one argument."""

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """`string.Formatter`'s call."""
        return getattr(args[0], str(key))

    def format_field(self, value: Any, spec: str) -> str:
        """`string.Formatter`'s call."""
        return f"{value} {spec}" + ("" if value == 1 else "s") if spec else str(value)


_words = _Words()


Facts = TypeVar("Facts", _Leg, _StreamCounters)


@dataclass(frozen=True, slots=True)
class _Finding(Generic[Facts]):
    severity: Severity
    code: str
    when: Callable[[Facts], object]
    text: str
    """With attributes of the facts, see `_Words`."""
    numbers: tuple[str, ...] = ()
    """Counters among these attributes."""


_HOLDS = {
    "recvonly": "the peer has put the call on hold: it sends audio but wants none (our side is recvonly)",
    "sendonly": "the peer sends no audio but takes ours (our side is sendonly)",
    "inactive": "the call is on hold, no audio flows either way (inactive)",
}

_LEG: tuple[_Finding[_Leg], ...] = (
    _Finding(
        "error",
        "no_rtp",
        lambda n: not (n.packets_in or n.arrived or n.on_hold) and n.duration_ms > SETTLED,
        "No RTP at all has arrived from the peer in {seconds} s. It was expected from {expected_words} at our UDP port "
        "{local_port}. Look for a firewall or NAT before that port, and whether media.advertised_host is an address "
        "that the peer can reach.",
        ("packets_in", "local_port", "duration_ms"),
    ),
    _Finding(
        "error",
        "rtp_stopped",
        lambda n: n.live and n.last_packet_ms > SETTLED and not n.on_hold and not n.moved,
        "RTP came, and then stopped {silent_s} s ago: the peer, or the network before it, sends no more.",
        ("packets_in", "last_packet_ms"),
    ),
    _Finding(
        "error",
        "source_moved",
        lambda n: n.live and n.moved and not n.on_hold,
        "RTP from {remote} stopped {silent_s} s ago, and now comes from {unexpected_source} instead: a NAT or a "
        "proxy has moved the peer. We take media from there when the peer says so, by a re-INVITE or UPDATE, or when "
        "the same stream goes on there (SSRC, payload type, sequence); with media.strict_source only from the address "
        "in the SDP.",
        ("packets_in", "last_packet_ms", "wrong_source", "unexpected_source_ms"),
    ),
    _Finding(
        "error",
        "wrong_payload_type",
        lambda n: n.unknown_payload_type and not n.frames_in,
        "{unknown_payload_type:RTP packet} came with payload type {seen_payload_type}, and none with {payload_type}, "
        "which was agreed for {codec}: the peer sends another codec than it negotiated.",
        ("unknown_payload_type", "seen_payload_type", "payload_type"),
    ),
    _Finding(
        "warning",
        "some_wrong_payload_type",
        lambda n: n.unknown_payload_type and n.frames_in,
        "{unknown_payload_type:RTP packet} of a payload type that was not agreed came, the last of "
        "{seen_payload_type}, while {codec} is {payload_type}. We left them out.",
        ("unknown_payload_type", "seen_payload_type", "frames_in"),
    ),
    _Finding(
        "error",
        "malformed_rtp",
        lambda n: n.malformed and not n.frames_in,
        "{malformed:datagram} came, but no RTP: is something else, or encryption that was not "
        "agreed, sent to this port?",
        ("malformed", "frames_in"),
    ),
    _Finding(
        "error",
        "srtp_refused",
        lambda n: n.srtp_auth_failed > n.frames_in / 10,
        "{srtp_auth_failed:packet} came encrypted with another key than that in the peer's SDP; we took none of it.",
        ("srtp_auth_failed", "frames_in"),
    ),
    _Finding(
        "warning",
        "unexpected_source",
        lambda n: n.wrong_source and not n.moved,
        "{wrong_source:packet} came from elsewhere than the peer, {remote}, the last from {unexpected_source}. We take "
        "nothing from there, and with media.strict_source nothing but from the address in the SDP.",
        ("wrong_source", "packets_in"),
    ),
    _Finding(
        "info",
        "source_differs",
        lambda n: n.remote_learned and n.expected and n.expected != n.remote,
        "RTP comes from {remote}, not from {expected} as the peer's SDP says (NAT, mostly). We answer to where it "
        "comes from.",
    ),
    _Finding(
        "warning",
        "on_hold",
        lambda n: n.on_hold,
        "On hold: {hold}.",
        ("while_on_hold",),
    ),
    _Finding(
        "error",
        "refused_by_network",
        lambda n: n.send_errors + n.receive_errors > n.packets_out / 10,
        "The network refused {refused:packet} of ours (ICMP): nothing listens at {remote}.",
        ("send_errors", "receive_errors", "packets_out"),
    ),
    _Finding(
        "error",
        "nothing_sent",
        lambda n: n.duration_ms > SETTLED and not n.packets_out and not n.on_hold,
        "We have sent the peer nothing: there is no address to send to, or nothing to play while media.send_silence "
        "is off.",
        ("packets_out",),
    ),
    _Finding(
        "warning",
        "peer_reports_loss",
        lambda n: n.peer_lost > max(5, n.packets_out / 50),
        "The peer reports {peer_lost} of our {packets_out:packet} as lost.",
        ("peer_lost", "packets_out", "round_trip_ms"),
    ),
    _Finding(
        "warning",
        "loss",
        lambda n: n.lost > max(5, n.frames_in / 50),
        "We miss {lost:packet} of the peer's, lost on their way to us ({frames_in} came).",
        ("lost", "frames_in", "jitter_ms"),
    ),
    _Finding(
        "info",
        "caller_silent",
        lambda n: n.heard_frames and n.heard_level_db < QUIET,
        "RTP arrives, but just now it held silence ({heard_level_db} dB): the peer did not speak, or the "
        "microphone is muted.",
        ("heard_frames", "heard_level_db"),
    ),
    _Finding(
        "warning",
        "no_stream",
        lambda n: n.live and not n.streams,
        "{no_stream}, so no app hears the call.",
    ),
)

_STREAM: tuple[_Finding[_StreamCounters], ...] = (
    _Finding(
        "error",
        "stream_failed",
        lambda n: n.status == "failed",
        "The stream to {host} failed: {reason}.",
    ),
    _Finding(
        "warning",
        "connecting",
        lambda n: n.state == "connecting" and not n.failed_tries,
        "The WebSocket to {host} is not open yet: the app has not answered so far.",
    ),
    _Finding(
        "error",
        "no_connection",
        lambda n: n.state in ("connecting", "reconnecting") and n.failed_tries,
        "There is no WebSocket to {host}: {failed_tries:failed connection attempt}, the last because: {last_cause}.",
        ("failed_tries", "reconnects"),
    ),
    _Finding(
        "error",
        "connection_lost",
        lambda n: n.state == "reconnecting" and not n.failed_tries,
        "The WebSocket to {host} was lost, and is dialled again: {last_cause}.",
        ("reconnects",),
    ),
    _Finding(
        "warning",
        "reconnects",
        lambda n: n.reconnects,
        "The WebSocket was lost and opened again {reconnects:time}, the last time because: {last_cause}.",
        ("reconnects",),
    ),
    _Finding(
        "warning",
        "frames_lost",
        lambda n: n.frames_lost,
        "The app does not get {frames_lost:frame}, lost with a WebSocket, or while there was none and beyond what "
        "streams.replay keeps.",
        ("frames_lost", "reconnects"),
    ),
    _Finding(
        "error",
        "wrong_mode",
        lambda n: n.error_invalid_media and n.mode == "mp3",
        "The stream is in mp3 mode, the default of BidirectionalMode, but the app sent {error_invalid_media:message} "
        "without mp3. Start it with BidirectionalMode=rtp to send raw codec bytes.",
        ("error_invalid_media", "messages_received"),
    ),
    _Finding(
        "error",
        "undecodable_media",
        lambda n: n.error_invalid_media and n.mode != "mp3",
        "The app sent {error_invalid_media:message} without audio that can be decoded (it got error 100004).",
        ("error_invalid_media", "messages_received"),
    ),
    _Finding(
        "warning",
        "bad_messages",
        lambda n: n.error_malformed_frame or n.error_unknown_error,
        "The app sent {bad:message} that we could not use (it got errors 100002 or 100003).",
        ("error_malformed_frame", "error_unknown_error", "messages_received"),
    ),
    _Finding(
        "warning",
        "app_reports_errors",
        lambda n: n.errors_received,
        "The app sent {errors_received:message} of the event `error`: there is something that it cannot use. Its own "
        "log may say what.",
        ("errors_received", "messages_received"),
    ),
    _Finding(
        "warning",
        "over_the_limit",
        lambda n: n.error_rate_limit_reached,
        "The app sent {error_rate_limit_reached:message} too many or too much, which we dropped (error 100005).",
        ("error_rate_limit_reached", "queued_ms"),
    ),
    _Finding(
        "error",
        "app_silent",
        lambda n: n.app_samples >= JUDGED and n.app_level_db < QUIET,
        "What the app sends is silence: of all {app_samples} that were measured the loudest had {app_level_db} "
        "dB. Does it send {codec}, and is its own source muted?",
        ("app_samples", "app_level_db", "bytes_received"),
    ),
    _Finding(
        "warning",
        "app_silent_so_far",
        lambda n: 0 < n.app_samples < JUDGED and n.app_level_db < QUIET,
        "What was heard of the app's audio so far is silence ({app_level_db} dB), but it was not much yet: of a second "
        "or of a message a tenth of a second is measured.",
        ("app_samples", "app_level_db", "bytes_received"),
    ),
    _Finding(
        "warning",
        "app_sends_nothing",
        lambda n: n.state == "open" and not n.messages_received,
        "The app has sent no message at all, so there is nothing to play to the caller.",
        ("messages_received",),
    ),
    _Finding(
        "warning",
        "app_sends_no_audio",
        lambda n: n.messages_received and not n.bytes_received and not n.error_invalid_media,
        "The app has sent {messages_received:message}, but no audio.",
        ("messages_received", "bytes_received"),
    ),
    _Finding(
        "warning",
        "no_opposite_leg",
        lambda n: n.unheard_ms,
        "{unheard_ms} ms of the app's audio were played to no leg: BidirectionalTargetLegs is opposite, and the call "
        "was bridged with no other meanwhile.",
        ("unheard_ms", "played_ms"),
    ),
    _Finding(
        "warning",
        "playback_waits",
        lambda n: n.queued_ms and not n.played_ms,
        "{queued_ms} ms of the app's audio wait and nothing of it has been played: {why_waiting}.",
        ("queued_ms", "played_ms"),
    ),
    _Finding(
        "info",
        "queue_empty",
        lambda n: n.state == "open" and n.played_ms and not n.queued_ms,
        "All that the app has sent so far is played ({played_ms} ms); it hears silence until the app sends more.",
        ("played_ms", "queued_ms"),
    ),
    _Finding(
        "warning",
        "underruns",
        lambda n: n.underruns > 3 and n.played_ms < n.underruns * 1000,
        "Playback ran dry {underruns:time} in {played_ms} ms: the app's audio comes too late or too slowly. A larger "
        "streams.prebuffer helps against jitter.",
        ("underruns", "played_ms"),
    ),
    _Finding(
        "error",
        "app_does_not_read",
        lambda n: n.frames_dropped,
        "The app reads too slowly: we dropped {frames_dropped:frame}.",
        ("frames_dropped", "frames_sent"),
    ),
    _Finding(
        "warning",
        "paused",
        lambda n: n.status == "paused",
        "The stream is paused: the app is sent no audio until Status=in-progress.",
    ),
    _Finding(
        "error",
        "app_gets_nothing",
        lambda n: n.state == "open" and not n.frames_sent and n.status != "paused",
        "The app has been sent no audio ({track}): see what is said of the call.",
        ("frames_sent",),
    ),
    _Finding(
        "info",
        "stream_stopped",
        lambda n: n.status == "stopped",
        "The stream to {host} is over: {reason}.",
    ),
)


def diagnose(
    call: CallView, leg: LegReport | None, streams: Iterable[StreamMedia], *, live: bool
) -> tuple[Finding, ...]:
    """All that the counters show, errors first; while a stream runs, findings on those that ended come last, as
    information. With nothing wrong the finding is that audio flows; a call without an answer has only that finding."""
    if not call.answered_at and (call.ended_at or call.status in ("queued", "ringing")):
        return (_unanswered(call), *_notes(call))
    streams = tuple(streams)
    running = live and any(stream.state != "ended" for stream in streams)
    facts = _Leg(
        **({} if leg is None else leg.counters()),
        live=live,
        streams=sum(stream.state != "ended" for stream in streams),
        no_stream="No stream is running any more" if streams else "No stream has been started",
    )
    findings = list(_apply(_LEG, facts, None)) if leg else [_no_leg(call, live=live)]
    findings += _notes(call)
    past: list[Finding] = []
    for stream in streams:
        found = _apply(_STREAM, _stream_facts(stream, facts), stream.view.sid)
        if running and stream.state == "ended":
            past += [replace(finding, severity="info") for finding in found]
        else:
            findings += found
    if not any(finding.severity in ("error", "warning") for finding in findings):
        flows = f"Nothing is wrong: {facts.frames_in} audio frames came from the peer, {facts.packets_out} went to it."
        counted = {"frames_in": facts.frames_in, "packets_out": facts.packets_out}
        findings.append(Finding("ok", "audio_flows", flows, counted))
    return (*sorted(findings, key=lambda finding: _ORDER.index(finding.severity)), *past)


def _apply(rows: tuple[_Finding[Facts], ...], facts: Facts, stream: StreamSid | None) -> Iterator[Finding]:
    for row in rows:
        if row.when(facts):
            shown = {name: getattr(facts, name) for name in row.numbers}
            yield Finding(row.severity, row.code, _words.format(row.text, facts), shown, stream)


def _notes(call: CallView) -> list[Finding]:
    return [Finding("warning", "instructions", f"The call's instructions: {note}.", {}) for note in call.notes]


def _unanswered(call: CallView) -> Finding:
    """Its leg's counters would only say that nothing has flowed."""
    if call.ended_at is None:
        return Finding("warning", "not_answered_yet", "The call is not answered yet, so nothing can be streamed.", {})
    cause = call.hangup_cause or "why was not recorded"
    return Finding("error", "never_answered", f"The call was never answered: {cause}.", {})


def _no_leg(call: CallView, *, live: bool) -> Finding:
    if live:
        return Finding("error", "worker_silent", "The media worker of this call does not answer.", {})
    cause = call.hangup_cause or "its end was not recorded"
    return Finding("error", "never_had_media", f"No counters are kept of this call; {cause}.", {})


def _stream_facts(stream: StreamMedia, leg: _Leg) -> _StreamCounters:
    view, report = stream.view, stream.report or StreamReport()
    return _StreamCounters(
        **{field.name: getattr(report, field.name) for field in fields(StreamReport)},
        state=stream.state,
        status=view.status,
        mode=view.mode,
        codec=view.codec or "the codec that was agreed",
        track=view.track,
        reason=view.ended_reason or "for no reason that was recorded",
        host=WebSocketUrl.parse(view.url).host,
        why_waiting="the call is on hold" if leg.on_hold else "the prebuffer is not full yet",
    )
