"""The checks of files and the database, and the table of all."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from trunkline import doctor
from trunkline.config import Settings
from trunkline.doctor import CHECKS, Check, certificates, database, examine
from trunkline.doctor_values import Subject, Symptom
from trunkline.store.maintenance import upgrade
from trunkline.store.schema import NEWEST


def subject(tmp_path: Path, **settings: object) -> Subject:
    return Subject(Settings.model_validate({"store": {"directory": tmp_path}, **settings}), None)


def certificate(file: Path, begins: timedelta, ends: timedelta) -> Path:
    """With its key, valid from and until so long from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = builder.not_valid_before(now + begins).not_valid_after(now + ends).sign(key, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(made.public_bytes(Encoding.PEM) + private)
    return file


@pytest.mark.parametrize(
    ("begins", "ends", "severity", "words"),
    [
        (-1, 90, "ok", "is valid until"),
        (-1, 5, "warning", "is valid until"),
        (-9, -1, "error", "has ended on"),
        (1, 90, "error", "is valid from"),
    ],
)
def test_the_dates_of_a_certificate(tmp_path: Path, begins: int, ends: int, severity: str, words: str) -> None:
    file = certificate(tmp_path / "our.pem", timedelta(days=begins), timedelta(days=ends))
    [found] = certificates(subject(tmp_path, http={"tls_certificate_file": file}))
    assert (found.severity, words in found.text) == (severity, True)
    assert (found.change == "") == (severity == "ok")


def test_files_that_hold_no_certificate_and_the_one_of_our_own(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no PEM")
    found = certificates(subject(tmp_path, sip={"tls_certificate_file": bad, "tls_ca_file": tmp_path / "none"}))
    assert [(one.severity, one.text.partition(":")[0]) for one in found] == [
        ("error", "sip.tls_certificate_file"),
        ("error", "sip.tls_ca_file"),
    ]
    [none] = certificates(subject(tmp_path))
    assert none.severity == "ok"
    own = certificate(tmp_path / "sip-tls.pem", timedelta(), timedelta(days=9))
    [found_own] = certificates(subject(tmp_path, streams={}))
    assert (found_own.severity, str(own) in found_own.text) == ("warning", True)


@pytest.mark.process  # SQLite's thread
def test_the_schema_of_the_database(tmp_path: Path) -> None:
    examined = subject(tmp_path)
    [found] = database(examined)
    assert found == Symptom("ok", "there is none yet: the first start makes it")
    asyncio.run(upgrade(examined.settings.store))
    [found] = database(examined)
    assert (found.severity, NEWEST in found.text) == ("ok", True)
    for schema, severity, change in (("0001", "warning", "db backup"), ("9999", "error", "install that version")):
        with closing(sqlite3.connect(tmp_path / "trunkline.db")) as connection, connection:
            connection.execute("update alembic_version set version_num = ?", (schema,))
        [found] = database(examined)
        assert (found.severity, schema in found.text, change in found.change) == (severity, True, True)


@pytest.mark.process
def test_a_database_that_is_away_is_an_error_with_its_reason(tmp_path: Path) -> None:
    [found] = database(subject(tmp_path, store={"directory": tmp_path, "url": "postgresql://u:hush@127.0.0.1:1/d"}))
    assert (found.severity, "hush" in found.text) == ("error", False)
    assert "cannot read postgresql" in found.text


def test_every_check_has_a_name_of_its_own_and_findings_come_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)

    def two(_subject: Subject) -> Iterator[Symptom]:
        yield Symptom("ok", "a")
        yield Symptom("error", "b", "c")

    monkeypatch.setattr(doctor, "CHECKS", (Check("first", two), Check("second", lambda _: iter([]))))
    assert list(examine(Subject(Settings(), None))) == [
        ("first", Symptom("ok", "a")),
        ("first", Symptom("error", "b", "c")),
    ]
