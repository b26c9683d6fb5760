"""Recordings of which somebody has said how the speaker feels: JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from oyez.engines.base import EMOTIONS


class CorpusError(Exception):
    """A manifest cannot be used; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Recording:
    path: Path
    corpus: str
    speaker: str
    """Unique among all corpora."""
    emotion: int
    """Index in EMOTIONS."""
    licence: str = ""


def read_recordings(file: Path, corpora: Iterable[str] = ()) -> list[Recording]:
    """Recordings of `file`, one JSON object a line: `path` (relative to the file), `corpus`,
    `speaker`, `emotion` (one of EMOTIONS), and perhaps `licence`.

    corpora: only these, if any are named. Raises CorpusError.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{file}: {error}") from error
    recordings = [
        _parse(line, file, number) for number, line in enumerate(lines, start=1) if line.strip()
    ]
    wanted = set(corpora)
    if missing := wanted - {recording.corpus for recording in recordings}:
        raise CorpusError(f"{file} holds no corpus {', '.join(sorted(missing))}")
    chosen = [each for each in recordings if not wanted or each.corpus in wanted]
    if not chosen:
        raise CorpusError(f"{file} holds no recording")
    return chosen


def _parse(line: str, file: Path, number: int) -> Recording:
    where = f"{file}, line {number}"
    try:
        row = json.loads(line)
        emotion, corpus = row["emotion"], str(row["corpus"])
        path, speaker = file.parent / row["path"], str(row["speaker"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{where}: {type(error).__name__}: {error}") from error
    if emotion not in EMOTIONS:
        raise CorpusError(f"{where}: emotion {emotion!r} is none of {', '.join(EMOTIONS)}")
    return Recording(
        path, corpus, f"{corpus}/{speaker}", EMOTIONS.index(emotion), row.get("licence") or ""
    )
