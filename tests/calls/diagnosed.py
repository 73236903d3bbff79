"""A call on which all is well, and what is found on it when its counters are others."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from trunkline.calls.diagnosis import StreamMedia, diagnose
from trunkline.calls.findings import Finding
from trunkline.calls.views import CallView, StreamStatus, StreamView
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.media.report import LiveLegReport
from trunkline.streaming.params import StreamReport

T0 = datetime(2025, 6, 5, 8, 54, 19, tzinfo=UTC)
CALL = CallView(
    sid=CallSid("v3:x"),
    account_sid=AccountSid("a"),
    session_id=CallSessionId("c"),
    direction="inbound",
    from_="+15550001111",
    to="+15550002222",
    caller_name="",
    status="in-progress",
    created_at=T0,
    updated_at=T0,
)
STREAM = StreamView(
    sid=StreamSid("s1"),
    account_sid=AccountSid("a"),
    call_sid=CallSid("v3:x"),
    name=None,
    url="wss://key:secret@app.example/media?token=hidden",
    track="inbound_track",
    status="in-progress",
    created_at=T0,
    updated_at=T0,
    status_callback=None,
    status_callback_method="POST",
)
GOOD_LEG = LiveLegReport(
    codec="PCMU",
    payload_type=0,
    local_port=20000,
    expected="192.0.2.7:4000",
    remote="192.0.2.7:4000",
    remote_learned=True,
    on_hold=False,
    direction="sendrecv",
    packets_in=500,
    frames_in=500,
    packets_out=500,
    seen_payload_type=-1,
    last_packet_ms=12.5,
    duration_ms=10_000.0,
    heard_frames=20,
    heard_level_db=-25,
)
GOOD_STREAM = StreamReport(
    frames_sent=500,
    messages_received=100,
    bytes_received=16000,
    played_ms=1800,
    queued_ms=200,
    app_samples=7,
    app_level_db=-20,
    bytes_per_second=8000,
)


def media(
    state: str = "open",
    mode: str | None = "rtp",
    status: StreamStatus = "in-progress",
    *,
    codec: str = "PCMU",
    track: str = "inbound_track",
    reason: str = "connection refused by app.example port 443",
    **changes: Any,
) -> StreamMedia:
    view = replace(
        STREAM,
        status=status,
        mode=mode,
        codec=codec,
        track=track,
        ended_reason=reason,
    )
    return StreamMedia(view, state, replace(GOOD_STREAM, **changes))


NO_RTP: dict[str, Any] = {"packets_in": 0, "frames_in": 0, "last_packet_ms": -1.0, "heard_frames": 0}


def found(*streams: StreamMedia, **changes: Any) -> dict[str, Finding]:
    """The findings by code."""
    return {
        finding.code: finding
        for finding in diagnose(CALL, replace(GOOD_LEG, **changes), streams or [media()], live=True)
    }
