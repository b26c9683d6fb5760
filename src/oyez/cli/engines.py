"""Loading engines for a command that is no server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from oyez import settings
from oyez.cli.exits import NEVER_STARTED, USAGE, Fault

if TYPE_CHECKING:
    from oyez.runtime.loader import Engines


def load_for_command(
    engine: str = "whisper-onnx", model: str = "base", threads: int = 0, vad: str = "silero"
) -> Engines:
    """Engines on the CPU, without emotion; what is done meanwhile goes to stderr.

    model: as `oyez serve --model`. Raises Fault.
    """
    from oyez.engines.whisper.weights import WeightsError
    from oyez.runtime.loader import LoadError, load_engines

    try:
        chosen = settings.load({})
        return load_engines(
            engine=engine,
            model=model,
            device="cpu",
            threads=threads,
            cache_dir=chosen.cache_dir,
            models_dir=chosen.models_dir,
            vad=vad,
            progress=lambda line: click.echo(line, err=True),
        )
    except settings.SettingsError as error:
        raise Fault(str(error), USAGE) from error
    except (LoadError, WeightsError) as error:
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


def show_progress(done: int, total: int) -> None:
    """A line on stderr that counts recordings."""
    end = "\n" if done == total else ""
    click.echo(f"\r{done}/{total} recordings heard{end}", nl=False, err=True)


def names(text: str) -> list[str]:
    """What stands between commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
