"""`oyez bench streams`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
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
    from oyez.bench.levels import Level


def _counts(ctx: click.Context, param: click.Parameter, value: str) -> list[int]:
    try:
        counts = [int(word) for word in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r} is not like 1,2,4") from None
    if min(counts) < 1:
        raise click.BadParameter("fewer than one stream")
    return counts


@click.command()
@click.option("--streams", "counts", callback=_counts, default="1,2,4,8,16,24,32,48",
              show_default=True, help="The levels.")  # fmt: skip
@click.option("--clips", "--manifest", "manifest", type=MANIFEST,
              help="What is said; without it, the shipped sample.")  # fmt: skip
@click.option("--languages", default="", help="Only these: codes with commas between.")
@click.option("--mode", type=click.Choice(["conversational", "nonstop"]), show_default=True,
              default="conversational", help="Speech half of the time, or all of it.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(1), default=60.0, show_default=True,
              help="Length of a level.")  # fmt: skip
@click.option("--until-fail", is_flag=True, help="Stop after a level that misses the objective.")
@click.option("--edge/--no-edge", default=True, show_default=True,
              help="With --engine fake: also what the server costs without it.")  # fmt: skip
@server_options
@click.option("--json", "json_file", type=JSON_FILE, help="Everything measured.")
def streams(
    counts: list[int],
    manifest: Path | None,
    languages: str,
    mode: str,
    seconds: float,
    until_fail: bool,
    edge: bool,
    url: str | None,
    key: str | None,
    serve_flags: tuple[str, ...],
    engine: str,
    model: str,
    threads: int,
    json_file: Path | None,
) -> None:
    """How many streams at once, at real-time pace, and what each of them waits for.

    Each stream is first heard alone; at every level its finals are held against those.
    """
    measure, report = needs("oyez.bench.streams"), needs("oyez.bench.streams_report")
    from oyez.bench.voices import choose

    flags = options.serve_flags(engine, model, threads, serve_flags)
    with ExitStack() as stack, told():
        clips = stack.enter_context(spoken_clips(manifest, languages))
        target = stack.enter_context(measured_server(url, flags))
        bench = measure.Bench(
            target,
            key,
            choose(clips),
            measure.Options(mode, seconds, until_fail),
        )
        what = " ".join(flags) if url is None else url
        click.echo(f"{machine_line()}\n{mode}, {seconds:g} s, {what}\n\n{report.head()}")
        levels: list[Level] = []
        for level in bench.run(counts):
            levels.append(level)
            click.echo(report.row(level))
            if json_file:
                write_json(json_file, report.as_json(bench, levels))
    click.echo(f"\n{report.summary(levels)}")
    click.echo("".join(f"server: {line}" for line in target.complaints), err=True, nl=False)
    if edge and engine == "fake" and url is None:
        click.echo(f"\n{_edge(flags)}")


def _edge(flags: Sequence[str]) -> str:
    """Without a model, what the server itself costs can be told."""
    from oyez.bench.edge import measure, report
    from oyez.bench.meter import Meter

    with told(), measured_server(None, flags) as target:
        assert target.pid
        meter = Meter(target.pid, children=True)
        return report(asyncio.run(measure(target.url, None, meter)))
