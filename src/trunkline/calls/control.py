"""What the API may ask of calls and applications: the borders that it is written to."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from trunkline.calls.commands import CallRequest, Command, Instructions, RecordingRequest
from trunkline.calls.diagnosis import MediaReport
from trunkline.calls.views import (
    Application,
    CallbackView,
    CallFilter,
    CallView,
    CaptureView,
    Erasure,
    PublicKeys,
    RecordingFilter,
    RecordingView,
    RoutesView,
    RoutingView,
    SipTraceView,
    StreamFilter,
    StreamView,
    WorkerView,
)
from trunkline.ids import AccountSid, CallSid
from trunkline.streaming.params import StreamParams


class CallControl(Protocol):
    """Commands on, and views of, one node's calls, live and ended.

    Each method raises `ResourceNotFound` for a call or stream that is unknown or of another account, and `Unavailable`
    while starting or draining, with no media worker, or with the store behind.
    """

    async def place(self, account: AccountSid, request: CallRequest, *, restricted: bool = False) -> CallView:
        """Place a call; callbacks report its progress. Durable when this returns. `restricted`: only to numbers that
        documents may dial.

        Raises InvalidRequest with the pointer `/ApplicationSid` for an application that is unknown or not active, and
        `/To` where neither a trunk nor a phone takes the call, or its address may not be dialled; InvalidUrl for a URL
        whose address may not be.
        """

    async def redirect(self, account: AccountSid, call: CallSid, instructions: Instructions) -> CallView:
        """Replace the instructions of a live call. `url` or `texml` is given.

        Raises CallNotAnswered, CallEnded, InvalidUrl.
        """

    async def apply(self, account: AccountSid, call: CallSid, command: Command) -> CallView:
        """Carry out a command on a live call. Durable when this returns. Raises what the command's row in the table of
        `calls.call` raises, CallEnded among them.
        """

    async def start_stream(self, account: AccountSid, call: CallSid, params: StreamParams) -> StreamView:
        """Accept a stream; its socket is opened afterwards. Durable when this returns.

        Raises CallNotAnswered, CallEnded, StreamLimitReached, InvalidUrl.
        """

    async def stop_stream(self, account: AccountSid, call: CallSid, stream: str) -> StreamView:
        """Stop by sid or by name; stopping a stopped stream returns it again."""

    async def pause_stream(self, account: AccountSid, call: CallSid, stream: str, *, paused: bool) -> StreamView:
        """Send the app of a stream, by sid or name, no audio; or send it again.

        Raises CallEnded, and InvalidRequest for a stream that is over.
        """

    async def end_after(self, account: AccountSid, call: CallSid) -> Callable[[], None]:
        """A function that ends the call a moment after it is called. Call it once the request has its answer: an app
        that hangs up and then closes its own socket gets to do so. Raises CallEnded."""

    async def call(self, account: AccountSid, call: CallSid) -> CallView:
        """One call, live or ended."""

    async def calls(
        self, account: AccountSid, where: CallFilter, *, offset: int, limit: int
    ) -> tuple[list[CallView], bool]:
        """One page of calls, newest first, and whether more follow."""

    async def stream(self, account: AccountSid, call: CallSid, stream: str) -> StreamView:
        """One stream by sid or name, live or ended."""

    async def streams(self, account: AccountSid, call: CallSid) -> list[StreamView]:
        """All streams of a call, oldest first."""

    async def streams_of_account(
        self, account: AccountSid, where: StreamFilter, *, offset: int, limit: int
    ) -> tuple[list[StreamView], bool]:
        """One page of the streams of all calls, newest first, and whether more follow."""

    async def media(self, account: AccountSid, call: CallSid) -> MediaReport:
        """What a call's media is doing, live, or did, and what is wrong with it."""

    async def sip_trace(self, account: AccountSid, call: CallSid) -> SipTraceView:
        """The SIP messages of a call, live or ended, as far as they are kept."""

    def refused_calls(self, account: AccountSid) -> list[SipTraceView]:
        """INVITEs that became no call, the newest first; none for another account than that of the settings."""

    async def callbacks(self, account: AccountSid, *, offset: int, limit: int) -> tuple[list[CallbackView], bool]:
        """One page of callbacks that are kept, newest first, and whether more follow."""

    async def redeliver(self, account: AccountSid, callback: str) -> CallbackView:
        """Send a callback again, as a new one with the same content; returns the new one, durable. Raises
        ResourceNotFound."""

    def routes(self, account: AccountSid) -> RoutesView:
        """Numbers, phones and trunks of the settings; none for another account than that of the settings."""

    def routing(self, account: AccountSid, number: str, *, trunk: str | None, phone: str | None) -> RoutingView:
        """What a call to a number would run and where one would go, by the settings of now; `trunk` or `phone`: where
        the call comes from. Raises ResourceNotFound for another account than that of the settings, and InvalidRequest
        for a trunk or phone that there is not."""

    def workers(self, account: AccountSid) -> list[WorkerView]:
        """The media workers; none for another account than that of the settings."""

    async def erase(self, account: AccountSid, number: str) -> Erasure:
        """Delete all that is kept of ended calls from or to a number: calls, streams, callbacks, recordings and
        captures. May be repeated. Raises Unavailable, then with a part of it done."""

    async def captures(
        self, account: AccountSid, *, call: str | None, stream: str | None, offset: int, limit: int
    ) -> tuple[list[CaptureView], bool]:
        """One page of captures of streams, newest first, and whether more follow; of one call, of one stream."""

    async def capture(self, account: AccountSid, stream: str) -> CaptureView:
        """The capture of a stream, by its sid; it may be under way."""

    async def delete_capture(self, account: AccountSid, stream: str) -> CaptureView:
        """Delete it, and return what it was. What follows of one that is under way is lost."""

    async def recordings(
        self, account: AccountSid, where: RecordingFilter, *, offset: int, limit: int
    ) -> tuple[list[RecordingView], bool]:
        """One page of recordings, newest first, and whether more follow."""

    async def recording(self, account: AccountSid, sid: str) -> RecordingView:
        """One recording, which may be under way."""

    async def start_recording(self, account: AccountSid, call: CallSid, wanted: RecordingRequest) -> RecordingView:
        """Record a call, in addition to what records it already. Durable when this returns.

        Raises CallNotAnswered, CallEnded, InvalidUrl, InvalidRequest where it has as many as it may have.
        """

    async def stop_recording(self, account: AccountSid, call: CallSid, sid: str) -> RecordingView:
        """End a recording of a call; its file is complete soon after. One that is over stays as it is."""

    async def pause_recording(self, account: AccountSid, call: CallSid, sid: str, *, paused: bool) -> RecordingView:
        """Leave out what follows, or record again. Raises InvalidRequest for one that is over."""

    async def delete_recording(self, account: AccountSid, sid: str) -> None:
        """Delete it with its file. Raises InvalidRequest while it is under way."""

    async def recording_audio(self, account: AccountSid, sid: str) -> Path:
        """The wav file of a recording. Raises ResourceNotFound."""

    async def recording_mp3(self, account: AccountSid, sid: str) -> Path:
        """Its mp3 file, which may have to be made first. Raises InvalidRequest while it is under way."""

    def recording_url(self, account: AccountSid, sid: str) -> str:
        """Where its account fetches the audio."""


