"""What a stream to a bot is asked to be, without a server. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.media.audio.decoding import TooLong, UndecodableFile, decode
from trunkline.outbound.urls import BadUrl, WebSocketUrl, public_part
from trunkline.streaming.files import Answer
from trunkline.streaming.messages import Problem, Refusal
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, StreamParams, Track


class BotUnreachable(Exception):
    """There is no WebSocket; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class BotStream:
    """What the stream to a bot is asked to be."""

    url: str
    mode: BidirectionalMode = BidirectionalMode.RTP
    codec: str = "PCMU"
    """Of the call: a name of `CODECS`, in which the bot hears the caller."""
    bot_codec: str = "PCMU"
    """Of the bot's audio."""
    track: Track = Track.INBOUND
    auth_token: str | None = None
    custom_parameters: tuple[tuple[str, str], ...] = ()
    from_: str = "+13125550100"
    to: str = "+13125550199"
    stream_sid: str = "00000000-0000-4000-8000-00000000c4ec"
    call_sid: str = "v3:trunkline-check"
    wire: str = "telnyx"
    """A name of `dialects.WIRES`."""

    def params(self) -> StreamParams:
        """As the API gives them. Raises BotUnreachable for a URL that is none."""
        try:
            url = WebSocketUrl.parse(self.url)
        except BadUrl as problem:
            raise BotUnreachable(f"{public_part(self.url) or self.url} is no ws:// or wss:// URL: {problem}") from None
        name, _, rate = self.bot_codec.partition("/")
        return StreamParams(
            url,
            track=self.track,
            mode=self.mode,
            bidirectional_codec=name,
            bidirectional_sampling_rate=int(rate.partition("/")[0] or 8000),
            auth_token=self.auth_token,
            custom_parameters=dict(self.custom_parameters),
        )

    def identity(self) -> StreamIdentity:
        """Names of a call that there is not."""
        return StreamIdentity(
            StreamSid(self.stream_sid),
            AccountSid("00000000-0000-4000-8000-000000000000"),
            CallSid(self.call_sid),
            CallSessionId("00000000-0000-4000-8000-0000000000aa"),
            self.from_,
            self.to,
        )


class InlineDecoder:
    """A `FileDecoder` that decodes a file as it comes: a call to one bot may wait for it. `soon` calls a function
    later, with its argument."""

    def __init__(self, soon: Callable[[Answer, bytes | Refusal], object]) -> None:
        self._soon = soon
        self._last = 0
        self._waiting: set[int] = set()
        """Jobs whose answer has not been given, and that were not cancelled."""

    def decode(self, data: bytes, codec: str, room: int, answer: Answer) -> int | Refusal:
        """See `FileDecoder`."""
        result: bytes | Refusal
        work = decode(data, codec, room)
        try:
            while True:
                next(work)
        except StopIteration as done:
            result = done.value
        except UndecodableFile:
            result = Refusal(Problem.INVALID_MEDIA, "media.payload is an mp3 file without audio")
        except TooLong:
            result = Refusal(Problem.RATE_LIMIT, "the file is too long")
        self._last += 1
        self._waiting.add(self._last)
        self._soon(partial(self._answer, self._last, answer), result)
        return self._last

    def _answer(self, job: int, answer: Answer, result: bytes | Refusal) -> None:
        if job in self._waiting:
            self._waiting.remove(job)
            answer(result)

    def cancel(self, job: int) -> None:
        """See `FileDecoder`."""
        self._waiting.discard(job)
