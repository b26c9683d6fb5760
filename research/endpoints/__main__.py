"""Where turns begin and end, compared with where speech is: in noise, far away, softly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import click

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.bench.clips import Clip
from oyez.bench.options import MANIFEST, read_clips, spoken_clips
from oyez.bench.report import format_table, machine_line, percentile
from oyez.engines import registry
from oyez.files.media import MediaError, read_media
from oyez.protocol.dialect import TurnDetection
from oyez.protocol.qwen.schema import SILENCE_RANGE_MS
from oyez.turns.endpointing import EndpointerSettings
from research.endpoints import cases
from research.endpoints.reference import LATE_SAMPLES, SAMPLES_PER_MS, EndpointErrors

_DEFAULT = TurnDetection()
SHARES = (0.05, 0.5, 0.95)


@click.command()
@click.option("--manifest", type=MANIFEST, help="The clips; without it, the shipped sample.")
@click.option("--languages", default="", help="Only these: codes with commas between.")
@click.option("--limit", type=click.IntRange(1), help="At most so many clips per language.")
@click.option(
    "--threshold",
    type=click.FloatRange(-1, 1),
    default=_DEFAULT.threshold,
    show_default=True,
    help="As in turn_detection.",
)
@click.option(
    "--silence-ms",
    type=click.IntRange(*SILENCE_RANGE_MS),
    default=_DEFAULT.silence_duration_ms,
    show_default=True,
    help="silence_duration_ms.",
)
@click.option("--vad", default="silero", show_default=True, help="Voice activity detector.")
def endpoints(
    manifest: Path | None,
    languages: str,
    limit: int | None,
    threshold: float,
    silence_ms: int,
    vad: str,
) -> None:
    """Where turns begin and end, compared with where speech is.

    Nothing is recognised. The reference is the same detector with a look ahead;
    see research/history.md.
    """
    try:
        detector = registry.load_detector(vad)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    settings = EndpointerSettings.from_wire(threshold, silence_ms, _DEFAULT.prefix_padding_ms)
    clips = _read(manifest, languages, limit)
    silent = [(clip.kind, samples) for clip, samples in clips if not clip.has_speech]
    scenes = cases.scenes(
        detector,
        [samples for clip, samples in clips if clip.has_speech],
        [samples for kind, samples in silent if kind == "noise"],
    )
    click.echo(f"{machine_line()}\n{vad}, threshold {threshold:g}, silence {silence_ms} ms\n")
    click.echo(condition_table(cases.try_conditions(detector, scenes, settings)))
    tried = cases.try_pauses(detector, scenes, settings)
    click.echo(f"\n{pause_table(tried, settings.silence_samples)}")
    rows = cases.try_sounds(detector, settings), cases.try_recordings(detector, silent, settings)
    click.echo(f"\n{sound_table(chain(*rows))}")


def _read(manifest: Path | None, languages: str, limit: int | None) -> list[tuple[Clip, Samples]]:
    clips = read_clips(manifest, languages, limit) if manifest else spoken_clips(None)
    try:
        return [(clip, read_media(clip.path)) for clip in clips]
    except (OSError, MediaError) as error:
        raise click.ClickException(str(error)) from error


def condition_table(rows: Iterable[tuple[str, EndpointErrors]]) -> str:
    """Return a table of the errors under each condition."""
    header = ["speech", "missed %", "turns", "false starts/h", "split", "run on"]
    header += ["start announced", "start", "end", "end announced"]
    return format_table(header, [[name, *_cells(errors)] for name, errors in rows])


def pause_table(rows: Iterable[tuple[int, Sequence[int]]], silence_samples: int) -> str:
    """Return a table of which pauses end a turn.

    rows: a pause in ms, and how many turns each sentence with it made.
    """
    cells = [
        [
            f"{pause_ms} ms",
            _expected(pause_ms * SAMPLES_PER_MS, silence_samples),
            counts.count(1),
            counts.count(2),
            len(counts) - counts.count(1) - counts.count(2),
        ]
        for pause_ms, counts in rows
    ]
    return format_table(["pause", "should end", "goes on", "ends once", "else"], cells)


def sound_table(rows: Iterable[tuple[str, float, int]]) -> str:
    """Return a table of what starts turns. rows: what it is, its seconds, its turns."""
    cells = [[name, f"{seconds / 60:.1f}", count] for name, seconds, count in rows]
    return format_table(["no speech", "minutes", "turns"], cells)


def _expected(pause_samples: int, silence_samples: int) -> str:
    if pause_samples < silence_samples:
        return "no"
    return "yes" if pause_samples >= silence_samples + LATE_SAMPLES else "either"


def _cells(errors: EndpointErrors) -> list[object]:
    hours = errors.audio_samples / SAMPLE_RATE / 3600
    return [
        f"{100 * errors.missed_samples / max(errors.speech_samples, 1):.2f}",
        errors.turns,
        f"{errors.false_starts / max(hours, 1e-9):.1f}",
        errors.splits,
        errors.late,
        *map(
            _spread,
            (errors.start_announced_ms, errors.start_ms, errors.end_ms, errors.end_announced_ms),
        ),
    ]


def _spread(values_ms: Sequence[float]) -> str:
    if not values_ms:
        return "–"
    return "/".join(f"{percentile(values_ms, share):.0f}" for share in SHARES)


if __name__ == "__main__":
    endpoints(prog_name="python -m research.endpoints")
