"""What the commands of `oyez bench` have in common."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import as_file, files
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from oyez.bench.manifest import Clip, ManifestError, read_manifest
from oyez.bench.server_process import ServerError, running_server

MANIFEST = click.Path(exists=True, dir_okay=False, path_type=Path)
JSON_FILE = click.Path(dir_okay=False, path_type=Path)
MODEL = "qwen3-asr-flash-realtime"
SAMPLE_S = 20.0
UNLIMITED = ("--max-sessions", "100000", "--sessions-per-second", "100000", "--max-load", "0")
"""Flags of a server that lets every session of a benchmark in at once."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server to be measured."""

    url: str
    pid: int | None
    """Of its process, where it is our own to watch."""
    complaints: Sequence[str] = ()
    """Its log lines of WARNING and above, the latest."""


def engine_options(command: Any) -> Any:
    """--engine, --model, --threads."""
    for option in (
        click.option("--threads", default=0, show_default=True, help="0: every core."),
        click.option("--model", default="base", show_default=True, help="The engine's model."),
        click.option("--engine", default="whisper-onnx", show_default=True),
    ):
        command = option(command)
    return command


def server_options(command: Any) -> Any:
    """--url, --key, --serve-flag, and those of the engine."""
    for option in (
        click.option("--serve-flag", "serve_flags", multiple=True,
                     help="Passed to the server that is started; may be repeated."),
        click.option("--key", help="Its API key."),
        click.option("--url", help="A running server; without it, one is started."),
    ):  # fmt: skip
        command = option(command)
    return engine_options(command)


def serve_flags(engine: str, model: str, threads: int, more: Sequence[str]) -> list[str]:
    """Flags for `oyez serve`; `more` come last and so win."""
    own = ["--engine", engine, "--model", model, "--threads", str(threads)]
    return [*own, *UNLIMITED, *(word for flag in more for word in shlex.split(flag))]


@contextmanager
def measured_server(url: str | None, flags: Sequence[str]) -> Iterator[Target]:
    """The server at `url`, or else one with these flags. Raises ServerError."""
    if url is not None:
        yield Target(url, None)
        return
    with running_server(flags) as own:
        yield Target(f"{own.url}?model={MODEL}", own.pid, own.complaints)


@contextmanager
def told() -> Iterator[None]:
    """What can go wrong outside of the program is told in a line, without a traceback."""
    import aiohttp

    expected = (ServerError, OSError, TimeoutError, RuntimeError, aiohttp.ClientError)
    try:
        yield
    except expected as error:
        raise click.ClickException(str(error) or type(error).__name__) from error


def needs(module: str) -> ModuleType:
    """A module that needs the packages of the `bench` extra. Raises ClickException."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error}: pip install 'oyez[bench]'") from error


def write_json(file: Path, content: object) -> None:
    lines = json.dumps(content, ensure_ascii=False, indent=1)
    file.write_text(lines + "\n", encoding="utf-8")


@contextmanager
def spoken_clips(manifest: Path | None, languages: str = "") -> Iterator[list[Clip]]:
    """Clips with speech: of the manifest, or else the shipped sample. Raises ClickException."""
    with as_file(files("oyez") / "assets" / "two_cities.wav") as sample:
        if manifest is None:
            yield [Clip(sample, "en", SAMPLE_S, None, "read", "")]
        else:
            yield [clip for clip in read_clips(manifest, languages) if clip.has_speech]


def read_clips(manifest: Path, languages: str, limit: int | None = None) -> list[Clip]:
    """`read_manifest` for a command line. Raises ClickException, also if no clip is left."""
    try:
        wanted = [code.strip() for code in languages.split(",") if code.strip()]
        clips = read_manifest(manifest, wanted, limit)
    except ManifestError as error:
        raise click.ClickException(str(error)) from error
    if not clips:
        raise click.ClickException(f"{manifest}: no clips are left to measure")
    return clips
