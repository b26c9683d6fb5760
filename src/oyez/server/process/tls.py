"""The certificate: it is read, checked, watched for renewal and given to every new connection."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from oyez.settings import Settings, SettingsError

WATCH_S = 10.0
"""Time between two checks whether the files have changed."""
WARN_AGAIN = timedelta(days=1)
"""Time between two warnings of a certificate that needs attention."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The paths of the PEM files, named as in the settings."""

    tls_cert: Path
    tls_key: Path
    tls_key_password_file: Path | None = None


@dataclass(frozen=True, slots=True)
class _Loaded:
    context: ssl.SSLContext
    names: str
    begins: datetime
    ends: datetime


def from_settings(settings: Settings) -> Certificate | None:
    """Return the certificate that the settings name; None: the server does not use TLS. Raises
    SettingsError."""
    if not (settings.tls_cert and settings.tls_key):
        return None
    files = TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_key_password_file)
    return Certificate(files)


class Certificate:
    """A certificate with its key, which can be reloaded.

    `context` is for the listening socket: it gives each new connection the newest certificate,
    and open connections keep theirs.
    """

    def __init__(
        self,
        files: TlsFiles,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Read the files. Raises SettingsError that names the file at fault."""
        self._files = files
        self._now = now
        self._seen = _fingerprint(files)
        self._warned_at: datetime | None = None
        self._loaded = _load(files)
        self.context = self._loaded.context
        self.context.sni_callback = self._use_newest  # OpenSSL calls it without SNI too

    @property
    def ends(self) -> datetime:
        """When the certificate expires."""
        return self._loaded.ends

    def reload(self) -> str:
        """Read the files again and return what is in force, for the log. Blocks. Raises
        SettingsError; the old certificate then stays in force."""
        self._seen = _fingerprint(self._files)
        self._loaded = _load(self._files)
        self._warned_at = None
        return f"{self._loaded.names}, until {_day(self._loaded.ends)}"

    def changed(self) -> bool:
        """Return whether the files have changed since they were last read. Blocks."""
        return _fingerprint(self._files) != self._seen

    def warn(self) -> None:
        """Warn, at most once a day, if the certificate is not valid or soon expires."""
        now = self._now()
        problem = _problem(self._loaded, now)
        if problem and (self._warned_at is None or now - self._warned_at >= WARN_AGAIN):
            self._warned_at = now
            log.warning("tls_cert %s: the certificate %s", self._files.tls_cert, problem)

    async def watch(self, reload: Callable[[], Awaitable[None]]) -> None:
        """Warn when needed, and call `reload` whenever the files change, until cancelled."""
        while True:
            self.warn()
            await asyncio.sleep(WATCH_S)
            if await asyncio.to_thread(self.changed):
                await reload()

    def _use_newest(
        self, connection: ssl.SSLSocket | ssl.SSLObject, name: str, context: ssl.SSLContext
    ) -> None:
        connection.context = self._loaded.context


def _load(files: TlsFiles) -> _Loaded:
    certificate = _read_certificate(files.tls_cert)
    password = _read_password(files.tls_key_password_file)
    if _read_public_key(files.tls_key, password) != _public_bytes(certificate.public_key()):
        raise SettingsError(
            f"tls_key {files.tls_key}: does not belong to the first certificate of tls_cert "
            f"{files.tls_cert}, which must be the server's own"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.tls_cert, files.tls_key, password or b"")
    except ssl.SSLError as error:
        raise SettingsError(f"tls_cert {files.tls_cert}: {error.reason or error}") from None
    return _Loaded(
        context,
        _names(certificate),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def _read_certificate(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(_read("tls_cert", file))[0]
    except ValueError:
        raise SettingsError(f"tls_cert {file}: holds no certificate in PEM form") from None


def _read_public_key(file: Path, password: bytes | None) -> bytes:
    """Return the public half of the private key in a file, as DER."""
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
    return _public_bytes(key.public_key())


def _read_password(file: Path | None) -> bytes | None:
    return _read("tls_key_password_file", file).rstrip(b"\r\n") if file else None


def _read(setting: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{setting} {file}: {error.strerror}") from None


def _public_bytes(key: object) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, form)  # type: ignore[attr-defined]  # all kinds of keys have it
    return encoded


def _names(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return certificate.subject.rfc4514_string()
    return ", ".join(str(name.value) for name in found)


def _problem(loaded: _Loaded, now: datetime) -> str | None:
    if now >= loaded.ends:
        return f"expired on {_day(loaded.ends)}: clients will refuse it"
    if now < loaded.begins:
        return f"is not valid before {_day(loaded.begins)}: clients will refuse it"
    if loaded.ends - now < (loaded.ends - loaded.begins) / 10:
        return f"expires on {_day(loaded.ends)} and has not been renewed"
    return None


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _fingerprint(files: TlsFiles) -> tuple[object, ...]:
    return tuple(
        _stamp(file) if file else None
        for file in (files.tls_cert, files.tls_key, files.tls_key_password_file)
    )


def _stamp(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
