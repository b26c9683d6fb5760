"""Reading the list of clips."""

from __future__ import annotations

from pathlib import Path

import pytest

from oyez.bench.clips import ManifestError, read_manifest

LINES = """
{"path": "a.wav", "lang": "en", "duration_s": 1.5, "reference": "hello", "kind": "read"}
{"path": "sub/b.wav", "lang": "zh-wu", "duration_s": 2, "reference": null, "ref_trust": null}

{"path": "c.wav", "lang": "none", "duration_s": 3, "kind": "noise"}
{"path": "d.wav", "lang": "en", "duration_s": 4}
{"path": "e.wav", "lang": "mul", "duration_s": 5}
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    file = tmp_path / "manifest.jsonl"
    file.write_text(LINES)
    return file


def test_clips_are_read(manifest: Path) -> None:
    clips = read_manifest(manifest)
    assert [clip.language for clip in clips] == ["en", "zh", None, "en", None]
    assert [clip.has_speech for clip in clips] == [True, True, False, True, True]
    assert clips[1].path == manifest.parent / "sub/b.wav"
    assert clips[0].reference == "hello" and clips[1].reference is None


def test_languages_and_limit(manifest: Path) -> None:
    assert [clip.lang for clip in read_manifest(manifest, ["zh", "none"])] == ["zh-wu", "none"]
    assert [clip.duration_s for clip in read_manifest(manifest, ["en"], limit=1)] == [1.5]


@pytest.mark.parametrize("line", ["[]", "{}", "{", '{"path": "a", "lang": "en"}', "3"])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text("\n" + line + "\n")
    with pytest.raises(ManifestError, match=r"bad\.jsonl, line 2"):
        read_manifest(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="gone"):
        read_manifest(tmp_path / "gone")
