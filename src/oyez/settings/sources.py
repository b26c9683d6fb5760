"""Where settings come from: flag > `OYEZ_…` environment > file > default.

The only reader of the environment and of the settings file.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from oyez.settings.checks import SettingsError
from oyez.settings.fields import ENV_PREFIX, Settings

_NOT_FOR_CHILDREN = re.compile(
    rf"^({ENV_PREFIX}|PG|NOTIFY_SOCKET|WATCHDOG_|LISTEN_|CREDENTIALS_)"
    "|KEY|SECRET|TOKEN|PASSW|CREDENTIAL|DATABASE_URL",
    re.IGNORECASE,
)


def load(flags: Mapping[str, object], file: Path | None = None) -> Settings:
    """Merge flags, environment, file and defaults.

    Raises SettingsError for anything unknown, malformed or contradictory.
    """
    env_names = {ENV_PREFIX + name.upper(): name for name in Settings.model_fields}
    from_file = _read_file(file) if file else {}
    _refuse_unknown(from_file, Settings.model_fields, f"{file}: unknown setting")
    seen = [name for name in os.environ if name.upper().startswith(ENV_PREFIX)]
    _refuse_unknown((name.upper() for name in seen), env_names, "unknown environment variable")
    from_env = EnvSettingsSource(Settings)()

    def origin(name: str) -> str:
        if name in flags:
            return "--" + name.replace("_", "-")
        if name in from_env:
            return ENV_PREFIX + name.upper()
        return f"{file}: {name}" if name in from_file else name

    try:
        return Settings(**{**from_file, **from_env, **flags})
    except ValidationError as error:
        raise SettingsError(_describe(error, origin)) from None


def service_manager() -> tuple[str | None, float | None]:
    """The socket of the service manager that started us, and after how many seconds without a sign
    of life it takes us for dead; None: there is none, it does not watch."""
    watched = os.environ.get("WATCHDOG_PID") in (None, str(os.getpid()))
    watchdog_us = os.environ.get("WATCHDOG_USEC", "") if watched else ""
    watchdog_s = int(watchdog_us) / 1e6 if watchdog_us.isdecimal() else None
    return os.environ.get("NOTIFY_SOCKET"), watchdog_s


def child_environment() -> dict[str, str]:
    """What a process that we start has in its environment: all but settings, which may be keys or
    passwords, and what else looks like one. It imports from where we do."""
    environment = {
        name: value for name, value in os.environ.items() if not _NOT_FOR_CHILDREN.search(name)
    }
    places = [place or os.getcwd() for place in sys.path]
    return {**environment, "PYTHONPATH": os.pathsep.join(places)}


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not TOML: {error}") from None


def _refuse_unknown(names: Iterable[str], known: Iterable[str], complaint: str) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise SettingsError(f"{complaint} {name}; the nearest known one is {near[0]}")


def _describe(error: ValidationError, origin: Any) -> str:
    lines = []
    for fault in error.errors(include_url=False, include_input=False):
        message = fault["msg"].removeprefix("Value error, ")
        lines.append(f"{origin(str(fault['loc'][0]))}: {message}" if fault["loc"] else message)
    return "\n".join(lines)
