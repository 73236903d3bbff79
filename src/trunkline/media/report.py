"""What a leg can say of itself: plain numbers and words, for records and people who ask why there is no audio."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LegReport:
    """One leg's counters at one moment. Times in ms are floats, counts are of packets unless said."""

    codec: str = ""
    """What we send."""
    codec_in: str = ""
    """What the peer sends: the same, or another that was agreed beside it."""
    srtp: str = ""
    """The cipher suite; empty when not encrypted."""
    payload_type: int = -1
    """The RTP payload type agreed for it."""
    local_port: int = 0
    expected: str = ""
    """Where the peer's SDP says that its RTP comes from; empty when it says nothing of use."""
    remote: str = ""
    """Where we send: the learned source, else the signalled address; empty when neither is known."""
    remote_learned: bool = False
    on_hold: bool = False
    direction: str = "sendrecv"
    """Ours, as negotiated."""
    packets_in: int = 0
    """RTP packets accepted from the peer, whatever their payload type."""
    bytes_in: int = 0
    """Their bytes, RTP headers included."""
    frames_in: int = 0
    """Audio frames handed on."""
    packets_out: int = 0
    bytes_out: int = 0
    """Payload bytes sent."""
    lost: int = 0
    """Given up after the reorder window."""
    late: int = 0
    """Came after they were given up."""
    duplicate: int = 0
    reordered: int = 0
    """Came out of order, within the window."""
    reorder_window_ms: float = 0.0
    """How long a gap is held open at present."""
    stray: int = 0
    """Of another SSRC or far off in sequence, one alone: not taken for a new start."""
    restarts: int = 0
    """New starts of the peer's stream: another SSRC or source, a jump in sequence, the end of a hold."""
    malformed: int = 0
    keepalives: int = 0
    """Datagrams, of RTP's port and RTCP's, that only keep a NAT open (RFC 6263)."""
    wrong_source: int = 0
    """From elsewhere than the learned source. Once that is settled the kernel drops them uncounted, unless the peer has
    been silent for a second."""
    stranger: str = ""
    """The last of these sources."""
    stranger_ms: float = -1.0
    """Age of its packet; -1 = there was none."""
    kept_dropped: int = 0
    """Kept until an answer, a trial's end or a listener came, and dropped: over a second's, or the call ended first."""
    unknown_payload_type: int = 0
    seen_payload_type: int = -1
    """The last of these types."""
    while_on_hold: int = 0
    """Audio that came though the direction does not allow it; dropped."""
    srtp_auth_failed: int = 0
    """SRTP and SRTCP packets that were not made with the peer's key; dropped."""
    srtp_replayed: int = 0
    """SRTP and SRTCP packets that came before, or too late to tell; dropped."""
    rtcp_in: int = 0
    rtcp_out: int = 0
    rtcp_malformed: int = 0
    send_errors: int = 0
    """Refused by the network: mostly nobody listens at the peer's port."""
    receive_errors: int = 0
    skipped_ms: int = 0
    """Left out of the outbound timeline because the process stood still."""
    jitter_ms: float = 0.0
    """Inter-arrival jitter (RFC 3550 section 6.4.1)."""
    round_trip_ms: float = -1.0
    """From RTCP; -1 = not known."""
    peer_lost: int = 0
    """Our packets that the peer says it misses."""
    peer_jitter_ms: float = 0.0
    loss_percent: float = -1.0
    """Of the peer's packets; -1 = nothing came."""
    peer_loss_percent: float = -1.0
    """Of our packets, as the peer says; -1 = it has said nothing."""
    mos: float = -1.0
    """How good what the peer says sounds to us, from 1 to 4.5, by estimate (`quality.py`); -1 = nothing came."""
    peer_mos: float = -1.0
    """How good we sound to the peer; -1 = it has said nothing."""
    last_packet_ms: float = -1.0
    """Age of the peer's last RTP packet; -1 = there was none."""
    duration_ms: float = 0.0
    digits: int = 0
    """Key presses received."""
    digits_out: int = 0
    """Key presses sent."""
    digits_waiting: int = 0
    """Digits that the app gave us and that are not sent yet; in the last report, never."""
    digits_lost: int = 0
    """Keys heard on a bridged leg that could not be passed on: no telephone-event, or too many wait."""
