"""The certificate: it is read, checked and given to every new connection."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from oyez.settings import SettingsError

CHECK_S = 10.0
"""Time between two checks whether the certificate needs attention."""
WARN_AGAIN = timedelta(days=1)
"""Time between two warnings of a certificate that needs attention."""

log = logging.getLogger(__name__)


class Certificate:
    """A certificate with its key, which can be reloaded.

    `context` is for the listening socket: it gives each new connection the newest certificate,
    and open connections keep theirs.
    """

    def __init__(
        self,
        tls_cert: Path,
        tls_key: Path,
        tls_key_password_file: Path | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Read the PEM files, named as in the settings. Raises SettingsError that names the file at
        fault."""
        self._files = tls_cert, tls_key, tls_key_password_file
        self._now = now
        self._warned_at: datetime | None = None
        self._newest, self._certificate = _load(*self._files)
        self.context = self._newest
        self.context.sni_callback = self._use_newest  # OpenSSL calls it without SNI too

    def reload(self) -> str:
        """Read the files again and return what is in force, for the log. Blocks. Raises
        SettingsError; the old certificate then stays in force."""
        self._newest, self._certificate = _load(*self._files)
        self._warned_at = None
        return f"{_names(self._certificate)}, until {_day(self._certificate.not_valid_after_utc)}"

    async def watch(self) -> None:
        """Warn when needed, until cancelled."""
        while True:
            self.warn()
            await asyncio.sleep(CHECK_S)

    def warn(self) -> None:
        """Warn, at most once a day, if the certificate is not valid or soon expires."""
        now = self._now()
        problem = _problem(self._certificate, now)
        if problem and (self._warned_at is None or now - self._warned_at >= WARN_AGAIN):
            self._warned_at = now
            log.warning("tls_cert %s: the certificate %s", self._files[0], problem)

    def _use_newest(
        self, connection: ssl.SSLSocket | ssl.SSLObject, name: str, context: ssl.SSLContext
    ) -> None:
        connection.context = self._newest


def _load(
    tls_cert: Path, tls_key: Path, tls_key_password_file: Path | None
) -> tuple[ssl.SSLContext, x509.Certificate]:
    certificate = _read_certificate(tls_cert)
    password = None
    if tls_key_password_file:
        password = _read("tls_key_password_file", tls_key_password_file).rstrip(b"\r\n")
    if _read_public_key(tls_key, password) != certificate.public_key():
        raise SettingsError(
            f"tls_key {tls_key}: does not belong to the first certificate of tls_cert {tls_cert}, "
            "which must be the server's own"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(tls_cert, tls_key, password or b"")
    except ssl.SSLError as error:
        raise SettingsError(f"tls_cert {tls_cert}: {error.reason or error}") from None
    return context, certificate


def _read_certificate(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(_read("tls_cert", file))[0]
    except ValueError:
        raise SettingsError(f"tls_cert {file}: holds no certificate in PEM form") from None


def _read_public_key(file: Path, password: bytes | None) -> PublicKeyTypes:
    """Return the public half of the private key in a file."""
    try:
        key = serialization.load_pem_private_key(_read("tls_key", file), password)
    except TypeError:
        fault = "is not encrypted: leave out" if password else "is encrypted: set"
        raise SettingsError(f"tls_key {file}: {fault} tls_key_password_file") from None
    except ValueError:
        fault = "or tls_key_password_file has another password" if password else ""
        raise SettingsError(
            f"tls_key {file}: holds no private key in PEM form {fault}".rstrip()
        ) from None
    return key.public_key()


def _read(setting: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{setting} {file}: {error.strerror}") from None


def _names(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return certificate.subject.rfc4514_string()
    return ", ".join(str(name.value) for name in found)


def _problem(certificate: x509.Certificate, now: datetime) -> str | None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now >= ends:
        return f"expired on {_day(ends)}: clients will refuse it"
    if now < begins:
        return f"is not valid before {_day(begins)}: clients will refuse it"
    if ends - now < (ends - begins) / 10:
        return f"expires on {_day(ends)} and has not been renewed"
    return None


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
