"""Every setting, its default and what it means; read in one place, frozen, passed down.

Where a value comes from is `settings.py`'s business; this file is the shape, and what other rooms import.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from trunkline.setting_tables import (
    ApplicationSettings,
    InstructionSettings,
    NumberSettings,
    PhoneSettings,
    TrunkSettings,
)
from trunkline.setting_types import (
    Address,
    CallCodec,
    Clash,
    HeaderName,
    HostPort,
    HttpUrl,
    Milliseconds,
    Network,
    Port,
    Section,
    Srtp,
    StreamUrl,
    check_reachable,
    check_unlike,
    is_loopback,
    off,
    split,
    stream_document,
    tables,
)


class HttpSettings(Section):
    """The API."""

    host: str = "127.0.0.1"
    """Address or name that the API listens on; 0.0.0.0 = every IPv4 address of this machine."""
    port: Port = 8080
    """TCP; 0 = any free one."""
    public_url: HttpUrl | None = None
    """Base of the URLs that customers get, such as `https://voice.example`; default: made from `host` and `port`."""
    body_limit: int = Field(65536, ge=1)
    """Bytes of a request body; more is 413."""
    header_limit: int = Field(65536, ge=1024)
    """Bytes of a request's head; more closes the connection with 431."""
    rate_limit: float = Field(500, ge=0)
    """Requests per second per API key, with a burst of two seconds' worth; 0 = no limit."""
    operator_key: str | None = Field(None, min_length=16, repr=False)
    """Key of the operator, who manages accounts; default: one that is made at the first start and kept in
    `operator.key` under the store's directory."""
    operator_key_file: Path | None = None
    """A file with the key, instead of it; or a credential of systemd, `http.operator_key`."""
    operators_host: str = "127.0.0.1"
    """Address or name that `operators_port` is on."""
    operators_port: Annotated[Port | None, BeforeValidator(off)] = None
    """A port of its own for `/metrics`, `/docs`, `/openapi.json`, `/asyncapi.json` and `/v2/trunkline/accounts`, which
    `port` then does not serve; off = none."""
    tls_certificate_file: Path | None = None
    """Our certificate and its chain, PEM: both ports then speak HTTPS and nothing else; default: HTTP."""
    tls_key_file: Path | None = None
    """Its key, PEM; default: in the certificate's file."""
    operators_need_key: bool = False
    """`/metrics`, `/docs`, `/openapi.json` and `/asyncapi.json` need the operator's key, as the accounts always do."""

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> "HttpSettings":
        if self.tls_key_file is not None and self.tls_certificate_file is None:
            raise Clash("a key without a certificate", "tls_key_file", "tls_certificate_file")
        return self


class TraceSettings(Section):
    """The SIP messages of calls that are kept: docs/operations/sip-trace.md."""

    messages: int = Field(100, ge=30)
    """Of one call: its first 20 and the newest."""
    memory: float = Field(4, ge=1, le=10_000)
    """MB of all calls; then the oldest call of the account that has most loses its messages. INVITEs that became no
    call have a quarter as much beside it."""
    store: Literal["failed", "all", "off"] = "failed"
    """Calls whose messages also go to the database, a second after their end: those of status `failed`, all or none.
    They stay as long as `store.keep_calls` says."""
    store_limit: int = Field(65536, ge=1000)
    """Bytes of a call in the database; its last messages are left out."""
    mask_headers: Annotated[tuple[HeaderName, ...], BeforeValidator(split)] = ()
    """Header fields whose values are never shown, `X-Customer-Pin` for one; proofs of passwords and SRTP keys are not
    in any case. Outside the file: separated by commas."""


class HepSettings(Section):
    """A capture server, Homer for one, that gets each SIP message in HEP3."""

    target: HostPort | None = None
    """Its address and UDP port, `192.0.2.30:9060`; default: none."""
    id: int = Field(1, ge=0, le=2**32 - 1)
    """Number of this server among those that send to it (capture id)."""
    password: str | None = Field(None, min_length=1, repr=False)
    """What it checks (authenticate key); it is sent as it is."""


