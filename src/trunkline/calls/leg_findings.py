"""What can be wrong with a call's media leg: a row each, in the order in which one would look. Pure."""

from dataclasses import dataclass

from trunkline.calls.findings import SETTLED, FindingRow
from trunkline.media.report import QUIET, LiveLegReport

_HOLDS = {
    "recvonly": "the peer has put the call on hold: it sends audio but wants none (our side is recvonly)",
    "sendonly": "the peer sends no audio but takes ours (our side is sendonly)",
    "inactive": "the call is on hold, no audio flows either way (inactive)",
}


@dataclass(frozen=True, slots=True)
class LegFacts(LiveLegReport):
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


LEG_ROWS: tuple[FindingRow[LegFacts], ...] = (
    FindingRow(
        "error",
        "no_rtp",
        lambda n: not (n.packets_in or n.arrived or n.on_hold) and n.duration_ms > SETTLED,
        "No RTP at all has arrived from the peer in {seconds} s. It was expected from {expected_words} at our UDP port "
        "{local_port}. Look for a firewall or NAT before that port, and whether media.advertised_host is an address "
        "that the peer can reach.",
        ("packets_in", "local_port", "duration_ms"),
    ),
    FindingRow(
        "error",
        "rtp_stopped",
        lambda n: n.live and n.last_packet_ms > SETTLED and not n.on_hold and not n.moved,
        "RTP came, and then stopped {silent_s} s ago: the peer, or the network before it, sends no more.",
        ("packets_in", "last_packet_ms"),
    ),
    FindingRow(
        "error",
        "source_moved",
        lambda n: n.live and n.moved and not n.on_hold,
        "RTP from {remote} stopped {silent_s} s ago, and now comes from {unexpected_source} instead: a NAT or a "
        "proxy has moved the peer. We take media from there when the peer says so, by a re-INVITE or UPDATE, or when "
        "the same stream goes on there (SSRC, payload type, sequence); with media.strict_source only from the address "
        "in the SDP.",
        ("packets_in", "last_packet_ms", "wrong_source", "unexpected_source_ms"),
    ),
    FindingRow(
        "error",
        "wrong_payload_type",
        lambda n: n.unknown_payload_type and not n.frames_in,
        "{unknown_payload_type:RTP packet} came with payload type {seen_payload_type}, and none with {payload_type}, "
        "which was agreed for {codec}: the peer sends another codec than it negotiated.",
        ("unknown_payload_type", "seen_payload_type", "payload_type"),
    ),
    FindingRow(
        "warning",
        "some_wrong_payload_type",
        lambda n: n.unknown_payload_type and n.frames_in,
        "{unknown_payload_type:RTP packet} of a payload type that was not agreed came, the last of "
        "{seen_payload_type}, while {codec} is {payload_type}. We left them out.",
        ("unknown_payload_type", "seen_payload_type", "frames_in"),
    ),
    FindingRow(
        "error",
        "malformed_rtp",
        lambda n: n.malformed and not n.frames_in,
        "{malformed:datagram} came, but no RTP: is something else, or encryption that was not "
        "agreed, sent to this port?",
        ("malformed", "frames_in"),
    ),
    FindingRow(
        "error",
        "srtp_refused",
        lambda n: n.srtp_auth_failed > n.frames_in / 10,
        "{srtp_auth_failed:packet} came encrypted with another key than that in the peer's SDP; we took none of it.",
        ("srtp_auth_failed", "frames_in"),
    ),
    FindingRow(
        "warning",
        "unexpected_source",
        lambda n: n.wrong_source and not n.moved,
        "{wrong_source:packet} came from elsewhere than the peer, {remote}, the last from {unexpected_source}. We take "
        "nothing from there, and with media.strict_source nothing but from the address in the SDP.",
        ("wrong_source", "packets_in"),
    ),
    FindingRow(
        "info",
        "source_differs",
        lambda n: n.remote_learned and n.expected and n.expected != n.remote,
        "RTP comes from {remote}, not from {expected} as the peer's SDP says (NAT, mostly). We answer to where it "
        "comes from.",
    ),
    FindingRow(
        "warning",
        "on_hold",
        lambda n: n.on_hold,
        "On hold: {hold}.",
        ("while_on_hold",),
    ),
    FindingRow(
        "error",
        "refused_by_network",
        lambda n: n.send_errors + n.receive_errors > n.packets_out / 10,
        "The network refused {refused:packet} of ours (ICMP): nothing listens at {remote}.",
        ("send_errors", "receive_errors", "packets_out"),
    ),
    FindingRow(
        "error",
        "nothing_sent",
        lambda n: n.duration_ms > SETTLED and not n.packets_out and not n.on_hold,
        "We have sent the peer nothing: there is no address to send to, or nothing to play while media.send_silence "
        "is off.",
        ("packets_out",),
    ),
    FindingRow(
        "warning",
        "server_stalled",
        lambda n: n.skipped_ms > max(200, n.duration_ms / 50),
        "{skipped_ms} ms of audio to the peer were left out, as our own process stood still meanwhile: the machine is "
        "overloaded or was paused.",
        ("skipped_ms", "duration_ms"),
    ),
    FindingRow(
        "warning",
        "peer_reports_loss",
        lambda n: n.peer_lost > max(5, n.packets_out / 50),
        "The peer reports {peer_lost} of our {packets_out:packet} as lost.",
        ("peer_lost", "packets_out", "round_trip_ms"),
    ),
    FindingRow(
        "warning",
        "loss",
        lambda n: n.lost > max(5, n.frames_in / 50),
        "We miss {lost:packet} of the peer's, lost on their way to us ({frames_in} came).",
        ("lost", "frames_in", "jitter_ms"),
    ),
    FindingRow(
        "info",
        "caller_silent",
        lambda n: n.heard_frames and n.heard_level_db < QUIET,
        "RTP arrives, but just now it held silence ({heard_level_db} dB): the peer did not speak, or the "
        "microphone is muted.",
        ("heard_frames", "heard_level_db"),
    ),
    FindingRow(
        "warning",
        "no_stream",
        lambda n: n.live and not n.streams,
        "{no_stream}, so no app hears the call.",
    ),
)
