"""`oyez models`: the models that this machine can serve."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from oyez.cli.errors import FAILED, NEVER_STARTED, USAGE, CommandError
from oyez.cli.setting_options import with_settings
from oyez.settings import Settings

DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
HEADER = ("NAME", "SIZE", "LANGUAGES", "PREPARED", "ENGINES", "SHA-256")
ENGINES = ("whisper-onnx", "whisper-ct2")
HUB_OWNER = "Systran"
"""The owner of the conversions that a plain size names, as in faster-whisper."""
OTHER_REPOSITORIES = {
    "large": f"{HUB_OWNER}/faster-whisper-large-v3",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
}
"""The repositories of sizes that do not follow the rule."""


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


def complete_model(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the names of the models in the default directory."""
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
    from oyez.cli.terminal import print_table

    found = model_reports(settings.models_dir, settings.cache_dir)
    if as_json:
        for report in found:
            click.echo(json.dumps(asdict(report), ensure_ascii=False))
        return
    print_table(HEADER, [report.cells() for report in found])
    for report in found:
        if report.fault:
            click.echo(f"oyez: {report.name}: {report.fault}", err=True)


@models.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_model)
@with_settings("models_dir", "cache_dir")
def verify(settings: Settings, names: tuple[str, ...]) -> None:
    """Hash the files of models again, and what was prepared of them: of all
    models, or of those named.

    Exit code 1 if a file is damaged or missing.
    """
    from oyez.cli.terminal import byte_progress, console, mark

    out = console()
    found = {each.name: each for each in model_reports(settings.models_dir, settings.cache_dir)}
    unknown = [name for name in names if name not in found]
    if unknown:
        raise CommandError(f"no model is called {unknown[0]}; there are: {', '.join(found)}", USAGE)
    damaged = 0
    for name in names or found:
        report = found[name]
        with byte_progress(f"hashing {name}", report.size_bytes) as progress:
            faults = file_faults(report, settings.models_dir, progress)
            faults += _prepared_faults(report, settings.cache_dir)
        prepared = ", and its prepared graphs" if report.prepared else ""
        words = "; ".join(faults) or f"{len(report.sha256)} files as they should be{prepared}"
        sign = mark("fail" if faults else "ok", out.encoding)
        out.print(f"{sign} {name}: {words}", style="red" if faults else None)
        damaged += bool(faults)
    if damaged:
        raise CommandError(f"{damaged} of {len(names or found)} models damaged", FAILED)


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
    from oyez.engines import library

    if (directory is None) == (hub_name is None):
        raise click.UsageError("give either a DIRECTORY or --from-hub NAME")
    if hub_name is None:
        assert directory is not None
        name = name or directory.resolve().name
    else:
        if link:
            raise click.UsageError("--link is for a DIRECTORY: a download has no other place")
        name = name or hub_name.rpartition("/")[2]
    try:
        library.check_name(settings.models_dir, name)
    except library.LibraryError as error:
        raise CommandError(str(error), USAGE) from error
    if hub_name is None:
        assert directory is not None
        _add(settings.models_dir, name, directory, str(directory), link)
        return
    with tempfile.TemporaryDirectory(prefix="oyez-") as download:
        _download(hub_name, Path(download))
        _add(settings.models_dir, name, Path(download), hub_name)


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
@click.argument("name", shell_complete=complete_model)
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
        raise CommandError(str(error), USAGE) from error
    except OSError as error:
        raise CommandError(f"cannot remove {name}: {error}") from error
    others = {other.digest for other in library.added(settings.models_dir)}
    if removed.digest not in {*others, PACKAGED_SHA256["model.bin"]}:
        delete_cached(removed.digest, settings.cache_dir)
    click.echo(f"removed {name}")


def _add(models_dir: Path, name: str, directory: Path, origin: str, link: bool = False) -> None:
    from oyez.cli.terminal import byte_progress
    from oyez.engines import library
    from oyez.engines.whisper.weights import WeightsError, inspect_model

    try:
        found = inspect_model(directory)
        with byte_progress(f"adding {name}", library.size_bytes(directory)) as progress:
            library.add(
                models_dir,
                name,
                directory,
                origin=origin,
                about=asdict(found),
                link=link,
                progress=progress,
            )
    except (WeightsError, library.LibraryError) as error:
        raise CommandError(f"{origin} was not added: {error}") from error
    except OSError as error:
        message = f"{origin} was not added: {models_dir}: {error.strerror or error}"
        raise CommandError(message) from error
    engine = "" if "whisper-onnx" in found.engines else " --engine whisper-ct2"
    click.echo(f"added {name}; use it with: oyez serve{engine} --model {name}")


def hub_repository(name: str) -> str:
    """Return `owner/repository` as it is, and the repository of a size such as `small`."""
    if "/" in name:
        return name
    return OTHER_REPOSITORIES.get(name, f"{HUB_OWNER}/faster-whisper-{name}")


