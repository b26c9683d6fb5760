from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from oyez.cli.main import main
from oyez.cli.models import hub_repository
from oyez.engines.whisper.weights import PACKAGED_SHA256
from oyez.engines.whisper_onnx.prepare import prepared_directory
from support import tiny_whisper


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["models", *arguments])


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return tiny_whisper.write(tmp_path / "tiny")


def test_the_built_in_model_is_listed() -> None:
    listed = run("list")
    assert listed.exit_code == 0
    header, base = listed.output.splitlines()
    assert header.split() == ["NAME", "SIZE", "LANGUAGES", "PREPARED", "ENGINES", "SHA-256"]
    assert base.startswith("base ")
    assert "26 of 27" in base


def test_a_model_is_added_listed_verified_and_removed(tiny: Path) -> None:
    added = run("add", str(tiny), "--name", "mine")
    assert added.exit_code == 0, added.output
    assert "oyez serve --model mine" in added.output
    (report,) = [json.loads(line) for line in run("list", "--json").output.splitlines()[1:]]
    assert report["name"] == "mine"
    assert report["engines"] == ["whisper-onnx", "whisper-ct2"]
    assert report["prepared"] is False
    assert run("verify", "mine").exit_code == 0
    assert run("remove", "mine").exit_code == 0
    assert "mine" not in run("list").output


def test_a_damaged_model_is_named_and_exits_1(tiny: Path, tmp_path: Path) -> None:
    run("add", str(tiny))
    (tmp_path / "models" / "tiny" / "tokenizer.json").write_text("{}")
    verified = run("verify", "tiny")
    assert verified.exit_code == 1
    assert "tokenizer.json is not as it was added" in verified.output
    assert "1 of 1 models damaged" in verified.output


def test_damaged_graphs_are_named_and_exit_1(tmp_path: Path) -> None:
    graphs = prepared_directory(PACKAGED_SHA256["model.bin"], tmp_path)
    graphs.mkdir()
    (graphs / "sizes.json").touch()
    verified = run("verify", "base", "--cache-dir", str(tmp_path))
    assert verified.exit_code == 1
    assert "prepared graphs: sizes.json is damaged; the next start builds them" in verified.output


def test_what_was_prepared_goes_with_the_model(tiny: Path, tmp_path: Path) -> None:
    run("add", str(tiny))
    digest = json.loads(run("list", "--json").output.splitlines()[1])["sha256"]["model.bin"]
    graphs = tmp_path / "cache" / f"whisper-{digest[:16]}-v1-ort1"
    other = tmp_path / "cache" / "whisper-0123456789abcdef-v1-ort1"
    graphs.mkdir(parents=True)
    other.mkdir()
    assert run("remove", "tiny", "--cache-dir", str(tmp_path / "cache")).exit_code == 0
    assert not graphs.exists()
    assert other.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["verify", "nosuch"], 2, "there are: base"),
        (["remove", "base"], 2, "comes with oyez"),
        (["remove", "nosuch"], 2, "oyez models list"),
        (["add"], 2, "--from-hub"),
        (["add", "--from-hub", "small", "--link"], 2, "--link"),
        (["add", "."], 1, "was not added"),
    ],
)
def test_errors_say_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code == code, done.output
    assert words in done.output
    assert "Traceback" not in done.output


def test_without_the_hub_the_error_says_how_to_fetch_a_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import huggingface_hub

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    done = run("add", "--from-hub", "small")
    assert done.exit_code == 3
    assert "hf download Systran/faster-whisper-small" in done.output


def test_a_download_is_added_under_the_name_of_its_repository(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import huggingface_hub

    def served(repo: str, *, local_dir: Path, allow_patterns: list[str]) -> None:
        assert repo == "someone/whisper-odd"
        assert "model.bin" in allow_patterns
        tiny_whisper.write(local_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", served)
    done = run("add", "--from-hub", "someone/whisper-odd")
    assert done.exit_code == 0, done.output
    assert "whisper-odd" in run("list").output


@pytest.mark.parametrize("size", ["tiny", "small", "medium", "large-v2", "large", "turbo"])
def test_a_size_means_the_same_repository_as_in_faster_whisper(size: str) -> None:
    from faster_whisper import utils

    assert hub_repository(size) == utils._MODELS[size]


def test_a_size_means_the_repository_of_faster_whisper() -> None:
    assert hub_repository("large-v3") == "Systran/faster-whisper-large-v3"
    assert hub_repository("a/b") == "a/b"
