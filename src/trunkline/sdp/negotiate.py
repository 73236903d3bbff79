"""Offer and answer (RFC 3264) for one audio stream, as pure functions.

Either the peer offers (`negotiate`, then `make_answer` in our 200), or we do (`make_offer` in our INVITE, or in the 200
to one that came without an offer, then `accept_answer`); a re-INVITE is one of the two.

Of the peer's media descriptions the one in use is taken, else the first acceptable audio one, an encrypted one before a
plain one; all others are declined with port 0 (section 6), and keep their places, declined, in all later descriptions
of ours (section 8). `Security` says whether encryption is allowed or required. RTP/SAVP requires it; crypto lines under
a plain profile offer it (RFC 8643) and are taken where `Security` allows; if no line is supported the audio is plain,
or refused where `Security` requires encryption. The answer has all common codecs, in our order unless the peer's is
set, and we send the first. Directions are ours: the peer's `sendonly` is our `recvonly`. A connection address of
0.0.0.0 is a hold (section 8.4) and only stops our sending.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address
from typing import Literal

from trunkline.codecs import TELEPHONE_EVENTS
from trunkline.sdp.codecs import CODECS, DYNAMIC, FMTP, canonical, telephone_event
from trunkline.sdp.crypto import Crypto, Security, SrtpRule, choose, parse
from trunkline.sdp.session import Attributes, ConnectionData, MediaDescription, SessionDescription
from trunkline.sdp.values import (
    COMFORT_NOISE,
    TELEPHONE_EVENT,
    Direction,
    Endpoint,
    MediaParams,
    NotAcceptable,
    SrtpKeys,
)

PTIME_DEFAULT = 20
"""Milliseconds per packet where the peer names none (RFC 3551 section 4.2)."""

PLAIN_PROFILES = ("RTP/AVP", "RTP/AVPF")
"""RTP profiles without encryption (RFC 3551, RFC 4585); feedback is optional in AVPF, and we give none."""
SECURE_PROFILES = ("RTP/SAVP", "RTP/SAVPF")
"""Encrypted, with keys from `a=crypto` lines (RFC 4568)."""
DTLS_PROFILES = ("UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF")
"""Encrypted, with keys from a DTLS handshake (RFC 5764); not supported."""

CodecOrder = Literal["ours", "peer"]
"""Whose order decides among the common codecs; the setting `media.codec_order`."""
Family = Literal["IP4", "IP6"]
"""Address family, as in a `c=` line."""
_NAMES: dict[Family | None, str] = {"IP4": "IPv4", "IP6": "IPv6"}

_MIRROR = {
    Direction.SENDRECV: Direction.SENDRECV,
    Direction.SENDONLY: Direction.RECVONLY,
    Direction.RECVONLY: Direction.SENDONLY,
    Direction.INACTIVE: Direction.INACTIVE,
}
"""The peer's direction, and the widest that we may answer (RFC 3264 section 6.1)."""
_MUTED = {Direction.SENDRECV: Direction.RECVONLY, Direction.SENDONLY: Direction.INACTIVE}

CACHE_SIZE = 256
"""Hosts of peers whose addresses are remembered: each is read several times in a negotiation."""
_NUMBER = re.compile(r"[0-9]{1,5}(?![0-9])")

PLAIN = Security()


def negotiate(
    offer: SessionDescription,
    accepted: Sequence[str],
    security: Security = PLAIN,
    family: Family | None = None,
    order: Sequence[str] | None = None,
    stream: int | None = None,
) -> MediaParams:
    """The outcome of an offer when we accept the codecs `accepted` (names of `CODECS`) and have an address of `family`;
    None = of either. The codecs of `order` go before others, which follow in the peer's order; None = `accepted`.
    `stream`: the media description in use, counted from 0.

    Raises NotAcceptable with the reason as text for a Warning header.
    """
    media = _chosen(offer, accepted, security, family, stream)
    payload_type, codec = _common(media, accepted, accepted if order is None else order)[0]
    remote = _remote(offer, media)
    mux = media.attribute("rtcp-mux") is not None
    return MediaParams(
        codec=codec,
        payload_type=payload_type,
        ptime=_ptime(offer, media, codec),
        remote=remote,
        direction=_direction(offer, media, remote),
        dtmf_payload_type=_telephone_event(dict(_encodings(media)), codec),
        remote_rtcp=None if mux else _rtcp(media, remote),
        rtcp_mux=mux,
        srtp=_keys(media, security),
        heard=tuple(_meanings(media, accepted).items()),
    )


