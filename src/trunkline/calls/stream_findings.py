"""What can be wrong with a stream and its app: a row each, in the order in which one would look. Pure."""

from dataclasses import dataclass

from trunkline.calls.findings import FindingRow
from trunkline.media.report import QUIET
from trunkline.streaming.params import ErrorTitle, StreamReport

FAST = 115
"""Percent of real time above which an app is ahead."""
SLOW = 85
"""Percent of real time below which an app's audio has gaps."""
LITTLE_LEFT = 1500
"""Milliseconds of audio below which little is left to play: an app that is too slow is heard with gaps, or soon is."""
BROKEN_UP = 3
"""Underruns that may happen: from more on an app's audio comes too late or too slowly."""
BACKLOG = 4000
"""Milliseconds of audio that must wait before it is said that more and more does; less (`LITTLE_LEFT`) if the speed is
that of a sample rate."""
PCM_RATES = (8000, 16000, 22050, 24000, 44100, 48000)
"""Sample rates of speech services, in Hz."""
NEAR = 15
"""A speed is that of a sample rate if it differs by less than one in so many."""
STALLED = 50
"""Frames that wait, from which on an app does not read."""
_APP_CLOSED = "the app closed the socket"
_DOCUMENT_OVER = "the call ended: the instructions ended"
LITTLE_SENT = 150
"""Frames that an app has got of a call that was over almost at once: three seconds."""
JUDGED = 5
"""Stretches of an app's audio from which on one may say that it is silent, and not just that it was."""


@dataclass(frozen=True, slots=True)
class StreamFacts(StreamReport):
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

    @property
    def all_bad(self) -> bool:
        """No message of the app was one of ours."""
        return 0 < self.messages_received <= self.bad

    @property
    def bad_detail(self) -> str:
        """Of the last such message."""
        return self._detail("malformed_frame", "unknown_error")

    @property
    def media_detail(self) -> str:
        """Of the last message whose audio could not be used."""
        return self._detail("invalid_media")

    @property
    def limit_detail(self) -> str:
        """Of the last message that was too much."""
        return self._detail("rate_limit_reached")

    def _detail(self, *titles: ErrorTitle) -> str:
        return next((self.refusals[title] for title in titles if title in self.refusals), "its detail is not kept")

    @property
    def seen_instead(self) -> str:
        """What came instead of mp3, if it is known."""
        words = self.media_detail.partition("; it is ")[2]
        return f" but {words}" if words else ""

    @property
    def l16_rate(self) -> int:
        """Sample rate in Hz of a stream in L16; 0 = it is none."""
        return self.bytes_per_second // 2 if self.codec == "L16" else 0

    @property
    def codec_words(self) -> str:
        """For people."""
        return f"L16 at {self.l16_rate} Hz" if self.l16_rate else self.codec

    @property
    def arriving(self) -> int:
        """Bytes of audio a second that come from the app."""
        return self.app_pace_percent * self.bytes_per_second // 100

    @property
    def queued_s(self) -> int:
        """Seconds of audio that wait."""
        return self.queued_ms // 1000

    @property
    def waits_more_and_more(self) -> bool:
        """Audio comes faster than it is played, and steadily so."""
        fast = self.app_pace_percent > FAST and self.bytes_per_second > 0
        return fast and self.queued_ms > (LITTLE_LEFT if self.pcm_rate else BACKLOG)

    @property
    def too_slow(self) -> bool:
        """Audio comes slower than it is played, which was heard, and little is left."""
        slow = 0 <= self.app_pace_percent < SLOW and self.bytes_per_second > 0
        return slow and self.underruns > BROKEN_UP and self.queued_ms < LITTLE_LEFT

    @property
    def pcm_rate(self) -> int:
        """Sample rate in Hz of 16-bit PCM that comes as fast, another than the stream's; 0 = there is none."""
        for rate in PCM_RATES:
            if abs(self.arriving - 2 * rate) * NEAR < 2 * rate and 2 * rate != self.bytes_per_second:
                return rate
        return 0

    @property
    def speed_words(self) -> str:
        """What the speed tells of audio that is 16-bit PCM."""
        if self.app_audio != "pcm16" or not self.pcm_rate:
            return ""
        return f" {self.arriving} bytes come each second: the sample rate is {self.pcm_rate} Hz."

    @property
    def slow_words(self) -> str:
        """What audio that is so slow may be."""
        if 0 < self.pcm_rate < self.l16_rate:
            return f"As much as L16 at {self.pcm_rate} Hz: does the stream need that BidirectionalSamplingRate? Or send"
        if self.l16_rate and abs(self.arriving - 8000) * NEAR < 8000:
            return "As much as PCMU or PCMA: does the stream need that BidirectionalCodec? Or send"
        return "Send"

    @property
    def why_nothing(self) -> str:
        """For people."""
        if self.track != "outbound_track":
            return "see what is said of the call"
        return "nothing is played to the caller; it hears the caller with Track=inbound_track or both_tracks"

    @property
    def closed_early(self) -> bool:
        """The app closed the socket almost at once."""
        closed = self.status == "stopped" and self.reason.startswith(_APP_CLOSED)
        return closed and not self.bytes_received and self.frames_sent < LITTLE_SENT

    @property
    def document_over(self) -> bool:
        """The call ended almost at once, with its instructions."""
        return self.status == "stopped" and self.reason == _DOCUMENT_OVER and self.frames_sent < LITTLE_SENT

    @property
    def lost_because(self) -> str:
        """Why the last socket was lost."""
        hint = " (an error in the app: see its own log)" if "with 1011" in self.last_cause else ""
        return f"{self.last_cause}{hint}"

    @property
    def hears_both(self) -> bool:
        """The app sends back what it gets of both tracks, which is twice as much as is played."""
        return self.track == "both_tracks" and self.is_echo and self.app_pace_percent > FAST

    @property
    def is_echo(self) -> bool:
        """The app sends about as many messages as it gets."""
        return self.frames_sent > 20 and abs(self.messages_received - self.frames_sent) * 5 < self.frames_sent


