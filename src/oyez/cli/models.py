"""`oyez models`: the models that this machine can serve."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path

import click

from oyez.cli.errors import FAILED, NEVER_STARTED, USAGE, CommandError
from oyez.cli.setting_options import with_settings
from oyez.cli.terminal import byte_progress, console, mark, print_table
from oyez.cli.values import size_text
from oyez.engines import library
from oyez.engines.base import LANGUAGES
from oyez.engines.whisper.weights import PACKAGED_SHA256, WeightsError, packaged
from oyez.settings import Settings, SettingsError, load

DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
HEADER = ("NAME", "SIZE", "LANGUAGES", "PREPARED", "ENGINES", "SHA-256")
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

    oyez serves the built-in model 'base' by default. Other Whisper
    models are added once, from a directory in CTranslate2's format (the one
    faster-whisper uses), and then served by name.

    \b
    Examples:
      oyez models list
      oyez models add ~/faster-whisper-small --name small
      oyez serve --model small
      oyez transcribe --model small talk.mp3
    """


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the names of the models in the default directory."""
    try:
        found = library.added(load({}).models_dir)
    except SettingsError:
        return []
    return [each.name for each in found if each.name.startswith(incomplete)]


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@with_settings("models_dir", "cache_dir")
def list_models(settings: Settings, as_json: bool) -> None:
    """The built-in model and those that were added.

    Prepared: its graphs for the engine whisper-onnx are in the cache; the first
    start with a model prepares it.
    """
    rows, faults = [], []
    for model in known_models(settings.models_dir).values():
        languages, engines = model.about.get("languages", ()), model.about.get("engines", ())
        fault = "; ".join(model_faults(model)) or None
        prepared = is_prepared(model, settings.cache_dir)
        if as_json:
            report = {
                "name": model.name,
                "built_in": model.name == library.BUILT_IN,
                "size_bytes": model.size_bytes,
                "languages": languages,
                "engines": engines,
                "prepared": prepared,
                "sha256": model.sha256,
                "origin": model.origin,
                "fault": fault,
            }
            click.echo(json.dumps(report, ensure_ascii=False))
            continue
        size, count = size_text(model.size_bytes), f"{len(languages)} of {len(LANGUAGES)}"
        shown = ", ".join(engine.removeprefix("whisper-") for engine in engines)
        is_there = "yes" if prepared else "no"
        rows.append([model.name, size, count, is_there, shown, model.digest[:12]])
        faults += [f"oyez: {model.name}: {fault}"] if fault else []
    if not as_json:
        print_table(HEADER, rows)
        click.echo("".join(f"{line}\n" for line in faults), err=True, nl=False)


@models.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_model)
@with_settings("models_dir", "cache_dir")
def verify(settings: Settings, names: tuple[str, ...]) -> None:
    """Hash the files of models again, and what was prepared of them: of all
    models, or of those named.

    Exit code 1 if a file is damaged or missing.
    """
    from oyez.engines.whisper_onnx.prepare import prepared_fault

    out = console()
    found = known_models(settings.models_dir)
    unknown = [name for name in names if name not in found]
    if unknown:
        raise CommandError(f"no model is called {unknown[0]}; there are: {', '.join(found)}", USAGE)
    damaged = 0
    for name in names or found:
        model = found[name]
        with byte_progress(f"hashing {name}", model.size_bytes) as progress:
            faults = model_faults(model, progress)
            if fault := prepared_fault(model.digest, settings.cache_dir):
                faults.append(f"prepared graphs: {fault}; the next start builds them anew")
        prepared = ", and its prepared graphs" if is_prepared(model, settings.cache_dir) else ""
        words = "; ".join(faults) or f"{len(model.sha256)} files are intact{prepared}"
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
    from oyez.engines.whisper.weights import inspect_model

    if (directory is None) == (hub_name is None):
        raise click.UsageError("give either a DIRECTORY or --from-hub NAME")
    if hub_name and link:
        raise click.UsageError("--link is for a DIRECTORY: a download has no other place")
    models_dir, origin = settings.models_dir, hub_name or str(directory)
    name = name or (hub_name.rpartition("/")[2] if hub_name else Path(origin).resolve().name)
    try:
        library.check_name(models_dir, name)
    except library.LibraryError as error:
        raise CommandError(str(error), USAGE) from error
    with ExitStack() as stack:
        source = directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oyez-")))
        if hub_name:
            _download(hub_name, source)
        try:
            about = inspect_model(source)
            bar = byte_progress(f"adding {name}", library.size_bytes(source))
            progress = stack.enter_context(bar)
            found = asdict(about)
            library.add(models_dir, name, source, origin, found, link=link, progress=progress)
        except (WeightsError, library.LibraryError) as error:
            raise CommandError(f"{origin} was not added: {error}") from error
        except OSError as error:
            message = f"{origin} was not added: {models_dir}: {error.strerror or error}"
            raise CommandError(message) from error
    engine = "" if "whisper-onnx" in about.engines else " --engine whisper-ct2"
    click.echo(f"added {name}; use it with: oyez serve{engine} --model {name}")


@models.command()
@click.argument("name", default="base")
def prepare(name: str) -> None:
    """Prepare a model now, not at the first start with it.

    For images and machines that are set up beforehand: cache_dir may be
    read-only afterwards.
    """
    from oyez.cli.engines import load_errors
    from oyez.runtime.loader import load_on_cpu

    with load_errors():
        load_on_cpu(model=name, progress=lambda line: click.echo(line, err=True))


@models.command()
@click.argument("name", shell_complete=complete_model)
@with_settings("models_dir", "cache_dir")
def remove(settings: Settings, name: str) -> None:
    """Remove a model that was added, and what was prepared of it.

    Of a linked model only the links are removed.
    """
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


def hub_repository(name: str) -> str:
    """Return `owner/repository` as it is, and the repository of a size such as `small`."""
    if "/" in name:
        return name
    return OTHER_REPOSITORIES.get(name, f"{HUB_OWNER}/faster-whisper-{name}")


def _download(hub_name: str, target: Path) -> None:
    """Download the files of a model into `target`. Nothing else in oyez downloads anything."""
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    click.echo(f"downloading {hub_name} from the Hugging Face hub", err=True)
    repo = hub_repository(hub_name)
    files = [*library.NEEDED, *library.OPTIONAL]
    try:
        huggingface_hub.snapshot_download(repo, local_dir=target, allow_patterns=files)
        return
    except GatedRepoError:
        message = f"{repo} needs your consent first: log in with hf auth login"
    except RepositoryNotFoundError:
        message = (
            f"there is no {repo} on the Hugging Face hub: give a size such as small or "
            "medium, or owner/repository of a model in CTranslate2's format"
        )
    except HfHubHTTPError as error:
        message = f"the Hugging Face hub refused {repo}: {error}"
    except Exception:  # noqa: BLE001 - its HTTP library raises exceptions of its own
        message = (
            "the Hugging Face hub cannot be reached; on a machine that reaches it: hf download "
            f"{repo} --local-dir DIRECTORY; then here: oyez models add DIRECTORY --name NAME"
        )
    raise CommandError(message, NEVER_STARTED)


def known_models(models_dir: Path) -> dict[str, library.AddedModel]:
    """Return the built-in model, then those that were added, by name. No file is hashed."""
    size_bytes, directory = 0, Path()
    with suppress(WeightsError):  # `model_faults` says what is missing
        source = packaged()
        directory = source.directory
        others = (directory / name for name in PACKAGED_SHA256 if name != "model.bin")
        size_bytes = sum(path.stat().st_size for path in (*source.model_files, *others))
    about = {
        "languages": [code for code in LANGUAGES if code != "yue"],  # it has no token for it
        "engines": ["whisper-onnx", "whisper-ct2"],
    }
    built_in = library.AddedModel(
        library.BUILT_IN, directory, PACKAGED_SHA256, size_bytes, "came with oyez", about
    )
    return {model.name: model for model in (built_in, *library.added(models_dir))}


def is_prepared(model: library.AddedModel, cache_dir: Path) -> bool:
    """Return whether the graphs of a model for whisper-onnx are in the cache."""
    from oyez.engines.whisper_onnx.prepare import prepared_directory

    return prepared_directory(model.digest, cache_dir).is_dir()


def model_faults(
    model: library.AddedModel, progress: Callable[[int], None] | None = None
) -> list[str]:
    """Return what is wrong with the files of a model: what is missing or, with `progress`, damaged.

    progress: receives the number of bytes of every block that is hashed; not for the built-in
    model.
    """
    if model.name != library.BUILT_IN:
        return library.faults(model, progress)
    try:
        source = packaged()
        if progress:
            source.read_arrays()
    except WeightsError as error:
        return [str(error)]
    return []
