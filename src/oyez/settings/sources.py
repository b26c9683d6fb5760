"""Where settings come from: flag, `OYEZ_…` environment, file, default, in this order.

This module is the only reader of the environment and of the settings file. It also words what is
wrong with a value.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from oyez.settings.checks import SettingsError
from oyez.settings.fields import ENV_PREFIX, Settings

_NOT_FOR_CHILDREN = re.compile(
    rf"^({ENV_PREFIX}|PG|NOTIFY_SOCKET|WATCHDOG_|LISTEN_|CREDENTIALS_)"
    "|KEY|SECRET|TOKEN|PASSW|CREDENTIAL|DATABASE_URL",
    re.IGNORECASE,
)
KUBERNETES_NAME = re.compile(
    rf"{ENV_PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?"
    r"|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""Variables that Kubernetes sets in every container beside a Service called oyez, or
oyez-something. It also sets `…_PORT`, to a URL."""
KUBERNETES_URL = re.compile(r"(tcp|udp|sctp)://\S+:\d+")
OWN_ERRORS = ("value_error", "assertion_error")
"""The error types of pydantic whose message comes from the settings class."""
BOUNDS = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}


def load(flags: Mapping[str, object], file: Path | None = None) -> Settings:
    """Merge flags, environment, file and defaults.

    Raises SettingsError for anything malformed or contradictory, and for unknown settings in the
    file. Unknown variables of the environment are ignored, because other programs set some: see
    `environment_warnings`.
    """
    from_file = _read_file(file) if file else {}
    for name in from_file:
        if name not in Settings.model_fields:
            nearest = _nearest(name, Settings.model_fields)
            message = f"{file}: unknown setting {name}; the nearest known one is {nearest}"
            raise SettingsError(message)
    from_env = EnvSettingsSource(Settings)()
    if _is_kubernetes_url(from_env.get("port")):
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


def describe(error: ValidationError, origin: Callable[[str], str]) -> str:
    """Say in a line for each setting what is wrong, never with the value, which may be a key.

    origin: from the name of a setting to the place where its value came from.
    """
    lines = []
    for fault in error.errors(include_url=False, include_input=False):
        if fault["loc"]:
            name = str(fault["loc"][0])
            lines.append(f"{origin(name)}: {_reason(fault, Settings.model_fields[name])}")
        else:
            lines.append(_own_message(fault))
    return "\n".join(lines)


def environment_warnings() -> list[str]:
    """Return a sentence for each variable that `load` ignores and that may be a mistake."""
    known = [ENV_PREFIX + name.upper() for name in Settings.model_fields]
    warnings = []
    for name, value in sorted(os.environ.items()):
        upper = name.upper()
        if not upper.startswith(ENV_PREFIX):
            continue
        if upper == f"{ENV_PREFIX}PORT" and _is_kubernetes_url(value):
            warnings.append(
                f"{name} is ignored: Kubernetes sets it for a Service called oyez "
                "(enableServiceLinks: false leaves it out), and it is no port"
            )
        elif upper not in known and not _is_from_kubernetes(upper, value):
            nearest = _nearest(upper, known)
            warnings.append(f"{name} is ignored: no setting is called so; the nearest is {nearest}")
    return warnings


def service_manager() -> tuple[str | None, float | None]:
    """Return the socket of the service manager, and its watchdog timeout in seconds.

    None: there is no service manager, or it does not watch this process.
    """
    watched = os.environ.get("WATCHDOG_PID") in (None, str(os.getpid()))
    watchdog_us = os.environ.get("WATCHDOG_USEC", "") if watched else ""
    watchdog_s = int(watchdog_us) / 1e6 if watchdog_us.isdecimal() else None
    return os.environ.get("NOTIFY_SOCKET"), watchdog_s


def child_environment() -> dict[str, str]:
    """Return the environment for a child process that imports the same modules as this one.

    Settings, which may be keys or passwords, and other variables that look like secrets are left
    out.
    """
    environment = {
        name: value for name, value in os.environ.items() if not _NOT_FOR_CHILDREN.search(name)
    }
    places = [place or os.getcwd() for place in sys.path]
    return {**environment, "PYTHONPATH": os.pathsep.join(places)}


def library_paths() -> dict[str, str]:
    """Return the variables that a child process needs to find its libraries; none is secret."""
    names = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in names if name in os.environ}


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not TOML: {error}") from None


def _nearest(name: str, known: Iterable[str]) -> str:
    return difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)[0]


def _is_from_kubernetes(name: str, value: str) -> bool:
    is_url = name.endswith("_PORT") and _is_kubernetes_url(value)
    return is_url or KUBERNETES_NAME.fullmatch(name) is not None


def _is_kubernetes_url(value: object) -> bool:
    return isinstance(value, str) and KUBERNETES_URL.fullmatch(value) is not None


def _reason(fault: ErrorDetails, field: FieldInfo) -> str:
    if fault["type"] in OWN_ERRORS:
        return _own_message(fault)
    if fault["type"] == "string_too_short":
        return "must not be empty"
    kind = field.annotation
    if kind is bool:
        return "must be true or false"
    if get_origin(kind) is Literal:
        return f"must be one of {', '.join(map(str, get_args(kind)))}"
    if kind is int:
        return f"must be a whole number{_bounds(field)}"
    if kind in (float, Decimal | None):
        return f"must be a number{_bounds(field)}"
    return f"is not a value of this setting ({field.description}): {fault['msg']}"


def _own_message(fault: ErrorDetails) -> str:
    return fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _bounds(field: FieldInfo) -> str:
    """Write the bounds of a number as ` of at least 0 and at most 65535`."""
    bounds = [
        words.format(bound)
        for name, words in BOUNDS.items()
        for constraint in field.metadata
        if (bound := getattr(constraint, name, None)) is not None
    ]
    return f" of {' and '.join(bounds)}" if bounds else ""
