from __future__ import annotations

import logging
import re
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from oyez.server.process.tls import Certificate
from oyez.settings import SettingsError


class TlsFiles(NamedTuple):
    """The arguments of a `Certificate`."""

    tls_cert: Path
    tls_key: Path
    tls_key_password_file: Path | None = None


NOW = datetime(2030, 6, 1, tzinfo=UTC)
AUTHORITY = trustme.CA()


def issue(folder: Path, name: str = "a.example", days: int = 100, left: int = 50) -> TlsFiles:
    """Write a certificate that is valid for so many days, so many of which are left."""
    ends = NOW + timedelta(days=left)
    issued = AUTHORITY.issue_cert(name, not_before=ends - timedelta(days=days), not_after=ends)
    folder.mkdir(exist_ok=True)
    files = TlsFiles(folder / "cert.pem", folder / "key.pem")
    issued.private_key_pem.write_to_path(str(files.tls_key))
    files.tls_cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return files


def encrypt(key: Path, password: bytes) -> None:
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password),
        )
    )


def shake_hands(certificate: Certificate, hostname: str | None) -> ssl.SSLObject:
    """The client's side of a handshake in memory. hostname None: without SNI, nothing checked."""
    trusting = ssl.create_default_context()
    AUTHORITY.configure_trust(trusting)
    trusting.verify_flags |= 0x200000  # X509_V_FLAG_NO_CHECK_TIME: dates are not the matter here
    trusting.check_hostname = hostname is not None
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=hostname)
    server = certificate.context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client, server]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    return client


def test_old_versions_are_refused(tmp_path: Path) -> None:
    certificate = Certificate(*issue(tmp_path))
    assert certificate.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert shake_hands(certificate, "a.example").version() == "TLSv1.3"


@pytest.mark.parametrize("asks_for_a_name", [True, False])
def test_new_connections_get_the_renewed_certificate(tmp_path: Path, asks_for_a_name: bool) -> None:
    certificate = Certificate(*issue(tmp_path, "a.example"))
    before = shake_hands(certificate, "a.example")
    issue(tmp_path, "b.example")
    assert certificate.reload() == "b.example, until 2030-07-21 00:00 UTC"
    after = shake_hands(certificate, "b.example" if asks_for_a_name else None)
    assert names(after) == ["b.example"]
    assert names(before) == ["a.example"]


def names(client: ssl.SSLObject) -> list[str]:
    shown = client.getpeercert()
    assert shown is not None
    return [str(entry[1]) for entry in shown["subjectAltName"]]


def test_a_renewal_that_is_half_written_changes_nothing(tmp_path: Path) -> None:
    files = issue(tmp_path, "a.example")
    certificate = Certificate(*files)
    files.tls_cert.write_bytes(issue(tmp_path / "new", "b.example").tls_cert.read_bytes())
    with pytest.raises(SettingsError, match=r"tls_key .*does not belong"):
        certificate.reload()
    assert names(shake_hands(certificate, "a.example")) == ["a.example"]
    files.tls_key.write_bytes((tmp_path / "new/key.pem").read_bytes())
    certificate.reload()
    assert names(shake_hands(certificate, "b.example")) == ["b.example"]


def test_an_encrypted_key(tmp_path: Path) -> None:
    files = issue(tmp_path)
    encrypt(files.tls_key, b"password")
    password = tmp_path / "password"
    locked = TlsFiles(files.tls_cert, files.tls_key, password)
    password.write_text("password\n")
    shake_hands(Certificate(*locked), "a.example")
    password.write_text("wrong\n")
    with pytest.raises(SettingsError, match="another password") as wrong:
        Certificate(*locked)
    assert "wrong" not in str(wrong.value)
    with pytest.raises(SettingsError, match="is encrypted: set tls_key_password_file"):
        Certificate(*files)


def test_faults_name_the_setting_and_the_file(tmp_path: Path) -> None:
    files, other = issue(tmp_path), issue(tmp_path / "other")
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("-----BEGIN NOTHING-----")
    for wrong, complaint in {
        TlsFiles(tmp_path / "no", files.tls_key): "tls_cert .*/no: No such file",
        TlsFiles(files.tls_cert, tmp_path / "no"): "tls_key .*/no: No such file",
        TlsFiles(files.tls_cert, tmp_path): "tls_key .*: Is a directory",
        TlsFiles(rubbish, files.tls_key): "tls_cert .*/rubbish: holds no certificate",
        TlsFiles(files.tls_key, files.tls_cert): "tls_cert .*/key.pem: holds no certificate",
        TlsFiles(files.tls_cert, rubbish): "tls_key .*/rubbish: holds no private key",
        TlsFiles(files.tls_cert, other.tls_key): "tls_key .*/other/key.pem: does not belong",
        TlsFiles(files.tls_cert, files.tls_key, tmp_path / "no"): "tls_key_password_file .*/no",
        TlsFiles(files.tls_cert, files.tls_key, rubbish): "is not encrypted: leave out",
    }.items():
        with pytest.raises(SettingsError) as found:
            Certificate(*wrong)
        assert re.search(complaint, str(found.value)), (complaint, str(found.value))


@pytest.mark.parametrize(
    ("days", "left", "warning"),
    [
        (100, 50, None),
        (100, 11, None),
        (100, 9, "expires on 2030-06-10 00:00 UTC and has not been renewed"),
        (6, 2, None),
        (100, -1, "expired on 2030-05-31 00:00 UTC: clients will refuse it"),
        (100, 103, "is not valid before 2030-06-04 00:00 UTC: clients will refuse it"),
    ],
)
def test_a_certificate_that_clients_will_refuse_is_warned_of(
    tmp_path: Path, days: int, left: int, warning: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    now = NOW
    certificate = Certificate(*issue(tmp_path, days=days, left=left), now=lambda: now)
    certificate.warn()
    certificate.warn()
    assert len(caplog.records) == (warning is not None)
    assert (warning or "") in caplog.text
    now += timedelta(days=1)
    certificate.warn()
    assert len(caplog.records) == 2 * (warning is not None), "a day later it is logged again"
    assert all(record.levelno == logging.WARNING for record in caplog.records)
