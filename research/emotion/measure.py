"""Measures how well emotions are recognised, with weights or by training on other corpora."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from oyez import settings
from oyez.bench.driver import transcribe
from oyez.bench.options import MANIFEST, load_engines, names, read_clips
from oyez.bench.report import format_table, machine_line
from oyez.engines.base import EMOTIONS
from oyez.engines.emotion import EmotionWeights, EmotionWeightsError, LinearClassifier, find_weights
from oyez.files.media import read_media
from research.audio import EMOTION_CONDITIONS
from research.emotion.fit import FitError, fit
from research.emotion.judge import (
    WARM,
    WARM_AFTER,
    Answer,
    CountingListener,
    Result,
    calibration_error,
    confusion,
    judge,
)
from research.emotion.recordings import CorpusError, compute_features, read_recordings
from research.emotion.train import SEED, show_progress


@click.command()
@click.option(
    "--manifest",
    required=True,
    type=MANIFEST,
    help="Labelled recordings: path, corpus, speaker, emotion.",
)
@click.option(
    "--weights",
    help="Judge these: open, research or a file. Without it, each corpus is judged by a "
    "classifier trained on the others.",
)
@click.option(
    "--train-on",
    default="",
    help="Corpora to train on, with commas between [default: all]; each is left out when it is "
    "judged.",
)
@click.option("--test-on", default="", help="Corpora to judge [default: those trained on].")
@click.option(
    "--confidence", type=click.FloatRange(0, 1), help="As emotion_confidence of oyez serve."
)
@click.option("--conditions", is_flag=True, help="Also quieter, with noise, by telephone, …")
@click.option(
    "--unlabelled",
    type=MANIFEST,
    help="Clips as for bench accuracy: which emotions ordinary speech is given.",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many of those per language.")
@click.option("--seed", default=SEED, show_default=True)
@click.option(
    "--features-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep features here for the next run.",
)
def measure(
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

    A corpus is never judged by a classifier that was trained on it. With --weights, name in
    --test-on the corpora that these weights were not trained on.
    """
    sure = settings.load({}).emotion_confidence if confidence is None else confidence
    engines: Any = load_engines()
    try:
        shipped = EmotionWeights.load(find_weights(weights)) if weights else None
        trained = list(shipped.about.get("corpora", ())) if shipped else names(train_on)
        every = sorted({each.corpus for each in read_recordings(manifest)})
        trained = trained or every
        tested = names(test_on) or [name for name in every if not shipped or name not in trained]
        recordings = read_recordings(manifest, {*trained, *tested} & {*every, *tested})
        labelled = compute_features(
            recordings,
            engines.recogniser,
            engines.detector,
            seed=seed,
            tested=EMOTION_CONDITIONS if conditions else None,
            cache_dir=features_dir,
            progress=show_progress,
        )
        results = []
        for corpus in tested:
            others = [name for name in trained if name != corpus]
            if shipped and corpus in trained:
                raise CorpusError(f"{weights} was trained on {corpus}: name others in --test-on")
            fitted = shipped or fit(labelled, others, {})
            results.append(judge(corpus, others, labelled, LinearClassifier(fitted, sure), seed))
        unlabelled_finals: Sequence[tuple[bool, str]] = ()
        if unlabelled:
            final = shipped or fit(labelled, trained, {})
            listener = CountingListener(LinearClassifier(final, sure).new_tracker)
            unlabelled_finals = _named(listener, unlabelled, limit, engines)
    except (CorpusError, EmotionWeightsError, FitError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(report(results, unlabelled_finals))


def _named(
    listener: CountingListener, manifest: Path, limit: int | None, engines: Any
) -> Sequence[tuple[bool, str]]:
    """Classify the utterances of ordinary clips, each clip as a session."""
    clips = [clip for clip in read_clips(manifest, "", limit) if clip.has_speech]
    for number, clip in enumerate(clips, start=1):
        listener.next_session()
        transcribe(
            read_media(clip.path),
            recogniser=engines.recogniser,
            detector=engines.detector,
            language=clip.language,
            emotions=listener,
        )
        show_progress(number, len(clips))
    return listener.finals


def report(results: Sequence[Result], unlabelled: Sequence[tuple[bool, str]]) -> str:
    """Return the tables as Markdown.

    unlabelled: for each utterance without a label, whether it was the first of its session, and
    its emotion.
    """
    parts = [machine_line(), "", _recall(results), "", _notes(results)]
    parts += ["", f"Recall per emotion, after {WARM} utterances:", "", _classes(results)]
    parts += ["", "Of each emotion (row), per cent named so (column), all corpora together:", ""]
    parts += [_confusion(results)]
    if any(result.changed for result in results):
        parts += ["", "The same recordings under other conditions:", "", _changes(results)]
    if unlabelled:
        parts += ["", "Recordings without labels:", "", _unlabelled(unlabelled)]
    return "\n".join(parts)


def _recall(results: Sequence[Result]) -> str:
    header = ["corpus", "trained on", "speakers", "utterances", "cold"]
    header += [f"after {count}" for count in WARM_AFTER]
    rows: list[list[object]] = []
    figures = []
    for result in results:
        found = [result.recall(result.cold)]
        found += [result.recall(result.after(count)) for count in WARM_AFTER]
        figures.append(found)
        trained = ", ".join(result.trained_on)
        rows.append([result.corpus, trained, result.speakers, len(result.cold), *_shares(found)])
    means = [float(np.mean(column)) for column in zip(*figures, strict=True)]
    rows.append(["mean", "", "", sum(len(result.cold) for result in results), *_shares(means)])
    return format_table(header, rows)


def _notes(results: Sequence[Result]) -> str:
    cold = np.mean([calibration_error(result.labels, result.cold) for result in results])
    warm = np.mean([calibration_error(result.labels, result.after(WARM)) for result in results])
    return (
        "Unweighted recall; chance is 0.14 to 0.17. Cold: as the first utterance of a session; "
        "after n: after n utterances of the speaker, in random order. "
        f"Calibration error: cold {cold:.2f}, after {WARM} {warm:.2f}."
    )


def _classes(results: Sequence[Result]) -> str:
    rows: list[list[object]] = []
    for result in results:
        shares = confusion(result.labels, result.after(WARM)).diagonal()
        rows.append([result.corpus, *_shares(shares.tolist())])
    return format_table(["corpus", *EMOTIONS], rows)


def _confusion(results: Sequence[Result]) -> str:
    labels = results[0].labels
    answers: list[Answer] = [answer for result in results for answer in result.after(WARM)]
    shares = confusion(labels, answers)
    rows: list[list[object]] = [
        [name, *(f"{100 * share:.0f}" for share in row)]
        for name, row in zip(EMOTIONS, shares, strict=True)
        if not np.isnan(row).any()
    ]
    return format_table(["", *EMOTIONS], rows)


def _changes(results: Sequence[Result]) -> str:
    rows: list[list[object]] = []
    for name in results[0].changed:
        found = [result.changed[name] for result in results]
        flips, recall = (float(np.mean(column)) for column in zip(*found, strict=True))
        rows.append([name, f"{100 * flips:.0f} %", f"{recall:.2f}"])
    return format_table(["condition", "answers changed", f"recall after {WARM}"], rows)


def _unlabelled(finals: Sequence[tuple[bool, str]]) -> str:
    rows: list[list[object]] = []
    for kind, wanted in (("first of a session", True), ("later", False)):
        names = [name for first, name in finals if first is wanted]
        shares = [names.count(emotion) / max(1, len(names)) for emotion in EMOTIONS]
        rows.append([kind, len(names), *(f"{100 * share:.0f} %" for share in shares)])
    return format_table(["", "utterances", *EMOTIONS], rows)


def _shares(values: Sequence[float]) -> list[str]:
    return ["–" if np.isnan(value) else f"{value:.2f}" for value in values]


if __name__ == "__main__":
    measure(prog_name="python -m research.emotion.measure")
