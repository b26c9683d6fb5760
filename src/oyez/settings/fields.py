"""Every setting: its name, its default and its bounds."""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from oyez.settings.checks import is_loopback, key_problem, read_keys

ENV_PREFIX = "OYEZ_"
MEBIBYTE = 1 << 20
MAX_MESSAGE_BYTES = MEBIBYTE // 4
"""The largest message without its audio; the protocol has the same bound."""
ORIGIN = re.compile(r"https?://[^/?#\s@]+", re.IGNORECASE)
MODELS = (
    "qwen3-asr-flash-realtime",
    "qwen3-asr-flash-realtime-2025-10-27",
    "qwen3-asr-flash-realtime-2026-02-10",
)

MASK = "********"
PASSWORD_IN_URL = re.compile(r"(://[^:/@]*:).*(?=@)|([?&]password=)[^&]*")

Words = Annotated[tuple[str, ...], NoDecode]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode]


def _setting(default: Any, description: str, **bounds: Any) -> Any:
    return Field(default, description=description, **bounds)


class Settings(BaseSettings):
    """Everything an operator can choose. Units are in the names."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

    host: str = _setting("127.0.0.1", "Address to listen on.")
    port: int = _setting(8080, "Port to listen on; 0 picks a free one.", ge=0, le=65535)

    tls_cert: Path | None = _setting(
        None,
        "Certificate chain, PEM. With it the server speaks only TLS (wss, https). It is read again "
        "when it changes, and on SIGHUP.",
    )
    tls_key: Path | None = _setting(None, "Private key of the certificate, PEM.")
    tls_key_password_file: Path | None = _setting(None, "File with the password of tls_key.")
    trusted_proxies: Words = _setting(
        (),
        "Addresses or networks (10.0.0.0/8) of proxies whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed. Repeat the flag, or separate with commas.",
    )

    api_key: Secrets = _setting(
        (),
        "A key that clients may use. Repeat the flag, or separate with commas. Others on the "
        "machine can read a key on a command line: prefer a file.",
    )
    api_keys_file: Path | None = _setting(None, "File of keys, one a line; # starts a comment.")
    allow_insecure: bool = _setting(
        False,
        "While no key exists, accept every caller, also from other machines and through proxies. "
        "If there are keys, callers need one.",
    )

    database: str = _setting(
        f"sqlite:///{platformdirs.user_data_path('oyez') / 'accounts.db'}",
        "Where keys and usage are kept: sqlite:///FILE, postgresql://…, or 'off'.",
    )
    create_database: bool = _setting(
        False,
        "Create the database if it is missing. Without this, a database other than the default "
        "must exist, so that a mistyped name does not create an empty one.",
    )
    price_per_second: Decimal | None = _setting(
        None, "Price of a second of audio, for the usage of new sessions.", ge=0
    )
    currency: str = _setting("USD", "Currency of the price: three letters.", pattern=r"^[A-Z]{3}$")

    allowed_origins: Words = _setting(
        (),
        "Web pages, as https://host:port, that may call /v1/… (CORS) and may use a server without "
        "keys, in addition to the server's own page; * for all.",
    )

    engine: Literal["whisper-onnx", "whisper-ct2", "fake"] = _setting(
        "whisper-onnx", "Recognition engine."
    )
    model: str = _setting(
        "base",
        "The engine's model: 'base' is built in; also a name that oyez models list shows, or a "
        "directory.",
        min_length=1,
    )
    models: Words = _setting(
        MODELS,
        "Model names that clients may request, all served by the engine. Names that start with "
        "qwen3-asr-flash-realtime are always accepted.",
    )
    device: Literal["cpu", "cuda"] = _setting("cpu", "Where the model runs.")
    threads: int = _setting(0, "Threads of the engine; 0 means every core.", ge=0)
    cache_dir: Path = _setting(
        Path(platformdirs.user_cache_dir("oyez")), "Folder of prepared models."
    )
    models_dir: Path = _setting(
        Path(platformdirs.user_data_dir("oyez")) / "models",
        "Folder of models that oyez models add adds.",
    )
    vad: str = _setting("silero", "Voice activity detector.", min_length=1)
    emotion: str = _setting(
        "open",
        "Emotion classifier: 'open', 'research' (better; not for commercial use), 'off', or a file "
        "that research/emotion wrote.",
        min_length=1,
    )
    emotion_confidence: float = _setting(
        0.3, "Least probability of an emotion; an utterance without one is neutral.", ge=0, le=1
    )

    web_page: bool = _setting(True, "Serve the web page at /.")
    docs: bool = _setting(True, "Serve the reference at /docs.")

    max_sessions: int = _setting(256, "Most sessions at a time; beyond: HTTP 503.", ge=1)
    max_connections: int = _setting(
        0,
        "Most connections at a time, of any kind. Beyond, the connection without a session that "
        "has been idle for longest is closed; if none is idle: HTTP 503. 0: max_sessions and 256 "
        "more.",
        ge=0,
    )
    max_connections_per_address: int = _setting(
        64,
        "Most connections without a session from one address (IPv6: from its /64). Beyond, its "
        "longest idle one is closed; if none is idle: HTTP 503. This machine and trusted_proxies "
        "are exempt. 0: no bound.",
        ge=0,
    )
    keepalive_timeout_s: float = _setting(
        75.0,
        "A connection is closed after this time without a whole request. The first request must "
        "come within 10 s.",
        gt=0,
    )
    max_memory_mb: int = _setting(
        0,
        "Memory in use (MiB) above which a session is accepted only if no other is open; beyond: "
        "HTTP 503. 0: no bound.",
        ge=0,
    )
    max_buffered_mb: int = _setting(
        160,
        "Memory (MiB) of all sessions for waiting input and events and for audio of unanswered "
        "turns. Beyond, a session is not read; a key may use a fourth.",
        ge=8,
    )
    max_load: float = _setting(
        0.75,
        "Share of the engine's time that sessions may need, with interim results at their lowest "
        "rate; beyond: HTTP 503. 0: only max_sessions counts.",
        ge=0,
    )
    reserved_share: float = _setting(
        0.2,
        "Where there are several keys: share of the room for sessions that is kept for keys with "
        "less than an equal part of it; beyond: HTTP 429. 0: nothing is kept.",
        ge=0,
        le=1,
    )
    sessions_per_second: int = _setting(
        20, "New sessions per second and key; beyond: HTTP 429.", ge=1
    )
    max_waiting_jobs: int = _setting(1024, "Most recognition jobs that wait.", ge=1)
    max_backlog_s: float = _setting(
        60.0,
        "Audio of one session that may wait for recognition before the server stops reading from "
        "it.",
        gt=0,
    )
    idle_timeout_s: float = _setting(
        300.0, "A session is finished and closed after this time without input.", gt=0
    )
    stalled_turn_s: float = _setting(
        4.0,
        "A turn found by voice activity ends after this time without audio from its client, plus "
        "its silence_duration_ms. 0: never.",
        ge=0,
    )
    max_session_s: float = _setting(
        0.0, "A session is finished and closed after this time. 0: no limit.", ge=0
    )
    close_after_finish_s: float = _setting(
        5.0, "Time that a client has to close the connection after session.finished.", ge=0
    )
    drain_timeout_s: float = _setting(30.0, "Time for running turns to finish at shutdown.", ge=0)
    manual_max_s: float = _setting(
        60.0, "Audio after which the server commits a manual turn.", gt=0
    )
    manual_interim: bool = _setting(True, "Send interim text in manual mode.")
    max_append_bytes: int = _setting(2 * MEBIBYTE, "Largest audio of one append, decoded.", ge=1)
    ws_max_message_bytes: int = _setting(
        3 * MEBIBYTE, "Largest WebSocket message; beyond: close 1009.", ge=1024
    )
    max_upload_bytes: int = _setting(
        200 * MEBIBYTE, "Largest file to transcribe; beyond: HTTP 413.", ge=1024
    )
    max_file_audio_s: float = _setting(
        4 * 3600.0, "Longest audio of a file to transcribe; beyond: HTTP 400.", gt=0
    )
    max_transcriptions: int = _setting(2, "Files transcribed at a time; more of them wait.", ge=1)
    max_waiting_transcriptions: int = _setting(
        8, "Complete files that may wait; beyond: HTTP 503.", ge=0
    )
    upload_disk_bytes: int = _setting(
        0,
        "Disk space of all uploaded files together; beyond: HTTP 503. 0: ten times "
        "max_upload_bytes.",
        ge=0,
    )
    send_buffer_bytes: int = _setting(
        MEBIBYTE,
        "Events that may wait for a slow reader before its input is no longer read.",
        ge=1024,
    )
    slow_reader_timeout_s: float = _setting(
        30.0, "A client that reads nothing for this time is disconnected.", gt=0
    )
    ping_interval_s: float = _setting(20.0, "Silence after which oyez pings.", gt=0)
    ping_timeout_s: float = _setting(
        60.0, "A client that neither sends nor answers pings for this time is disconnected.", gt=0
    )

    metrics: bool = _setting(True, "Serve Prometheus metrics at /metrics.")
    metrics_key: SecretStr | None = _setting(
        None,
        "Key that /metrics requires; without one everybody who reaches the server may read them. "
        "Prefer the environment or a file to a command line.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", "Least urgent log line shown."
    )
    log_format: Literal["text", "json"] = _setting("text", "Form of log lines.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # `load` merges the sources; the constructor reads nothing

    @field_validator("api_key", "models", "trusted_proxies", "allowed_origins", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(word.strip() for word in value.split(",") if word.strip())
        return value

    @field_validator("metrics_key")
    @classmethod
    def _check_metrics_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key and (problem := key_problem(key.get_secret_value())):
            raise ValueError(f"the key {problem}")
        return key

    @field_validator("api_key")
    @classmethod
    def _check_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, key in enumerate(keys, start=1):
            if problem := key_problem(key.get_secret_value()):
                raise ValueError(f"key number {number} {problem}")
        return keys

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network, strict=False)
        return networks

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} must be like https://host or http://host:port, or *")
        return origins

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        needed_bytes = self.max_append_bytes * 4 // 3 + MAX_MESSAGE_BYTES
        if self.ws_max_message_bytes < needed_bytes:
            raise ValueError(
                f"ws_max_message_bytes must be at least {needed_bytes}: an append of "
                f"max_append_bytes={self.max_append_bytes} grows by a third in base64"
            )
        if 0 < self.upload_disk_bytes < self.max_upload_bytes:
            raise ValueError(
                f"upload_disk_bytes must be at least max_upload_bytes={self.max_upload_bytes}, "
                "or 0 for ten times that"
            )
        if 0 < self.max_connections <= self.max_sessions:
            raise ValueError(
                f"max_connections must be more than max_sessions={self.max_sessions}, so that "
                "health checks find room; 0 sees to it"
            )
        return self

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            given, missing = ("tls_cert", "tls_key") if self.tls_cert else ("tls_key", "tls_cert")
            raise ValueError(f"{given} is set, {missing} is not: TLS needs both")
        if self.tls_key_password_file and not self.tls_key:
            raise ValueError("tls_key_password_file is set, tls_key is not")
        return self

    @model_validator(mode="after")
    def _check_access(self) -> Self:
        # A database may receive keys later. Without one, every caller would always be refused.
        if self.has_key_source or self.database != "off":
            return self
        if self.allow_insecure or self.for_this_machine:
            return self
        how = "trusted_proxies brings callers"
        if not is_loopback(self.host):
            how = f"host {self.host} can be reached"
        raise ValueError(
            f"{how} from other machines, and no key is configured: set api_keys_file (or api_key), "
            "or allow_insecure if anyone may use this server"
        )

    @property
    def has_key_source(self) -> bool:
        """Whether the settings name a source of keys, even if it holds none."""
        return self.api_keys_file is not None or "api_key" in self.model_fields_set

    @property
    def for_this_machine(self) -> bool:
        """Whether neither other machines nor configured proxies can reach the server."""
        return is_loopback(self.host) and not self.trusted_proxies

    @property
    def creates_database(self) -> bool:
        """Whether the server creates a missing database."""
        return self.create_database or self.database == type(self).model_fields["database"].default

    def keys(self) -> tuple[str, ...]:
        """Return every configured key, from settings and file.

        Raises SettingsError, which names file and line, never the key.
        """
        keys = tuple(key.get_secret_value() for key in self.api_key)
        return keys + (read_keys(self.api_keys_file) if self.api_keys_file else ())

    def effective(self) -> dict[str, Any]:
        """Return the settings as TOML values. Secrets are masked, unset settings left out."""
        values = self.model_dump(mode="json", exclude_none=True)
        values["api_key"] = [MASK] * len(self.api_key)
        if not self.has_key_source:
            del values["api_key"]  # an empty list would mean that keys are needed
        if self.metrics_key:
            values["metrics_key"] = MASK
        values["database"] = PASSWORD_IN_URL.sub(r"\1\2***", self.database)
        return values

    def changed(self) -> dict[str, Any]:
        """Return the `effective` settings that differ from their defaults."""
        defaults = type(self).model_validate({}).effective()
        return {
            name: value for name, value in self.effective().items() if value != defaults.get(name)
        }
