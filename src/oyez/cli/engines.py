"""Loading engines for a command that is no server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from oyez import settings

if TYPE_CHECKING:
    from oyez.inference.loader import Engines


def load_for_command(
    engine: str = "whisper-onnx", model: str = "base", threads: int = 0, vad: str = "silero"
) -> Engines:
    """Engines on the CPU, without emotion; what is done meanwhile goes to stderr.

    Raises ClickException.
    """
    from oyez.inference.loader import LoadError, load_engines
    from oyez.recognisers.whisper_onnx.weights import WeightsError

    try:
        return load_engines(
            engine=engine,
            model=model,
            device="cpu",
            threads=threads,
            cache_dir=settings.load({}).cache_dir,
            vad=vad,
            progress=lambda line: click.echo(line, err=True),
        )
    except (LoadError, WeightsError, settings.SettingsError) as error:
        raise click.ClickException(str(error)) from error


def show_progress(done: int, total: int) -> None:
    """A line on stderr that counts recordings."""
    end = "\n" if done == total else ""
    click.echo(f"\r{done}/{total} recordings heard{end}", nl=False, err=True)


def names(text: str) -> list[str]:
    """What stands between commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
