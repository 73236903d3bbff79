"""Encryption between a leg and the network: SRTP and SRTCP (RFC 3711), by libsrtp.

An encrypted leg unprotects what it receives and protects what it sends with a `Channel`; everything else works on plain
packets. A packet that fails authentication is counted and dropped before anything is learned from it.

The packet index of the cipher includes the roll-over counter (ROC) of the sequence number (RFC 3711 section 3.3.1),
which is never signalled: both sides count from zero with a new key. So a session lives as long as its key; and when our
key changes our SSRC changes too, with a sequence number in the lower half: then every peer starts at zero, whether it
resets the ROC for a new key, as most do, or not.

A peer that changes its key sends under the former key until our answer reaches it. So packets are tried with the former
session too, until the first packet under the new key. If the peer cancels the change, that session is used again with
its ROC.
"""

from pylibsrtp import Error, Policy, Session

from trunkline.media.rtp.packet import keeps_alive
from trunkline.sdp.values import SrtpKeys

_PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}
PACKET_LIMIT = 1500
"""Bytes: the size of libsrtp's buffer as the binding makes it."""


def session(suite: str, key: bytes, *, inbound: bool) -> Session:
    """The libsrtp session of one direction; `key` is master key and salt."""
    kind = Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND
    return Session(Policy(key=key, ssrc_type=kind, srtp_profile=_PROFILES[suite]))


class Channel:
    """The SRTP sessions of one leg, and counters of the peer's packets that were dropped."""

    __slots__ = ("_former", "_keys", "_ours", "_theirs", "auth_failed", "keepalives", "malformed", "replayed")

    def __init__(self, keys: SrtpKeys) -> None:
        self._keys = keys
        self._theirs = session(keys.suite, keys.theirs, inbound=True)
        self._ours = session(keys.suite, keys.ours, inbound=False)
        self._former: tuple[SrtpKeys, Session] | None = None
        self.auth_failed = 0
        """Packets not protected with the peer's key."""
        self.replayed = 0
        """Packets that were repeated, or too old to check."""
        self.malformed = 0
        """Datagrams that are not SRTP."""
        self.keepalives = 0
        """Datagrams that only keep a NAT open (RFC 6263)."""

    def rekey(self, keys: SrtpKeys) -> bool:
        """Apply renegotiated keys; True when our key is another, so that our SSRC has to change."""
        before, self._keys = self._keys, keys
        if (keys.suite, keys.theirs) != (before.suite, before.theirs):
            former, self._former = self._former, (before, self._theirs)
            if former is not None and (keys.suite, keys.theirs) == (former[0].suite, former[0].theirs):
                self._theirs = former[1]
            else:
                self._theirs = session(keys.suite, keys.theirs, inbound=True)
        if (keys.suite, keys.ours) == (before.suite, before.ours):
            return False
        self._ours = session(keys.suite, keys.ours, inbound=False)
        return True

    def protect(self, packet: bytes) -> bytes:
        """SRTP of an RTP packet."""
        return self._ours.protect(packet)

    def protect_rtcp(self, packet: bytes) -> bytes:
        """SRTCP of an RTCP packet."""
        return self._ours.protect_rtcp(packet)

    def unprotect(self, datagram: bytes) -> bytes | None:
        """The RTP packet of an SRTP packet; None, and counted, when it is not one of the peer's."""
        if len(datagram) > PACKET_LIMIT:
            self.malformed += 1
            return None
        try:
            packet = self._theirs.unprotect(datagram)
        except Error as error:
            former = self._former
            if former is not None:
                try:
                    return former[1].unprotect(datagram)
                except Error:
                    pass
            self._count(error, datagram)
            return None
        self._former = None
        return packet

    def unprotect_rtcp(self, datagram: bytes) -> bytes | None:
        """The RTCP packet of an SRTCP packet; None, and counted, when it is not one of the peer's."""
        if len(datagram) > PACKET_LIMIT:
            self.malformed += 1
            return None
        try:
            return self._theirs.unprotect_rtcp(datagram)
        except Error as error:
            self._count(error, datagram)
            return None

    def _count(self, error: Error, datagram: bytes) -> None:
        if keeps_alive(datagram):
            self.keepalives += 1
            return
        # pylibsrtp distinguishes errors by their text only.
        reason = str(error)
        if reason == "authentication failure":
            self.auth_failed += 1
        elif reason.startswith("replay") or reason == "packet index is too old to consider":
            self.replayed += 1
        else:
            self.malformed += 1