class SipSettings(Section):
    """Signalling."""

    host: Address = "127.0.0.1"
    """Address of the SIP sockets."""
    port: Port = 5060
    """UDP and TCP."""
    advertised_host: str | None = None
    """Host in Contact and Via, when peers reach us by another address than `host`."""
    message_limit: int = Field(65536, ge=1024)
    """Bytes of one SIP message over TCP; a longer one closes the connection."""
    connection_limit: int = Field(1000, ge=1)
    """TCP and TLS connections open at once. One address (IPv6: its /64) may hold half of those that the others leave,
    without its registered phones; trunks may hold all. For one more its oldest without an admitted request is closed,
    else itself."""
    idle_timeout: float = Field(120, ge=0)
    """Seconds without a message after which a TCP or TLS connection that a peer opened is closed, unless it is a
    trunk's, or a phone is registered or a call is up by it; 0 = never."""
    connect_timeout: float = Field(10, gt=0)
    """Seconds to look a name up, to connect, and for a TLS handshake, each."""
    ping_interval: float = Field(100, ge=0)
    """Seconds between keep-alives (RFC 5626) on TCP and TLS connections that we opened; 0 = none."""
    tls_port: Annotated[Port | None, BeforeValidator(off)] = 5061
    """TLS; `off` = none. Where `port` is 0, so is this unless it is given."""
    tls_certificate_file: Path | None = None
    """Our certificate and its chain, PEM; default: one signed by itself, made at the first start and kept in
    `store.directory`. Also shown to the peers that we call."""
    tls_key_file: Path | None = None
    """Its key, PEM; default: in the certificate's file."""
    tls_client_ca_file: Path | None = None
    """Clients must show a certificate signed by one of these; default: they are not asked for any."""
    tls_ca_file: Path | None = None
    """Certificates to trust when we call by TLS, instead of the system's."""
    tls_verify: bool = True
    """Check the certificates of the peers that we call. If off, anyone on the path can listen."""
    call_limit: int = Field(2000, ge=1)
    """Calls at once; one more is refused with 503."""
    account_call_limit: int | None = Field(None, ge=1)
    """Calls at once of one account, both ways; default: `call_limit`. One more gets 486 with Retry-After, or is not
    placed (429)."""
    account_call_rate: int = Field(0, ge=0)
    """New calls of one account in a minute, both ways; 0 = no limit. One more is refused in the same way."""
    session_expires: int = Field(1800, ge=0)
    """Seconds after which a session that is not refreshed ends (RFC 4028), as we request it; 0: we request nothing,
    and grant what the peer requests."""
    min_se: int = Field(90, ge=1)
    """Seconds: the shortest that we take; under 90, which RFC 4028 forbids, is for tests."""
    target_timeout: float = Field(5, gt=0)
    """Seconds without any response to a call of ours, after which the next target is tried, if there is one."""
    dns_server: Address | None = None
    """Asked for the NAPTR and SRV records of trunks' targets and of SIP URIs that are called, and for the hosts that
    these name; default: the system's."""
    dns_port: Port = 53
    """Its port."""
    unknown_callers: Literal["loopback", "all", "none"] = "loopback"
    """Callers that are accepted besides trunks and phones: this machine's, all, or none."""
    realm: str = Field("trunkline", pattern=r"^[^\"\\\x00-\x1f]+$")
    """Realm of digest challenges to phones (RFC 3261 section 22.1)."""
    digest_algorithms: Annotated[
        tuple[Literal["MD5", "SHA-256", "SHA-512-256"], ...], BeforeValidator(split), Field(min_length=1)
    ] = ("MD5",)
    """What phones may prove their passwords by, best first. Outside the file: separated by commas. Many phones give up
    when they are offered an algorithm that they do not know, baresip 1 for one; add SHA-256 where all know it."""
    registration_min: int = Field(60, ge=1)
    """Seconds: a phone that asks to be registered for less gets 423."""
    registration_max: int = Field(3600, ge=60)
    """Seconds: a phone that asks to be registered for longer gets this."""
    refusal_rate: int = Field(2000, ge=1)
    """Requests that are refused, challenged, or OPTIONS, and answered in a second. One address (IPv6: its /64) may have
    half of those that the others leave; one more is not answered. Trunks are exempt."""
    silent: bool = False
    """Do not answer requests that are refused, nor OPTIONS, if neither the address nor a name in them is that of a
    trunk, a phone or a caller that `unknown_callers` admits. Who guesses the name of a phone still gets an answer."""
    auth_failures: int = Field(10, ge=1)
    """Wrong passwords from one address (IPv6: its /64) before it is banned: its calls and registrations get 403, but
    for those of phones that have proved their passwords from there."""
    auth_failures_per_name: int = Field(30, ge=1)
    """Wrong passwords for one name, from all addresses together, before it is banned: it can be used only where it has
    proved its password before."""
    auth_ban: float = Field(60, gt=0)
    """Seconds that a ban lasts, from the last wrong password on."""
    trunks: Annotated[tuple[TrunkSettings, ...], BeforeValidator(tables)] = ()
    """Carriers and PBXes that calls come from and go to."""
    phones: Annotated[tuple[PhoneSettings, ...], BeforeValidator(tables)] = ()
    """Phones that register with us."""
    trace: TraceSettings = TraceSettings()
    hep: HepSettings = HepSettings()

    @model_validator(mode="after")
    def _names_differ(self) -> "SipSettings":
        check_unlike("trunks", (trunk.name for trunk in self.trunks))
        check_unlike("phones", (phone.user for phone in self.phones))
        return self

    @model_validator(mode="before")
    @classmethod
    def _any_port_is_any_port_for_tls_too(cls, given: object) -> object:
        if isinstance(given, dict) and str(given.get("port")) == "0":
            return {"tls_port": 0, **given}
        return given

    @model_validator(mode="after")
    def _peers_can_reach_us(self) -> "SipSettings":
        check_reachable(self.host, self.advertised_host)
        return self


