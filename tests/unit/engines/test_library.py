from __future__ import annotations

import json
from pathlib import Path

import pytest

from oyez.engines import library


def files(directory: Path, **contents: str) -> Path:
    directory.mkdir()
    for name in (*library.NEEDED, "vocabulary.txt", "README.md"):
        (directory / name).write_text(contents.get(name.partition(".")[0], name))
    return directory


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return files(tmp_path / "source")


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "data" / "models"


def add(
    models_dir: Path, source: Path, name: str = "small", *, link: bool = False
) -> library.AddedModel:
    about = {"languages": ["en"]}
    return library.add(models_dir, name, source, origin="somewhere", about=about, link=link)


def test_a_model_is_copied_with_its_hashes(models_dir: Path, source: Path) -> None:
    model = add(models_dir, source)
    assert library.added(models_dir) == [model]
    assert library.find(models_dir, "small") == model
    assert sorted(model.sha256) == sorted((*library.NEEDED, "vocabulary.txt"))
    assert (model.directory / "model.bin").read_text() == "model.bin"
    assert not (model.directory / "README.md").exists()
    assert library.faults(model, print) == []


def test_a_linked_model_stays_where_it_is(models_dir: Path, source: Path) -> None:
    model = add(models_dir, source, link=True)
    assert (model.directory / "model.bin").is_symlink()
    assert library.faults(model, print) == []
    library.remove(models_dir, "small")
    assert (source / "model.bin").read_text() == "model.bin"
    assert library.added(models_dir) == []


def test_a_changed_file_and_a_missing_one_are_reported(models_dir: Path, source: Path) -> None:
    model = add(models_dir, source)
    (model.directory / "config.json").write_text("other")
    (model.directory / "tokenizer.json").unlink()
    faults = " ".join(library.faults(model, print))
    assert "config.json is not as it was added" in faults
    assert "tokenizer.json cannot be read" in faults


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", ".hidden", "-x", "a b", "x" * 65])
def test_a_name_that_is_no_plain_file_name_is_refused(
    models_dir: Path, source: Path, name: str
) -> None:
    with pytest.raises(library.LibraryError, match="name"):
        add(models_dir, source, name)
    assert library.find(models_dir, name) is None
    with pytest.raises(library.LibraryError, match="no model called"):
        library.remove(models_dir, name)


def test_no_model_takes_the_place_of_another(models_dir: Path, source: Path) -> None:
    add(models_dir, source)
    with pytest.raises(library.LibraryError, match="already"):
        add(models_dir, source)
    with pytest.raises(library.LibraryError, match="built-in"):
        add(models_dir, source, "base")
    with pytest.raises(library.LibraryError, match="comes with oyez"):
        library.remove(models_dir, "base")


def test_what_cannot_be_copied_whole_leaves_nothing(
    models_dir: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        add(models_dir, source)
    assert list(models_dir.iterdir()) == []


def test_an_incomplete_directory_is_refused(models_dir: Path, source: Path) -> None:
    (source / "tokenizer.json").unlink()
    with pytest.raises(library.LibraryError, match=r"tokenizer\.json missing"):
        add(models_dir, source)


@pytest.mark.parametrize("manifest", ["", "[]", '{"sha256": {}}', json.dumps({"unknown": 1})])
def test_what_is_no_model_is_passed_over(models_dir: Path, source: Path, manifest: str) -> None:
    model = add(models_dir, source)
    (model.directory / library.MANIFEST).write_text(manifest)
    (models_dir / "stray").write_text("")
    assert library.added(models_dir) == []
