"""What a media engine tells its owner, unasked."""

from dataclasses import dataclass

from trunkline.ids import LegId, Seconds
from trunkline.media.frames import LegTap


@dataclass(frozen=True, slots=True)
class LegSilent:
    """No RTP came for `media.silence_timeout` while the call was not on hold. Told once for each silence."""

    leg: LegId
    seconds: Seconds


@dataclass(frozen=True, slots=True)
class PortFailed:
    """A port raised on the packet path, which it must not; it has been detached."""

    leg: LegId
    port: LegTap


MediaEvent = LegSilent | PortFailed
