"""The tables of `oyez bench emotion`, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oyez.bench.emotion import WARM, WARM_AFTER, Answer, Result, calibration_error, confusion
from oyez.bench.report import format_table, machine_line
from oyez.engines.base import EMOTIONS


def report(results: Sequence[Result], unlabelled: Sequence[tuple[bool, str]]) -> str:
    """Everything that was found; `unlabelled`: (first in its session, name) of utterances that
    nobody has labelled."""
    parts = [machine_line(), "", _recall(results), "", _notes(results)]
    parts += ["", f"Recall per emotion, {WARM} utterances heard before:", "", _classes(results)]
    parts += ["", "Of each emotion (row), per cent named so (column), all corpora together:", ""]
    parts += [_confusion(results)]
    if any(result.changed for result in results):
        parts += ["", "The same recordings under other conditions:", "", _changes(results)]
    if unlabelled:
        parts += ["", "Recordings nobody has labelled:", "", _unlabelled(unlabelled)]
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
        "after n: n utterances of the speaker, in random order, were heard before. "
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
