"""`trunkline doctor`: what keeps this server, on this machine, from taking calls. A table with a row for each check.

It changes nothing, and works with and without a running server.
"""

import asyncio
import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from trunkline import doctor_machine as machine
from trunkline import doctor_network as network
from trunkline.doctor_values import Subject, Symptom
from trunkline.errors import StartupError
from trunkline.sip.transport.certificates import OWN_FILE
from trunkline.store.maintenance import current
from trunkline.store.schema import KNOWN, NEWEST

SOON = timedelta(days=21)
"""Before a certificate ends."""


@dataclass(frozen=True, slots=True)
class Check:
    """A row of `CHECKS`."""

    name: str
    """In one word or two, for programs too."""
    examine: Callable[[Subject], Iterator[Symptom]]
    """What it finds: one at least."""


def certificates(subject: Subject) -> Iterator[Symptom]:
    """Dates of ours, and whether those that we trust can be read."""
    http, sip, streams = subject.settings.http, subject.settings.sip, subject.settings.streams
    own = subject.settings.store.directory.expanduser() / OWN_FILE
    served = {
        "http.tls_certificate_file": http.tls_certificate_file,
        "sip.tls_certificate_file": sip.tls_certificate_file,
    }
    keys = {"http.tls_certificate_file": http.tls_key_file, "sip.tls_certificate_file": sip.tls_key_file}
    if sip.tls_certificate_file is None and own.exists():
        served["sip.tls_certificate_file"] = own
    for name, file in served.items():
        if file is not None:
            yield _served(name, file, keys[name])
    trusted = {"sip.tls_ca_file": sip.tls_ca_file, "sip.tls_client_ca_file": sip.tls_client_ca_file}
    for name, file in {**trusted, "streams.ca_file": streams.ca_file}.items():
        if file is not None:
            yield _trusted(name, file)
    if not any(served.values()):
        yield Symptom("ok", "the settings name none; SIP over TLS gets one of its own at the first start")


def _served(name: str, file: Path, key: Path | None) -> Symptom:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file, key)
        certificate = x509.load_pem_x509_certificates(file.read_bytes())[0]
    except (OSError, ValueError) as error:
        reason = "not a certificate in PEM, or the key does not match it"
        words = reason if isinstance(error, ssl.SSLError | ValueError) else error.strerror
        return Symptom("error", f"{name}: cannot use {file}: {words}", f"correct {name}, or its key's file")
    ends = certificate.not_valid_after_utc
    now = datetime.now(UTC)
    text = f"{name}: {file} is valid until {ends:%Y-%m-%d}"
    if now < certificate.not_valid_before_utc:
        return Symptom("error", f"{name}: {file} is valid from {certificate.not_valid_before_utc:%Y-%m-%d} on", RENEW)
    if ends <= now:
        return Symptom("error", f"{name}: {file} has ended on {ends:%Y-%m-%d}: peers refuse it", RENEW)
    return Symptom("warning", text, RENEW) if ends - now < SOON else Symptom("ok", text)


RENEW = "renew it, then `systemctl reload trunkline`"
"""What to do about a certificate."""


def _trusted(name: str, file: Path) -> Symptom:
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:
        words = "no certificates in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        return Symptom("error", f"{name}: cannot use {file}: {words}", f"correct {name}")
    return Symptom("ok", f"{name}: {file} can be read")


def database(subject: Subject) -> Iterator[Symptom]:
    """Whether it can be reached, and has the schema of this version."""
    store = subject.settings.store
    directory = machine.existing(store.directory.expanduser())
    if not os.access(directory, os.W_OK | os.X_OK):
        yield Symptom(
            "error", f"store.directory: cannot write in {directory}", "run as its owner, or set store.directory"
        )
        return
    try:
        found = asyncio.run(current(store))
    except StartupError as error:
        yield Symptom("error", str(error), "start it, or correct store.url and the user's rights")
        return
    if found is None:
        yield Symptom("ok", "there is none yet: the first start makes it")
    elif found not in KNOWN:
        text = f"the database has schema {found}, written by a newer version than this, which has {NEWEST}"
        yield Symptom("error", text, "install that version, or restore a backup of before")
    elif found != NEWEST:
        text = f"the database has schema {found}, and the next start brings it to {NEWEST}"
        yield Symptom("warning", text, "back it up before: `trunkline db backup FILE`")
    else:
        yield Symptom("ok", f"the database has schema {found}, that of this version")


CHECKS = (
    Check("server", network.server),
    Check("ports", network.ports),
    Check("addresses", network.addresses),
    Check("dns", network.names),
    Check("trunks", network.trunks),
    Check("certificates", certificates),
    Check("database", database),
    Check("disk", machine.disk),
    Check("clock", machine.clock),
    Check("files", machine.files),
    Check("buffers", machine.buffers),
    Check("processors", machine.processors),
    Check("packet path", machine.packet_path),
    Check("speech", machine.speech),
    Check("decoder", machine.decoder),
)
"""Every check, in the order in which it is made and shown."""


def examine(subject: Subject) -> Iterator[tuple[str, Symptom]]:
    """What all checks find, each behind the name of its check, as it is found."""
    for check in CHECKS:
        for finding in check.examine(subject):
            yield check.name, finding
