"""Tables, shares and percentiles, and the line that says when and on what was measured."""

from __future__ import annotations

import math
import platform
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from oyez import __version__
from oyez.runtime.cpu_limits import cpu_share

_MEASURED_PACKAGES = ("onnxruntime", "ctranslate2", "faster-whisper", "numpy")


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table with aligned columns, numbers to the right."""
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
    """Return the head of a table whose lines are printed one at a time.

    columns: the name and the least width of each.
    """
    names = [name.rjust(width) for name, width in columns.items()]
    rules = ["-" * (max(len(name), 2) - 1) + ":" for name in names]
    return f"| {' | '.join(names)} |\n| {' | '.join(rules)} |"


def row_line(cells: Sequence[str], columns: Mapping[str, int]) -> str:
    """Return a line of the table that `row_head` begins."""
    widths = [max(len(name), width) for name, width in columns.items()]
    padded = (_pad(cell, width, True) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def machine_line() -> str:
    """Return the date, the processor, the usable cores and the versions of what was measured."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d} · {_processor()} · {cpu_share().cores} cores · "
        f"{platform.system()} · oyez {__version__} · Python {platform.python_version()} · "
        + " · ".join(f"{name} {_version(name)}" for name in _MEASURED_PACKAGES)
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0…1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def percent(part: int, whole: int) -> str:
    """Return a share in percent with one decimal; a dash if there is nothing to take it of."""
    return f"{100 * part / whole:.1f}" if whole else "–"


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