STREAM_ROWS: tuple[FindingRow[StreamFacts], ...] = (
    FindingRow(
        "error",
        "stream_failed",
        lambda n: n.status == "failed",
        "The stream to {host} failed: {reason}.",
    ),
    FindingRow(
        "warning",
        "connecting",
        lambda n: n.state == "connecting" and not n.failed_tries,
        "The WebSocket to {host} is not open yet: the app has not answered so far.",
    ),
    FindingRow(
        "error",
        "no_connection",
        lambda n: n.state in ("connecting", "reconnecting") and n.failed_tries,
        "There is no WebSocket to {host}: {failed_tries:failed connection attempt}, the last because: {last_cause}.",
        ("failed_tries", "reconnects"),
    ),
    FindingRow(
        "error",
        "no_connection",
        lambda n: n.status == "stopped" and n.failed_tries,
        "There was no WebSocket to {host} at the end: {failed_tries:failed connection attempt}, the last because: "
        "{last_cause}.",
        ("failed_tries", "reconnects"),
    ),
    FindingRow(
        "error",
        "app_closed_at_once",
        lambda n: n.closed_early,
        "The stream to {host} is over: {reason}, after {frames_sent:frame} and before it sent any audio. Has its "
        "handler returned, or did an error end it? Its own log may say.",
        ("frames_sent", "messages_received", "bytes_received"),
    ),
    FindingRow(
        "error",
        "instructions_ended",
        lambda n: n.document_over,
        "The call's instructions ended, and with them the call, when the app had got {frames_sent:frame}: "
        "<Start><Stream> does not wait. Use <Connect><Stream>, or <Pause> behind it.",
        ("frames_sent",),
    ),
    FindingRow(
        "error",
        "connection_lost",
        lambda n: n.state == "reconnecting" and not n.failed_tries,
        "The WebSocket to {host} was lost, and is dialled again: {lost_because}.",
        ("reconnects",),
    ),
    FindingRow(
        "warning",
        "reconnects",
        lambda n: n.reconnects,
        "The WebSocket was lost and opened again {reconnects:time}, the last time because: {lost_because}.",
        ("reconnects",),
    ),
    FindingRow(
        "warning",
        "frames_lost",
        lambda n: n.frames_lost,
        "The app does not get {frames_lost:frame}, lost with a WebSocket, or while there was none and beyond what "
        "streams.replay keeps.",
        ("frames_lost", "reconnects"),
    ),
    FindingRow(
        "error",
        "wrong_mode",
        lambda n: n.error_invalid_media and n.mode == "mp3",
        "The stream is in mp3 mode, the default of BidirectionalMode, but the app sent {error_invalid_media:message} "
        "without mp3{seen_instead}. Start it with BidirectionalMode=rtp to send raw codec bytes.",
        ("error_invalid_media", "messages_received"),
    ),
    FindingRow(
        "error",
        "wrong_audio",
        lambda n: n.app_audio not in ("", "noise"),
        "What the app sends is not {codec_words}: {app_audio_words}{speed_words}",
        ("app_audio", "app_pace_percent", "bytes_received"),
    ),
    FindingRow(
        "warning",
        "sounds_like_noise",
        lambda n: n.app_audio == "noise",
        "What the app sends is hardly {codec_words}: {app_audio_words}",
        ("bytes_received", "app_level_db"),
    ),
    FindingRow(
        "warning",
        "backlog_grows",
        lambda n: n.waits_more_and_more and n.pcm_rate and not (n.app_audio or n.hears_both),
        "The app sends {arriving} bytes of audio a second, and {codec_words} is {bytes_per_second}, so {queued_s} s of "
        "it wait, and more and more. So many are 16-bit PCM at {pcm_rate} Hz: is that what it sends? Then convert it, "
        "or start the stream with BidirectionalCodec=L16 and BidirectionalSamplingRate={pcm_rate}.",
        ("app_pace_percent", "bytes_per_second", "queued_ms"),
    ),
    FindingRow(
        "info",
        "app_is_ahead",
        lambda n: n.waits_more_and_more and not (n.pcm_rate or n.app_audio or n.hears_both),
        "The app sends {arriving} bytes of audio a second, and {codec_words} is {bytes_per_second}, so {queued_s} s of "
        "it wait. That is no fault as long as it sends `clear` when the caller interrupts.",
        ("app_pace_percent", "bytes_per_second", "queued_ms"),
    ),
    FindingRow(
        "error",
        "too_slow",
        lambda n: n.too_slow and n.app_audio in ("", "noise"),
        "The app sends {arriving} bytes of audio a second, and {codec_words} is {bytes_per_second}, so the caller "
        "heard {underruns:gap}. {slow_words} 20 ms of audio each 20 ms by the clock, not by a sleep of 20 ms "
        "after each message. No prebuffer helps.",
        ("app_pace_percent", "bytes_per_second", "underruns", "queued_ms"),
    ),
    FindingRow(
        "error",
        "hears_itself",
        lambda n: n.track == "outbound_track" and n.is_echo and n.bytes_received,
        "The app gets only what the caller is played (Track=outbound_track), and answers with as many messages: it "
        "hears itself and not the caller. Start the stream with Track=inbound_track.",
        ("frames_sent", "messages_received"),
    ),
    FindingRow(
        "error",
        "hears_itself",
        lambda n: n.hears_both,
        "The app gets both what the caller says and what it is played (Track=both_tracks), and answers with as many "
        "messages: it hears itself too. Start the stream with Track=inbound_track, or use media of the track `inbound` "
        "alone.",
        ("frames_sent", "messages_received", "app_pace_percent"),
    ),
    FindingRow(
        "warning",
        "caller_unheard",
        lambda n: n.track == "outbound_track" and not n.is_echo and n.bytes_received,
        "The app sends audio, but gets only what the caller is played (Track=outbound_track). To hear the caller it "
        "needs Track=inbound_track or both_tracks.",
        ("frames_sent", "messages_received"),
    ),
    FindingRow(
        "error",
        "undecodable_media",
        lambda n: n.error_invalid_media and n.mode != "mp3",
        "The app sent {error_invalid_media:message} without audio that can be decoded (error 100004). Of the last: "
        "{media_detail}.",
        ("error_invalid_media", "messages_received"),
    ),
    FindingRow(
        "error",
        "all_refused",
        lambda n: n.all_bad,
        "Of all that the app sent ({messages_received:message}) we could use nothing. Of the last: {bad_detail}.",
        ("error_malformed_frame", "error_unknown_error", "messages_received"),
    ),
    FindingRow(
        "warning",
        "bad_messages",
        lambda n: n.bad and not n.all_bad,
        "The app sent {bad:message} that we could not use (errors 100002 and 100003). Of the last: {bad_detail}.",
        ("error_malformed_frame", "error_unknown_error", "messages_received"),
    ),
    FindingRow(
        "warning",
        "app_reports_errors",
        lambda n: n.errors_received,
        "The app sent {errors_received:message} of the event `error`: there is something that it cannot use. Its own "
        "log may say what.",
        ("errors_received", "messages_received"),
    ),
    FindingRow(
        "warning",
        "over_the_limit",
        lambda n: n.error_rate_limit_reached,
        "The app sent {error_rate_limit_reached:message} too many or too much, which we dropped (error 100005). "
        "Of the last: {limit_detail}.",
        ("error_rate_limit_reached", "queued_ms"),
    ),
    FindingRow(
        "error",
        "app_silent",
        lambda n: n.app_samples >= JUDGED and n.app_level_db < QUIET,
        "What the app sends is silence: of all {app_samples} that were measured the loudest had {app_level_db} "
        "dB. Does it send {codec}, and is its own source muted?",
        ("app_samples", "app_level_db", "bytes_received"),
    ),
    FindingRow(
        "warning",
        "app_silent_so_far",
        lambda n: 0 < n.app_samples < JUDGED and n.app_level_db < QUIET,
        "What was heard of the app's audio so far is silence ({app_level_db} dB), but it was not much yet: of a second "
        "or of a message a tenth of a second is measured.",
        ("app_samples", "app_level_db", "bytes_received"),
    ),
    FindingRow(
        "warning",
        "app_sends_nothing",
        lambda n: n.state == "open" and not n.messages_received and n.frames_waiting <= STALLED,
        "The app has sent no message at all, so there is nothing to play to the caller.",
        ("messages_received",),
    ),
    FindingRow(
        "warning",
        "app_sends_no_audio",
        lambda n: n.messages_received and not n.bytes_received and not n.error_invalid_media and not n.all_bad,
        "The app has sent {messages_received:message}, but no audio.",
        ("messages_received", "bytes_received"),
    ),
    FindingRow(
        "warning",
        "no_opposite_leg",
        lambda n: n.unheard_ms,
        "{unheard_ms} ms of the app's audio were played to no leg: BidirectionalTargetLegs is opposite, and the call "
        "was bridged with no other meanwhile.",
        ("unheard_ms", "played_ms"),
    ),
    FindingRow(
        "warning",
        "playback_waits",
        lambda n: n.queued_ms and not n.played_ms,
        "{queued_ms} ms of the app's audio wait and nothing of it has been played: {why_waiting}.",
        ("queued_ms", "played_ms"),
    ),
    FindingRow(
        "info",
        "queue_empty",
        lambda n: n.state == "open" and n.played_ms and not n.queued_ms,
        "All that the app has sent so far is played ({played_ms} ms); it hears silence until the app sends more.",
        ("played_ms", "queued_ms"),
    ),
    FindingRow(
        "warning",
        "underruns",
        lambda n: n.underruns > BROKEN_UP and not n.too_slow and n.played_ms < n.underruns * 1000,
        "Playback ran dry {underruns:time} in {played_ms} ms: the app's audio comes too late or too slowly. A larger "
        "streams.prebuffer helps against jitter.",
        ("underruns", "played_ms"),
    ),
    FindingRow(
        "error",
        "app_stalls",
        lambda n: n.state == "open" and n.frames_waiting > STALLED and not n.frames_dropped,
        "The app does not read: {frames_waiting:frame} of audio wait for it. Something keeps it from its WebSocket, "
        "mostly a call that blocks its event loop.",
        ("frames_waiting", "frames_sent"),
    ),
    FindingRow(
        "error",
        "app_does_not_read",
        lambda n: n.frames_dropped,
        "The app reads too slowly: we dropped {frames_dropped:frame}. Something keeps it from its WebSocket, mostly a "
        "call that blocks its event loop.",
        ("frames_dropped", "frames_sent"),
    ),
    FindingRow(
        "warning",
        "paused",
        lambda n: n.status == "paused",
        "The stream is paused: the app is sent no audio until Status=in-progress.",
    ),
    FindingRow(
        "error",
        "app_gets_nothing",
        lambda n: n.state == "open" and not n.frames_sent and n.status != "paused" and n.frames_waiting <= STALLED,
        "The app has been sent no audio ({track}): {why_nothing}.",
        ("frames_sent",),
    ),
    FindingRow(
        "info",
        "stream_stopped",
        lambda n: n.status == "stopped" and not (n.failed_tries or n.closed_early or n.document_over),
        "The stream to {host} is over: {reason}.",
    ),
)
