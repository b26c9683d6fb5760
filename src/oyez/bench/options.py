"""What the commands have in common: options, clips, engines, and errors as messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.resources import as_file, files
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from oyez.bench.manifest import Clip, ManifestError, read_manifest
from oyez.bench.target import ServerError
from oyez.settings import SettingsError

if TYPE_CHECKING:
    from oyez.runtime.loader import Engines

MANIFEST = click.Path(exists=True, dir_okay=False, path_type=Path)
JSON_FILE = click.Path(dir_okay=False, path_type=Path)
SAMPLE_S = 20.0
WRONG_SETTINGS = 2
NO_ENGINE = 3
"""Exit codes, as docs/cli.md lists them."""


class BenchError(click.ClickException):
    """A fault that the user can mend. The message says what to do."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it here


def engine_options(command: Any) -> Any:
    """Add --engine, --model and --threads to a command."""
    for option in (
        click.option("--threads", default=0, show_default=True, help="0: every core."),
        click.option("--model", default="base", show_default=True, help="The engine's model."),
        click.option("--engine", default="whisper-onnx", show_default=True),
    ):
        command = option(command)
    return command


def speech_options(languages_help: str) -> Callable[[Any], Any]:
    """Return a decorator that adds --clips and --languages to a command."""

    def decorate(command: Any) -> Any:
        for option in (
            click.option("--languages", default="", help=languages_help),
            click.option(
                "--clips",
                "--manifest",
                "manifest",
                type=MANIFEST,
                help="What is said; without it, the shipped sample.",
            ),
        ):
            command = option(command)
        return command

    return decorate


def server_options(command: Any) -> Any:
    """Add --url, --key, --serve-flag and the engine's options to a command."""
    for option in (
        click.option(
            "--serve-flag",
            "serve_flags",
            multiple=True,
            help="Passed to the server that is started; may be repeated.",
        ),
        click.option("--key", help="Its API key."),
        click.option("--url", help="A running server; without it, one is started."),
    ):
        command = option(command)
    return engine_options(command)


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """Report an error that comes from outside of the program in one line, without a traceback."""
    import aiohttp

    from oyez.client import ClientError

    expected = (
        ServerError,
        ClientError,
        OSError,
        TimeoutError,
        RuntimeError,
        aiohttp.ClientError,
    )
    try:
        yield
    except expected as error:
        raise click.ClickException(str(error) or type(error).__name__) from error


def needs(module: str, extra: str = "bench") -> ModuleType:
    """Import a module that needs the packages of an extra. Raises ClickException."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error}: pip install 'oyez[{extra}]'") from error


def load_engines(
    engine: str = "whisper-onnx", model: str = "base", threads: int = 0, vad: str = "silero"
) -> Engines:
    """Load engines on the CPU, without emotion; progress goes to stderr.

    model: as for `oyez serve --model`. Raises BenchError.
    """
    from oyez.runtime.loader import LoadError, load_on_cpu

    try:
        return load_on_cpu(
            engine, model, threads, vad, progress=lambda line: click.echo(line, err=True)
        )
    except SettingsError as error:
        raise BenchError(str(error), WRONG_SETTINGS) from error
    except LoadError as error:
        raise BenchError(str(error), NO_ENGINE) from error


@contextmanager
def spoken_clips(manifest: Path | None, languages: str = "") -> Iterator[list[Clip]]:
    """Yield the clips with speech of a manifest, or without one the shipped sample.

    Raises ClickException.
    """
    with as_file(files("oyez") / "assets" / "two_cities.wav") as sample:
        if manifest is None:
            yield [Clip(sample, "en", SAMPLE_S, None, "read", "")]
        else:
            yield [clip for clip in read_clips(manifest, languages) if clip.has_speech]


def read_clips(manifest: Path, languages: str, limit: int | None = None) -> list[Clip]:
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


def names(text: str) -> list[str]:
    """Split text at its commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def write_json(file: Path, content: object) -> None:
    """Write JSON with one value per line."""
    lines = json.dumps(content, ensure_ascii=False, indent=1)
    file.write_text(lines + "\n", encoding="utf-8")
