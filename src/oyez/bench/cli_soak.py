"""`oyez bench soak`."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oyez.bench import options
from oyez.bench.options import (
    JSON_FILE,
    MANIFEST,
    measured_server,
    needs,
    server_options,
    spoken_clips,
    told,
    write_json,
)
from oyez.bench.report import machine_line

if TYPE_CHECKING:
    from oyez.bench.soak import Slice


@click.command()
@click.option("--hours", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True,
              help="Length of the audio.")  # fmt: skip
@click.option("--speed", type=click.FloatRange(0), default=0.0, show_default=True,
              help="Times real time; 0: as fast as the server takes it.")  # fmt: skip
@click.option("--clips", "--manifest", "manifest", type=MANIFEST,
              help="What is said; without it, the shipped sample.")  # fmt: skip
@click.option("--languages", default="", help="Only these; the one with most clips is spoken.")
@click.option("--monologue", is_flag=True, help="Clips back to back: nobody else speaks.")
@server_options
@click.option("--json", "json_file", type=JSON_FILE, help="Everything measured.")
def soak(
    hours: float,
    speed: float,
    manifest: Path | None,
    languages: str,
    monologue: bool,
    url: str | None,
    key: str | None,
    serve_flags: tuple[str, ...],
    engine: str,
    model: str,
    threads: int,
    json_file: Path | None,
) -> None:
    """One long session: whether it costs the same at its end as at its beginning."""
    measure, report = needs("oyez.bench.soak"), needs("oyez.bench.soak_report")
    from oyez.bench.meter import Meter
    from oyez.bench.voices import NO_CLIPS, choose

    flags = options.serve_flags(engine, model, threads, serve_flags)
    chosen = measure.Options(hours * 3600, speed, "nonstop" if monologue else "conversational")
    with ExitStack() as stack, told():
        clips = choose(stack.enter_context(spoken_clips(manifest, languages)))
        if not clips:
            raise click.ClickException(NO_CLIPS)
        target = stack.enter_context(measured_server(url, flags))
        meter = Meter(target.pid, children=True) if target.pid else None
        run = measure.Soak(chosen, meter, Meter(os.getpid(), children=False))
        what = " ".join(flags) if url is None else url
        click.echo(f"{machine_line()}\n{chosen.mode}, {hours:g} h, {what}\n\n{report.head()}")

        def show(one: Slice) -> None:
            click.echo(report.row(one, chosen.slice_s))
            if json_file:  # what there is, in case the rest never comes
                write_json(json_file, report.as_json(chosen, run.slices))

        asyncio.run(run.run(target.url, key, next(iter(clips.values())), show))
    click.echo(f"\n{report.summary(run.slices)}")
    click.echo("".join(f"server: {line}" for line in target.complaints), err=True, nl=False)
