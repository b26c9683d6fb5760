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

from oyez.cli.errors import FAILED, CommandError
from oyez.cli.setting_options import with_settings
from oyez.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from oyez.audio.pcm import Samples
    from oyez.cli.checks import Finding
    from oyez.runtime.loader import Engines

SETTINGS = (
    "host",
    "port",
    "engine",
    "model",
    "device",
    "threads",
    "cache_dir",
    "models_dir",
    "tls_cert",
    "tls_key",
    "database",
    "vad",
    "emotion",
    "max_load",
    "max_sessions",
)
AREA_COLUMNS = 12
LEAST_SHARE_RIGHT = 0.9
"""The share of the sample's words that must be right; the built-in model gets every one."""
REAL_TIME = 1.0


@click.command()
@click.option("--quick", is_flag=True, help="Leave out the self-test, which loads the model.")
@click.option(
    "--running",
    is_flag=True,
    help="Only ask the server that runs with these settings whether it is well.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@with_settings(*SETTINGS)
def doctor(settings: Settings, quick: bool, running: bool, as_json: bool) -> None:
    """Check this machine and these settings, and say what to do.

    Looks at processor, cores and memory with their limits, disks, the model's
    files, decoders, microphones, extras, the database, the port and the clock,
    and transcribes the shipped sample: how fast, how right, and how many
    conversations at a time would fit. ✓ is in order, ! is worth knowing,
    ✗ is to be mended.

    \b
    Examples:
      oyez doctor
      oyez doctor --quick
      oyez doctor --config /etc/oyez.toml --json
      oyez doctor --running          for the health check of a container

    Exit codes: 0 nothing to be mended, 1 something is, 2 wrong settings.
    """
    from oyez.cli import checks
    from oyez.cli.terminal import console

    out, err = console(), console(sys.stderr)
    if running:
        found = checks.running(settings)
        _show(found, out, as_json)
        sys.exit(FAILED if found.grade == "fail" else 0)
    findings: list[Finding] = []
    for check in checks.machine_checks(settings):
        findings.append(check())
        _show(findings[-1], out, as_json)
    failed_areas = {each.area for each in findings if each.grade == "fail"}
    # Without memory, cache or model the self-test would only fail for the same reason.
    if not quick and not failed_areas & {"memory", "cache", "model"}:
        with err.status("transcribing the sample; the first time, the model is prepared before"):
            tested = self_test(settings)
        for finding in tested:
            findings.append(finding)
            _show(finding, out, as_json)
    failures = sum(each.grade == "fail" for each in findings)
    warnings = sum(each.grade == "warn" for each in findings)
    if not as_json:
        click.echo(_summary(failures, warnings))
    if failures:
        sys.exit(FAILED)


def self_test(settings: Settings) -> list[Finding]:
    """Load the engines of these settings and transcribe the sample with them; takes seconds."""
    from oyez.audio.pcm import SAMPLE_RATE
    from oyez.cli.checks import Finding
    from oyez.cli.engines import load_configured
    from oyez.client import ClientError
    from oyez.files.media import read_media

    assets = files("oyez") / "assets"
    with as_file(assets / "two_cities.wav") as path:
        samples = read_media(path)
    reference = words_of((assets / "two_cities.txt").read_text(encoding="utf-8"))
    try:
        engines = load_configured(settings)
        began_s = time.monotonic()
        text = asyncio.run(_transcribe(engines, samples))
    except (CommandError, ClientError) as error:
        return [Finding("self-test", "fail", str(error), "see the findings above")]
    took_s, audio_s = time.monotonic() - began_s, len(samples) / SAMPLE_RATE
    speed = audio_s / took_s
    words = f"{audio_s:.0f} s of speech in {took_s:.1f} s: {speed:.1f}x real time"
    slow = speed < REAL_TIME
    advice = "a smaller model, more cores, or fewer other programs" if slow else ""
    findings = [Finding("speed", "fail" if slow else "ok", words, advice)]
    right = words_right(reference, words_of(text))
    words = f"{right} of {len(reference)} of the sample are right"
    if settings.engine == "fake":
        findings.append(Finding("words", "ok", "not judged: the engine is fake"))
    elif right < LEAST_SHARE_RIGHT * len(reference):
        advice = "the model may be damaged, or knows little English: oyez models verify"
        findings.append(Finding("words", "warn", words, advice))
    else:
        findings.append(Finding("words", "ok", words))
    cost = engines.session_cost
    count = settings.max_load // cost if cost and settings.max_load else math.inf
    room = f"about {count:.0f} conversations at a time, at max_load {settings.max_load:g}"
    if count >= settings.max_sessions:
        room = f"{settings.max_sessions} conversations at a time: the setting max_sessions"
    return [*findings, Finding("room", "ok", room)]


def words_right(reference: list[str], hypothesis: list[str]) -> int:
    """Return how many words of the reference are in the hypothesis, in order."""
    blocks = SequenceMatcher(None, reference, hypothesis, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks)


def words_of(text: str) -> list[str]:
    """Return the words in one case, with letters and digits only."""
    return re.findall(r"[^\W_]+", text.casefold())


async def _transcribe(engines: Engines, samples: Samples) -> str:
    """Stream the audio through a whole server in this process."""
    from oyez.cli.engines import local_server
    from oyez.cli.transcribe_files import remote_results
    from oyez.client import SessionOptions
    from oyez.files.results import Segment

    async with local_server(engines) as target:
        results = remote_results(target, SessionOptions("en"), iter([samples]))
        return " ".join([each.text async for each in results if isinstance(each, Segment)])


def _show(finding: Finding, out: Console, as_json: bool) -> None:
    from rich.text import Text

    from oyez.cli.terminal import STYLES, mark, wrapped

    if as_json:
        click.echo(json.dumps(asdict(finding), ensure_ascii=False))
        return
    sign = mark(finding.grade, out.encoding)
    indent = len(sign) + 1 + AREA_COLUMNS + 1
    columns = out.width - indent if out.is_terminal else 10_000
    lines = wrapped(finding.words, columns)
    if finding.advice and finding.grade != "ok":
        lines += wrapped(f"what to do: {finding.advice}", columns)
    head = f"{sign} {finding.area.ljust(AREA_COLUMNS)} "
    words = ("\n" + " " * indent).join(lines)
    out.print(Text.assemble((head, STYLES[finding.grade]), words))


def _summary(failures: int, warnings: int) -> str:
    if failures:
        return f"{failures} to mend, {warnings} worth knowing."
    if warnings:
        return f"Nothing to mend; {warnings} worth knowing."
    return "Everything is in order."
