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
from oyez.settings.complaints import describe
from oyez.settings.fields import ENV_PREFIX, Settings

_NOT_FOR_CHILDREN = re.compile(
    rf"^({ENV_PREFIX}|PG|NOTIFY_SOCKET|WATCHDOG_|LISTEN_|CREDENTIALS_)"
    "|KEY|SECRET|TOKEN|PASSW|CREDENTIAL|DATABASE_URL",
    re.IGNORECASE,
)
OF_A_SERVICE = re.compile(
    rf"{ENV_PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?"
    r"|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""Names of variables that Kubernetes sets in every container beside a Service called oyez, or
oyez-something. There is also `…_PORT`, which has a URL in it."""
URL_OF_A_SERVICE = re.compile(r"(tcp|udp|sctp)://\S+:\d+")


def load(flags: Mapping[str, object], file: Path | None = None) -> Settings:
    """Merge flags, environment, file and defaults.

    Raises SettingsError for anything malformed or contradictory, and for what is unknown in the
    file. Of the environment `environment_warnings` tells that: it is not the operator's alone.
    """
    from_file = _read_file(file) if file else {}
    _refuse_unknown(from_file, Settings.model_fields, f"{file}: unknown setting")
    from_env = EnvSettingsSource(Settings)()
    if _is_url_of_a_service(from_env.get("port")):
        del from_env["port"]

    def origin(name: str) -> str:
        if name in flags:
            return "--" + name.replace("_", "-")
        if name in from_env:
            return ENV_PREFIX + name.upper()
        return f"{file}: {name}" if name in from_file else name

    try:
        return Settings(**{**from_file, **from_env, **flags})
    except ValidationError as error:
        raise SettingsError(describe(error, origin)) from None


def environment_warnings() -> list[str]:
    """What `load` ignores in the environment, a sentence for each variable: it may be a mistake."""
    known = [ENV_PREFIX + name.upper() for name in Settings.model_fields]
    warnings = []
    for name, value in sorted(os.environ.items()):
        written = name.upper()
        if not written.startswith(ENV_PREFIX):
            continue
        if written == f"{ENV_PREFIX}PORT" and _is_url_of_a_service(value):
            warnings.append(
                f"{name} is ignored: Kubernetes sets it for a Service called oyez "
                "(enableServiceLinks: false leaves it out), and it is no port"
            )
        elif written not in known and not _is_of_a_service(written, value):
            nearest = _nearest(written, known)
            warnings.append(f"{name} is ignored: no setting is called so; the nearest is {nearest}")
    return warnings


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


def library_paths() -> dict[str, str]:
    """What a process that oyez starts needs of the environment to find its libraries. Nothing of
    it is secret."""
    names = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in names if name in os.environ}


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
            nearest = _nearest(name, known)
            raise SettingsError(f"{complaint} {name}; the nearest known one is {nearest}")


def _nearest(name: str, known: Iterable[str]) -> str:
    return difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)[0]


def _is_of_a_service(name: str, value: str) -> bool:
    is_url = name.endswith("_PORT") and _is_url_of_a_service(value)
    return is_url or OF_A_SERVICE.fullmatch(name) is not None


def _is_url_of_a_service(value: object) -> bool:
    return isinstance(value, str) and URL_OF_A_SERVICE.fullmatch(value) is not None
