"""The tables of the settings: applications, numbers, trunks and phones."""

from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from trunkline.setting_types import (
    HttpMethod,
    HttpUrl,
    Name,
    Network,
    Pattern,
    Section,
    SipTarget,
    Srtp,
    StreamUrl,
    check_one,
    stream_document,
    urls_of,
)


def derived_sid(name: str) -> str:
    """The sid of an application that the configuration gives none: 19 digits, the same for the same name."""
    return str(10**18 + int.from_bytes(sha256(name.encode()).digest()[:8]) % (8 * 10**18))


class InstructionSettings(Section):
    """What calls do: at most one of these."""

    voice_url: HttpUrl | None = None
    """Of the TeXML document."""
    stream: StreamUrl | None = None
    """A bot's WebSocket, without a document: the caller's audio goes there as PCMU, and PCMU from there is played."""
    texml: str | None = Field(None, min_length=1)
    """The TeXML document itself."""

    @property
    def document(self) -> str | None:
        """The TeXML of calls that fetch none."""
        return self.texml if self.stream is None else stream_document(self.stream)

    @property
    def urls(self) -> list[str]:
        """What calls may have dialled by it."""
        urls = [url for url in (self.voice_url, self.stream) if url is not None]
        return urls + urls_of(self.texml or "")

    def given(self, *others: str) -> list[str]:
        """The names of those that are set, and of other settings."""
        names = ("voice_url", "stream", "texml", *others)
        return [name for name in names if getattr(self, name) is not None]


class ApplicationSettings(InstructionSettings):
    """A TeXML application: where calls get their instructions."""

    name: Name
    """How other settings name it."""
    voice_method: HttpMethod = "POST"
    """How the document is asked for."""
    voice_fallback_url: HttpUrl | None = None
    """Asked when `voice_url` fails."""
    status_callback: HttpUrl | None = None
    """Gets the events of its calls."""
    status_callback_method: HttpMethod = "POST"
    """How they are sent."""
    sid: Annotated[str, Field(pattern=r"^[0-9]{1,19}$")] = Field(
        default_factory=lambda given: derived_sid(given.get("name", ""))
    )
    """`ApplicationSid` and `ConnectionId`; default: made from the name, and the same at each start."""

    @model_validator(mode="after")
    def _says_once_what_calls_do(self) -> "ApplicationSettings":
        check_one(f"application {self.name!r}", self.given(), "voice_url, stream and texml")
        if self.voice_fallback_url is not None and self.voice_url is None:
            raise ValueError(f"application {self.name!r} has a voice_fallback_url without a voice_url")
        return self


class NumberSettings(InstructionSettings):
    """What a called number or SIP user runs: an application, or instructions of its own."""

    pattern: Pattern
    """Of several that match, the one with the most characters that are no `*` wins; of equals, the first."""
    application: str | None = None
    """Name or sid."""

    @model_validator(mode="after")
    def _says_once_what_calls_do(self) -> "NumberSettings":
        given = self.given("application")
        check_one(f"number {self.pattern!r}", given, "application, voice_url, stream and texml")
        return self


class TrunkSettings(Section):
    """A SIP trunk: a carrier or PBX that calls come from and go to."""

    name: Name
    """How the log, metrics and other settings name it."""
    targets: Annotated[tuple[SipTarget, ...], Field(min_length=1)]
    """Where calls go, `sip:host:port;transport=tcp` for one; the next one when one does not answer."""
    username: str | None = None
    """For digest authentication and registration."""
    password: str | None = Field(None, repr=False)
    """For digest authentication and registration."""
    password_file: Path | None = None
    """A file with the password, instead of it; or a credential of systemd, `sip.trunks.NAME.password`."""
    realm: str | None = None
    """The only one whose challenges are answered; default: any."""
    networks: tuple[Network, ...] = ()
    """Whose calls come by this trunk, `192.0.2.0/24` for one; besides the targets themselves."""
    caller_id: str | None = None
    """From user of calls that bring none of their own."""
    registers: bool = Field(False, alias="register")
    """Register with the first target that answers, so that calls come."""
    expires: int = Field(3600, ge=60)
    """Seconds that a registration is asked for."""
    keep_alive: float = Field(30, ge=0)
    """Seconds between two OPTIONS that ask whether a target is there; 0 = never."""
    prefixes: tuple[Pattern, ...] = ("*",)
    """Patterns of the numbers that go out by this trunk: `+49*`; the first trunk that has one takes the call."""
    dial_prefixes: tuple[Pattern, ...] | None = None
    """Patterns of the numbers that TeXML documents may call by it, and so the callers and phones that they serve.
    Default: none, with a warning at the start; `[]` is none without it. Calls placed by REST may use any trunk."""
    application: str | None = None
    """Name or sid, for calls by this trunk to a number that `numbers` does not have."""
    call_limit: int | None = Field(None, ge=1)
    """Its calls at once, both ways; default: no limit of its own. One more gets 503 with Retry-After, or is not placed
    (429)."""
    call_rate: int = Field(0, ge=0)
    """Its new calls in a minute, both ways; 0 = no limit. One more is refused in the same way."""
    called_number: Literal["auto", "request-uri", "to", "p-called-party-id"] = "auto"
    """Where its calls say which number was called. auto: in the Request-URI; where that has no more than `username`, as
    with carriers that call the contact that we registered, in P-Called-Party-ID, else, if `username` is no number, in
    To."""
    srtp: Srtp | None = None
    """Encrypted audio on its calls, to it and from it, as in `media.srtp`, which is the default."""

    @model_validator(mode="after")
    def _credentials_are_whole(self) -> "TrunkSettings":
        if self.username is None and (self.registers or self.password is not None or self.realm is not None):
            raise ValueError(f"trunk {self.name!r} needs a username to register or to use its password or realm")
        return self


class PhoneSettings(Section):
    """A phone that registers with us."""

    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.!~*'()&=+$,;?/-]{1,64}$")]
    """The user part of its address, RFC 3261 section 25.1, and its user name for digest authentication."""
    password: str = Field(min_length=1, repr=False)
    """For digest authentication."""
    password_file: Path | None = None
    """A file with the password, instead of it; or a credential of systemd, `sip.phones.USER.password`."""
    application: str | None = None
    """Name or sid, for its calls to a number that `numbers` does not have."""
    caller_id: str | None = None
    """From user of its calls by a trunk."""
    srtp: Srtp | None = None
    """Encrypted audio on its calls, to it and from it, as in `media.srtp`, which is the default."""
