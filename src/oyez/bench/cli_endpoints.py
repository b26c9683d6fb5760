"""`oyez bench endpoints`."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import click

from oyez.audio.pcm import Samples
from oyez.bench.manifest import Clip
from oyez.bench.options import MANIFEST, needs, read_clips, spoken_clips
from oyez.bench.report import machine_line
from oyez.protocol.dialect import TurnDetection
from oyez.protocol.qwen.config import SILENCE_RANGE_MS

_DEFAULT = TurnDetection()


@click.command()
@click.option("--manifest", type=MANIFEST, help="The clips; without it, the shipped sample.")
@click.option("--languages", default="", help="Only these: codes with commas between.")
@click.option("--limit", type=click.IntRange(1), help="At most so many clips per language.")
@click.option("--threshold", type=click.FloatRange(-1, 1), default=_DEFAULT.threshold,
              show_default=True, help="As in turn_detection.")  # fmt: skip
@click.option("--silence-ms", type=click.IntRange(*SILENCE_RANGE_MS), show_default=True,
              default=_DEFAULT.silence_duration_ms, help="silence_duration_ms.")  # fmt: skip
@click.option("--vad", default="silero", show_default=True, help="Voice activity detector.")
def endpoints(
    manifest: Path | None,
    languages: str,
    limit: int | None,
    threshold: float,
    silence_ms: int,
    vad: str,
) -> None:
    """Where turns begin and end, against where speech is: under noise, far away, softly.

    Nothing is recognised. The reference is the same detector with a look ahead; see the
    documentation.
    """
    cases = needs("oyez.bench.endpoints_cases")
    from oyez.bench import endpoints_report as report
    from oyez.engines.vad import registry
    from oyez.turns.endpointing import EdgeSettings

    try:
        detector = registry.load(vad)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    settings = EdgeSettings.from_wire(threshold, silence_ms, _DEFAULT.prefix_padding_ms)
    clips = _read(manifest, languages, limit)
    silent = [(clip.kind, samples) for clip, samples in clips if not clip.has_speech]
    scenes = cases.scenes(
        detector,
        [samples for clip, samples in clips if clip.has_speech],
        [samples for kind, samples in silent if kind == "noise"],
    )
    click.echo(f"{machine_line()}\n{vad}, threshold {threshold:g}, silence {silence_ms} ms\n")
    click.echo(report.conditions(cases.try_conditions(detector, scenes, settings)))
    tried = cases.try_pauses(detector, scenes, settings)
    click.echo(f"\n{report.pauses(tried, settings.silence_samples)}")
    rows = cases.try_sounds(detector, settings), cases.try_recordings(detector, silent, settings)
    click.echo(f"\n{report.sounds(chain(*rows))}")


def _read(manifest: Path | None, languages: str, limit: int | None) -> list[tuple[Clip, Samples]]:
    from oyez.files.media import MediaError, read_media

    with spoken_clips(None) as sample:
        clips = read_clips(manifest, languages, limit) if manifest else sample
        try:
            return [(clip, read_media(clip.path)) for clip in clips]
        except (OSError, MediaError) as error:
            raise click.ClickException(str(error)) from error