def make_answer(
    offer: SessionDescription,
    params: MediaParams,
    local: Endpoint,
    session_id: int,
    version: int,
    accepted: Sequence[str] = (),
    order: Sequence[str] = (),
    stream: int | None = None,
) -> SessionDescription:
    """Our answer to `offer`, of which `negotiate` made `params` with the same `accepted`, `order` and `stream`; `local`
    is where we receive RTP. An offer without any stream gets an answer without one.

    `session_id` stays the same for a dialog, `version` grows by one with each description that differs from the one
    before (RFC 3264 section 8).
    """
    lines = (Crypto(params.srtp.tag, params.srtp.suite, params.srtp.ours),) if params.srtp else ()
    security = Security("required" if lines else "off", lines)
    host = params.remote.host
    chosen = _chosen(offer, (params.codec, *accepted), security, family_of(host), stream) if offer.media else None
    answers = []
    for media in offer.media:
        if media is chosen:
            common = _common(media, (params.codec, *accepted), (params.codec, *order))
            numbered = [(number, CODECS[codec].encoding) for number, codec in common]
            encodings = dict(_encodings(media))
            events = dict.fromkeys(_telephone_event(encodings, codec) for _, codec in common)
            numbered += [(number, encodings[number]) for number in events if number is not None]
            answers.append(_audio(numbered, local, params, media.protocol, lines, mux=params.rtcp_mux))
        else:
            answers.append(_declined(media))
    return SessionDescription(
        origin=_origin(local, session_id, version),
        connection=_connection(local),
        timing=offer.timing,
        media=tuple(answers),
    )


def make_offer(
    accepted: Sequence[str],
    local: Endpoint,
    session_id: int,
    version: int,
    lines: Sequence[Crypto] = (),
    last: SessionDescription | None = None,
    taken: Mapping[int, str] | None = None,
) -> SessionDescription:
    """Our offer: the codecs `accepted` in that order, and telephone-event; with crypto lines, of encrypted audio alone.

    `last` is our last description in the call, if there was one: its media descriptions stay in their places, ours
    with its profile and the others declined (RFC 3264 section 8). `taken`: what `payload_types` found in the call so
    far, which must not change its meaning (section 8.3.2).
    """
    before = None if last is None else _in_use(last)
    profile = (SECURE_PROFILES if lines else PLAIN_PROFILES)[0] if before is None else before.protocol
    mux = before is not None and before.attribute("rtcp-mux") is not None
    ours = _audio(_numbered(accepted, before, taken or {}), local, None, profile, lines, mux=mux)
    streams = () if last is None else last.media
    return SessionDescription(
        origin=_origin(local, session_id, version),
        connection=_connection(local),
        media=tuple(ours if media is before else _declined(media) for media in streams) or (ours,),
    )


def accept_answer(
    offer: SessionDescription,
    answer: SessionDescription,
    family: Family | None = None,
    order: Sequence[str] | None = None,
    srtp: SrtpRule = "required",
) -> MediaParams:
    """The outcome of the peer's answer to `offer`, a description of ours; `order` as for `negotiate`. `srtp`: whether
    crypto lines under a plain profile, which only offer encryption (RFC 8643), must be taken.

    Media descriptions and `a=rtpmap` lines that are missing in the answer are taken from the offer. The peer may send
    with the payload types of either description (RFC 3264 section 6.1 requires ours). Raises NotAcceptable.
    """
    ours = _in_use(offer)
    if ours is None:
        raise NotAcceptable("there was no audio stream to answer")
    accepted = [name for _, name in _codecs(ours)]
    lines = tuple(parse(value) for name, value in ours.attributes if name == "crypto")
    mapped = dict(_encodings(ours))
    answer = replace(answer, media=tuple(_with_mappings(media, mapped) for media in answer.media))
    encrypted = ours.protocol.upper() in SECURE_PROFILES
    security = Security("required" if encrypted else srtp if lines else "off", lines)
    params = negotiate(answer, accepted, security, family, order, stream=offer.media.index(ours))
    if params.srtp and (params.srtp.tag, params.srtp.suite) not in {(line.tag, line.suite) for line in lines}:
        raise NotAcceptable(f"the answer's crypto tag {params.srtp.tag} is not the one offered with its suite")
    meant = {name for _, name in params.heard} | {TELEPHONE_EVENT, COMFORT_NOISE}
    under_ours = {number: name for number, name in _meanings(ours, accepted).items() if name in meant}
    return replace(params, heard=tuple({**dict(params.heard), **under_ours}.items()))


def payload_types(description: SessionDescription) -> dict[int, str]:
    """The `name/clock` of each payload type of its audio, in lower case."""
    audio = (media for media in description.media if media.kind == "audio")
    return {number: encoding.lower() for media in audio for number, encoding in _encodings(media)}


