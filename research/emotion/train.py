"""Trains the emotion classifier on labelled recordings."""

from __future__ import annotations

from pathlib import Path

import click

from oyez.bench.options import MANIFEST, load_engines, names
from research.emotion.fit import FitError, fit
from research.emotion.recordings import CorpusError, compute_features, read_recordings

SEED = 1


@click.command()
@click.option("--manifest", required=True, type=MANIFEST, help="The recordings, JSON lines.")
@click.option("--corpora", default="", help="Only these: names with commas between.")
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; give it to oyez serve --emotion.",
)
@click.option("--seed", default=SEED, show_default=True, help="Of the random conditions.")
@click.option(
    "--model", default="base", show_default=True, help="The model whose features are used."
)
@click.option(
    "--features-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep features here for the next run.",
)
def train(
    manifest: Path, corpora: str, output: Path, seed: int, model: str, features_dir: Path | None
) -> None:
    """Fit a classifier to labelled recordings.

    Each line of the manifest is a JSON object with path (relative to the file), corpus, speaker
    and emotion (surprised, neutral, happy, sad, disgusted, angry or fearful). The same recordings
    and seed give the same weights. How good they are: python -m research.emotion.measure.

    \b
    Example:
      python -m research.emotion.train --manifest mine.jsonl --output mine.npz
      oyez serve --emotion mine.npz
    """
    engines = load_engines(model=model)
    try:
        recordings = read_recordings(manifest, names(corpora))
        features = compute_features(
            recordings,
            engines.recogniser,  # type: ignore[arg-type]  # whisper-onnx computes features
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
        weights = fit(features, found, about)
        weights.save(output)
    except (CorpusError, FitError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{output}: {len(recordings)} recordings of {', '.join(found)}")


def show_progress(done: int, total: int) -> None:
    """Count recordings on one line of stderr."""
    end = "\n" if done == total else ""
    click.echo(f"\r{done}/{total} recordings{end}", nl=False, err=True)


if __name__ == "__main__":
    train(prog_name="python -m research.emotion.train")
