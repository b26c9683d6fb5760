"""What `oyez models` tells of each model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from oyez.cli.terminal import size_text
from oyez.engines import library
from oyez.engines.base import LANGUAGES
from oyez.engines.whisper.weights import PACKAGED_SHA256, Source, WeightsError, packaged
from oyez.engines.whisper_onnx.prepare import prepared_directory, prepared_fault

BUILT_IN_LANGUAGES = tuple(language for language in LANGUAGES if language != "yue")
"""Base has no token for Cantonese."""
HEADER = ("NAME", "SIZE", "LANGUAGES", "PREPARED", "ENGINES", "SHA-256")
ENGINES = ("whisper-onnx", "whisper-ct2")


@dataclass(frozen=True, slots=True)
class ModelReport:
    name: str
    built_in: bool
    size_bytes: int
    languages: tuple[str, ...]
    engines: tuple[str, ...]
    prepared: bool
    """Its graphs for whisper-onnx are in the cache."""
    sha256: dict[str, str]
    """Of each file."""
    origin: str
    fault: str | None = None
    """Why it cannot be used."""


def model_reports(models_dir: Path, cache_dir: Path) -> list[ModelReport]:
    """The built-in model, then those that were added, by name. Hashes nothing."""
    return [
        _built_in(cache_dir),
        *(_added(model, cache_dir) for model in library.added(models_dir)),
    ]


def verified(
    report: ModelReport, models_dir: Path, progress: Callable[[int], None] = lambda done_bytes: None
) -> list[str]:
    """What is wrong with a model's files, each hashed again; nothing if all is well. progress: is
    told of bytes, but not of the built-in model's."""
    if report.built_in:
        return built_in_faults()
    model = library.find(models_dir, report.name)
    return library.faults(model, progress) if model else [f"{report.name} is gone"]


def prepared_faults(report: ModelReport, cache_dir: Path) -> list[str]:
    """What is wrong with a model's prepared graphs, each hashed again; nothing if all is well, or
    if it is not prepared."""
    fault = prepared_fault(report.sha256["model.bin"], cache_dir)
    return [f"prepared graphs: {fault}; the next start builds them anew"] if fault else []


def built_in_faults() -> list[str]:
    """What is wrong with the weights that came with oyez."""
    try:
        packaged().read_arrays()
    except WeightsError as error:
        return [str(error)]
    return []


def report_rows(reports: Sequence[ModelReport]) -> list[list[str]]:
    """What a table of models shows, below HEADER."""
    return [
        [
            report.name,
            size_text(report.size_bytes),
            f"{len(report.languages)} of {len(LANGUAGES)}",
            "yes" if report.prepared else "no",
            ", ".join(engine.removeprefix("whisper-") for engine in report.engines),
            report.sha256["model.bin"][:12],
        ]
        for report in reports
    ]


def _built_in(cache_dir: Path) -> ModelReport:
    size_bytes, fault = 0, None
    try:
        size_bytes = _size_bytes(packaged())
    except WeightsError as error:
        fault = str(error)
    return ModelReport(
        name=library.BUILT_IN,
        built_in=True,
        size_bytes=size_bytes,
        languages=BUILT_IN_LANGUAGES,
        engines=ENGINES,
        prepared=prepared_directory(PACKAGED_SHA256["model.bin"], cache_dir).is_dir(),
        sha256=dict(PACKAGED_SHA256),
        origin="came with oyez",
        fault=fault,
    )


def _added(model: library.Added, cache_dir: Path) -> ModelReport:
    missing = [name for name in model.sha256 if not (model.directory / name).is_file()]
    return ModelReport(
        name=model.name,
        built_in=False,
        size_bytes=model.size_bytes,
        languages=tuple(model.about.get("languages", ())),
        engines=tuple(model.about.get("engines", ())),
        prepared=prepared_directory(model.digest, cache_dir).is_dir(),
        sha256=model.sha256,
        origin=model.origin,
        fault=f"{', '.join(missing)} missing" if missing else None,
    )


def _size_bytes(source: Source) -> int:
    others = (source.directory / name for name in source.expected or () if name != "model.bin")
    return sum(path.stat().st_size for path in (*source.model_files, *others))
