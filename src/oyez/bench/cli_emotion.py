"""`oyez bench emotion`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from oyez import settings
from oyez.bench.options import MANIFEST, needs, read_clips
from oyez.cli.emotion import SEED
from oyez.cli.engines import load_for_command, names, show_progress


@click.command()
@click.option("--manifest", required=True, type=MANIFEST,
              help="Labelled recordings: path, corpus, speaker, emotion.")  # fmt: skip
@click.option("--weights", help="Judge these: open, research or a file. Without it, each corpus is "
              "judged by a classifier trained on the others.")  # fmt: skip
@click.option("--train-on", default="", help="Corpora to train on, with commas between "
              "[default: all]; each is left out where it is judged.")  # fmt: skip
@click.option("--test-on", default="", help="Corpora to judge [default: those trained on].")
@click.option("--confidence", type=click.FloatRange(0, 1), help="As emotion_confidence of "
              "oyez serve.")  # fmt: skip
@click.option("--conditions", is_flag=True, help="Also quieter, with noise, by telephone, …")
@click.option("--unlabelled", type=MANIFEST, help="Clips as for bench accuracy: how often ordinary "
              "speech is named what.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="At most so many of those per language.")
@click.option("--seed", default=SEED, show_default=True)
@click.option("--features-dir", type=click.Path(file_okay=False, path_type=Path),
              help="Keep features here for the next run.")  # fmt: skip
def emotion(
    manifest: Path,
    weights: str | None,
    train_on: str,
    test_on: str,
    confidence: float | None,
    conditions: bool,
    unlabelled: Path | None,
    limit: int | None,
    seed: int,
    features_dir: Path | None,
) -> None:
    """Unweighted recall of emotions, for first and for later utterances.

    A corpus is never judged by a classifier that was trained on it. With --weights, leave out
    corpora those were trained on by naming the others in --test-on.
    """
    measure, tables = needs("oyez.bench.emotion"), needs("oyez.bench.emotion_report")
    fitting = needs("oyez.training.fit")
    from oyez.engines.emotion.linear import LinearClassifier
    from oyez.engines.emotion.weights import EmotionWeights, EmotionWeightsError, find_weights
    from oyez.training.conditions import TESTED
    from oyez.training.corpus import CorpusError, read_recordings
    from oyez.training.features import hear

    sure = settings.load({}).emotion_confidence if confidence is None else confidence
    engines: Any = load_for_command()
    try:
        shipped = EmotionWeights.load(find_weights(weights)) if weights else None
        trained = list(shipped.about.get("corpora", ())) if shipped else names(train_on)
        every = sorted({each.corpus for each in read_recordings(manifest)})
        trained = trained or every
        tested = names(test_on) or [name for name in every if not shipped or name not in trained]
        recordings = read_recordings(manifest, {*trained, *tested} & {*every, *tested})
        heard = hear(
            recordings,
            engines.recogniser,
            engines.detector,
            seed=seed,
            tested=TESTED if conditions else None,
            cache_dir=features_dir,
            progress=show_progress,
        )
        results = []
        for corpus in tested:
            others = [name for name in trained if name != corpus]
            if shipped and corpus in trained:
                raise CorpusError(f"{weights} was trained on {corpus}: name others in --test-on")
            fitted = shipped or fitting.fit(heard, others, {})
            results.append(
                measure.judge(corpus, others, heard, LinearClassifier(fitted, sure), seed)
            )
        unlabelled_finals: Sequence[tuple[bool, str]] = ()
        if unlabelled:
            final = shipped or fitting.fit(heard, trained, {})
            tally = measure.Tally(LinearClassifier(final, sure).new_tracker)
            unlabelled_finals = _named(tally, unlabelled, limit, engines)
    except (CorpusError, EmotionWeightsError, fitting.FitError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(tables.report(results, unlabelled_finals))


def _named(tally: Any, manifest: Path, limit: int | None, engines: Any) -> Any:
    """What the utterances of ordinary clips are named, each clip a session."""
    from oyez.bench.driver import transcribe
    from oyez.files.media import read_media

    clips = [clip for clip in read_clips(manifest, "", limit) if clip.has_speech]
    for number, clip in enumerate(clips, start=1):
        tally.next_session()
        transcribe(
            read_media(clip.path),
            recogniser=engines.recogniser,
            detector=engines.detector,
            language=clip.language,
            emotions=tally,
        )
        show_progress(number, len(clips))
    return tally.finals
