"""The quality of a call, estimated from loss, jitter and delay: the E-model of ITU-T G.107 in its simplest form.

    R   = 93.2 - Id - Ie
    Id  = 0.024 d + 0.11 max(0, d - 177.3)       d: delay from mouth to ear in ms
    Ie  = 95 p / (p + 25.1)                      p: loss in percent
    MOS = 1 + 0.035 R + 7e-6 R (R - 60) (100 - R), between 1 (R <= 0) and 4.5 (R >= 100)

93.2 is the rating with every parameter of G.107 at its default. Id is the straight-line fit of its delay curve by Cole
and Rosenbluth ("Voice over IP performance monitoring", 2001). Ie is its effective equipment impairment (clause 7.5) for
random loss, with the figures of G.113 Appendix I for G.711 whose receiver conceals losses (Ie 0, Bpl 25.1). MOS is its
Annex B. The scale is that of narrow-band telephony, whatever the codec.
"""

_BEST = 93.2
_ROBUSTNESS = 25.1
_KNEE_MS = 177.3


def loss_percent(lost: int, expected: int) -> float:
    """Percentage of lost packets, within 0 to 100 whatever a peer reports; -1 when none were expected."""
    return round(min(100.0, max(0.0, 100 * lost / expected)), 2) if expected > 0 else -1.0


def mos(loss_percent: float, jitter_ms: float, round_trip_ms: float, ptime: int) -> float:
    """Mean opinion score from 1 (bad) to 4.5, of which G.711 without any impairment gets 4.4; -1 when the loss is -1.
    The delay is half the round trip (-1: not known), one packet, and a jitter buffer of twice the jitter."""
    if loss_percent < 0:
        return -1.0
    delay = max(0.0, round_trip_ms) / 2 + ptime + 2 * jitter_ms
    rating = _BEST - 0.024 * delay - 0.11 * max(0.0, delay - _KNEE_MS)
    rating -= 95 * loss_percent / (loss_percent + _ROBUSTNESS)
    score = 1 + 0.035 * rating + 7e-6 * rating * (rating - 60) * (100 - rating)
    # Close to zero the cubic dips a little below 1, and below zero it means nothing.
    return round(max(1.0, score), 2) if rating > 0 else 1.0
