"""Tables, and the line that says when and on what they were measured."""

from __future__ import annotations

import math
import os
import platform
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from oyez import __version__

_MEASURED_PACKAGES = ("onnxruntime", "ctranslate2", "faster-whisper", "numpy")


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table with aligned columns, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(_width(cell) for cell in column) for column in zip(*cells, strict=True)]
    right = [all(_is_number(cell) for cell in column[1:]) for column in zip(*cells, strict=True)]
    rule = ["-" * (width - 1) + (":" if r else "-") for width, r in zip(widths, right, strict=True)]
    lines = [cells[0], rule, *cells[1:]]
    return "\n".join(
        "| " + " | ".join(_pad(*cell) for cell in zip(line, widths, right, strict=True)) + " |"
        for line in lines
    )


def row_head(columns: Mapping[str, int]) -> str:
    """The head of a table whose lines are printed as they come: names and least widths."""
    names = [name.rjust(width) for name, width in columns.items()]
    rules = ["-" * (max(len(name), 2) - 1) + ":" for name in names]
    return f"| {' | '.join(names)} |\n| {' | '.join(rules)} |"


def row_line(cells: Sequence[str], columns: Mapping[str, int]) -> str:
    """A line of such a table."""
    widths = [max(len(name), width) for name, width in columns.items()]
    padded = (_pad(cell, width, True) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def machine_line() -> str:
    """Date, processor, usable cores, versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{datetime.now(UTC):%Y-%m-%d} · {_processor()} · {cores} cores · "
        f"{platform.system()} · oyez {__version__} · Python {platform.python_version()} · "
        + " · ".join(f"{name} {_version(name)}" for name in _MEASURED_PACKAGES)
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0…1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def _is_number(cell: str) -> bool:
    return cell == "–" or cell[:1].isdigit() or cell[:1] in "+-" and cell[1:2].isdigit()


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _pad(cell: str, width: int, right: bool) -> str:
    gap = " " * (width - _width(cell))
    return gap + cell if right else cell + gap
