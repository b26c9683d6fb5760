"""The dashboard, the alerts and the documentation, held against what a server really shows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import subprocess
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from oyez.engines.base import RecognitionError, Request
from oyez.engines.fake import FakeRecogniser
from oyez.metrics import CLOSE_CODES, MODES, OTHER, OUTCOMES, PACES, STAGES, TRANSCRIBED
from oyez.runtime.job import BATCH_KINDS, End, Urgency
from oyez.server.access.refusals import REASONS
from support.exposition import Exposition, selectors
from support.prometheus import ask, program, prometheus
from support.server import FINISH, RunningServer, append, running_server, silence, speech

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy/grafana/oyez.json").read_text())
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
ALERT_TESTS = sorted((ROOT / "tests/deploy").glob("alerts*.test.yml"))
OPERATIONS = (ROOT / "docs/operations.md").read_text()

PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
MANUAL = json.dumps({"type": "session.update", "session": {"turn_detection": None}})
COMMIT = json.dumps({"type": "input_audio_buffer.commit"})
GROUPED = re.compile(r"\b(?:by|on) \(([^)]*)\)")


def fails_on_whispers(request: Request) -> str:
    if abs(request.samples).max() < 0.1:
        raise RecognitionError("too soft")
    return "one two three"


def whisper(duration_s: float) -> bytes:
    """Loud enough to be heard, too soft for the engine above."""
    return (np.frombuffer(speech(duration_s), "<i2") // 8).tobytes()


async def all_sorts_of_sessions(running: RunningServer) -> None:
    """Something for every metric."""
    talk = await running.connect()
    for _ in range(15):
        await talk.send(append(speech(0.1)))
        await asyncio.sleep(0.02)
    await talk.send("no JSON", append(silence(1.0)), append(whisper(0.5) + silence(1.0)))
    await talk.until("failed")
    manual = await running.connect()
    await manual.send(MANUAL, append(speech(1.0)), COMMIT)
    await manual.until("completed")
    a_file = await running.connect()
    await a_file.send(append((speech(2.0) + silence(1.0)) * 15))
    await running.connect("model=none")
    with contextlib.suppress(aiohttp.WSServerHandshakeError):
        await running.connect(path="/api-ws/v1/realtime/none")
    for client in (talk, manual, a_file):
        await client.send(FINISH)
        await client.until("session.finished", timeout_s=20.0)
        await client.socket.close()


async def seen() -> str:
    async with running_server(FakeRecogniser(fails_on_whispers, delay_s=0.01)) as running:
        running.server.metrics.watch_engine(os.getpid)  # as if it had a process of its own
        await all_sorts_of_sessions(running)
        _, text, _ = await running.get("/metrics")
    return str(text)


@pytest.fixture(scope="module")
def exposed() -> str:
    return asyncio.run(seen())


@pytest.fixture(scope="module")
def exposition(exposed: str) -> Exposition:
    return Exposition(exposed)


def test_names_and_types_are_as_prometheus_would_have_them(exposed: str) -> None:
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=exposed, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def table_cells(*header: str) -> Iterator[list[str]]:
    """Rows of the table of operations.md with this header."""
    table = OPERATIONS.partition("| " + " | ".join(header) + " |\n")[2].partition("\n\n")[0]
    assert table, f"operations.md has no table {header}"
    for line in table.splitlines()[1:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def documented() -> dict[str, set[str]]:
    """Metric to labels."""
    cells = " ".join(row[0] for row in table_cells("Name", "What it tells"))
    found = re.findall(r"`(oyez_\w+)(?:\{([\w,]+)\})?`", cells)
    return {name: set(labels.split(",")) - {""} for name, labels in found}


def test_every_metric_is_documented_with_its_labels_and_no_other_is(exposition: Exposition) -> None:
    described = documented()
    assert set(described) == {name for name in exposition.families if name.startswith("oyez_")}
    for name, labels in described.items():
        assert exposition.labels(name) == labels, name


def test_every_value_of_a_label_is_documented() -> None:
    described = {row[0].strip("`"): row[1] for row in table_cells("Label", "Values")}
    values = {
        "pace": PACES,
        "mode": MODES,
        "outcome": [*OUTCOMES, *TRANSCRIBED],
        "reason": REASONS,
        "urgency": [urgency.label for urgency in Urgency],
        "kind": BATCH_KINDS,
        "end": [end.value for end in End],
        "stage": STAGES,
        "model": [OTHER],
        "path": [OTHER],
        "close_code": [OTHER],
    }
    assert set(described) == set(values)
    for label, known in values.items():
        assert {value for value in known if f"`{value}`" not in described[label]} == set(), label
    assert OTHER not in CLOSE_CODES


@pytest.mark.parametrize("query", sorted(set(QUERIES)))
def test_what_the_dashboard_asks_for_exists(query: str, exposition: Exposition) -> None:
    check_query(query, exposition)


def test_what_the_alerts_ask_for_exists(exposition: Exposition) -> None:
    rules = re.sub(r"(?m)^ +(summary|description|runbook):.*$", "", ALERTS.read_text())
    assert len(selectors(rules)) > 20
    check_query(rules, exposition)


def check_query(query: str, exposition: Exposition) -> None:
    grouped = {label.strip() for found in GROUPED.findall(query) for label in found.split(",")}
    there = {"le", "job", "instance"}
    for selector in selectors(query):
        assert exposition.answers(selector), f"nothing answers {selector}"
        there |= {label for labels in exposition.series[selector.name] for label in labels}
    assert grouped <= there


def test_the_dashboard_is_whole() -> None:
    panels = DASHBOARD["panels"]
    assert DASHBOARD["schemaVersion"] >= 38  # Grafana 10
    assert len({panel["id"] for panel in panels}) == len(panels)
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert rows == ["Now", "Latency", "Load", "Traffic", "Faults", "Process"]
    for panel in PANELS:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            for selector in selectors(target["expr"]):
                assert {label for label, *_ in selector.matchers} >= {"job", "instance"}, selector
    variables = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    assert variables == ["datasource", "job", "instance"]


def test_no_panel_covers_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        x, y, width, height = (panel["gridPos"][side] for side in "xywh")
        assert x + width <= 24
        for cell in product(range(x, x + width), range(y, y + height)):
            assert cell not in taken, f"{panel['title']} covers {taken[cell]}"
            taken[cell] = panel["title"]


def test_every_alert_leads_to_the_runbook() -> None:
    text = ALERTS.read_text()
    links = re.findall(r"runbook: docs/operations\.md#(\S+)", text)
    runbook = OPERATIONS.partition("\n## Runbook\n")[2]
    headings = re.findall(r"(?m)^### (.+)$", runbook)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert len(links) == text.count("- alert: ")
    assert set(links) == anchors


def test_metrics_in_the_runbook_exist(exposition: Exposition) -> None:
    runbook = OPERATIONS.partition("\n## Runbook\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`((?:oyez|process|python)_\w+)`", runbook))
    assert named <= exposition.families


def test_alerts_come_where_they_should_and_nowhere_else() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", ALERTS.read_text()))
    tests = "".join(file.read_text() for file in ALERT_TESTS)
    assert set(re.findall(r"alertname: (\w+)\n +exp_alerts:\n", tests)) == alerts, "tested to come"
    assert set(re.findall(r"alertname: (\w+)\n +exp_alerts: \[\]", tests)) == alerts, "… and not to"
    promtool = program("promtool")
    for command in (
        ["check", "config", str(ROOT / "deploy/prometheus/prometheus.yml")],
        ["test", "rules", *map(str, ALERT_TESTS)],
    ):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


async def test_a_prometheus_has_an_answer_to_every_query(tmp_path: Path) -> None:
    async with running_server(FakeRecogniser(fails_on_whispers, delay_s=0.01)) as running:
        with prometheus(tmp_path, running.address, ALERTS) as url:
            await asyncio.to_thread(until_it_has_looked, url)
            running.server.metrics.watch_engine(os.getpid)
            await all_sorts_of_sessions(running)
            await asyncio.to_thread(until_answered, url, {*QUERIES, "count(ALERTS) or vector(0)"})


def until_it_has_looked(url: str) -> None:
    until_s = time.monotonic() + 20.0
    while not ask(url, "oyez_build_info"):
        assert time.monotonic() < until_s, "Prometheus sees no server"
        time.sleep(0.1)


def until_answered(url: str, queries: set[str]) -> None:
    until_s = time.monotonic() + 20.0
    while queries := {query for query in queries if not answer(url, query)}:
        assert time.monotonic() < until_s, "\n".join(queries)
        time.sleep(0.2)


def answer(url: str, query: str) -> list[float]:
    """Numbers that the dashboard would show."""
    for name, value in (("$__rate_interval", "60s"), ("$job", ".*"), ("$instance", ".*")):
        query = query.replace(name, value)
    values: list[Any] = [float(series["value"][1]) for series in ask(url, query)]
    return [value for value in values if not math.isnan(value)]
