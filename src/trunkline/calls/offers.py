"""Offer and answer of one call (RFC 3264), as often as they happen: whose turn it is, what was agreed, which keys.

Pure: randomness is handed in. Nothing changes where `sdp.values.NotAcceptable` is raised.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from trunkline.sdp import crypto
from trunkline.sdp.crypto import Crypto, Security, SrtpRule
from trunkline.sdp.negotiate import (
    Family,
    accept_answer,
    formats_of,
    make_answer,
    make_offer,
    negotiate,
    payload_types,
    stream_in_use,
    usual_formats,
)
from trunkline.sdp.session import SessionDescription
from trunkline.sdp.values import Direction, Endpoint, MediaParams


@dataclass(frozen=True, slots=True)
class OfferRules:
    """What may be agreed."""

    codecs: tuple[str, ...]
    """In the order in which we offer them."""
    srtp: SrtpRule
    family: Family | None
    """Of our media address; None = peers of either family are reached."""
    order: tuple[str, ...] = ()
    """Codecs that we want before others of the peer's, which keep its order."""

    def preferring(self, codec: str) -> "OfferRules":
        """The same, with this codec first; one that may not be agreed changes nothing."""
        if codec not in self.codecs:
            return self
        first = dict.fromkeys((codec, *self.codecs)), dict.fromkeys((codec, *self.order))
        return replace(self, codecs=tuple(first[0]), order=tuple(first[1]))


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
        self._ours: SessionDescription | None = None
        """The last description that we sent."""
        self._taken: dict[int, str] = {}
        """What the peer's payload types have stood for: they keep their meanings (RFC 3264 section 8.3.2)."""
        self._session = session
        self._version = 0
        self._random = random

    def before(self) -> MediaParams:
        """Stands in while nothing is agreed: until the peer answers our offer, or makes one with streams."""
        heard = usual_formats(self.rules.codecs)
        payload_type, codec = heard[0]
        return MediaParams(codec, payload_type, 20, Endpoint("0.0.0.0", 0), Direction.INACTIVE, heard=heard)

    def take_offer(self, offer: SessionDescription) -> MediaParams:
        """What comes of the peer's offer. Our key changes when the peer's does: as long as both stay, the packets'
        counters run on, and a hold or a refresh is heard without a break. A first offer without any stream says that
        they come by a later one (RFC 3264 section 5): until then nothing is heard. Raises NotAcceptable."""
        rules = self.rules
        before = self.agreed.srtp if self.agreed else None
        security = Security(rules.srtp, crypto.fresh(self._random(crypto.RANDOM_BYTES)))
        if not offer.media and self.agreed in (None, self.before()):
            params = self.before()
        else:
            params = negotiate(offer, rules.codecs, security, rules.family, rules.order, self._stream)
        keys = params.srtp
        if keys is not None and before is not None and (keys.suite, keys.theirs) == (before.suite, before.theirs):
            params = replace(params, srtp=replace(keys, ours=before.ours))
        if self.offered is None:
            self._before = self.agreed
        self.offered, self.agreed = offer, self._with_earlier(params)
        return self.agreed

    def prefer(self, codec: str) -> MediaParams | None:
        """Want this codec before others, where it may be agreed. What then comes of the offer that was taken, if it is
        something else."""
        self.rules = self.rules.preferring(codec)
        before = self.agreed
        if self.offered is None or self.take_offer(self.offered) == before:
            return None
        return self.agreed

    def answer(self) -> str:
        """Our SDP for the offer that was taken."""
        offer, self.offered = self.offered, None
        assert offer is not None
        agreed, rules = self.agreed, self.rules
        assert agreed is not None
        self._taken |= payload_types(offer)
        stream = self._stream
        return self._describe(
            make_answer(offer, agreed, self.local, self._session, self._version + 1, rules.codecs, rules.order, stream)
        )

    def withdraw(self) -> MediaParams:
        """The offer that was taken gets no answer: what was agreed before holds on."""
        self.offered, self.agreed = None, self._before
        return self.agreed or self.before()

    def offer(self) -> str:
        """An offer of our own. It keeps the key in use; without one it is encrypted only where it must be."""
        keys = self.agreed.srtp if self.agreed else None
        lines: tuple[Crypto, ...] = ()
        if keys is not None:
            lines = (Crypto(1, keys.suite, keys.ours),)
        elif self.rules.srtp == "required":
            lines = crypto.fresh(self._random(crypto.RANDOM_BYTES))
        self.open = True
        version = self._version + 1
        return self._describe(
            make_offer(self.rules.codecs, self.local, self._session, version, lines, self._ours, self._taken)
        )

    def listening(self) -> MediaParams:
        """What was agreed, with all that the peer may send upon our offer, before its answer comes (section 5.1)."""
        assert self._ours is not None
        agreed = self.agreed or self.before()
        return replace(agreed, heard=tuple({**dict(formats_of(self._ours)), **dict(agreed.heard)}.items()))

    def take_answer(self, answer: SessionDescription) -> MediaParams:
        """What comes of the peer's answer to our last description, be it an offer or an answer that was sent again as
        an offer, to refresh the session. Raises NotAcceptable."""
        assert self._ours is not None
        rules = self.rules
        params = accept_answer(self._ours, answer, rules.family, rules.order, rules.srtp)
        self._taken |= payload_types(answer)
        self.agreed = self._with_earlier(params)
        self.open = False
        return self.agreed

    def abandon(self) -> MediaParams:
        """Our offer got no answer that can be used: what was agreed before holds on."""
        self.open = False
        return self.agreed or self.before()

    @property
    def _stream(self) -> int | None:
        """The media description in use."""
        return None if self._ours is None else stream_in_use(self._ours)

    def _with_earlier(self, params: MediaParams) -> MediaParams:
        """What was agreed before is heard as well: it may be on its way yet."""
        earlier = dict(self.agreed.heard) if self.agreed else {}
        return replace(params, heard=tuple({**earlier, **dict(params.heard)}.items()))

    def _describe(self, ours: SessionDescription) -> str:
        """The text of a description of ours, made with the next version: the version grows where it differs from the
        last one, and only then (section 8)."""
        if self._ours is None or replace(ours, origin=self._ours.origin) != self._ours:
            self._version += 1
            self._ours = ours
        return self._ours.render()
