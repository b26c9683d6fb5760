"""Loading engines for a command that is no server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from oyez import settings
from oyez.cli.exits import NEVER_STARTED, USAGE, Fault

if TYPE_CHECKING:
    from oyez.runtime.loader import Engines


def load_for_command(model: str) -> Engines:
    """Engines on the CPU, without emotion; what is done meanwhile goes to stderr.

    model: as `oyez serve --model`. Raises Fault.
    """
    from oyez.runtime.loader import LoadError, load_on_cpu

    try:
        return load_on_cpu(model=model, progress=lambda line: click.echo(line, err=True))
    except settings.SettingsError as error:
        raise Fault(str(error), USAGE) from error
    except LoadError as error:
        raise Fault(str(error), NEVER_STARTED) from error


def load_settings(
    chosen: settings.Settings, progress: Callable[[str], None] = lambda line: None
) -> Engines:
    """The engines these settings choose. Raises Fault."""
    from oyez.runtime.loader import LoadError, load_configured

    try:
        return load_configured(chosen, progress)
    except LoadError as error:
        raise Fault(str(error), NEVER_STARTED) from error
