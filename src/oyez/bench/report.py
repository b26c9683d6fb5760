"""Tables, percentiles, progress, and the line that says when and on what was measured."""

from __future__ import annotations

import math
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from rich.cells import cell_len

from oyez import __version__
from oyez.runtime.cpu_limits import cpu_share

NO_VALUE = "–"
_MEASURED_PACKAGES = ("onnxruntime", "ctranslate2", "faster-whisper", "numpy")

T = TypeVar("T")
Columns = Mapping[str, tuple[int, Callable[[T], str]]]
"""A table whose lines are printed one at a time: the name of each column, its least width, and the
function that makes the text of a cell."""


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table with aligned columns, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    columns = list(zip(*cells, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    right = [all(map(_is_number, column[1:])) for column in columns]
    rule = ["-" * (width - 1) + (":" if r else "-") for width, r in zip(widths, right, strict=True)]
    return "\n".join(_line(line, widths, right) for line in (cells[0], rule, *cells[1:]))


def table_head(columns: Columns[T]) -> str:
    """Return the first two lines of a table whose other lines `table_row` returns."""
    rule = ["-" * (width - 1) + ":" for width in _widths(columns)]
    return "\n".join(_line(cells, _widths(columns)) for cells in (list(columns), rule))


def table_row(columns: Columns[T], measured: T) -> str:
    """Return the line of a table that shows `measured`."""
    return _line([cell(measured) for _, cell in columns.values()], _widths(columns))


def machine_line() -> str:
    """Return the date, the processor, the usable cores and the versions of what was measured."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d} · {_processor()} · {cpu_share().cores} cores · "
        f"{platform.system()} · oyez {__version__} · Python {platform.python_version()} · "
        + " · ".join(f"{name} {version(name)}" for name in _MEASURED_PACKAGES)
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0…1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float]) -> list[str]:
    """Return p50, p95 and the greatest value as whole numbers; dashes without values."""
    shares = (0.5, 0.95, 1.0)
    return [f"{percentile(values, share):.0f}" if values else NO_VALUE for share in shares]


def percent(part: int, whole: int) -> str:
    """Return a share in percent with one decimal; a dash if there is nothing to take it of."""
    return f"{100 * part / whole:.1f}" if whole else NO_VALUE


def decimal(value: float | None, digits: int = 0) -> str:
    """Return a number with so many decimals; a dash if there is none."""
    return NO_VALUE if value is None else f"{value:.{digits}f}"


def progress(text: str) -> None:
    """Show progress on one line of stderr; an empty text clears the line."""
    clock = time.strftime("%H:%M:%S ") if text else ""
    end = "" if text else "\r"
    print(f"\r{clock + text:<70.70}", end=end, file=sys.stderr, flush=True)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _is_number(cell: str) -> bool:
    return cell == NO_VALUE or cell[:1].isdigit() or cell[:1] in "+-" and cell[1:2].isdigit()


def _widths(columns: Columns[T]) -> list[int]:
    return [max(len(name), width) for name, (width, _) in columns.items()]


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool] | None = None) -> str:
    gaps = [" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
    sides = right or [True] * len(gaps)
    padded = (
        gap + cell if r else cell + gap for cell, gap, r in zip(cells, gaps, sides, strict=True)
    )
    return f"| {' | '.join(padded)} |"