class MediaSettings(Section):
    """RTP."""

    host: Address = "127.0.0.1"
    """Address of the RTP sockets."""
    advertised_host: Address | None = None
    """Address in our SDP, when peers reach us by another one than `host`."""
    port_min: Port = 20000
    """First port for RTP and RTCP."""
    port_max: Port = 29999
    """Last one. The leg of a call takes two."""
    port_rest: float = Field(2.0, ge=0)
    """Seconds that a closed port rests before it is used again."""
    workers: int = Field(0, ge=0)
    """Media worker processes; 0 = one per core less one, at least 1. Each needs a pair of the ports."""
    spare_worker: bool = True
    """One process more that has its code loaded and takes the place of a worker that dies, so that new calls are taken
    again after 0.3 s, not 3 s. It takes 50 MB."""
    codecs: Annotated[tuple[CallCodec, ...], BeforeValidator(split), Field(min_length=1)] = ("PCMU", "PCMA", "G722")
    """What we accept, and offer, in this order: PCMU goes before wideband, as most apps know nothing else. Outside the
    file: separated by commas. OPUS must be asked for; its packets cost fifty times those of G.711."""
    codec_order: Literal["ours", "peer"] = "ours"
    """Whose order decides where a peer has several of `codecs`: ours, or the one that its offer or answer has them in.
    With `peer` a call of a phone that likes wideband best is a G722 call, and so are its streams that ask for no other
    format. The codecs that a call was placed with, or that of the call that dialled it, go first in either case."""
    srtp: Srtp = "optional"
    """Encrypted audio (RTP/SAVP with a=crypto lines): off = refused with 488; optional = taken where it is offered;
    required = plain audio is refused with 488. a=crypto lines under RTP/AVP are an offer too, and mean nothing where it
    is off. Calls of ours offer it where it is required, and plain audio else."""
    silence_timeout: float = Field(60, ge=0)
    """Seconds without any RTP, while not on hold, after which a call ends; 0 = never."""
    send_silence: bool = True
    """Send silence when there is nothing to play, so that NAT bindings and recorders stay happy."""
    strict_source: bool = False
    """Hear RTP and RTCP from the address in the peer's SDP only: for networks without NAT. Else another source is heard
    after a trial, as that of a peer behind a NAT, and until the signalled address sends."""
    reorder_window: Milliseconds = 60
    """How long a gap in the RTP sequence is held open for a late packet, at most; closed earlier on networks where
    packets do not come that late."""
    players_per_leg: int = Field(4, ge=1)
    """Sources, streams for one, that may play to a call at once; they are mixed."""
    recording_silence: int = Field(-45, ge=-96, le=0)
    """Level in dB below full scale under which the peer counts as silent, for a recording that ends on silence."""
    rtcp_interval: float = Field(5, gt=0)
    """Seconds between RTCP reports."""

    @model_validator(mode="after")
    def _ports_make_a_range_that_peers_can_reach(self) -> "MediaSettings":
        if self.port_pairs < 1 or self.port_min < 1024:
            words = "port_min must be at least 1024, and port_max above it, with an even port between them"
            raise Clash(words, "port_min", "port_max")
        if self.workers > self.port_pairs:
            words = f"port_min {self.port_min} to port_max {self.port_max} is {self.port_pairs} pairs of ports"
            raise Clash(f"{words}, too few for {self.workers} workers", "workers", "port_min", "port_max")
        check_reachable(self.host, self.advertised_host)
        return self

    @property
    def port_pairs(self) -> int:
        """How many calls can have ports: an even one for RTP and the next for RTCP (RFC 3550 section 11)."""
        return (self.port_max - self.port_min - self.port_min % 2 + 1) // 2


