"""Offer and answer (RFC 3264) for one audio stream, as pure functions.

Three ways through an INVITE use them: the peer offers (`negotiate`, then `answer_text` in our 200), or the peer leaves
the offer to us (`offer_text` in our 200, then `accept_answer` with the ACK's body); a re-INVITE is one of the two.

Of the peer's media descriptions the first acceptable audio one is taken, an encrypted one before a plain one, and all
others are declined with port 0 (section 6). Whether encryption may or must be is `Security`'s to say. RTP/SAVP makes
it so; crypto lines under a plain profile offer it (RFC 8643) and are taken where `Security` lets them be; if none of
them can be done the audio is plain, or refused where it must not be. Within the description, the order of the peer's
formats decides among the codecs that we accept. Directions are seen from our side: the peer's `sendonly` is our
`recvonly`. A connection address of 0.0.0.0 is the old way of putting on hold (section 8.4) and takes from us the right
to send, nothing else.
"""

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Literal

from trunkline.sdp.codecs import CODECS, DYNAMIC, TELEPHONE_EVENTS, SdpCodec, canonical, telephone_event
from trunkline.sdp.crypto import Crypto, Security, choose
from trunkline.sdp.session import Attributes, Connection, MediaDescription, SessionDescription
from trunkline.sdp.values import Direction, Endpoint, MediaParams, NotAcceptable, SrtpKeys

PTIME_DEFAULT = 20
"""Milliseconds per packet where the peer names none (RFC 3551 section 4.2)."""

PLAIN_PROFILES = ("RTP/AVP", "RTP/AVPF")
"""RTP profiles without encryption (RFC 3551, RFC 4585); feedback is optional in AVPF, and we give none."""
SECURE_PROFILES = ("RTP/SAVP", "RTP/SAVPF")
"""Encrypted, with keys from `a=crypto` lines (RFC 4568)."""
DTLS_PROFILES = ("UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF")
"""Encrypted, with keys agreed on the media path (RFC 5764), which we do not do."""

Family = Literal["IP4", "IP6"]
"""Of addresses, as in a `c=` line."""
_NAMES: dict[Family | None, str] = {"IP4": "IPv4", "IP6": "IPv6"}

_MIRROR = {
    Direction.SENDRECV: Direction.SENDRECV,
    Direction.SENDONLY: Direction.RECVONLY,
    Direction.RECVONLY: Direction.SENDONLY,
    Direction.INACTIVE: Direction.INACTIVE,
}
"""The peer's direction, and the widest that we may answer (RFC 3264 section 6.1)."""
_MUTED = {Direction.SENDRECV: Direction.RECVONLY, Direction.SENDONLY: Direction.INACTIVE}


_NUMBER = re.compile(r"[0-9]{1,5}(?![0-9])")

PLAIN = Security()


def negotiate(
    offer: SessionDescription, accepted: Sequence[str], security: Security = PLAIN, family: Family | None = None
) -> MediaParams:
    """What comes of an offer when we accept the codecs `accepted` (names of `CODECS`) and have an address of `family`;
    None = of either.

    Raises NotAcceptable with the reason in words, fit for a Warning header.
    """
    media, payload_type, codec = _chosen(offer, accepted, security, family)
    remote = _remote(offer, media)
    mux = media.attribute("rtcp-mux") is not None
    return MediaParams(
        codec=codec.name,
        payload_type=payload_type,
        ptime=_ptime(offer, media, codec),
        remote=remote,
        direction=_direction(offer, media, remote),
        dtmf_payload_type=_telephone_event(media, codec),
        remote_rtcp=None if mux else _rtcp(media, remote),
        rtcp_mux=mux,
        srtp=_keys(media, security),
    )


def answer_text(offer: SessionDescription, params: MediaParams, local: Endpoint, session_id: int, version: int) -> str:
    """Our answer to `offer`, of which `negotiate` made `params`; `local` is where we receive RTP. An offer without any
    stream gets an answer without one.

    `session_id` stays the same for a dialog, `version` grows by one with each description that differs from the one
    before (RFC 3264 section 8).
    """
    lines = (Crypto(params.srtp.tag, params.srtp.suite, params.srtp.ours),) if params.srtp else ()
    security = Security("required" if lines else "off", lines)
    chosen = _chosen(offer, (params.codec,), security, family_of(params.remote.host))[0] if offer.media else None
    answers = []
    for media in offer.media:
        if media is chosen:
            numbered = [(params.payload_type, CODECS[params.codec].encoding)]
            if params.dtmf_payload_type is not None:
                numbered.append((params.dtmf_payload_type, dict(_encodings(media))[params.dtmf_payload_type]))
            answers.append(_audio(numbered, local, params, media.protocol, lines))
        else:
            answers.append(MediaDescription(media.kind, 0, media.protocol, media.formats))
    return SessionDescription(
        origin=_origin(local, session_id, version),
        connection=_connection(local),
        timing=offer.timing,
        media=tuple(answers),
    ).render()


