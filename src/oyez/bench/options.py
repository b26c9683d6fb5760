"""What the commands have in common: options, clips, engines, and errors as messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from oyez.bench.clips import Clip, ManifestError, read_manifest
from oyez.runtime.loader import Engines, LoadError, load_on_cpu
from oyez.settings import SettingsError

Decorator = Callable[[Any], Any]

MANIFEST = click.Path(exists=True, dir_okay=False, path_type=Path)
JSON_FILE = click.Path(dir_okay=False, path_type=Path)
SAMPLE_S = 20.0
SPOKEN = "What is said; without it, the shipped sample."
PASSED_ON = "Passed to the server that is started; may be repeated."
WRONG_SETTINGS = 2
NO_ENGINE = 3
"""Exit codes, as docs/cli.md lists them."""


def together(*options: Decorator) -> Decorator:
    """Return a decorator that adds these options to a command, in this order."""
    return lambda command: reduce(lambda inner, option: option(inner), options[::-1], command)


engine_options = together(
    click.option("--engine", default="whisper-onnx", show_default=True),
    click.option("--model", default="base", show_default=True, help="The engine's model."),
    click.option("--threads", default=0, show_default=True, help="0: every core."),
)
server_options = together(
    engine_options,
    click.option("--url", help="A running server; without it, one is started."),
    click.option("--key", default="bench", show_default=False, help="Its API key."),
    click.option("--serve-flag", "serve_flags", multiple=True, help=PASSED_ON),
)


def speech_options(languages_help: str) -> Decorator:
    """Return a decorator that adds --clips and --languages to a command."""
    return together(
        click.option("--clips", "--manifest", "manifest", type=MANIFEST, help=SPOKEN),
        click.option("--languages", help=languages_help),
    )


def run(module: str, options: dict[str, Any], extra: str = "bench") -> None:
    """Call `main` of a module that needs the packages of an extra. Raises ClickException."""
    try:
        main = import_module(module).main
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error}: pip install 'oyez[{extra}]'") from error
    main(**options)


def load_engines(
    engine: str = "whisper-onnx", model: str = "base", threads: int = 0, vad: str = "silero"
) -> Engines:
    """Load engines on the CPU, without emotion; progress goes to stderr.

    model: as for `oyez serve --model`. Raises ClickException with an exit code.
    """
    try:
        return load_on_cpu(
            engine, model, threads, vad, progress=lambda line: click.echo(line, err=True)
        )
    except (SettingsError, LoadError) as error:
        failure = click.ClickException(str(error))
        code = WRONG_SETTINGS if isinstance(error, SettingsError) else NO_ENGINE
        failure.exit_code = code  # type: ignore[misc]  # click reads it here
        raise failure from error


def spoken_clips(manifest: Path | None, languages: str | None = None) -> list[Clip]:
    """Return the clips with speech of a manifest, or without one the shipped sample.

    Raises ClickException.
    """
    if manifest is None:
        sample = Path(str(files("oyez") / "assets" / "two_cities.wav"))
        return [Clip(sample, "en", SAMPLE_S, kind="read")]
    return [clip for clip in read_clips(manifest, languages) if clip.has_speech]


def read_clips(manifest: Path, languages: str | None, limit: int | None = None) -> list[Clip]:
    """Read a manifest for a command. Raises ClickException, also if no clip is left.

    languages: language codes with commas between; empty for all.
    """
    try:
        clips = read_manifest(manifest, names(languages), limit)
    except ManifestError as error:
        raise click.ClickException(str(error)) from error
    if not clips:
        raise click.ClickException(f"{manifest}: no clips are left to measure")
    return clips


def names(text: str | None) -> list[str]:
    """Split text at its commas."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def write_json(file: Path, content: object) -> None:
    """Write JSON with one value per line."""
    lines = json.dumps(content, ensure_ascii=False, indent=1)
    file.write_text(lines + "\n", encoding="utf-8")