class StreamSettings(Section):
    """The WebSocket side."""

    per_call_limit: int = Field(4, ge=1)
    """Streams at once on one call."""
    bidirectional_per_call: int = Field(1, ge=0)
    """Of these, streams with `BidirectionalMode=rtp`; several are mixed."""
    connect_timeout: float = Field(10, gt=0)
    """Seconds to look the host up, connect, shake hands and upgrade."""
    close_timeout: float = Field(5, gt=0)
    """Seconds to wait for the peer's close frame."""
    ping_interval: float = Field(20, gt=0)
    """Seconds between two pings to the app."""
    pong_timeout: float = Field(20, gt=0)
    """Seconds after a ping without a pong after which the socket is lost."""
    reconnect_delay: float = Field(0.25, gt=0)
    """Seconds before a lost socket is dialled again; doubled with each try."""
    reconnect_delay_max: float = Field(5, gt=0)
    """Seconds between two tries at most."""
    reconnect_window: float = Field(30, gt=0)
    """Seconds after a loss in which it is tried; then the stream ends with stream-error."""
    replay: float = Field(2, ge=0, le=60)
    """Seconds of media kept for the next socket, should one be lost; 0 keeps none."""
    prebuffer: Annotated[int, Field(ge=0, le=500)] = 60
    """The most milliseconds of audio to collect before playback starts, or starts again after it ran dry; less once an
    app is known to need less."""
    playback_limit: float = Field(600, ge=1)
    """Seconds of audio that may be queued for playback; more is refused with error 100005."""
    mp3_interval: float = Field(1, ge=0)
    """Seconds between two `media` messages in mp3 mode; one that comes earlier is refused with error 100005."""
    mark_limit: int = Field(10000, ge=1)
    """Marks that may be pending; more are refused with error 100005."""
    send_buffer: float = Field(2, gt=0)
    """Seconds of frames kept for an app that does not read; then the oldest are dropped."""
    message_limit: int = Field(8 * 1024 * 1024, ge=1024)
    """Bytes of one message from the app; a longer one closes the socket with 1009."""
    account_memory: int = Field(128 * 1024 * 1024, ge=1024 * 1024)
    """Bytes that the apps of one account may make one media worker hold; more is refused with error 100005, or closes
    the socket with 1009."""
    error_rate: int = Field(10, ge=0)
    """Error frames a second; more are only counted."""
    ca_file: Path | None = None
    """Certificates to trust for wss:// instead of the system's."""
    l16_endian: Literal["little", "big"] = "little"
    """Byte order of L16 on the WebSocket, both ways; RFC 3551 has big, what apps expect is little."""
    capture: Path | None = None
    """Directory into which the messages of streams are written, both ways, as lines of JSON, for `trunkline replay`
    and `export`: it holds what callers say. Each account has a directory of its own in it."""
    capture_streams: Literal["all", "asked"] = "all"
    """all: every stream but those started with `Capture=false`; asked: those with `Capture=true`."""
    capture_payloads: Literal["whole", "hash"] = "whole"
    """hash: instead of audio the captures have a hash of it, so that they cannot be heard or played again."""
    capture_numbers: Literal["whole", "masked"] = "whole"
    """masked: numbers, keys, custom parameters and client states of captures cannot be read."""
    capture_limit: float = Field(1000, ge=1)
    """MB that all captures in the directory may take; then the oldest of the account that has most are deleted."""
    extensions: bool = False
    """Frames and members beyond the documented ones: `played_ms` and `cleared` on marks, `queue` frames with
    the backlog of the playback, `bidirectional_media_format` in `start`; and `dtmf` from the app, which presses keys
    towards the call."""


