"""The tables of the accuracy benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from oyez.bench import accuracy
from oyez.bench.accuracy import ClipResult, Options, report, run
from oyez.bench.clips import Clip, read_manifest
from oyez.bench.commands import bench
from oyez.bench.driver import Transcript
from oyez.engines.fake import FakeRecogniser
from oyez.engines.vad.energy import EnergyDetector

OPTIONS = Options(hint_language=True, partials=False, detect=True)


def outcome(
    lang: str,
    reference: str | None,
    *finals: str,
    offline: str | None = None,
    detected: dict[str, str | None] | None = None,
    kind: str = "read",
) -> ClipResult:
    clip = Clip(Path(f"{lang}.wav"), lang, 5.0, reference, kind)
    transcript = Transcript(" ".join(finals), [(text, lang) for text in finals])
    return ClipResult(clip, 5.0, transcript, 1.0, offline, 1.0, detected or {})


def row(text: str, table: int, name: str) -> list[str]:
    """The cells after `name` in the line that begins with it, in the n-th table."""
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    lines = [[cell.strip() for cell in line.strip("| ").split("|")] for line in
             tables[table].splitlines()]  # fmt: skip
    return next(cells[1:] for cells in lines if cells[0] == name)


OUTCOMES = [
    outcome("en", "the old dog sat", "The odd dog.", "On sat.", offline="the old dog sat",
            detected={"1 s": "de", "2 s": "en", "turn": "en"}),
    outcome("zh", "你好吗", "你好吗。", offline="你好嗎?",
            detected={"1 s": "yue", "turn": "yue"}),
    outcome("no", None, "Hei.", offline="Hei", detected={"1 s": "da", "turn": None}),
    outcome("mul", None, "Hei.", offline="Hei"),
    outcome("none", None, "Thank you.", offline="", kind="noise"),
]  # fmt: skip


def test_errors_are_counted_by_language_and_kind() -> None:
    text = report(OUTCOMES, OPTIONS)
    assert row(text, 0, "en") == ["word", "1", "4", "50.0", "1/0/1", "0.0", "0/0/0", "–"]
    assert row(text, 0, "zh") == ["char", "1", "3", "0.0", "0/0/0", "0.0", "0/0/0", "–"]
    assert row(text, 0, "all")[:5] == ["both", "2", "7", "28.6", "1/0/1"]
    assert "not scored: 2" in text


def test_sentences_left_out_and_loops_are_counted() -> None:
    said = "it was the best of times it was the worst of times"
    outcomes = [
        outcome("en", said, "It was the best of times.", offline=said),
        outcome("de", None, "Vielen Dank. Vielen Dank. Vielen Dank.", offline="Danke."),
        outcome("fr", "oui", "Oui.", offline="Oui."),
    ]
    text = report(outcomes, OPTIONS)
    assert row(text, 3, "en") == ["1", "1", "0", "0", "0"]
    assert row(text, 3, "de") == ["1", "0", "1", "0", "0"]
    assert row(text, 3, "all") == ["3", "1", "1", "0", "0"]
    with pytest.raises(StopIteration):
        row(text, 3, "fr")


def test_writing_is_judged_by_final_and_with_or_without_reference() -> None:
    text = report(OUTCOMES, OPTIONS)
    assert row(text, 1, "en") == ["2", "100.0", "–", "0.0", "1", "0.0", "–", "0.0"]
    assert row(text, 1, "zh") == ["1", "100.0", "–", "0.0", "1", "0.0", "–", "100.0"]
    assert row(text, 1, "all") == ["4", "100.0", "–", "0.0", "3", "0.0", "–", "33.3"]
    for no_language in ("mul", "none"):
        with pytest.raises(StopIteration):
            row(text, 1, no_language)


def test_detected_languages_are_counted_where_the_turn_is_as_long() -> None:
    text = report(OUTCOMES, OPTIONS)
    assert row(text, 2, "en") == ["0/1", "1/1", "0/0", "1/1", "de 1", "–"]
    assert row(text, 2, "zh") == ["0/1", "0/0", "0/0", "0/1", "yue 1", "yue 1"]
    assert row(text, 2, "all")[:4] == ["0/3", "1/1", "0/0", "1/3"]
    assert "1 s 0.0 %, 2 s 100.0 %, 3 s – %, turn 33.3 %" in text
    assert "zh as yue 1, no as nothing 1" in text


def test_words_where_nobody_speaks_are_counted() -> None:
    assert row(report(OUTCOMES, OPTIONS), 3, "noise") == ["1", "5", "2", "0"]


def test_what_was_not_measured_is_left_out() -> None:
    text = report([outcome("en", "the old dog", "The old dog.")], Options(False, False))
    assert row(text, 0, "en") == ["word", "1", "3", "0.0", "0/0/0", "–", "–", "–", "1/1"]
    assert row(text, 1, "en") == ["1", "100.0", "–", "0.0", "–", "–", "–", "–"]
    assert "taken for" not in text and "no speech" not in text


def test_everything_is_saved_by_clip() -> None:
    saved = json.loads(json.dumps([each.as_json() for each in OUTCOMES]))
    assert [clip["streaming_writing"]["texts"] for clip in saved] == [2, 1, 1, 0, 0]
    english = saved[0]
    assert english["streaming_score"]["insertions"] == 1
    assert english["streaming_writing"]["closed"] == 2
    assert english["offline_writing"] == {
        "texts": 1, "closable": 1, "closed": 0, "long": 0, "divided": 0, "wrong_script": 0,
    }  # fmt: skip
    assert english["detected"] == {"1 s": "de", "2 s": "en", "turn": "en"}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    samples = np.zeros(16_000 * 4, np.float32)
    samples[8_000:36_800] = np.random.default_rng(0).normal(0, 0.2, 28_800)
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    clip = {"path": "a.wav", "lang": "de", "duration_s": 4, "reference": "one two three four"}
    file = tmp_path / "manifest.jsonl"
    file.write_text(json.dumps(clip) + "\n" + json.dumps(clip | {"path": "gone.wav"}) + "\n")
    return file


def test_the_command(manifest: Path) -> None:
    saved = manifest.parent / "saved.json"
    command = ["accuracy", "--manifest", str(manifest), "--engine", "fake", "--vad", "energy"]
    result = CliRunner().invoke(bench, [*command, "--no-offline", "--json", str(saved)])
    assert result.exit_code == 0, result.output
    assert row(result.stdout, 0, "all")[:4] == ["word", "1", "4", "0.0"]
    assert row(result.stdout, 2, "de")[:2] == ["0/1", "0/0"]
    assert "1/2 a.wav" in result.stderr and "gone.wav" in result.stderr
    (clip,) = json.loads(saved.read_text())
    assert clip["detected"] == {"1 s": "en", "turn": "en"}


def test_help_fits_a_terminal() -> None:
    lines = CliRunner().invoke(bench, ["accuracy", "--help"]).stdout.splitlines()
    assert len(lines) > 20 and max(map(len, lines)) <= 80


def test_an_interrupted_run_reports_what_it_has(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcripts = iter([Transcript("one two three four", [("one two three four", "de")])])

    def interrupted(*_: object, **__: object) -> Transcript:
        for transcript in transcripts:
            return transcript
        raise KeyboardInterrupt

    monkeypatch.setattr(accuracy, "transcribe", interrupted)
    manifest.write_text(2 * (manifest.read_text().splitlines()[0] + "\n"))
    saved = manifest.parent / "saved.json"
    command = ["accuracy", "--manifest", str(manifest), "--engine", "fake", "--vad", "energy"]
    result = CliRunner().invoke(bench, [*command, "--no-offline", "--json", str(saved)])
    assert result.exit_code == 1
    assert row(result.stdout, 0, "all")[:4] == ["word", "1", "4", "0.0"]
    assert len(json.loads(saved.read_text())) == 1


def test_what_it_costs_is_processor_time(manifest: Path) -> None:
    slow = FakeRecogniser(delay_s=2.0)
    (result,) = run(
        read_manifest(manifest)[:1],
        recogniser=slow,
        detector=EnergyDetector(),
        offline=None,
        options=Options(hint_language=True, partials=False),
    )
    assert slow.requests and 0 < result.streaming_s < 1


def test_offline_texts_are_taken_from_an_earlier_run(manifest: Path) -> None:
    earlier = manifest.parent / "earlier.json"
    clips = [{"path": str(manifest.parent / "a.wav"), "offline": "one two three"}]
    earlier.write_text(json.dumps(clips))
    command = ["accuracy", "--manifest", str(manifest), "--engine", "fake", "--vad", "energy"]
    command += ["--no-offline", "--offline-from", str(earlier)]
    result = CliRunner().invoke(bench, command)
    assert row(result.stdout, 0, "all")[5:7] == ["25.0", "0/1/0"]
    earlier.write_text('[{"path": "a.wav"}]')
    refused = CliRunner().invoke(bench, command)
    assert refused.exit_code == 1 and "not a file that --json" in refused.output
