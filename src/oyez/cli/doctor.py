"""`oyez doctor`: checks the machine and the settings, and transcribes a sample."""

from __future__ import annotations

import asyncio
import json
import math
import re
import sys
import time
from dataclasses import asdict
from difflib import SequenceMatcher
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from oyez.cli import doctor_checks
from oyez.cli.doctor_checks import Finding
from oyez.cli.engines import load_errors, local_server
from oyez.cli.errors import FAILED, CommandError
from oyez.cli.setting_options import with_settings
from oyez.cli.terminal import STYLES, console, mark, wrap
from oyez.cli.values import counted
from oyez.settings import Settings

if TYPE_CHECKING:
    from oyez.audio.pcm import Samples
    from oyez.runtime.loader import Engines

AREA_COLUMNS = 12
LEAST_SHARE_RIGHT = 0.9
"""The share of the sample's words that must be right; the built-in model gets every one."""
REAL_TIME = 1.0


@click.command()
@click.option("--quick", is_flag=True, help="Leave out the self-test, which loads the model.")
@click.option(
    "--running",
    is_flag=True,
    help="Only check the health of the running server with these settings.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@with_settings(
    *("host", "port", "engine", "model", "device", "threads", "cache_dir", "models_dir"),
    *("tls_cert", "tls_key", "database", "vad", "emotion", "max_load", "max_sessions"),
)
def doctor(settings: Settings, quick: bool, running: bool, as_json: bool) -> None:
    """Check this machine and these settings, and suggest fixes.

    Checks processor, cores and memory with their limits, disks, the model's
    files, decoders, microphones, extras, the database, the port and the clock,
    and transcribes the shipped sample: how fast, how right, and how many
    conversations at a time would fit. ✓ means in order, ! is a warning,
    ✗ is a problem.

    \b
    Examples:
      oyez doctor
      oyez doctor --quick
      oyez doctor --config /etc/oyez.toml --json
      oyez doctor --running          for the health check of a container

    Exit codes: 0 no problems, 1 there are problems, 2 wrong settings.
    """
    out = console()
    findings: dict[str, Finding] = {}

    def add(area: str, finding: Finding) -> None:
        findings[area] = finding
        _show(area, finding, out, as_json)

    if running:
        add("server", doctor_checks.running(settings))
        sys.exit(FAILED if findings["server"].grade == "fail" else 0)
    for area, check in doctor_checks.machine_checks(settings).items():
        add(area, check())
    # Without memory, cache or model the self-test would only fail for the same reason.
    needed = (findings[area].grade for area in ("memory", "cache", "model"))
    if not quick and "fail" not in needed:
        message = "transcribing the sample; the first time, the model is prepared before"
        with console(sys.stderr).status(message):
            tested = self_test(settings)
        for area, finding in tested.items():
            add(area, finding)
    grades = [finding.grade for finding in findings.values()]
    failures, warnings = grades.count("fail"), grades.count("warn")
    if not as_json:
        problems = counted(failures, "problem") if failures else "No problems"
        click.echo(f"{problems}, {counted(warnings, 'warning')}." if warnings else f"{problems}.")
    if failures:
        sys.exit(FAILED)


def self_test(settings: Settings) -> dict[str, Finding]:
    """Load the engines of these settings and transcribe the sample with them; takes seconds."""
    from oyez.audio.pcm import SAMPLE_RATE
    from oyez.client import ClientError
    from oyez.files.media import read_media
    from oyez.runtime.loader import load_engines

    assets = files("oyez") / "assets"
    with as_file(assets / "two_cities.wav") as path:
        samples = read_media(path)
    reference = words_of((assets / "two_cities.txt").read_text(encoding="utf-8"))
    try:
        with load_errors():
            engines = load_engines(settings)
        began_s = time.monotonic()
        text = asyncio.run(_transcribe(engines, samples))
    except (CommandError, ClientError) as error:
        return {"self-test": Finding("fail", str(error), "see the findings above")}
    took_s, audio_s = time.monotonic() - began_s, len(samples) / SAMPLE_RATE
    speed = audio_s / took_s
    words = f"{audio_s:.0f} s of speech in {took_s:.1f} s: {speed:.1f}x real time"
    findings = {"speed": Finding("ok", words)}
    if speed < REAL_TIME:
        advice = "a smaller model, more cores, or fewer other programs"
        findings["speed"] = Finding("fail", words, advice)
    right = words_right(reference, words_of(text))
    words = f"{right} of {len(reference)} words of the sample are right"
    findings["words"] = Finding("ok", words)
    if settings.engine == "fake":
        findings["words"] = Finding("ok", "not checked: the engine is fake")
    elif right < LEAST_SHARE_RIGHT * len(reference):
        advice = "the model may be damaged, or weak in English; to check it: oyez models verify"
        findings["words"] = Finding("warn", words, advice)
    cost = engines.session_cost
    count = settings.max_load // cost if cost and settings.max_load else math.inf
    room = f"about {count:.0f} conversations at a time, at max_load {settings.max_load:g}"
    if count >= settings.max_sessions:
        room = f"{settings.max_sessions} conversations at a time: the setting max_sessions"
    return {**findings, "room": Finding("ok", room)}


def words_right(reference: list[str], hypothesis: list[str]) -> int:
    """Return how many words of the reference are in the hypothesis, in order."""
    blocks = SequenceMatcher(None, reference, hypothesis, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks)


def words_of(text: str) -> list[str]:
    """Return the words in one case, with letters and digits only."""
    return re.findall(r"[^\W_]+", text.casefold())


async def _transcribe(engines: Engines, samples: Samples) -> str:
    """Stream the audio through a whole server in this process."""
    from oyez.cli.transcribe_files import remote_results
    from oyez.client import SessionOptions
    from oyez.files.results import Segment

    async with local_server(engines) as target:
        results = remote_results(target, SessionOptions("en"), iter([samples]))
        return " ".join([each.text async for each in results if isinstance(each, Segment)])


def _show(area: str, finding: Finding, out: Console, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"area": area, **asdict(finding)}, ensure_ascii=False))
        return
    head = f"{mark(finding.grade, out.encoding)} {area.ljust(AREA_COLUMNS)} "
    columns = out.width - len(head) if out.is_terminal else 10_000
    lines = [*wrap(Text(finding.words), columns)]
    if finding.advice:
        lines += wrap(Text(f"what to do: {finding.advice}"), columns)
    words = Text("\n" + " " * len(head)).join(lines)
    out.print(Text.assemble((head, STYLES[finding.grade]), words))
