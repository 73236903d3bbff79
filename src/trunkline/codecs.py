"""The codecs: one row each, from which SDP, settings, API, TeXML, callbacks and WebSocket messages take what they need.

This file describes and imports nothing. `media/codecs/` has the encoders and decoders: the module that a row names
implements it. Every codec may be asked for by apps, as audio converts from any codec to any; a call may use those that
have an `sdp`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SdpFormat:
    """A codec in SDP (RFC 8866)."""

    payload_type: int
    """The static payload type (RFC 3551 section 6), or the dynamic one (96 to 127) of our offers."""
    encoding: str
    """Encoding name, clock rate and, unless it is 1, channels: the value of `a=rtpmap` (RFC 8866 section 6.6)."""
    ptimes: tuple[int, ...] = (10, 20, 30, 40, 50, 60)
    """Packet times that we send, in ms: whole frames, up to what fits into one datagram."""
    fmtp: str = ""
    """Format parameters in our descriptions (`a=fmtp`)."""
    aliases: tuple[str, ...] = ()
    """Values of `a=rtpmap` that devices send instead of `encoding`."""


@dataclass(frozen=True, slots=True)
class CodecRow:
    """One codec."""

    name: str
    """RTP encoding name in upper case: the name in settings, API, TeXML, callbacks and `media_format`."""
    module: str
    """Module of `media/codecs/` whose `implement` makes its encoder and decoder."""
    sample_rates: tuple[int, ...]
    """Of the audio, in Hz. Where there are several, an app chooses one by `SamplingRate`; the first is the default."""
    playback_rates: tuple[int, ...] = ()
    """Further rates in which the app may send (`BidirectionalSamplingRate`)."""
    clock: int | None = None
    """Of RTP timestamps, in Hz; None: the sample rate."""
    sdp: SdpFormat | None = None
    """None: not for calls, only for streams."""

    @property
    def has_rates(self) -> bool:
        """Whether an app chooses the sample rate."""
        return len(self.sample_rates) > 1

    @property
    def rates_from_app(self) -> tuple[int, ...]:
        """Sample rates that an app may send, in Hz, in ascending order."""
        return tuple(sorted({*self.sample_rates, *self.playback_rates}))

    def clock_rate(self, sample_rate: int | None = None) -> int:
        """The RTP clock rate at a sample rate, the default one if None, in Hz."""
        return self.clock or sample_rate or self.sample_rates[0]


CODEC_TABLE = {
    row.name: row
    for row in (
        CodecRow("PCMU", "g711", (8000,), sdp=SdpFormat(0, "PCMU/8000")),
        CodecRow("PCMA", "g711", (8000,), sdp=SdpFormat(8, "PCMA/8000")),
        # The RTP clock rate is 8000, though it samples at 16000 (RFC 3551 section 4.5.2).
        CodecRow(
            "G722", "g722", (16000,), clock=8000, sdp=SdpFormat(9, "G722/8000", aliases=("G722/16000", "G722/16000/1"))
        ),
        CodecRow("L16", "l16", (8000, 16000, 24000, 48000), playback_rates=(22050,)),
        # Always 48000 and two channels, whatever is in the packets (RFC 7587 section 7).
        CodecRow("OPUS", "opus", (48000,), sdp=SdpFormat(111, "opus/48000/2", ptimes=(10, 20, 40, 60))),
    )
}
"""By name, in the order in which documents list them."""

TELEPHONE_EVENTS = {
    8000: SdpFormat(101, "telephone-event/8000", fmtp="0-15"),
    48000: SdpFormat(110, "telephone-event/48000", fmtp="0-15"),
}
"""RFC 4733, by the RTP clock rate, one for each clock rate of a call's codec. Nearly all devices use payload type 101.
"""

STREAM_CODECS = tuple(CODEC_TABLE)
"""Names that an app may ask for."""

CALL_CODECS = tuple(name for name, row in CODEC_TABLE.items() if row.sdp is not None)
"""Names that SIP may negotiate."""

CODECS_WITH_RATES = tuple(name for name, row in CODEC_TABLE.items() if row.has_rates)
"""Names of which an app chooses the sample rate."""

RATES_TO_APP = tuple(sorted({rate for name in CODECS_WITH_RATES for rate in CODEC_TABLE[name].sample_rates}))
"""`SamplingRate` of these, in Hz."""

RATES_FROM_APP = tuple(sorted({rate for name in CODECS_WITH_RATES for rate in CODEC_TABLE[name].rates_from_app}))
"""`BidirectionalSamplingRate` of these, in Hz."""


def format_name(codec: str, sample_rate: int) -> str:
    """The row of `media.codecs.CODECS` for a codec and a sample rate: `PCMU`, `L16/16000`."""
    return f"{codec}/{sample_rate}" if CODEC_TABLE[codec].has_rates else codec
