"""Offer and answer of one call (RFC 3264), as often as they happen: whose turn it is, what was agreed, which keys.

Pure: randomness is handed in. Nothing changes where `sdp.values.NotAcceptable` is raised.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from trunkline.sdp import crypto
from trunkline.sdp.crypto import Crypto, Security, SrtpRule
from trunkline.sdp.negotiate import Family, accept_answer, answer_text, negotiate, offer_text
from trunkline.sdp.session import SessionDescription
from trunkline.sdp.values import Direction, Endpoint, MediaParams


@dataclass(frozen=True, slots=True)
class OfferRules:
    """What may be agreed."""

    codecs: tuple[str, ...]
    srtp: SrtpRule
    family: Family | None
    """Of our media address; None = peers of either family are reached."""


class Offers:
    """The negotiations of one call."""

    def __init__(self, rules: OfferRules, session: int, random: Callable[[int], bytes]) -> None:
        """`session` is our SDP's session id; `random` gives that many secret bytes, for keys."""
        self.rules = rules
        self.local = Endpoint("", 0)
        """Our media address, once it is known."""
        self.agreed: MediaParams | None = None
        self.open = False
        """Our offer waits for an answer that settles the call's codec."""
        self.offered: SessionDescription | None = None
        """The peer's offer that waits for our answer."""
        self._before: MediaParams | None = None
        """What was agreed before that."""
        self._session = session
        self._version = 0
        self._random = random
        self._lines: tuple[Crypto, ...] = ()

    def before(self) -> MediaParams:
        """Stands in while nothing is agreed: until the peer answers our offer, or makes one with streams."""
        return MediaParams(self.rules.codecs[0], 0, 20, Endpoint("0.0.0.0", 0), Direction.INACTIVE)

    def take_offer(self, offer: SessionDescription) -> MediaParams:
        """What comes of the peer's offer. Our key changes when the peer's does: as long as both stay, the packets'
        counters run on, and a hold or a refresh is heard without a break. A first offer without any stream says that
        they come by a later one (RFC 3264 section 5): until then nothing is heard. Raises NotAcceptable."""
        before = self.agreed.srtp if self.agreed else None
        security = Security(self.rules.srtp, crypto.fresh(self._random(crypto.RANDOM_BYTES)))
        if not offer.media and self.agreed in (None, self.before()):
            params = self.before()
        else:
            params = negotiate(offer, self.rules.codecs, security, self.rules.family)
        keys = params.srtp
        if keys is not None and before is not None and (keys.suite, keys.theirs) == (before.suite, before.theirs):
            params = replace(params, srtp=replace(keys, ours=before.ours))
        if self.offered is None:
            self._before = self.agreed
        self.offered, self.agreed = offer, params
        return params

    def answer(self) -> str:
        """Our SDP for the offer that was taken."""
        offer, self.offered = self.offered, None
        assert offer is not None
        assert self.agreed is not None
        self._version += 1
        return answer_text(offer, self.agreed, self.local, self._session, self._version)

    def withdraw(self) -> MediaParams:
        """The offer that was taken gets no answer: what was agreed before holds on."""
        self.offered, self.agreed = None, self._before
        return self.agreed or self.before()

    def offer(self) -> str:
        """An offer of our own. It keeps the key in use; without one it is encrypted only where it must be."""
        keys = self.agreed.srtp if self.agreed else None
        if keys is not None:
            self._lines = (Crypto(1, keys.suite, keys.ours),)
        elif self.rules.srtp == "required":
            self._lines = crypto.fresh(self._random(crypto.RANDOM_BYTES))
        else:
            self._lines = ()
        self._version += 1
        self.open = True
        return offer_text(self.rules.codecs, self.local, self._session, self._version, self._lines)

    def take_answer(self, answer: SessionDescription) -> MediaParams:
        """What comes of the peer's answer to our offer. Raises NotAcceptable."""
        self.agreed = accept_answer(self.rules.codecs, answer, self._lines, self.rules.family)
        self.open = False
        return self.agreed
