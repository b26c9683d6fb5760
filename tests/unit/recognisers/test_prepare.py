from __future__ import annotations

from pathlib import Path

from oyez.recognisers.whisper_onnx.prepare import _publish


def test_what_one_user_prepared_another_may_serve(tmp_path: Path) -> None:
    """As when an image is built by root and run by nobody."""
    built = tmp_path / ".preparing"
    built.mkdir(mode=0o700)
    _publish(built, tmp_path / "model")
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o755
