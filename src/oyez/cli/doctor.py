"""`oyez doctor`: is everything in order on this machine, and what to do where it is not."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from oyez.cli.exits import FAILED
from oyez.cli.setting_options import with_settings
from oyez.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from oyez.cli.checks import Finding

SETTINGS = ("host", "port", "engine", "model", "device", "threads", "cache_dir", "models_dir")
AREA_COLUMNS = 12
FEWEST_RIGHT = 0.9
"""Of the sample's words; the built-in model gets them all."""
REAL_TIME = 1.0


@click.command()
@click.option("--quick", is_flag=True, help="Leave out the self-test, which loads the model.")
@click.option(
    "--running",
    is_flag=True,
    help="Only ask the server that runs with these settings whether it is well.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@with_settings(
    *SETTINGS, "tls_cert", "tls_key", "database", "vad", "emotion", "max_load", "max_sessions"
)
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
    if not quick and _worth_testing(findings):
        with err.status("transcribing the sample; the first time, the model is prepared before"):
            tested = self_test(settings)
        for finding in tested:
            findings.append(finding)
            _show(finding, out, as_json)
    to_mend = sum(each.grade == "fail" for each in findings)
    if not as_json:
        click.echo(_summary(to_mend, sum(each.grade == "warn" for each in findings)))
    if to_mend:
        sys.exit(FAILED)


def self_test(settings: Settings) -> list[Finding]:
    """Load the engines of these settings and transcribe the sample with them."""
    from oyez.cli.checks import Finding
    from oyez.cli.engines import load_settings
    from oyez.cli.exits import Fault
    from oyez.cli.self_test import run_self_test
    from oyez.client.session import ClientError

    try:
        done = run_self_test(load_settings(settings), settings.max_load)
    except (Fault, ClientError) as error:
        return [Finding("self-test", "fail", str(error), "see the findings above")]
    words = f"{done.audio_s:.0f} s of speech in {done.took_s:.1f} s: {done.speed:.1f}x real time"
    slow = done.speed < REAL_TIME
    advice = "a smaller model, more cores, or fewer other programs" if slow else ""
    speed = Finding("speed", "fail" if slow else "ok", words, advice)
    right = Finding("words", "ok", f"{done.words_right} of {done.words} of the sample are right")
    if settings.engine == "fake":
        right = Finding("words", "ok", "not judged: the engine is fake")
    elif done.words_right < FEWEST_RIGHT * done.words:
        advice = "the model may be damaged, or knows little English: oyez models verify"
        right = Finding("words", "warn", right.words, advice)
    return [speed, right, Finding("room", "ok", _room(done.conversations, settings))]


def _room(conversations: float, settings: Settings) -> str:
    if conversations >= settings.max_sessions:
        return f"{settings.max_sessions} conversations at a time: the setting max_sessions"
    return f"about {conversations:.0f} conversations at a time, at max_load {settings.max_load:g}"


def _worth_testing(findings: list[Finding]) -> bool:
    """Without memory, cache or model the self-test would only say so again."""
    return not any(
        each.grade == "fail" and each.area in ("memory", "cache", "model") for each in findings
    )


def _show(finding: Finding, out: Console, as_json: bool) -> None:
    from rich.text import Text

    from oyez.cli.terminal import STYLES, mark
    from oyez.cli.wrapping import wrap

    if as_json:
        click.echo(json.dumps(asdict(finding), ensure_ascii=False))
        return
    sign = mark(finding.grade, out.encoding)
    indent = len(sign) + 1 + AREA_COLUMNS + 1
    columns = out.width - indent if out.is_terminal else 10_000
    lines = [finding.words[start:stop] for start, stop in wrap(finding.words, columns)]
    if finding.advice and finding.grade != "ok":
        what = f"what to do: {finding.advice}"
        lines += [what[start:stop] for start, stop in wrap(what, columns)]
    head = f"{sign} {finding.area.ljust(AREA_COLUMNS)} "
    words = ("\n" + " " * indent).join(lines)
    out.print(Text.assemble((head, STYLES[finding.grade]), words))


def _summary(to_mend: int, to_know: int) -> str:
    if to_mend:
        return f"{to_mend} to mend, {to_know} worth knowing."
    if to_know:
        return f"Nothing to mend; {to_know} worth knowing."
    return "Everything is in order."
