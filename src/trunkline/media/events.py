"""Events of a media engine for its owner."""

from dataclasses import dataclass

from trunkline.ids import LegId, Seconds
from trunkline.media.frames import LegTap


@dataclass(frozen=True, slots=True)
class SilenceDetected:
    """No RTP came for `media.silence_timeout` while the call was not on hold. Reported once for each silence."""

    leg: LegId
    seconds: Seconds


@dataclass(frozen=True, slots=True)
class TapFailed:
    """A tap raised on the packet path; it has been detached."""

    leg: LegId
    tap: LegTap


MediaEvent = SilenceDetected | TapFailed