def offer_text(
    accepted: Sequence[str], local: Endpoint, session_id: int, version: int, lines: Sequence[Crypto] = ()
) -> str:
    """Our offer, for an INVITE that came without one: the codecs `accepted` in that order, and telephone-event; with
    crypto lines, of encrypted audio alone."""
    numbered = [(CODECS[name].payload_type, CODECS[name].encoding) for name in accepted]
    numbered += sorted({telephone_event(CODECS[name]) for name in accepted})
    profile = SECURE_PROFILES[0] if lines else PLAIN_PROFILES[0]
    media = _audio(numbered, local, None, profile, lines)
    return SessionDescription(
        origin=_origin(local, session_id, version), connection=_connection(local), media=(media,)
    ).render()


def accept_answer(
    accepted: Sequence[str],
    answer: SessionDescription,
    lines: tuple[Crypto, ...] = (),
    family: Family | None = None,
) -> MediaParams:
    """What comes of the peer's answer to our `offer_text(accepted, …, lines)`. Raises NotAcceptable."""
    params = negotiate(answer, accepted, Security("required" if lines else "off", lines), family)
    if params.srtp and (params.srtp.tag, params.srtp.suite) not in {(line.tag, line.suite) for line in lines}:
        raise NotAcceptable(f"the answer's crypto tag {params.srtp.tag} is not the one offered with its suite")
    return params


def _chosen(
    offer: SessionDescription, accepted: Sequence[str], security: Security, family: Family | None
) -> tuple[MediaDescription, int, SdpCodec]:
    """The first audio stream that we can do, and its codec; else why none will do, the first stream's reason."""
    reasons = []
    audio = [media for media in offer.media if media.kind == "audio"]
    for media in sorted(audio, key=lambda media: _rank(media, security)):
        try:
            usable = _usable(media, accepted, security)
            _check_family(_remote(offer, media), family)
            return media, *usable
        except NotAcceptable as refusal:
            reasons.append((audio.index(media), str(refusal)))
    raise NotAcceptable(min(reasons)[1] if reasons else "no audio stream in the SDP")


def _usable(media: MediaDescription, accepted: Sequence[str], security: Security) -> tuple[int, SdpCodec]:
    """Payload type and codec of an audio stream. Raises NotAcceptable."""
    reason = _refusal(media, security)
    if reason is not None:
        raise NotAcceptable(reason)
    _keys(media, security)
    found = next(((number, CODECS[name]) for number, name in _codecs(media) if name in accepted), None)
    if found is None:
        offered = ", ".join(name for _, name in _encodings(media)) or "none that we know"
        raise NotAcceptable(f"no common codec: offered {offered}; accepted {', '.join(accepted)}")
    return found


def _refusal(media: MediaDescription, security: Security) -> str | None:
    profile = media.protocol.upper()
    if media.port == 0:
        return "the audio stream is switched off (port 0)"
    if profile in DTLS_PROFILES:
        return f"DTLS-SRTP ({media.protocol}) is not supported; SRTP is, with keys in a=crypto lines (RTP/SAVP)"
    if profile not in PLAIN_PROFILES + SECURE_PROFILES:
        return f"unknown audio transport {media.protocol}"
    if profile in SECURE_PROFILES and security.rule == "off":
        return f"encrypted audio ({media.protocol}) is not allowed here; SRTP is switched off"
    if _rank(media, security) == _PLAIN and security.rule == "required":
        return f"audio must be encrypted here: SRTP (RTP/SAVP) is required, {media.protocol} was offered"
    return None


_ENCRYPTED, _MAY_BE, _PLAIN = range(3)


def _rank(media: MediaDescription, security: Security) -> int:
    """How surely an audio stream is encrypted, the surest first."""
    if media.protocol.upper() in SECURE_PROFILES:
        return _ENCRYPTED
    return _PLAIN if security.rule == "off" or media.attribute("crypto") is None else _MAY_BE


def _keys(media: MediaDescription, security: Security) -> SrtpKeys | None:
    rank = _rank(media, security)
    if rank == _PLAIN:
        return None
    try:
        return choose((value for name, value in media.attributes if name == "crypto"), security.ours)
    except NotAcceptable:
        if rank == _MAY_BE and security.rule == "optional":
            return None
        raise


def _encodings(media: MediaDescription) -> Iterator[tuple[int, str]]:
    """Payload type and `name/clock` of each format, in order, for people and for `_codecs`."""
    mapped = {}
    for name, value in media.attributes:
        words = value.split(None, 1) if name == "rtpmap" else []
        if len(words) == 2:
            mapped[words[0]] = canonical(words[1])
    static = {str(codec.payload_type): codec.encoding for codec in CODECS.values() if codec.payload_type < DYNAMIC}
    for text in media.formats:
        encoding = mapped.get(text) or static.get(text)
        if encoding is not None and text.isascii() and text.isdigit() and len(text) <= 3 and int(text) < 128:
            yield int(text), encoding


