from __future__ import annotations

import json
from pathlib import Path

import pytest

from oyez.engines.base import EMOTIONS
from research.emotion.recordings import CorpusError, read_recordings

ROW = {"path": "a.wav", "corpus": "plays", "speaker": "anna", "emotion": "sad", "licence": "CC0"}


def manifest(folder: Path, *rows: object) -> Path:
    file = folder / "m.jsonl"
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return file


def test_a_line_is_a_recording(tmp_path: Path) -> None:
    (found,) = read_recordings(manifest(tmp_path, ROW, ""))
    assert found.path == tmp_path / "a.wav"
    assert (found.corpus, found.speaker, found.licence) == ("plays", "plays/anna", "CC0")
    assert EMOTIONS[found.emotion] == "sad"


def test_only_the_corpora_asked_for(tmp_path: Path) -> None:
    file = manifest(tmp_path, ROW, ROW | {"corpus": "calls"})
    assert [each.corpus for each in read_recordings(file, ["calls"])] == ["calls"]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("{", r"line 2: JSONDecodeError"),
        ('"text"', r"line 2: TypeError"),
        ({"path": "a.wav"}, r"line 2: KeyError: 'emotion'"),
        (ROW | {"emotion": "calm"}, r"line 2: emotion 'calm' is none of surprised, neutral"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, row: object, complaint: str) -> None:
    with pytest.raises(CorpusError, match=complaint):
        read_recordings(manifest(tmp_path, ROW, row))


def test_a_corpus_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no corpus calls"):
        read_recordings(manifest(tmp_path, ROW), ["calls", "plays"])


def test_an_empty_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no recording"):
        read_recordings(manifest(tmp_path))
