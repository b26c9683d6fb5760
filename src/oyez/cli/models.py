"""`oyez models`: what can be served from this machine."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from oyez.cli.exits import FAILED, NEVER_STARTED, USAGE, Fault
from oyez.cli.setting_options import with_settings
from oyez.settings import Settings

if TYPE_CHECKING:
    from oyez.cli.model_reports import ModelReport

DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def models() -> None:
    """List, check, add and remove models.

    oyez serves the built-in model 'base' unless told otherwise. Other Whisper
    models are added once, from a directory in CTranslate2's format (the one
    faster-whisper uses), and then served by name.

    \b
    Examples:
      oyez models list
      oyez models add ~/faster-whisper-small --name small
      oyez serve --model small
      oyez transcribe --model small talk.mp3
    """


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For the Tab key: models in the default place."""
    from oyez.engines import library
    from oyez.settings import SettingsError, load

    try:
        found = library.added(load({}).models_dir)
    except SettingsError:
        return []
    return [CompletionItem(each.name) for each in found if each.name.startswith(incomplete)]


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@with_settings("models_dir", "cache_dir")
def list_models(settings: Settings, as_json: bool) -> None:
    """The built-in model and those that were added.

    Prepared: its graphs for the engine whisper-onnx are in the cache; the first
    start with a model prepares it.
    """
    from oyez.cli.model_reports import HEADER, model_reports, report_rows
    from oyez.cli.table import print_table

    found = model_reports(settings.models_dir, settings.cache_dir)
    if as_json:
        for report in found:
            click.echo(json.dumps(asdict(report), ensure_ascii=False))
        return
    print_table(HEADER, report_rows(found))
    for report in found:
        if report.fault:
            click.echo(f"oyez: {report.name}: {report.fault}", err=True)


@models.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=_names)
@with_settings("models_dir", "cache_dir")
def verify(settings: Settings, names: tuple[str, ...]) -> None:
    """Hash the files of models again, and what was prepared of them: of all
    models, or of those named.

    Exit code 1 if a file is damaged or missing.
    """
    from oyez.cli.model_reports import model_reports, prepared_faults, verified
    from oyez.cli.terminal import byte_progress

    found = {each.name: each for each in model_reports(settings.models_dir, settings.cache_dir)}
    unknown = [name for name in names if name not in found]
    if unknown:
        raise Fault(f"no model is called {unknown[0]}; there are: {', '.join(found)}", USAGE)
    damaged = 0
    for name in names or found:
        report = found[name]
        with byte_progress(f"hashing {name}", report.size_bytes) as progress:
            faults = verified(report, settings.models_dir, progress)
            faults += prepared_faults(report, settings.cache_dir)
        damaged += not _show(report, faults)
    if damaged:
        raise Fault(f"{damaged} of {len(names or found)} models damaged", FAILED)


@models.command()
@click.argument("directory", type=DIRECTORY, required=False)
@click.option(
    "--from-hub",
    "hub_name",
    metavar="NAME",
    help="Download it: a size such as small, or owner/repository on Hugging Face.",
)
@click.option("--name", help="What to call it; default: the directory's or the hub's name.")
@click.option("--link", is_flag=True, help="Link to the files where they are, do not copy them.")
@with_settings("models_dir")
def add(
    settings: Settings, directory: Path | None, hub_name: str | None, name: str | None, link: bool
) -> None:
    """Add a Whisper model in CTranslate2's format.

    The files are checked (shapes, vocabulary, English-only models are refused),
    copied with their hashes, and checked against them whenever they are
    prepared. Only --from-hub uses the network.

    \b
    Examples:
      oyez models add ~/faster-whisper-small --name small
      oyez models add /shared/large-v3 --link
      oyez models add --from-hub small
    """
    if (directory is None) == (hub_name is None):
        raise click.UsageError("give either a DIRECTORY or --from-hub NAME")
    if directory is not None:
        _add(settings.models_dir, name or directory.resolve().name, directory, str(directory), link)
        return
    assert hub_name is not None
    if link:
        raise click.UsageError("--link is for a DIRECTORY: a download has no other place")
    _check_name(settings.models_dir, name or hub_name.rpartition("/")[2])
    with tempfile.TemporaryDirectory(prefix="oyez-") as download:
        _download(hub_name, Path(download))
        _add(settings.models_dir, name or hub_name.rpartition("/")[2], Path(download), hub_name)


@models.command()
@click.argument("name", default="base")
def prepare(name: str) -> None:
    """Prepare a model now, not at the first start with it.

    For images and machines that are set up beforehand: cache_dir may be
    read-only afterwards.
    """
    from oyez.cli.engines import load_for_command

    load_for_command(model=name)


@models.command()
@click.argument("name", shell_complete=_names)
@with_settings("models_dir", "cache_dir")
def remove(settings: Settings, name: str) -> None:
    """Remove a model that was added, and what was prepared of it.

    Of a linked model only the links are removed.
    """
    from oyez.engines import library
    from oyez.engines.whisper.weights import PACKAGED_SHA256
    from oyez.engines.whisper_onnx.prepare import delete_cached

    try:
        removed = library.remove(settings.models_dir, name)
    except library.LibraryError as error:
        raise Fault(str(error), USAGE) from error
    except OSError as error:
        raise Fault(f"cannot remove {name}: {error}") from error
    others = {other.digest for other in library.added(settings.models_dir)}
    if removed.digest not in {*others, PACKAGED_SHA256["model.bin"]}:
        delete_cached(removed.digest, settings.cache_dir)
    click.echo(f"removed {name}")


def _show(report: ModelReport, faults: list[str]) -> bool:
    from oyez.cli.terminal import console, mark

    out = console()
    grade = "fail" if faults else "ok"
    prepared = ", and its prepared graphs" if report.prepared else ""
    words = "; ".join(faults) or f"{len(report.sha256)} files as they should be{prepared}"
    out.print(
        f"{mark(grade, out.encoding)} {report.name}: {words}", style="red" if faults else None
    )
    return not faults


def _check_name(models_dir: Path, name: str) -> None:
    from oyez.engines import library

    try:
        library.check_name(models_dir, name)
    except library.LibraryError as error:
        raise Fault(str(error), USAGE) from error


def _add(models_dir: Path, name: str, directory: Path, origin: str, link: bool = False) -> None:
    from oyez.cli.terminal import byte_progress
    from oyez.engines import library
    from oyez.engines.whisper.inspection import inspect_model
    from oyez.engines.whisper.weights import WeightsError

    _check_name(models_dir, name)
    try:
        found = inspect_model(directory)
        about: dict[str, Any] = asdict(found)
        with byte_progress(f"adding {name}", library.size_bytes(directory)) as progress:
            model = library.add(
                models_dir,
                name,
                directory,
                origin=origin,
                about=about,
                link=link,
                progress=progress,
            )
    except (WeightsError, library.LibraryError) as error:
        raise Fault(f"{origin} was not added: {error}") from error
    except OSError as error:
        raise Fault(f"{origin} was not added: {models_dir}: {error.strerror or error}") from error
    engine = "" if "whisper-onnx" in found.engines else " --engine whisper-ct2"
    click.echo(f"added {model.name}; use it with: oyez serve{engine} --model {model.name}")


def _download(hub_name: str, target: Path) -> None:
    from oyez.cli.hub import HubError, download

    click.echo(f"downloading {hub_name} from the Hugging Face hub", err=True)
    try:
        download(hub_name, target)
    except HubError as error:
        raise Fault(str(error), NEVER_STARTED) from error
