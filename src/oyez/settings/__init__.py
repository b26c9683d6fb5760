"""The one settings class, and the only reader of the environment."""

from __future__ import annotations

from oyez.settings.checks import SettingsError, is_loopback, key_problem, read_keys
from oyez.settings.fields import ENV_PREFIX, MODELS, Settings
from oyez.settings.sources import (
    child_environment,
    environment_warnings,
    library_paths,
    load,
    service_manager,
)

__all__ = [
    "ENV_PREFIX",
    "MODELS",
    "Settings",
    "SettingsError",
    "child_environment",
    "environment_warnings",
    "is_loopback",
    "key_problem",
    "library_paths",
    "load",
    "read_keys",
    "service_manager",
]