def _codecs(media: MediaDescription) -> Iterator[tuple[int, str]]:
    """Payload type and name of each format that is a row of our table."""
    for number, encoding in _encodings(media):
        name = _BY_ENCODING.get(encoding)
        if name is not None:
            yield number, name


_BY_ENCODING = {codec.encoding: codec.name for codec in CODECS.values()}


def _telephone_event(media: MediaDescription, codec: SdpCodec) -> int | None:
    """Of the codec's own clock, else of 8000, which some offer to every codec."""
    offered = {encoding: number for number, encoding in reversed(list(_encodings(media)))}
    return next(
        (offered[encoding] for _, encoding in (telephone_event(codec), TELEPHONE_EVENTS[8000]) if encoding in offered),
        None,
    )


def _ptime(offer: SessionDescription, media: MediaDescription, codec: SdpCodec) -> int:
    """The length of our packets: the peer's `ptime`, within `maxptime` and what we can do (RFC 8866 section 6.4). Some
    devices write them once for the session, where they do not belong."""
    wanted = _milliseconds(media.attribute("ptime") or offer.attribute("ptime")) or PTIME_DEFAULT
    longest = _milliseconds(media.attribute("maxptime") or offer.attribute("maxptime")) or wanted
    return max((ptime for ptime in codec.ptimes if ptime <= min(wanted, longest)), default=codec.ptimes[0])


def _milliseconds(value: str | None) -> int | None:
    # Some devices write "20.0" or "20 ms"; what follows the number says nothing.
    match = _NUMBER.match(value or "")
    return int(match[0]) if match else None


def _remote(offer: SessionDescription, media: MediaDescription) -> Endpoint:
    connection = media.connection or offer.connection
    if connection is None:
        raise NotAcceptable("the SDP has no c= line for the audio stream")
    return Endpoint(_address(connection.host), media.port)


def _address(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        raise NotAcceptable(f"the media address {host[:80]} is not an IPv4 or IPv6 address") from None
    if address.is_multicast:
        raise NotAcceptable(f"the media address {address} is a multicast address")
    return str(address)


def family_of(host: str) -> Family:
    """Of a literal address."""
    return "IP6" if ":" in host else "IP4"


def _check_family(remote: Endpoint, family: Family | None) -> None:
    """A hold's unspecified address is of any family."""
    theirs = family_of(remote.host)
    if family not in (None, theirs) and not ip_address(remote.host).is_unspecified:
        raise NotAcceptable(f"the media address {remote.host} is {_NAMES[theirs]}; we speak {_NAMES[family]} only")


def _direction(offer: SessionDescription, media: MediaDescription, remote: Endpoint) -> Direction:
    direction = _MIRROR[_marked(media.attributes) or _marked(offer.attributes) or Direction.SENDRECV]
    return _MUTED.get(direction, direction) if ip_address(remote.host).is_unspecified else direction


def _marked(attributes: Attributes) -> Direction | None:
    return next((Direction(name) for name, _ in attributes if name in Direction.__members__.values()), None)


def _rtcp(media: MediaDescription, remote: Endpoint) -> Endpoint | None:
    """`a=rtcp:port [IN IP4 address]` (RFC 3605); one that cannot be read is as good as none."""
    port, *address = (media.attribute("rtcp") or "").split()[:4] or ("",)
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or not 0 < int(port) < 65536:
        return None
    try:
        return Endpoint(_address(address[2]) if len(address) == 3 else remote.host, int(port))
    except NotAcceptable:
        return None


def _audio(
    numbered: list[tuple[int, str]],
    local: Endpoint,
    params: MediaParams | None,
    protocol: str,
    lines: Sequence[Crypto],
) -> MediaDescription:
    attributes = [("rtpmap", f"{number} {encoding}") for number, encoding in numbered]
    attributes += [("fmtp", f"{number} 0-15") for number, encoding in numbered if "telephone-event" in encoding.lower()]
    attributes.append(("ptime", str(params.ptime if params else PTIME_DEFAULT)))
    attributes.append((str(params.direction if params else Direction.SENDRECV), ""))
    if params is not None and params.rtcp_mux:
        attributes.append(("rtcp-mux", ""))
    attributes += [("crypto", str(line)) for line in lines]
    formats = tuple(str(number) for number, _ in numbered)
    return MediaDescription("audio", local.port, protocol, formats, attributes=tuple(attributes))


def _connection(local: Endpoint) -> Connection:
    return Connection(family_of(local.host), local.host)


def _origin(local: Endpoint, session_id: int, version: int) -> str:
    return f"trunkline {session_id} {version} {_connection(local)}"