def _download(hub_name: str, target: Path) -> None:
    """Download the files of a model into `target`. Nothing else in oyez downloads anything."""
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    from oyez.engines import library

    click.echo(f"downloading {hub_name} from the Hugging Face hub", err=True)
    repo = hub_repository(hub_name)
    files = [*library.NEEDED, *library.OPTIONAL]
    try:
        huggingface_hub.snapshot_download(repo, local_dir=target, allow_patterns=files)
    except Exception as error:  # its HTTP library raises exceptions of its own
        message = (
            "the Hugging Face hub cannot be reached; on a machine that reaches it: hf download "
            f"{repo} --local-dir DIRECTORY; then here: oyez models add DIRECTORY --name NAME"
        )
        if isinstance(error, GatedRepoError):
            message = f"{repo} asks for consent first: log in with hf auth login"
        elif isinstance(error, RepositoryNotFoundError):
            message = (
                f"there is no {repo} on the Hugging Face hub: give a size such as small or "
                "medium, or owner/repository of a model in CTranslate2's format"
            )
        elif isinstance(error, HfHubHTTPError):
            message = f"the Hugging Face hub refused {repo}: {error}"
        raise CommandError(message, NEVER_STARTED) from error


@dataclass(frozen=True, slots=True)
class ModelReport:
    """The facts about one model."""

    name: str
    built_in: bool
    size_bytes: int
    languages: tuple[str, ...]
    engines: tuple[str, ...]
    prepared: bool
    """Whether its graphs for whisper-onnx are in the cache."""
    sha256: dict[str, str]
    """By name of the file."""
    origin: str
    fault: str | None = None
    """Why it cannot be used."""

    def cells(self) -> list[str]:
        """Return a row of the table, below HEADER."""
        from oyez.cli.values import size_text
        from oyez.engines.base import LANGUAGES

        return [
            self.name,
            size_text(self.size_bytes),
            f"{len(self.languages)} of {len(LANGUAGES)}",
            "yes" if self.prepared else "no",
            ", ".join(engine.removeprefix("whisper-") for engine in self.engines),
            self.sha256["model.bin"][:12],
        ]


def model_reports(models_dir: Path, cache_dir: Path) -> list[ModelReport]:
    """Return the built-in model, then those that were added, by name. No file is hashed."""
    from oyez.engines import library
    from oyez.engines.base import LANGUAGES
    from oyez.engines.whisper.weights import PACKAGED_SHA256, WeightsError, packaged
    from oyez.engines.whisper_onnx.prepare import prepared_directory

    size_bytes, fault = 0, None
    try:
        source = packaged()
        others = (source.directory / name for name in source.expected or () if name != "model.bin")
        size_bytes = sum(path.stat().st_size for path in (*source.model_files, *others))
    except WeightsError as error:
        fault = str(error)
    built_in = ModelReport(
        name=library.BUILT_IN,
        built_in=True,
        size_bytes=size_bytes,
        languages=tuple(code for code in LANGUAGES if code != "yue"),  # it has no token for it
        engines=ENGINES,
        prepared=prepared_directory(PACKAGED_SHA256["model.bin"], cache_dir).is_dir(),
        sha256=dict(PACKAGED_SHA256),
        origin="came with oyez",
        fault=fault,
    )
    reports = [built_in]
    for model in library.added(models_dir):
        missing = [name for name in model.sha256 if not (model.directory / name).is_file()]
        reports.append(
            ModelReport(
                name=model.name,
                built_in=False,
                size_bytes=model.size_bytes,
                languages=tuple(model.about.get("languages", ())),
                engines=tuple(model.about.get("engines", ())),
                prepared=prepared_directory(model.digest, cache_dir).is_dir(),
                sha256=model.sha256,
                origin=model.origin,
                fault=f"{', '.join(missing)} missing" if missing else None,
            )
        )
    return reports


def file_faults(
    report: ModelReport, models_dir: Path, progress: Callable[[int], None] = lambda done_bytes: None
) -> list[str]:
    """Hash the files of a model again, and return what is wrong with them.

    progress: receives the number of bytes of every block that is hashed; not for the built-in
    model.
    """
    from oyez.engines import library
    from oyez.engines.whisper.weights import WeightsError, packaged

    if report.built_in:
        try:
            packaged().read_arrays()
        except WeightsError as error:
            return [str(error)]
        return []
    model = library.find(models_dir, report.name)
    return library.faults(model, progress) if model else [f"{report.name} is gone"]


def _prepared_faults(report: ModelReport, cache_dir: Path) -> list[str]:
    """Hash the prepared graphs of a model, if there are any, and return what is wrong with them."""
    from oyez.engines.whisper_onnx.prepare import prepared_fault

    fault = prepared_fault(report.sha256["model.bin"], cache_dir)
    return [f"prepared graphs: {fault}; the next start builds them anew"] if fault else []
