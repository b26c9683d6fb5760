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


class Settings(BaseSettings):
    """Everything an operator can choose. Units are in the names."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")

    tls_cert: Path | None = Field(
        None,
        description="Certificate chain, PEM: speak TLS (wss, https) and nothing else. Read again "
        "when it changes, and on SIGHUP.",
    )
    tls_key: Path | None = Field(None, description="Private key of the certificate, PEM.")
    tls_key_password_file: Path | None = Field(
        None, description="File that holds the password of an encrypted tls_key."
    )
    trusted_proxies: Words = Field(
        (),
        description="Addresses or networks (10.0.0.0/8) of proxies whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed. Repeat the flag, or separate with commas.",
    )

    api_key: Secrets = Field(
        (),
        description="A key clients may use. Repeat the flag, or separate with commas. "
        "A key on a command line can be read by others on the machine: prefer a file.",
    )
    api_keys_file: Path | None = Field(
        None, description="File of keys, one a line; # starts a comment."
    )
    allow_insecure: bool = Field(
        False,
        description="While there is no key at all, let in everybody who reaches the server, also "
        "from other machines and through proxies. Where there are keys, they are needed.",
    )

    database: str = Field(
        f"sqlite:///{platformdirs.user_data_path('oyez') / 'accounts.db'}",
        description="Where keys and usage are kept: sqlite:///FILE, postgresql://…, or 'off'.",
    )
    create_database: bool = Field(
        False,
        description="Make the database if there is none yet. Without it, one that is not the "
        "default must exist, so that a mistyped name does not begin an empty one.",
    )
    price_per_second: Decimal | None = Field(
        None, ge=0, description="Price of a second of audio, for the usage of new sessions."
    )
    currency: str = Field(
        "USD", pattern=r"^[A-Z]{3}$", description="Currency of the price: three letters."
    )

    allowed_origins: Words = Field(
        (),
        description="Web pages, as https://host:port, that may call /v1/… (CORS), and besides its "
        "own use a server without keys; * for all.",
    )

    engine: Literal["whisper-onnx", "whisper-ct2", "fake"] = Field(
        "whisper-onnx", description="Recognition engine."
    )
    model: str = Field(
        "base",
        min_length=1,
        description="The engine's model: 'base' is built in; also a name that oyez models list "
        "shows, or a directory.",
    )
    models: Words = Field(
        MODELS,
        description="Model names clients may ask for, all served by the engine. Names that "
        "start with qwen3-asr-flash-realtime are always accepted.",
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where the model runs.")
    threads: int = Field(0, ge=0, description="Threads of the engine; 0 means every core.")
    cache_dir: Path = Field(
        Path(platformdirs.user_cache_dir("oyez")), description="Where prepared models are kept."
    )
    models_dir: Path = Field(
        Path(platformdirs.user_data_dir("oyez")) / "models",
        description="Where models lie that oyez models add added.",
    )
    vad: str = Field("silero", min_length=1, description="Voice activity detector.")
    emotion: str = Field(
        "open",
        min_length=1,
        description="Emotion classifier: 'open', 'research' (better; not for commercial use), "
        "'off', or a file that research/emotion wrote.",
    )
    emotion_confidence: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Probability an emotion must have; an utterance without one is neutral.",
    )

    web_page: bool = Field(True, description="Serve the web page at /.")
    docs: bool = Field(True, description="Serve the reference at /docs.")

    max_sessions: int = Field(256, ge=1, description="Most sessions at a time; beyond: HTTP 503.")
    max_connections: int = Field(
        0,
        ge=0,
        description="Most connections at a time, whatever they do. Beyond, the one without a "
        "session that has been idle for longest is closed; if none is idle: HTTP 503. "
        "0: max_sessions and 256 more.",
    )
    max_connections_per_address: int = Field(
        64,
        ge=0,
        description="Most connections without a session of one address (IPv6: of its /64); beyond, "
        "the same for that address. Holds neither for this machine nor for trusted_proxies. "
        "0: no bound.",
    )
    keepalive_timeout_s: float = Field(
        75.0,
        gt=0,
        description="A connection that has sent no whole request for so long is closed. The first "
        "one must come within 10 s.",
    )
    max_memory_mb: int = Field(
        0,
        ge=0,
        description="Memory in use (MiB) above which no session is let in beside others: HTTP "
        "503. 0: it does not matter.",
    )
    max_buffered_mb: int = Field(
        160,
        ge=8,
        description="Memory (MiB) for what sessions hold: input and events that wait, audio of "
        "turns that are not answered. A session beyond is not read from; a key may hold a fourth.",
    )
    max_load: float = Field(
        0.75,
        ge=0,
        description="Share of the engine's time that sessions may need, interim results at their "
        "slowest; a session beyond: HTTP 503. 0: let in whatever max_sessions allows.",
    )
    reserved_share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Share of the sessions that fit which is kept for keys that have less than an "
        "equal part of them, where there are several keys; a session beyond: HTTP 429. 0: whoever "
        "comes first.",
    )
    sessions_per_second: int = Field(
        20, ge=1, description="New sessions per second and key; beyond: HTTP 429."
    )
    max_waiting_jobs: int = Field(1024, ge=1, description="Most recognition jobs waiting.")
    max_backlog_s: float = Field(
        60.0,
        gt=0,
        description="Audio of one session that may wait for recognition before the server "
        "stops reading from it.",
    )
    idle_timeout_s: float = Field(
        300.0, gt=0, description="A session without input for so long is finished and closed."
    )
    stalled_turn_s: float = Field(
        4.0,
        ge=0,
        description="A turn found by voice activity ends when its client has sent no audio for so "
        "long, and its silence_duration_ms. 0: never.",
    )
    max_session_s: float = Field(
        0.0, ge=0, description="A session that lasts so long is finished and closed. 0: no limit."
    )
    close_after_finish_s: float = Field(
        5.0, ge=0, description="How long a client may take to close after session.finished."
    )
    drain_timeout_s: float = Field(
        30.0, ge=0, description="How long running turns may take to finish at shutdown."
    )
    manual_max_s: float = Field(
        60.0, gt=0, description="Audio after which a manual turn is committed by the server."
    )
    manual_interim: bool = Field(True, description="Send interim text in manual mode.")
    max_append_bytes: int = Field(
        2 * MEBIBYTE, ge=1, description="Largest audio of one append, decoded."
    )
    ws_max_message_bytes: int = Field(
        3 * MEBIBYTE, ge=1024, description="Largest WebSocket message; beyond: close 1009."
    )
    max_upload_bytes: int = Field(
        200 * MEBIBYTE, ge=1024, description="Largest file to transcribe; beyond: HTTP 413."
    )
    max_file_audio_s: float = Field(
        4 * 3600.0, gt=0, description="Longest audio of a file to transcribe; beyond: HTTP 400."
    )
    max_transcriptions: int = Field(
        2, ge=1, description="Files transcribed at a time; more of them wait."
    )
    max_waiting_transcriptions: int = Field(
        8, ge=0, description="Complete files that wait for their turn; beyond: HTTP 503."
    )
    upload_disk_bytes: int = Field(
        0,
        ge=0,
        description="Disk space of all uploaded files together; beyond: HTTP 503. "
        "0: ten times max_upload_bytes.",
    )
    send_buffer_bytes: int = Field(
        MEBIBYTE,
        ge=1024,
        description="Events waiting for a slow reader before its input is no longer read.",
    )
    slow_reader_timeout_s: float = Field(
        30.0, gt=0, description="A reader that stalls for so long is disconnected."
    )
    ping_interval_s: float = Field(20.0, gt=0, description="Silence after which oyez pings.")
    ping_timeout_s: float = Field(
        60.0, gt=0, description="A client that neither sends nor answers pings for so long is gone."
    )

    metrics: bool = Field(True, description="Serve Prometheus metrics at /metrics.")
    metrics_key: SecretStr | None = Field(
        None,
        description="Key that /metrics asks for; without one anybody who reaches the server may "
        "read them. Prefer the environment or a file to a command line.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least urgent log line shown."
    )
    log_format: Literal["text", "json"] = Field("text", description="Form of log lines.")

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