class SigningKeys(Protocol):
    """The keys that sign callbacks."""

    def public_keys(self) -> PublicKeys:
        """Those that receivers should accept."""

    def rotate(self, days: float) -> PublicKeys:
        """Have a new key sign in so many days. Raises InvalidRequest while an earlier one waits."""


class Applications(Protocol):
    """The TeXML applications of accounts.

    `changes` are attributes of `Application` by name; of `other`, only what changes, and of the objects in it only the
    members that change. Each method raises `ResourceNotFound` for an application that is unknown or of another account;
    those that change something raise `Unavailable` when the store does not take it, and are durable when they return.
    """

    async def create(self, account: AccountSid, changes: Mapping[str, Any]) -> Application:
        """Add one; `friendly_name` and `voice_url` are there. Raises InvalidRequest when there are too many."""

    async def update(self, account: AccountSid, sid: str, changes: Mapping[str, Any]) -> Application:
        """Change one. Raises InvalidRequest for one that comes from the configuration."""

    async def delete(self, account: AccountSid, sid: str) -> Application:
        """Remove one, and return what it was. Raises InvalidRequest for one that comes from the configuration or is
        named in it."""

    async def application(self, account: AccountSid, sid: str) -> Application:
        """One application."""

    async def applications(self, account: AccountSid) -> list[Application]:
        """All of an account."""