class CallbackSettings(Section):
    """Status callbacks."""

    timeout: float = Field(5, gt=0)
    """Seconds for one try, from the look-up of its host to the answer."""
    tries: int = Field(6, ge=1)
    """Tries of one callback; then it is given up."""
    first_delay: float = Field(4, gt=0)
    """Seconds before the second try; each further wait is `delay_factor` times the one before."""
    delay_factor: float = Field(3.3, ge=1)
    """By which each wait is longer than the one before."""
    concurrency: int = Field(1000, ge=1)
    """Deliveries under way at once; of one account three quarters at most, to one of its hosts 8, or 2 while that does
    not answer."""
    error_event: Literal["stream-error", "stream-failed"] = "stream-error"
    """How the third stream event is called; both names are documented."""


class StoreSettings(Section):
    """Where state lives."""

    directory: Path = Path("~/.local/share/trunkline")
    """The database file and the signing key."""
    url: str | None = None
    """SQLAlchemy URL; default: SQLite in `directory`."""
    url_file: Path | None = None
    """A file with the URL, instead of it; or a credential of systemd, `store.url`."""
    pooler: bool = False
    """PostgreSQL is reached by a pooler in transaction mode, such as pgbouncer: no statement is kept prepared."""
    queue_limit: int = Field(10000, ge=1)
    """Changes waiting to be written; over it new calls and streams are refused with 503."""
    keep_calls: float = Field(90, ge=0)
    """Days after their end for which calls and their streams are kept; 0 keeps all."""
    keep_callbacks: float = Field(7, ge=0)
    """Days for which callbacks are kept that were delivered or given up; 0 keeps all."""
    keep_recordings: float = Field(90, ge=0)
    """Days after their end for which recordings are kept, files and records, and captures of streams; 0 keeps all.
    Recordings that an earlier version made have no record, and stay."""
    recordings_quota: float = Field(0, ge=0)
    """MB that an account's recordings may take; then it makes no new ones. 0 = no limit."""
    recordings_floor: float = Field(200, ge=0)
    """MB of the disk that recordings leave free: with less none begins, and those that run end. 0 = none."""


class DrainSettings(Section):
    """How the server ends."""

    timeout: float = Field(7, ge=0)
    """Seconds that running calls may go on after SIGTERM, SIGINT or `trunkline drain`, while new ones are refused with
    503; 0 ends them at once. The end itself takes up to 3 s more: give a service manager that long before it kills."""


class EgressSettings(Section):
    """Which addresses are dialled for customers: docs/operations/egress.md."""

    private: bool | None = None
    """Dial private addresses (RFC 1918, loopback, unique local, shared, …) that customers name; default: only while
    `http.host` is loopback. What this configuration names, and phones that register, are reached in any case."""
    allow: Annotated[tuple[Network, ...], BeforeValidator(split)] = ()
    """Networks that are dialled although they are private or in `deny`. Of both lists the smallest network that has the
    address decides, of equals that of `deny`. Outside the file: separated by commas."""
    deny: Annotated[tuple[Network, ...], BeforeValidator(split)] = ()
    """Networks that are not dialled, also if this configuration names them. Link-local addresses and metadata services
    of clouds never are."""


class TexmlSettings(Section):
    """TeXML documents and what they have calls do."""

    fetch_timeout: float = Field(10, gt=0)
    """Seconds for one request for a document, redirections included."""
    step_limit: int = Field(1000, ge=10)
    """Verbs and documents that may follow each other without anything that takes time; then the call is ended."""
    speaker: str = "espeak-ng"
    """Program that speaks `<Say>`; without it those verbs are skipped."""
    speak_timeout: float = Field(10, gt=0)
    """Seconds for one text."""
    speakers: int = Field(2, ge=1)
    """Texts rendered as speech at once; more wait."""
    sound_timeout: float = Field(20, gt=0)
    """Seconds for the download of one `<Play>`."""
    sound_limit: int = Field(20 * 1024 * 1024, ge=1024)
    """Bytes of one such file."""
    cache_limit: int = Field(1024 * 1024 * 1024, ge=1024)
    """Bytes of speech and downloaded files that are kept, in `cache` under the store's directory; those not used
    for longest go first."""
    recordings: Path | None = None
    """Where recordings are put; default: `recordings` under the store's directory."""


