"""The list of clips a benchmark runs on: JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

NO_SPEECH = "none"
"""The `lang` of clips without speech."""


class ManifestError(Exception):
    """A manifest cannot be read; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording, as its line of the manifest describes it."""

    path: Path
    lang: str
    """The language as the manifest has it: a code, perhaps with a dialect (`zh-wu`); "none" without
    speech; "mul" for several languages."""
    duration_s: float
    reference: str | None
    kind: str
    ref_trust: str
    voice: str = ""
    """`human` if a person is known to speak, and not a program."""

    @property
    def language(self) -> str | None:
        """The code a client would ask for; None if there is not exactly one."""
        return None if self.lang in (NO_SPEECH, "mul") else self.lang.partition("-")[0]

    @property
    def has_speech(self) -> bool:
        """Whether the recording holds speech."""
        return self.lang != NO_SPEECH


def read_manifest(
    file: Path, languages: Iterable[str] = (), limit: int | None = None
) -> list[Clip]:
    """Read the clips of `file`.

    Each line is a JSON object with `path` (relative to the file), `lang`, `duration_s`, and perhaps
    `reference`, `kind`, `ref_trust`, `voice`. languages: if not empty, only clips whose `lang`, or
    its part before a dash, is among these. limit: the most clips of each `lang`.

    Raises ManifestError.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ManifestError(f"{file}: {error.strerror}") from error
    wanted = set(languages)
    clips: list[Clip] = []
    counts: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        clip = _parse(line, file, number)
        if wanted and not wanted & {clip.lang, clip.lang.partition("-")[0]}:
            continue
        counts[clip.lang] = counts.get(clip.lang, 0) + 1
        if limit is None or counts[clip.lang] <= limit:
            clips.append(clip)
    return clips


def _parse(line: str, file: Path, number: int) -> Clip:
    try:
        row = json.loads(line)
        return Clip(
            path=file.parent / row["path"],
            lang=row["lang"],
            duration_s=float(row["duration_s"]),
            reference=row.get("reference") or None,
            kind=row.get("kind") or "",
            ref_trust=row.get("ref_trust") or "",
            voice=row.get("voice") or "",
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(f"{file}, line {number}: {type(error).__name__}: {error}") from error