def stream_in_use(ours: SessionDescription) -> int | None:
    """Which media description of a description of ours is the call's audio, counted from 0; None when it has none."""
    media = _in_use(ours)
    return None if media is None else ours.media.index(media)


def usual_formats(accepted: Sequence[str]) -> tuple[tuple[int, str], ...]:
    """What the peer may send after a first offer of these codecs, see `MediaParams.heard`."""
    events = {telephone_event(name).payload_type: TELEPHONE_EVENT for name in accepted}
    return (*((CODECS[name].payload_type, name) for name in accepted), *events.items())


def formats_of(ours: SessionDescription) -> tuple[tuple[int, str], ...]:
    """What the peer may send after a description of ours, see `MediaParams.heard`."""
    media = _in_use(ours)
    return () if media is None else tuple(_meanings(media, CODECS).items())


def _in_use(ours: SessionDescription) -> MediaDescription | None:
    return next((media for media in ours.media if media.kind == "audio" and media.port), None)


def _declined(media: MediaDescription) -> MediaDescription:
    return MediaDescription(media.kind, 0, media.protocol, media.formats)


def _with_mappings(media: MediaDescription, mapped: Mapping[int, str]) -> MediaDescription:
    """With an `a=rtpmap` from `mapped` for each payload type that has none of its own."""
    present = {value.partition(" ")[0] for name, value in media.attributes if name == "rtpmap"}
    missing = [number for number in mapped if str(number) not in present]
    added = tuple(("rtpmap", f"{number} {mapped[number]}") for number in missing)
    return replace(media, attributes=media.attributes + added)


def _numbered(
    accepted: Sequence[str], before: MediaDescription | None, taken: Mapping[int, str]
) -> list[tuple[int, str]]:
    """Payload types for an offer of ours: those in use, else those of our table, else free ones."""
    wanted = [(CODECS[name].payload_type, CODECS[name].encoding) for name in accepted]
    events = {telephone_event(name) for name in accepted}
    wanted += sorted((event.payload_type, event.encoding) for event in events)
    last = {} if before is None else {number: encoding.lower() for number, encoding in _encodings(before)}
    used = {plain: number for types in (taken, last) for number, plain in types.items()}
    meanings = {**taken, **last}
    numbered = []
    for usual, encoding in wanted:
        plain = encoding.lower()
        numbers = (used.get(plain, usual), *range(DYNAMIC, 128))
        number = next((number for number in numbers if meanings.get(number, plain) == plain), usual)
        meanings[number] = plain
        numbered.append((number, encoding))
    return numbered


def _chosen(
    offer: SessionDescription,
    accepted: Sequence[str],
    security: Security,
    family: Family | None,
    stream: int | None,
) -> MediaDescription:
    """The audio stream in use if acceptable, else the first acceptable one. Raises NotAcceptable with the reason of the
    first stream."""
    reasons = []
    audio = [(index, media) for index, media in enumerate(offer.media) if media.kind == "audio"]
    for index, media in sorted(audio, key=lambda row: (row[0] != stream, _rank(row[1], security))):
        try:
            _check_usable(media, accepted, security)
            _check_family(_remote(offer, media), family)
            return media
        except NotAcceptable as refusal:
            reasons.append((index, str(refusal)))
    raise NotAcceptable(min(reasons)[1] if reasons else "no audio stream in the SDP")


def _check_usable(media: MediaDescription, accepted: Sequence[str], security: Security) -> None:
    reason = _refusal(media, security)
    if reason is not None:
        raise NotAcceptable(reason)
    _keys(media, security)
    if not _common(media, accepted, ()):
        offered = ", ".join(name for _, name in _encodings(media)) or "no known codec"
        raise NotAcceptable(f"no common codec: offered {offered}; accepted {', '.join(accepted)}")


def _common(media: MediaDescription, accepted: Collection[str], order: Sequence[str]) -> list[tuple[int, str]]:
    """Payload type and name of each common codec: first those of `order`, then in the peer's order."""
    found: dict[str, int] = {}
    for number, name in _codecs(media):
        if name in accepted:
            found.setdefault(name, number)
    names = dict.fromkeys(name for name in (*order, *found) if name in found)
    return [(found[name], name) for name in names]


def _meanings(media: MediaDescription, accepted: Collection[str]) -> dict[int, str]:
    """The codec or kind of each format, see `MediaParams.heard`."""
    meanings = {number: name for number, name in _codecs(media) if name in accepted}
    for number, encoding in _encodings(media):
        name = encoding.partition("/")[0].lower()
        if name in _SIGNALS:
            meanings[number] = _SIGNALS[name]
    return meanings