class LogSettings(Section):
    """Logging, to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important lines that are written; those of the audit log always are."""
    format: Literal["auto", "console", "json"] = "auto"
    """auto = console on a terminal, JSON elsewhere."""
    mask_numbers: bool = True
    """Show phone numbers as `+1555***4567`."""
    mask_digits: bool = True
    """Do not show which keys were pressed, a PIN for one, but that one was."""


class Settings(Section):
    """The whole."""

    account_sid: str | None = Field(None, min_length=1)
    """Predefines the first account, together with `api_key`."""
    api_key: str | None = Field(None, min_length=16, repr=False)
    """The key named `first` of that account."""
    api_key_file: Path | None = None
    """A file with the key, instead of it; or a credential of systemd, `api_key`."""
    stream: StreamUrl | None = None
    """A bot's WebSocket for calls to numbers that `numbers` does not have, by no phone or trunk with an application."""
    http: HttpSettings = HttpSettings()
    sip: SipSettings = SipSettings()
    media: MediaSettings = MediaSettings()
    streams: StreamSettings = StreamSettings()
    callbacks: CallbackSettings = CallbackSettings()
    store: StoreSettings = StoreSettings()
    texml: TexmlSettings = TexmlSettings()
    drain: DrainSettings = DrainSettings()
    egress: EgressSettings = EgressSettings()
    log: LogSettings = LogSettings()
    applications: Annotated[tuple[ApplicationSettings, ...], BeforeValidator(tables)] = ()
    """Where calls get their instructions; more can be made by REST."""
    numbers: Annotated[tuple[NumberSettings, ...], BeforeValidator(tables)] = ()
    """What a called number runs."""

    @model_validator(mode="after")
    def _applications_are_known(self) -> "Settings":
        check_unlike("applications", (application.name for application in self.applications))
        check_unlike("applications", (application.sid for application in self.applications))
        check_unlike("numbers", (number.pattern for number in self.numbers))
        known = {application.name for application in self.applications}
        for setting, user, name in self._named():
            # A sid may be that of an application made by REST, which only the store knows.
            if name not in known and not name.isdecimal():
                words = f"{user} has the application {name!r}, and no application is called so"
                raise Clash(words, setting, "applications")
        return self

    @property
    def document(self) -> str | None:
        """The TeXML of calls that nothing else has instructions for."""
        return None if self.stream is None else stream_document(self.stream)

    @property
    def documents(self) -> list[tuple[str, str]]:
        """The TeXML documents that the configuration has, each behind the name of its setting."""
        tables: list[tuple[str, tuple[InstructionSettings, ...]]] = [
            ("applications", self.applications),
            ("numbers", self.numbers),
        ]
        found = ((f"{name}[{place}].texml", one.texml) for name, ones in tables for place, one in enumerate(ones))
        return [(name, text) for name, text in found if text is not None]

    @property
    def private_egress(self) -> bool:
        """Whether private addresses that customers name are dialled."""
        return is_loopback(self.http.host) if self.egress.private is None else self.egress.private

    def application_references(self) -> list[tuple[str, str]]:
        """Everything that names an application, in words, and the name or sid it gives."""
        return [(user, name) for _, user, name in self._named()]

    def _named(self) -> list[tuple[str, str, str]]:
        """The same behind the setting that it is in."""
        named: list[tuple[str, str, str | None]] = [
            ("numbers", f"number {one.pattern!r}", one.application) for one in self.numbers
        ]
        named += [("sip.trunks", f"trunk {one.name!r}", one.application) for one in self.sip.trunks]
        named += [("sip.phones", f"phone {one.user!r}", one.application) for one in self.sip.phones]
        return [(setting, user, name) for setting, user, name in named if name is not None]
