"""`oyez emotion`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from oyez import settings

if TYPE_CHECKING:
    from oyez.inference.loader import Engines

MANIFEST = click.Path(exists=True, dir_okay=False, path_type=Path)
SEED = 1


@click.group()
def emotion() -> None:
    """Train the emotion classifier."""


@emotion.command()
@click.option("--manifest", required=True, type=MANIFEST, help="The recordings, JSON lines.")
@click.option("--corpora", default="", help="Only these: names with commas between.")
@click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path),
              help="File to write; give it to oyez serve --emotion.")  # fmt: skip
@click.option("--seed", default=SEED, show_default=True, help="Of the random conditions.")
@click.option("--model", default="base", show_default=True,
              help="The model whose features are used.")  # fmt: skip
@click.option("--features-dir", type=click.Path(file_okay=False, path_type=Path),
              help="Keep features here for the next run.")  # fmt: skip
def train(
    manifest: Path, corpora: str, output: Path, seed: int, model: str, features_dir: Path | None
) -> None:
    """Fit a classifier to labelled recordings.

    Each line of the manifest is a JSON object with path (relative to the file), corpus, speaker
    and emotion (surprised, neutral, happy, sad, disgusted, angry or fearful). The same recordings
    and seed give the same weights. How good they are: oyez bench emotion.

    \b
    Example:
      oyez emotion train --manifest mine.jsonl --output mine.npz
      oyez serve --emotion mine.npz
    """
    from oyez.training.corpus import CorpusError, read_recordings
    from oyez.training.features import hear

    try:
        from oyez.training.fit import FitError, fit
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error}: pip install 'oyez[training]'") from error
    engines = load_model(model)
    try:
        recordings = read_recordings(manifest, _names(corpora))
        heard = hear(
            recordings,
            engines.recogniser,  # type: ignore[arg-type]  # load_model has seen that it can
            engines.detector,
            seed=seed,
            cache_dir=features_dir,
            progress=show_progress,
        )
        names = sorted({each.corpus for each in recordings})
        licences = sorted({each.licence for each in recordings if each.licence})
        about = {
            "corpora": names,
            "licences": licences,
            "seed": seed,
            "recordings": len(recordings),
        }
        weights = fit(heard, names, about)
        weights.save(output)
    except (CorpusError, FitError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{output}: {len(recordings)} recordings of {', '.join(names)}")


def load_model(model: str) -> Engines:
    """Whisper on ONNX Runtime and the voice activity detector. Raises ClickException."""
    from oyez.inference.loader import LoadError, load_engines
    from oyez.recognisers.whisper_onnx.weights import WeightsError

    try:
        return load_engines(
            engine="whisper-onnx",
            model=model,
            device="cpu",
            threads=0,
            cache_dir=settings.load({}).cache_dir,
            vad="silero",
            progress=lambda line: click.echo(line, err=True),
        )
    except (LoadError, WeightsError, settings.SettingsError) as error:
        raise click.ClickException(str(error)) from error


def show_progress(done: int, total: int) -> None:
    """A line on stderr that counts."""
    end = "\n" if done == total else ""
    click.echo(f"\r{done}/{total} recordings heard{end}", nl=False, err=True)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