_SIGNALS = {name.lower(): name for name in (TELEPHONE_EVENT, COMFORT_NOISE)}


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
    """Whether an audio stream is encrypted, may be, or is plain; encrypted streams go first."""
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
    """Payload type and `name/clock` of each format, in order."""
    mapped = {}
    for name, value in media.attributes:
        words = value.split(None, 1) if name == "rtpmap" else []
        if len(words) == 2:
            mapped[words[0]] = canonical(words[1])
    for text in media.formats:
        encoding = mapped.get(text) or _STATIC.get(text)
        if encoding is not None and text.isascii() and text.isdigit() and len(text) <= 3 and int(text) < 128:
            yield int(text), encoding


def _codecs(media: MediaDescription) -> Iterator[tuple[int, str]]:
    """Payload type and name of each format that is one of our codecs."""
    for number, encoding in _encodings(media):
        name = _BY_ENCODING.get(encoding)
        if name is not None:
            yield number, name


_BY_ENCODING = {codec.encoding: name for name, codec in CODECS.items()}
_STATIC = {str(codec.payload_type): codec.encoding for codec in CODECS.values() if codec.payload_type < DYNAMIC}


def _telephone_event(encodings: Mapping[int, str], codec: str) -> int | None:
    """Payload type of telephone-event at the codec's clock rate, else at 8000, which some offer with every codec."""
    for wanted in (telephone_event(codec).encoding, TELEPHONE_EVENTS[8000].encoding):
        for number, encoding in encodings.items():
            if encoding == wanted:
                return number
    return None


def _ptime(offer: SessionDescription, media: MediaDescription, codec: str) -> int:
    """Our packet time in ms: the peer's `ptime`, within `maxptime` and what the codec allows (RFC 8866 section 6.4).
    Some devices write both at session level."""
    wanted = _milliseconds(media.attribute("ptime") or offer.attribute("ptime")) or PTIME_DEFAULT
    longest = _milliseconds(media.attribute("maxptime") or offer.attribute("maxptime")) or wanted
    ptimes = CODECS[codec].ptimes
    return max((ptime for ptime in ptimes if ptime <= min(wanted, longest)), default=ptimes[0])


def _milliseconds(value: str | None) -> int | None:
    # Some devices write "20.0" or "20 ms".
    match = _NUMBER.match(value or "")
    return int(match[0]) if match else None


def _remote(offer: SessionDescription, media: MediaDescription) -> Endpoint:
    connection = media.connection or offer.connection
    if connection is None:
        raise NotAcceptable("the SDP has no c= line for the audio stream")
    return Endpoint(_address(connection.host), media.port)


@lru_cache(CACHE_SIZE)
def _address(host: str) -> str:
    if not host:
        return host  # the source of the peer's RTP will be learned
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
    """Raises NotAcceptable for another family than ours. The unspecified address of a hold fits any."""
    theirs = family_of(remote.host)
    if remote.host and family not in (None, theirs) and not ip_address(remote.host).is_unspecified:
        raise NotAcceptable(
            f"the media address {remote.host} is {_NAMES[theirs]}; only {_NAMES[family]} is supported here"
        )


def _direction(offer: SessionDescription, media: MediaDescription, remote: Endpoint) -> Direction:
    direction = _MIRROR[_marked(media.attributes) or _marked(offer.attributes) or Direction.SENDRECV]
    held = remote.host and ip_address(remote.host).is_unspecified
    return _MUTED.get(direction, direction) if held else direction


def _marked(attributes: Attributes) -> Direction | None:
    return next((Direction(name) for name, _ in attributes if name in Direction.__members__.values()), None)


def _rtcp(media: MediaDescription, remote: Endpoint) -> Endpoint | None:
    """`a=rtcp:port [IN IP4 address]` (RFC 3605); None if it cannot be parsed."""
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
    *,
    mux: bool,
) -> MediaDescription:
    attributes = [("rtpmap", f"{number} {encoding}") for number, encoding in numbered]
    attributes += [("fmtp", f"{number} {FMTP[encoding]}") for number, encoding in numbered if encoding in FMTP]
    attributes.append(("ptime", str(params.ptime if params else PTIME_DEFAULT)))
    attributes.append((str(params.direction if params else Direction.SENDRECV), ""))
    if mux:
        attributes.append(("rtcp-mux", ""))
    attributes += [("crypto", str(line)) for line in lines]
    formats = tuple(str(number) for number, _ in numbered)
    return MediaDescription("audio", local.port, protocol, formats, attributes=tuple(attributes))


def _connection(local: Endpoint) -> ConnectionData:
    return ConnectionData(family_of(local.host), local.host)


def _origin(local: Endpoint, session_id: int, version: int) -> str:
    return f"trunkline {session_id} {version} {_connection(local)}"
