"""`oyez emotion`."""

from __future__ import annotations

from pathlib import Path

import click

from oyez.cli.engines import load_for_command, names, show_progress

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
    engines = load_for_command(model=model)
    try:
        recordings = read_recordings(manifest, names(corpora))
        heard = hear(
            recordings,
            engines.recogniser,  # type: ignore[arg-type]  # whisper-onnx can
            engines.detector,
            seed=seed,
            cache_dir=features_dir,
            progress=show_progress,
        )
        found = sorted({each.corpus for each in recordings})
        licences = sorted({each.licence for each in recordings if each.licence})
        about = {
            "corpora": found,
            "licences": licences,
            "seed": seed,
            "recordings": len(recordings),
        }
        weights = fit(heard, found, about)
        weights.save(output)
    except (CorpusError, FitError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{output}: {len(recordings)} recordings of {', '.join(found)}")
